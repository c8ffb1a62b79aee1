import MeshLoad

extension Figure {
    /// Of the repetitions that count; nil of none.
    package init?(_ values: [Double]) {
        let sorted = values.sorted()
        guard let lowest = sorted.first, let highest = sorted.last else { return nil }
        let middle = sorted.count / 2
        let median =
            sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        self.init(median: median, lowest: lowest, highest: highest, repetitions: sorted.count)
    }
}

/// One contestant's repetitions in a scenario, and what comes of them.
struct Tally {
    let contestant: Contestant
    var repetitions: [Repetition] = []
    /// The direct path of the same repetition; nil where there was none.
    var direct: [Repetition?] = []
    var phases: [PeerResult.Phase] = []
    var discarded: [String] = []
    var failure: String?

    mutating func add(_ repetition: Repetition, direct: Repetition?) {
        repetitions.append(repetition)
        self.direct.append(direct)
    }

    var result: PeerResult {
        var result = PeerResult(peer: contestant.name)
        result.discarded = discarded
        if let failure {
            result.failure = failure
            return result
        }
        for kind in FigureKind.allCases {
            result.figures[kind] = Figure(values(of: kind))
        }
        let ordered = repetitions.compactMap(\.latency).sorted {
            ($0.nanoseconds(exactlyAt: 99) ?? 0) < ($1.nanoseconds(exactlyAt: 99) ?? 0)
        }
        result.latency = ordered.isEmpty ? nil : ordered[(ordered.count - 1) / 2]
        result.loadCurve = repetitions.first { !$0.loadCurve.isEmpty }?.loadCurve ?? []
        result.phases = phases
        return result
    }

    private func values(of kind: FigureKind) -> [Double] {
        switch kind {
        case .addedP50: added(.p50)
        case .addedP99: added(.p99)
        default: repetitions.compactMap { $0.figures[kind] }
        }
    }

    private func added(_ kind: FigureKind) -> [Double] {
        zip(repetitions, direct).compactMap { mine, direct in
            guard let mine = mine.figures[kind], let direct = direct?.figures[kind] else {
                return nil
            }
            return mine - direct
        }
    }
}
