/// A report as a Markdown table for a README: a line for each figure, peers and ratios in columns.
package enum ReportMarkdown {
    package static func text(of report: BenchReport) -> String {
        let others = report.comparedPeers
        let subject = report.scenarios.first { $0.subject != nil }?.subject?.peer ?? "meshproxy"
        let columns = others + [PeerName.base(subject)]
        let starts = report.scenariosOfStart
        let rows = report.scenarios.flatMap { scenario in
            kinds.filter { $0 != .startResidentMiB || starts.contains(scenario.id) }
                .compactMap { row($0, scenario, columns: columns, others: others) }
        }
        var lines = [sentence(report), ""]
        let heads =
            ["figure"] + columns.map(PeerName.title) + others.map { "÷ \(PeerName.title($0))" }
        lines.append("| \(heads.joined(separator: " | ")) |")
        lines.append(String(repeating: "|---", count: heads.count) + "|")
        lines += rows
        return lines.joined(separator: "\n") + "\n"
    }

    private static let kinds: [FigureKind] = [
        .cpuMicroseconds, .p50, .addedP50, .connectionKiB, .streamKiB, .startResidentMiB,
        .startMilliseconds,
    ]

    private static func sentence(_ report: BenchReport) -> String {
        let machine = report.machine.facts.map(\.1).joined(separator: "; ")
        let versions = report.peers.map(\.version).filter { !$0.isEmpty }.joined(separator: "; ")
        let counts = report.scenarios.flatMap(\.results).flatMap {
            $0.figures.values.map(\.repetitions)
        }
        let repetitions = counts.min().map { "at least \($0)" } ?? "no"
        return
            "\(report.date), `\(report.command)`: \(machine). \(versions). Medians of \(repetitions) "
            + "repetitions, lowest and highest in brackets; ≈: the spreads overlap."
            + (report.isPartial ? " Interrupted: parts are missing." : "")
    }

    private static func row(
        _ kind: FigureKind,
        _ scenario: ScenarioReport,
        columns: [String],
        others: [String]
    ) -> String? {
        func result(_ base: String) -> PeerResult? {
            let subject = scenario.subject
            return subject.map { PeerName.base($0.peer) } == base
                ? subject : scenario.comparable(base)
        }
        let figures = columns.map { result($0)?.figures[kind] }
        guard figures.contains(where: { $0 != nil }) else { return nil }
        let cells = figures.map { $0.map { FigureText($0, kind: kind).joined } ?? "–" }
        let ratios = others.map { base in
            result(base).flatMap { scenario.ratio(kind, to: $0.peer)?.text } ?? "–"
        }
        let name = "\(scenario.title): \(kind.heading(per: scenario.unit))"
        let all = ([name] + cells + ratios).map { $0.replacing("|", with: "\\|") }
        return "| \(all.joined(separator: " | ")) |"
    }
}
