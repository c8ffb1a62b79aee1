/// The answer to a ``CapacityQuestion`` for a terminal: the result first, then where it comes from.
package enum CapacityText {
    package static func text(
        _ question: CapacityQuestion,
        _ report: BenchReport,
        name: String,
        width: Int = 116
    ) -> String {
        let plans = CapacityPlan.all(question, report)
        var lines = [
            "MeshBench, capacity from \(name) (\(report.date), \(report.machine.processor))", "",
        ]
        lines += describe(question).flatMap { $0.wrapped(to: width) }
        lines.append("")
        guard !plans.isEmpty else {
            lines.append("Nobody in the report has a figure that this could be computed from.")
            lines.append("It takes mesh-bench run with the scenarios named below.")
            lines += needed(question).map { "  " + $0 }
            return lines.joined(separator: "\n") + "\n"
        }
        lines += table(plans)
        lines += loads(question).flatMap { [""] + $0.wrapped(to: width) }
        for plan in plans {
            lines.append("")
            lines += derivation(of: plan, width: width)
        }
        lines.append("")
        for caveat in caveats {
            let wrapped = caveat.wrapped(to: width - 2)
            lines += wrapped.enumerated().map { ($0.offset == 0 ? "* " : "  ") + $0.element }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    // MARK: Parts

    private static func describe(_ question: CapacityQuestion) -> [String] {
        func count(_ value: Int) -> String { Number.text(Double(value), decimals: 0) }
        return [
            "\(Number.plain(question.rate)) requests/s over \(count(question.services)) services "
                + "× \(count(question.replicas)) replicas = \(count(question.pods)) pods on "
                + "\(count(question.nodes)) nodes; \(Number.plain(question.connections)) connections from each "
                + "pod = \(Number.text(question.allConnections, decimals: 0)) in all; headroom "
                + "× \(Number.plain(question.headroom)).",
            "\(Number.percent(question.crossNodeShare)) of calls leave their node and pass two agents, the "
                + "others one, which is taken as half: pairs = \(Number.plain(question.agentPairShare)). "
                + "\(Number.percent(question.waypointShare)) of calls go through one of "
                + "\(count(question.waypoints)) waypoints.",
        ]
    }

    private static func table(_ plans: [CapacityPlan]) -> [String] {
        let names = ReportTable.grid([["", ""]] + plans.map { [title($0), ""] }, leftColumns: 2)
        let groups = CapacityPlan.Shape.allCases.map { shape -> [String] in
            let rows = plans.map { plan -> [String] in
                let cost = plan.costs.first { $0.shape == shape }
                return [cost?.cores, cost?.coresAtRate, cost?.memoryMiB].map { $0?.text ?? "–" }
            }
            let grid = ReportTable.grid([["cores", "at rate", "MiB"]] + rows, leftColumns: 0)
            return [shape.rawValue] + grid
        }
        let columns = [[""] + names] + groups
        let widths = columns.map { $0.map(\.count).max() ?? 0 }
        return (0...plans.count + 1).map { row in
            columns.indices.map { column in
                let cell = columns[column][row]
                let isName = column == 0 || row == 0
                return isName ? cell.padded(to: widths[column]) : cell.aligned(to: widths[column])
            }
            .joined(separator: "    ").trimmingSpacesAtEnd
        }
    }

    /// How busy each process is, which says which of the two costs is nearer.
    private static func loads(_ question: CapacityQuestion) -> [String] {
        let sidecar = question.rate * 2 / Double(question.pods)
        let agent = question.rate * (1 + question.crossNodeShare) / Double(question.nodes)
        let waypoint = question.rate * question.waypointShare / Double(question.waypoints)
        return [
            "cores is what a request costs at saturation, where one wake-up serves many; at rate is its cost "
                + "at the report's fixed rate. Here a sidecar sees \(Number.text(sidecar)) requests/s, an "
                + "agent \(Number.text(agent)), a waypoint \(Number.text(waypoint)): the fewer, the nearer to the second."
        ]
    }

    private static func derivation(of plan: CapacityPlan, width: Int) -> [String] {
        var rows = plan.inputs.map { input -> [String] in
            let unit = input.kind.unit
            var value = "\(FigureText(input.figure, kind: input.kind).joined) \(unit)"
            if let atRate = input.atRate {
                let rate =
                    input.rate.map { " at \(Number.text($0, decimals: 0))/s" }
                    ?? " at the fixed rate"
                value += "; \(FigureText(atRate, kind: input.kind).median) \(unit)\(rate)"
            }
            return ["    " + input.name, value, "\(input.scenario): \(input.kind.rawValue)"]
        }
        rows = rows.isEmpty ? [["    none"]] : rows
        var lines = ["\(title(plan)): from the report"] + ReportTable.grid(rows, leftColumns: 3)
        for cost in plan.costs {
            let results = [
                ("cores", cost.cores), ("at rate", cost.coresAtRate), ("MiB", cost.memoryMiB),
            ]
            guard results.contains(where: { $0.1 != nil }) else {
                lines += missing("  \(cost.shape.rawValue): missing", cost, width: width)
                continue
            }
            lines.append("  \(cost.shape.rawValue)")
            for (name, formula) in results {
                guard let formula else { continue }
                let head = "    \(name.padded(to: 7)) "
                if name != "at rate" { lines.append("\(head)= \(formula.symbols)") }
                let margin = name == "at rate" ? head : String(repeating: " ", count: head.count)
                lines.append("\(margin)= \(formula.equation)")
            }
            if !cost.missing.isEmpty {
                lines += missing("    missing, not counted:", cost, width: width)
            }
        }
        return lines
    }

    private static func missing(_ head: String, _ cost: CapacityPlan.Cost, width: Int) -> [String] {
        let list = cost.missing.joined(separator: ", ").wrapped(to: width - head.count - 1)
        let margin = String(repeating: " ", count: head.count)
        return list.enumerated().map { ($0.offset == 0 ? head : margin) + " " + $0.element }
    }

    private static func title(_ plan: CapacityPlan) -> String {
        let name = PeerName.title(plan.peer)
        return plan.waypointPeer == plan.peer
            ? name : "\(name) (waypoints: \(PeerName.title(plan.waypointPeer)))"
    }

    /// Scenarios that the answer is made of.
    package static func needed(_ question: CapacityQuestion) -> [String] {
        var seen = Set<String>()
        return CapacitySource.all(question.version)
            .map { $0.scenarios.joined(separator: " or ") }
            .filter { seen.insert($0).inserted }
    }

    private static let caveats = [
        "A call through agents is a message there and back: of 64 bytes in tcp-hbone, of 1 KiB, as HTTP's "
            + "answers are, in tcp-hbone-1k, which is taken where the run had it.",
        "CPU is that of the proxies' threads, with the scenarios' sizes and policies: larger bodies, access "
            + "logs and handshakes come on top.",
        "Memory is RSS at start with the scenarios' small files, and what idle connections hold: larger "
            + "files and bodies under way come on top; pages that processes of one node share are counted "
            + "for each.",
        "Cores of another machine are other cores: take the ratio between peers before the number.",
    ]
}
