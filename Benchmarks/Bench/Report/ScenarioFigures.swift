/// The figures of a scenario, found and put in order.
extension ScenarioReport {
    /// The results in the order they are shown, without what says nothing: what the direct path is beyond
    /// itself, and how the relay starts, which is the harness's own program.
    var ordered: [PeerResult] {
        let shown = results.map { result in
            var copy = result
            let silent: [FigureKind]
            switch PeerName.base(result.peer) {
            case PeerName.direct: silent = [.addedP50, .addedP99]
            case PeerName.floor:
                silent = [
                    .startResidentMiB, .startProportionalMiB, .loadResidentMiB, .startMilliseconds,
                ]
            default: silent = []
            }
            for kind in silent { copy.figures[kind] = nil }
            return copy
        }
        return shown.enumerated()
            .sorted {
                (PeerName.rank($0.element.peer), $0.offset) < (
                    PeerName.rank($1.element.peer), $1.offset
                )
            }
            .map(\.element)
    }

    /// Whose figures are divided by everyone's: MeshProxy, else ztunnel-lite.
    var subject: PeerResult? {
        ordered.first { PeerName.isOurs($0.peer) && !$0.figures.isEmpty }
    }

    /// Whose figures `peer`'s are held against: ours of the same variant, else ``subject``.
    func subject(for peer: String) -> PeerResult? {
        let variant = PeerName.variant(peer)
        let same = ordered.first {
            PeerName.isOurs($0.peer) && !$0.figures.isEmpty && $0.peer != peer
                && PeerName.variant($0.peer) == variant
        }
        let found = PeerName.isOurs(peer) ? subject : same ?? subject
        return found?.peer == peer ? nil : found
    }

    /// The result of a peer, of the subject's variant if there are several.
    func comparable(_ base: String) -> PeerResult? {
        let variant = PeerName.variant(subject?.peer ?? "")
        let all = results.filter { PeerName.base($0.peer) == base && $0.peer != subject?.peer }
        return all.first { PeerName.variant($0.peer) == variant } ?? all.first
    }

    func result(of peer: String) -> PeerResult? { results.first { $0.peer == peer } }

    func figure(_ kind: FigureKind, of peer: String) -> Figure? {
        result(of: peer)?.figures[kind]
    }

    /// Kinds that somebody has a figure of, principal ones first.
    var kinds: [FigureKind] {
        let rest = FigureKind.allCases.filter { !FigureKind.principal.contains($0) }
        return (FigureKind.principal + rest)
            .filter { kind in ordered.contains { $0.figures[kind] != nil } }
    }

    /// The figure that stands for the scenario where there is room for one.
    var leading: FigureKind? {
        let order: [FigureKind] = [
            .cpuMicroseconds, .connectionKiB, .streamKiB, .startResidentMiB, .startMilliseconds,
            .p50,
        ]
        return order.first { kind in results.contains { $0.figures[kind] != nil } }
    }

    /// MeshProxy's figure divided by `peer`'s.
    func ratio(_ kind: FigureKind, to peer: String) -> Ratio? {
        guard let ours = subject(for: peer)?.figures[kind],
            let theirs = figure(kind, of: peer)
        else { return nil }
        return Ratio(ours, to: theirs)
    }

    /// Of the leading figure, to a peer without its variant.
    func leadingRatio(to base: String) -> Ratio? {
        guard let leading, let peer = comparable(base)?.peer else { return nil }
        return ratio(leading, to: peer)
    }

    /// `3`, or `2 to 3`: repetitions behind the figures.
    var repetitions: String? {
        let counts = results.flatMap { $0.figures.values.map(\.repetitions) }
        guard let fewest = counts.min(), let most = counts.max() else { return nil }
        return fewest == most ? "\(most)" : "\(fewest) to \(most)"
    }
}
