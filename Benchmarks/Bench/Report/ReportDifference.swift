/// Two reports of one machine, before and after a change of ours. What the other peers did meanwhile tells how much
/// of a difference is the machine's.
package struct ReportDifference: Sendable {
    package struct Row: Sendable {
        package var scenario: String
        package var unit: String
        /// One of ours.
        package var peer: String
        package var kind: FigureKind
        package var before: Figure
        package var after: Figure
        /// After divided by before; a tie where the spreads overlap.
        package var change: Ratio?
        /// Median of the same quotient of peers that did not change.
        package var others: Double?

        /// The change that the machine does not explain.
        package var net: Double? {
            guard let change, let others, others > 0 else { return nil }
            return change.value / others
        }
    }

    package let rows: [Row]
    /// Why the comparison may not hold, and what has no counterpart.
    package let reservations: [String]

    package init(before: BenchReport, after: BenchReport) {
        let same = Self.unchanged(before, after)
        rows = after.scenarios.flatMap { scenario -> [Row] in
            guard let earlier = before.scenarios.first(where: { $0.id == scenario.id }) else {
                return []
            }
            return Self.rows(earlier, scenario, unchanged: same)
        }
        reservations = Self.reservations(before, after, unchanged: same)
    }

    private static func rows(
        _ before: ScenarioReport,
        _ after: ScenarioReport,
        unchanged: Set<String>
    ) -> [Row] {
        let ours = after.ordered.filter { PeerName.isOurs($0.peer) }
        return ours.flatMap { result in
            FigureKind.principal.compactMap { kind -> Row? in
                guard let new = result.figures[kind], let old = before.figure(kind, of: result.peer)
                else { return nil }
                let quotients = unchanged.compactMap { peer -> Double? in
                    guard let new = after.figure(kind, of: peer),
                        let old = before.figure(kind, of: peer)
                    else { return nil }
                    return Ratio(new, to: old)?.value
                }
                return Row(
                    scenario: after.id,
                    unit: after.unit,
                    peer: result.peer,
                    kind: kind,
                    before: old,
                    after: new,
                    change: Ratio(new, to: old),
                    others: median(quotients)
                )
            }
        }
    }

    /// Peers of others with the same version in both, and the direct path.
    private static func unchanged(_ before: BenchReport, _ after: BenchReport) -> Set<String> {
        let versions = Dictionary(before.peers.map { ($0.name, $0.version) }) { first, _ in first }
        let same = after.peers.filter {
            !PeerName.isOurs($0.name) && $0.name != PeerName.floor
                && versions[$0.name] == $0.version
        }
        return Set(same.map(\.name) + [PeerName.direct])
    }

    private static func reservations(
        _ before: BenchReport,
        _ after: BenchReport,
        unchanged: Set<String>
    ) -> [String] {
        var result: [String] = []
        for (old, new) in zip(before.machine.facts, after.machine.facts) where old.1 != new.1 {
            result.append("Not the same \(old.0): \(old.1) before, \(new.1) after.")
        }
        let versions = Dictionary(before.peers.map { ($0.name, $0.version) }) { first, _ in first }
        for peer in after.peers where !PeerName.isOurs(peer.name) && peer.name != PeerName.floor {
            guard let old = versions[peer.name], old != peer.version else { continue }
            result.append(
                "\(PeerName.title(peer.name)) is another: \(old) before, \(peer.version) after; "
                    + "left out of the others."
            )
        }
        let olds = Set(before.scenarios.map(\.id))
        let news = Set(after.scenarios.map(\.id))
        let onlyNew = after.scenarios.map(\.id).filter { !olds.contains($0) }
        let onlyOld = before.scenarios.map(\.id).filter { !news.contains($0) }
        if !onlyNew.isEmpty { result.append("Only after: \(onlyNew.joined(separator: ", ")).") }
        if !onlyOld.isEmpty { result.append("Only before: \(onlyOld.joined(separator: ", ")).") }
        let changed = after.scenarios.filter { scenario in
            before.scenarios.contains {
                $0.id == scenario.id
                    && ($0.explanation != scenario.explanation || $0.rate != scenario.rate)
            }
        }
        if !changed.isEmpty {
            let ids = changed.map(\.id).joined(separator: ", ")
            result.append("Not the same traffic or rate: \(ids).")
        }
        return result
    }

    private static func median(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

extension ReportDifference.Row {
    /// `−7.6 %`, `≈ −1.2 %` for a tie.
    package var changeText: String {
        guard let change else { return "–" }
        let percent = Number.change(change.value)
        switch change.certainty {
        case .clear: return percent
        case .tie: return "≈ " + percent
        case .single: return percent + "?"
        }
    }

    var cells: [String] {
        [
            kind.heading(per: unit),
            FigureText(before, kind: kind).joined,
            FigureText(after, kind: kind).joined,
            changeText,
            others.map(Number.change) ?? "–",
            net.map(Number.change) ?? "–",
        ]
    }

    static let headings = ["", "before", "after", "change", "others", "net"]
}

extension ReportDifference {
    static let legend =
        "change: after divided by before, ≈ where the spreads overlap; others: the median change of peers "
        + "that stayed the same, which is the machine's; net: what is left of the change without it."

    /// A block for each scenario.
    package func text(width: Int = 116) -> String {
        var lines: [String] = []
        for reservation in reservations {
            let wrapped = reservation.wrapped(to: width - 2)
            lines += wrapped.enumerated().map { ($0.offset == 0 ? "! " : "  ") + $0.element }
        }
        if rows.isEmpty { lines.append("There is no figure that both reports have.") }
        for (scenario, peer) in groups {
            let own = rows.filter { $0.scenario == scenario && $0.peer == peer }
            lines += ["", "\(scenario): \(PeerName.title(peer))"]
            lines += ReportTable.grid([Self.Row.headings] + own.map(\.cells), leftColumns: 1)
                .map { "  " + $0 }
        }
        lines += [""] + Self.legend.wrapped(to: width)
        return lines.joined(separator: "\n") + "\n"
    }

    /// Scenario and peer of each block.
    var groups: [(scenario: String, peer: String)] {
        var seen = Set<String>()
        return rows.filter { seen.insert("\($0.scenario) \($0.peer)").inserted }
            .map { ($0.scenario, $0.peer) }
    }
}
