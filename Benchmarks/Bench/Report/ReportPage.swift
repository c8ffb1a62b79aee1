/// A report as one page of HTML that opens from disk: drawings inline, nothing loaded from anywhere. The page is
/// well-formed XML too.
package enum ReportPage {
    /// - Parameter before: of the same machine, to be compared with.
    package static func html(of report: BenchReport, against before: BenchReport? = nil) -> String {
        let colours = PeerColour(report)
        let costs = CostPlots(report: report, colours: colours)
        let slow = report.scenariosOfStartTime
        var sections = [header(report)]
        sections.append(
            section(
                "glance",
                "At a glance",
                "MeshProxy's figure of each scenario, the part of it above the floor, and its ratio to each "
                    + "peer's: below 1 MeshProxy needs less. ≈ means that the spreads overlap: a tie.",
                PageParts.glance(report, colours: colours)
            )
        )
        sections.append(
            section(
                "additions",
                "What it adds",
                "CPU of a request, µs, beyond the same scenario without: policies, logs, large files, our own "
                    + "stamps. In brackets what the spreads allow; ≈ means that it may be nothing.",
                Additions(report).table(colours: colours)
            )
        )
        if let before { sections.append(difference(before, report)) }
        sections.append(
            section(
                "floor",
                "How much of it is the proxy",
                "The minimal relay moves the same bytes on the same event loop and TLS, without HTTP or policy. "
                    + "What it costs is the kernel's and the cipher's; what is above is the proxy's own. TLS is "
                    + "the relay with it minus the relay without, for each hop.",
                grid(report.scenarios.map(costs.floorSplit))
            )
        )
        sections.append(
            section(
                "memory",
                "Memory",
                "Of the proxies under test, all hops together. RSS counts pages shared with other processes "
                    + "in full.",
                grid(costs.memory())
            )
        )
        sections.append(
            section("scenarios", "Scenarios", "", index(report))
                + report.scenarios.map {
                    scenario(
                        $0,
                        colours: colours,
                        costs: costs,
                        showsStart: slow.contains($0.id)
                    )
                }.joined()
        )
        sections.append(reading(report))
        return document(title: "What a mesh hop costs, \(report.date)", sections.joined())
    }

    // MARK: Sections

    private static func header(_ report: BenchReport) -> String {
        let versions = report.peers.filter { !$0.version.isEmpty }
            .map { (PeerName.title($0.name), $0.version) }
        let partial =
            report.isPartial
            ? "<p class=\"warning\">Partial: the run was interrupted. This is what it had finished.</p>"
            : ""
        return """
            <header>
            <p class="kicker">MeshBench</p>
            <h1>What a mesh hop costs</h1>
            <p class="date">\(HTML.escape(report.date))</p>
            \(partial)
            \(PageParts.facts(report.machine.facts + [("command", report.command)]))
            \(versions.isEmpty ? "" : "<h2 class=\"quiet\">Versions</h2>" + PageParts.facts(versions))
            \(PageParts.list(report.notes, class: "notes"))</header>

            """
    }

    private static func difference(_ before: BenchReport, _ after: BenchReport) -> String {
        let difference = ReportDifference(before: before, after: after)
        let heads = ["figure"] + ReportDifference.Row.headings.dropFirst()
        let rows = difference.groups.flatMap { scenario, peer -> [String] in
            let title = after.scenarios.first { $0.id == scenario }?.title ?? scenario
            let name = HTML.escape("\(title), \(PeerName.title(peer))")
            let head = "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"6\">\(name)</th></tr>"
            let own = difference.rows.filter { $0.scenario == scenario && $0.peer == peer }
            return [head] + own.map(differenceRow)
        }
        return section(
            "difference",
            "Before and after",
            "Before is the run of \(before.date). " + ReportDifference.legend,
            PageParts.list(difference.reservations, class: "notes")
                + PageParts.table(
                    heads.map { "<th scope=\"col\">\($0)</th>" },
                    rows,
                    class: "difference"
                )
        )
    }

    private static func differenceRow(_ row: ReportDifference.Row) -> String {
        let verdict = PageParts.verdict(row.change, isGain: row.kind.isGain)
        let cells = row.cells.map(HTML.escape)
        let values = cells.dropFirst().enumerated().map { index, cell in
            "<td\(index == 2 ? " class=\"\(verdict)\"" : "")>\(cell)</td>"
        }
        return "<tr><th scope=\"row\">\(cells[0])</th>\(values.joined())</tr>"
    }

    private static func index(_ report: BenchReport) -> String {
        let links = report.scenarios.map {
            "<a href=\"#\(HTML.anchor($0.id))\">\(HTML.escape($0.id))</a>"
        }
        return "<nav>\(links.joined(separator: "\n"))</nav>\n"
    }

    private static func scenario(
        _ scenario: ScenarioReport,
        colours: PeerColour,
        costs: CostPlots,
        showsStart: Bool
    ) -> String {
        let plots = ScenarioPlots(scenario: scenario, colours: colours)
        var drawings = [plots.cpu(), plots.added(), plots.latency(), plots.load()]
        drawings += scenario.ordered.map(costs.phases)
        drawings += [plots.bars(.connectionKiB), plots.bars(.streamKiB)]
        if showsStart { drawings.append(plots.bars(.startMilliseconds)) }
        return """
            <section class="scenario" id="\(HTML.anchor(scenario.id))">
            <h3>\(HTML.escape(scenario.title)) <code>\(HTML.escape(scenario.id))</code></h3>
            <p>\(HTML.escape(scenario.conditions))</p>
            \(PageParts.list(scenario.notes, class: "notes"))\(grid(drawings, class: "columns"))
            \(PageParts.figures(scenario, colours: colours))</section>

            """
    }

    private static func reading(_ report: BenchReport) -> String {
        section(
            "reading",
            "How to read this",
            "",
            PageParts.list([
                "A figure is the median of its repetitions; the whisker, or the brackets, are the lowest and "
                    + "the highest. Where the spreads of two peers overlap, they are tied, whatever the ratio.",
                "Read ratios first: peers took turns on the same CPU within minutes. Absolute figures belong "
                    + "to this machine and this hour.",
                "CPU per request is what the proxies' threads spent on a CPU while saturated, as the "
                    + "scheduler counts it. At a low rate each request costs more, since each wakes somebody.",
                "Latency is taken at a fixed rate, far from saturation, from the instant at which a request "
                    + "was due: a stall counts for everyone who had to wait.",
                "On the percentile axis each step is a nine more: what is left of 99 % is one in a hundred.",
                "Direct is the same traffic without a proxy. The floor is a relay that does nothing but "
                    + "relay: nobody who copies bytes through user space is much cheaper.",
            ])
        )
            + section(
                "limits",
                "What this run cannot tell",
                "",
                PageParts.list(
                    report.reservations + [
                        "One machine, over loopback: no network cards, no losses, no distance.",
                        "One worker thread for each proxy: nothing here says how it scales over CPUs.",
                        "Packets on loopback are delivered in the time of whoever sends them: part of the "
                            + "kernel's work for a receiver is on the sender's account.",
                        "The sizes and shapes of its scenarios, not of your traffic.",
                    ]
                )
            )
    }

    // MARK: Frame

    private static func section(
        _ id: String,
        _ title: String,
        _ lead: String,
        _ content: String
    ) -> String {
        guard !content.isEmpty else { return "" }
        let lead = lead.isEmpty ? "" : "<p>\(HTML.escape(lead))</p>\n"
        return
            "<section id=\"section-\(id)\">\n<h2>\(HTML.escape(title))</h2>\n\(lead)\(content)</section>\n"
    }

    private static func grid(_ figures: [String], class name: String = "grid") -> String {
        let shown = figures.filter { !$0.isEmpty }
        return shown.isEmpty ? "" : "<div class=\"\(name)\">\n\(shown.joined())</div>\n"
    }

    private static func document(title: String, _ body: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8"/>
        <meta name="viewport" content="width=device-width, initial-scale=1"/>
        <meta name="color-scheme" content="light dark"/>
        <title>\(HTML.escape(title))</title>
        <style>
        \(PageStyle.sheet)
        </style>
        </head>
        <body>
        <main>
        \(body)</main>
        <script>
        \(PageStyle.script)
        </script>
        </body>
        </html>

        """
    }
}
