/// Plots that explain a cost: the floor's split, a hop's phases, memory.
struct CostPlots {
    let report: BenchReport
    let colours: PeerColour

    // MARK: The floor

    /// Kernel and loop, TLS, and the rest, for everybody in a scenario that the relay took part in.
    func floorSplit(_ scenario: ScenarioReport) -> String {
        guard let floor = scenario.figure(.cpuMicroseconds, of: PeerName.floor) else { return "" }
        let split = FloorSplit(scenario.id, floor: floor.median, report: report)
        let rows = scenario.ordered.compactMap { result -> BarChart.Row? in
            guard !PeerName.isReference(result.peer),
                let figure = result.figures[.cpuMicroseconds]
            else { return nil }
            let name = PeerName.title(result.peer)
            let rest = figure.median - floor.median
            var parts = split.parts.map {
                BarChart.Segment(
                    value: $0.value,
                    style: $0.style,
                    tip: "\(name)\n\($0.name): \(Number.text($0.value)) µs"
                )
            }
            if rest < 0 { parts = [] }
            let text = "\(name)\nabove the floor: \(Number.text(rest)) µs of "
            parts.append(
                BarChart.Segment(
                    value: rest < 0 ? figure.median : rest,
                    style: "full",
                    tip: text + "\(Number.text(figure.median))"
                )
            )
            return BarChart.Row(
                name: name,
                colour: colours.style(result.peer),
                segments: parts,
                spread: nil,
                label: rest < 0 ? "below it" : "+ \(Number.text(rest))"
            )
        }
        guard !rows.isEmpty else { return "" }
        let words = split.parts.map { part -> String in
            let name = HTML.escape(part.name)
            let value = Number.text(part.value)
            return "<span class=\"key\"><i class=\"\(part.style)\"></i>\(name) \(value) µs</span>"
        }
        let chart = BarChart(rows: rows)
        return PageParts.figure(
            scenario.title,
            unit: "µs per \(scenario.unit)",
            chart.markup(label: "The floor and what is above it: \(scenario.title)"),
            captionMarkup: words.joined(separator: " ")
                + " <span class=\"key\"><i class=\"own\"></i>the proxy itself</span>"
        )
    }

    // MARK: Phases

    /// A bar for each hop: where a request's time goes, by the proxy's own stamps.
    func phases(_ result: PeerResult) -> String {
        let hops = Set(result.phases.map(\.hop)).sorted()
        guard !hops.isEmpty else { return "" }
        func chart(_ suffix: String, _ includes: (PeerResult.Phase) -> Bool) -> String {
            let rows = hops.map { hop -> BarChart.Row in
                let phases = result.phases.filter { $0.hop == hop && includes($0) }
                let sum = phases.reduce(0) { $0 + $1.meanNanoseconds } / 1000
                return BarChart.Row(
                    name: "hop \(hop + 1)\(suffix)",
                    colour: "phases",
                    segments: phases.map { segment($0, of: sum) },
                    spread: nil,
                    label: Number.text(sum)
                )
            }
            return BarChart(rows: rows).markup(label: "Phases of each hop")
        }
        let hasWaiting = result.phases.contains { Self.isWaiting($0.name) }
        let own = chart(hasWaiting ? " alone" : "") { !Self.isWaiting($0.name) }
        let drawing = hasWaiting ? chart("") { _ in true } + own : own
        var seen = Set<String>()
        let keys = result.phases.filter { seen.insert($0.name).inserted }.map { phase -> String in
            let values = hops.map { hop in
                let found = result.phases.first { $0.hop == hop && $0.name == phase.name }
                return found.map { Number.text($0.meanNanoseconds / 1000) } ?? "–"
            }
            let name = HTML.escape(phase.name)
            return "<span class=\"key\"><i class=\"\(Self.style(phase.name))\"></i>\(name) "
                + "\(values.joined(separator: "; "))</span>"
        }
        let note =
            hasWaiting
            ? "Above with the wait for the upstream, below without. A hop's wait holds the next hop."
            : ""
        return PageParts.figure(
            "Where the microseconds go in \(PeerName.title(result.peer))",
            unit: "µs, mean",
            drawing,
            captionMarkup: keys.joined(separator: " ") + (note.isEmpty ? "" : "<br/>\(note)")
        )
    }

    private func segment(_ phase: PeerResult.Phase, of sum: Double) -> BarChart.Segment {
        let value = phase.meanNanoseconds / 1000
        let share = sum > 0 ? ", \(Number.percent(value / sum))" : ""
        return BarChart.Segment(
            value: value,
            style: Self.style(phase.name),
            tip: "hop \(phase.hop + 1), \(phase.name): \(Number.text(value)) µs\(share)"
        )
    }

    /// Time in which the hop does nothing itself.
    static func isWaiting(_ phase: String) -> Bool { phase == "upstream" }

    /// Phases of the `timing` statistics, in the order of the way.
    static let known = [
        "parse", "authorize", "route", "pool_wait", "send", "upstream", "receive", "flush",
        "connect", "downstream_handshake",
    ]

    private static func style(_ phase: String) -> String {
        "phase-\(known.firstIndex(of: phase) ?? known.count)"
    }

    // MARK: Memory

    /// Start memory where it is worth a plot of its own, and memory of what stands idle.
    func memory() -> [String] {
        var result: [String] = []
        let starts = report.scenariosOfStart
        for scenario in report.scenarios {
            let plots = ScenarioPlots(scenario: scenario, colours: colours)
            if starts.contains(scenario.id) {
                let title = "Resident at start: \(scenario.title)"
                result.append(plots.bars(.startResidentMiB, title: title))
            }
            for kind in [FigureKind.connectionKiB, .streamKiB] {
                let title = "\(kind.title(per: scenario.unit)): \(scenario.title)"
                result.append(plots.bars(kind, title: title))
            }
        }
        return result.filter { !$0.isEmpty }
    }
}

/// What the relay's cost consists of.
struct FloorSplit {
    struct Part {
        var name: String
        var value: Double
        var style: String
    }

    let parts: [Part]

    /// Scenarios that are relayed with mTLS, and by how many hops of a plain one's shape.
    private static let hops = [
        "mtls-in": 1.0, "mtls-out": 1.0, "two-hop-h1": 2.0, "two-hop-h2": 2.0,
    ]
    private static let plain = "hop-h1"

    /// TLS is the floor with it minus the plain scenario's floor, once for each hop.
    init(_ scenario: String, floor: Double, report: BenchReport) {
        let base = report.scenarios.first { $0.id == Self.plain }?
            .figure(.cpuMicroseconds, of: PeerName.floor)
        if scenario == Self.plain {
            parts = [Part(name: "kernel and loop", value: floor, style: "kernel")]
        } else if let base, let hops = Self.hops[scenario], base.median * hops < floor {
            let kernel = base.median * hops
            parts = [
                Part(name: "kernel and loop", value: kernel, style: "kernel"),
                Part(name: "TLS", value: floor - kernel, style: "tls"),
            ]
        } else {
            parts = [Part(name: "floor", value: floor, style: "kernel")]
        }
    }
}
