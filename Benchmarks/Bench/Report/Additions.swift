/// What policies, logs and large files add to the CPU of a request: scenarios that are another one with something
/// more, and variants that are beside each other in one scenario.
struct Additions {
    struct Cell {
        /// µs, with the least and the most that the spreads allow.
        var amount: Double
        var least: Double
        var most: Double
        /// Could be nothing, as far as the spreads tell.
        var isTie: Bool

        init(_ figure: Figure, beyond base: Figure) {
            amount = figure.median - base.median
            least = figure.lowest - base.highest
            most = figure.highest - base.lowest
            isTie = least <= 0 && most >= 0
        }

        /// `+0.42 (0.30–0.55)`, with `≈` where it may be nothing.
        var text: String {
            // A tenth of a microsecond is the most that spreads of this size bear out.
            let decimals = max(1, min(2, Number.decimals(for: amount)))
            func number(_ value: Double) -> String { Number.text(value, decimals: decimals) }
            let sign = amount >= 0 ? "+" : ""
            return
                "\(isTie ? "≈ " : "")\(sign)\(number(amount)) (\(number(least))…\(number(most)))"
        }
    }

    struct Row {
        var id: String
        /// `RBAC, 100 policies`
        var title: String
        /// `beyond mtls-in`
        var base: String
        /// By peer, without its variant.
        var cells: [String: Cell]
    }

    let rows: [Row]
    /// Those who have a cell, ours first.
    let peers: [String]

    init(_ report: BenchReport) {
        rows = report.scenarios.flatMap { scenario -> [Row] in
            let variants = Self.variants(scenario)
            if !variants.isEmpty { return variants }
            guard let id = Self.base(of: scenario.id),
                let base = report.scenarios.first(where: { $0.id == id })
            else { return [] }
            return [Self.row(scenario, beyond: base)].filter { !$0.cells.isEmpty }
        }
        let found = Set(rows.flatMap(\.cells.keys))
        var seen = Set<String>()
        peers = report.scenarios.flatMap { $0.ordered.map { PeerName.base($0.peer) } }
            .filter { found.contains($0) && seen.insert($0).inserted }
    }

    /// The scenario that it is with something more; nil if it stands for itself.
    private static func base(of id: String) -> String? {
        if id.hasPrefix("rbac-") || id.hasPrefix("config-") { return "mtls-in" }
        if id.hasPrefix("routes-") { return "hop-h1" }
        return ["access-log", "retries", "everything"].contains(id) ? "hop-h1" : nil
    }

    private static func row(_ scenario: ScenarioReport, beyond base: ScenarioReport) -> Row {
        var cells: [String: Cell] = [:]
        for result in scenario.results where !PeerName.isReference(result.peer) {
            guard let figure = result.figures[.cpuMicroseconds],
                let plain = base.figure(.cpuMicroseconds, of: result.peer)
            else { continue }
            cells[result.peer] = Cell(figure, beyond: plain)
        }
        return Row(id: scenario.id, title: scenario.title, base: "beyond \(base.id)", cells: cells)
    }

    /// A row for each further variant, beyond the first one of the same peer; only where the variants differ
    /// at saturation.
    private static func variants(_ scenario: ScenarioReport) -> [Row] {
        guard scenario.id == "timing" else { return [] }
        var rows: [Row] = []
        for result in scenario.results {
            let peer = PeerName.base(result.peer)
            guard let first = scenario.results.first(where: { PeerName.base($0.peer) == peer }),
                first.peer != result.peer,
                let figure = result.figures[.cpuMicroseconds],
                let plain = first.figures[.cpuMicroseconds]
            else { continue }
            rows.append(
                Row(
                    id: scenario.id,
                    title: "\(scenario.title): \(PeerName.variant(result.peer))",
                    base: "beyond \(PeerName.variant(first.peer))",
                    cells: [peer: Cell(figure, beyond: plain)]
                )
            )
        }
        return rows
    }

    /// For a terminal; nothing where nothing is added to anything.
    func lines(width: Int) -> [String] {
        guard !rows.isEmpty else { return [] }
        let heading = ["What it adds, CPU µs", ""] + peers.map(PeerName.title)
        let cells = rows.map { row in
            [row.title, row.base] + peers.map { row.cells[$0]?.text ?? "–" }
        }
        return ReportTable.parts([heading] + cells, leftColumns: 2, fixed: 2, width: width)
    }

    /// For the page.
    func table(colours: PeerColour) -> String {
        guard !rows.isEmpty else { return "" }
        let heads =
            ["<th scope=\"col\">scenario</th>"]
            + peers.map { peer in
                "<th scope=\"col\" class=\"\(colours.style(peer))\">\(HTML.escape(PeerName.title(peer)))</th>"
            }
        let lines = rows.map { row -> String in
            let cells = peers.map { peer in
                row.cells[peer].map { "<td\($0.isTie ? " class=\"tie\"" : "")>\($0.text)</td>" }
                    ?? "<td></td>"
            }
            let link = "<a href=\"#\(HTML.anchor(row.id))\">\(HTML.escape(row.title))</a>"
            let base = "<small>\(HTML.escape(row.base))</small>"
            return "<tr><th scope=\"row\">\(link) \(base)</th>\(cells.joined())</tr>"
        }
        return PageParts.table(heads, lines, class: "glance")
    }
}
