/// One figure divided by another, with what the repetitions say about it.
package struct Ratio: Equatable, Sendable {
    package enum Certainty: Sendable {
        /// The spreads are apart.
        case clear
        /// The spreads overlap: a repetition more could turn it round.
        case tie
        /// A single repetition on one side: nothing is known of its spread.
        case single
    }

    package let value: Double
    package let certainty: Certainty

    /// Nil where the division says nothing: `other` is not above zero, or the figure is below.
    package init?(_ figure: Figure, to other: Figure) {
        guard other.median > 0, figure.median >= 0 else { return nil }
        let value = figure.median / other.median
        guard value.isFinite else { return nil }
        self.value = value
        if figure.repetitions < 2 || other.repetitions < 2 {
            certainty = .single
        } else if figure.lowest <= other.highest && other.lowest <= figure.highest {
            certainty = .tie
        } else {
            certainty = .clear
        }
    }

    /// `0.33`, `≈0.94` for a tie, `0.94?` where the spread is not known.
    package var text: String {
        let number = Number.text(value, decimals: value < 9.995 ? 2 : 1)
        switch certainty {
        case .clear: return number
        case .tie: return "≈" + number
        case .single: return number + "?"
        }
    }
}

/// The part of a figure that the minimal relay of the same scenario does not have.
package struct AboveFloor: Equatable, Sendable {
    package let amount: Double
    /// Of the whole figure, below zero where a peer is cheaper than the relay.
    package let share: Double

    package init?(_ figure: Figure, floor: Figure) {
        guard figure.median > 0 else { return nil }
        amount = figure.median - floor.median
        share = amount / figure.median
    }

    /// `5.27 (46 %)`.
    package var text: String { "\(Number.text(amount)) (\(Number.percent(share)))" }
}

/// Peers that mean something to whoever reads a report.
package enum Peer {
    /// No proxy at all.
    package static let direct = "direct"
    /// The minimal relay.
    package static let floor = "floor"

    /// As its authors write it; a variant of a known peer keeps its suffix: `Envoy hbone`.
    package static func title(_ name: String) -> String {
        if name == "ztunnel-lite" { return name }
        let parts = name.split(separator: "-", maxSplits: 1)
        let known = ["meshproxy": "MeshProxy", "envoy": "Envoy", "haproxy": "HAProxy"]
        guard let first = parts.first, let title = known[String(first)] else { return name }
        return parts.count > 1 ? "\(title) \(parts[1])" : title
    }

    /// Neither a proxy of somebody's nor one of ours, but something to hold against.
    package static func isReference(_ name: String) -> Bool {
        name == direct || name == floor || name.hasPrefix("floor-")
    }

    /// Built in this repository.
    package static func isOurs(_ name: String) -> Bool {
        name.hasPrefix("meshproxy") || name.hasPrefix("ztunnel-lite")
    }

    /// References first, then ours, then the others as they come.
    static func rank(_ name: String) -> Int {
        if name == direct { return 0 }
        if isReference(name) { return 1 }
        return isOurs(name) ? (name.hasPrefix("meshproxy") ? 2 : 3) : 4
    }
}

extension ScenarioReport {
    /// The results in the order they are shown.
    var ordered: [PeerResult] {
        results.enumerated()
            .sorted {
                (Peer.rank($0.element.peer), $0.offset) < (Peer.rank($1.element.peer), $1.offset)
            }
            .map(\.element)
    }

    /// Whose figures are divided by everyone's: MeshProxy, else ztunnel-lite.
    var subject: PeerResult? {
        ordered.first { Peer.isOurs($0.peer) && !$0.figures.isEmpty }
    }

    func result(of peer: String) -> PeerResult? { results.first { $0.peer == peer } }

    func figure(_ kind: FigureKind, of peer: String) -> Figure? {
        result(of: peer)?.figures[kind]
    }

    /// Kinds that somebody has a figure of, principal ones first.
    var kinds: [FigureKind] {
        let rest = FigureKind.allCases.filter { !FigureKind.principal.contains($0) }
        return (FigureKind.principal + rest)
            .filter { kind in results.contains { $0.figures[kind] != nil } }
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
        guard let subject, subject.peer != peer, let ours = subject.figures[kind],
            let theirs = figure(kind, of: peer)
        else { return nil }
        return Ratio(ours, to: theirs)
    }

    /// `3`, or `2 to 3`: repetitions behind the figures.
    var repetitions: String? {
        let counts = results.flatMap { $0.figures.values.map(\.repetitions) }
        guard let fewest = counts.min(), let most = counts.max() else { return nil }
        return fewest == most ? "\(most)" : "\(fewest) to \(most)"
    }
}
