/// Pieces of the page that are text: figures' frames, tables, lists.
enum PageParts {
    /// A plot under its title, with a caption of plain text.
    static func figure(
        _ title: String,
        unit: String = "",
        _ markup: String,
        caption: String,
        hasScales: Bool = false
    ) -> String {
        let caption = HTML.escape(caption)
        return figure(title, unit: unit, markup, captionMarkup: caption, hasScales: hasScales)
    }

    /// The same with a caption that is markup.
    static func figure(
        _ title: String,
        unit: String = "",
        _ markup: String,
        captionMarkup: String,
        hasScales: Bool = false
    ) -> String {
        let aside = unit.isEmpty ? "" : "<small>\(HTML.escape(unit))</small>"
        let button =
            hasScales
            ? "<button type=\"button\" class=\"switch\" hidden=\"hidden\">linear</button>" : ""
        let caption = captionMarkup.isEmpty ? "" : "<figcaption>\(captionMarkup)</figcaption>"
        return """
            <figure>
            <h4><span>\(HTML.escape(capitalized(title)))</span>\(aside)\(button)</h4>
            \(markup)\(caption)
            </figure>

            """
    }

    private static func capitalized(_ title: String) -> String {
        // `p99` stays as it is.
        guard let first = title.first, title.dropFirst().first?.isLetter ?? false else {
            return title
        }
        return first.uppercased() + title.dropFirst()
    }

    /// Names and values.
    static func facts(_ facts: [(String, String)]) -> String {
        let items = facts.map { name, value in
            "<div><dt>\(HTML.escape(name))</dt><dd>\(HTML.escape(value))</dd></div>"
        }
        return "<dl class=\"facts\">\n\(items.joined(separator: "\n"))\n</dl>\n"
    }

    static func list(_ items: [String], class name: String = "") -> String {
        guard !items.isEmpty else { return "" }
        let lines = items.map { "<li>\(HTML.escape($0))</li>" }.joined(separator: "\n")
        return "<ul\(name.isEmpty ? "" : " class=\"\(name)\"")>\n\(lines)\n</ul>\n"
    }

    /// MeshProxy's leading figure of each scenario, and what it is of each peer's.
    static func glance(_ report: BenchReport, colours: PeerColour) -> String {
        let peers = report.comparedPeers
        let rows = report.scenarios.compactMap { scenario -> String? in
            guard let kind = scenario.leading, let subject = scenario.subject,
                let figure = subject.figures[kind]
            else { return nil }
            let text = FigureText(figure, kind: kind)
            let floor =
                kind == .cpuMicroseconds
                ? scenario.figure(kind, of: PeerName.floor)
                    .flatMap { AboveFloor(figure, floor: $0) } : nil
            let link = "<a href=\"#\(HTML.anchor(scenario.id))\">\(HTML.escape(scenario.title))</a>"
            let what = HTML.escape(kind.heading(per: scenario.unit))
            var cells = [
                "<th scope=\"row\">\(link) <small>\(what)</small></th>",
                "<td class=\"lead\">\(text.median) <small>\(text.spread)</small></td>",
                "<td>\(floor.map { Number.percent($0.share) } ?? "")</td>",
            ]
            cells += peers.map { peer in
                let own = scenario.comparable(peer) == nil
                return ratioCell(own ? nil : scenario.leadingRatio(to: peer), isGain: kind.isGain)
            }
            return "<tr>\(cells.joined())</tr>"
        }
        guard !rows.isEmpty else { return "" }
        let heads =
            ["scenario", "MeshProxy", "above floor"].map {
                "<th scope=\"col\">\($0)</th>"
            }
            + peers.map { peer in
                "<th scope=\"col\" class=\"\(colours.style(peer))\">÷ \(HTML.escape(PeerName.title(peer)))</th>"
            }
        return table(heads, rows, class: "glance")
    }

    /// A ratio with the colour of its verdict.
    static func ratioCell(_ ratio: Ratio?, isGain: Bool) -> String {
        guard let ratio else { return "<td></td>" }
        return "<td class=\"\(verdict(ratio, isGain: isGain))\">\(ratio.text)</td>"
    }

    /// Class of a ratio's cell.
    static func verdict(_ ratio: Ratio?, isGain: Bool) -> String {
        guard let ratio, ratio.certainty == .clear else { return "tie" }
        return (ratio.value < 1) != isGain ? "better" : "worse"
    }

    /// Every figure of a scenario, peers side by side.
    static func figures(_ scenario: ScenarioReport, colours: PeerColour) -> String {
        let peers = scenario.ordered.filter { !$0.figures.isEmpty }
        guard !peers.isEmpty else { return "" }
        let counts = peers.map { Set($0.figures.values.map(\.repetitions)) }
        let heads =
            ["<th scope=\"col\">figure</th>"]
            + zip(peers, counts).map { peer, counts in
                let times = counts.count == 1 ? counts.first.map { " <small>n=\($0)</small>" } : nil
                let title = HTML.escape(PeerName.title(peer.peer))
                return "<th scope=\"col\" class=\"\(colours.style(peer.peer))\">"
                    + "\(title)\(times ?? "")</th>"
            }
        let rows = scenario.kinds.map { kind -> String in
            let unit = kind.unit.isEmpty ? "" : " <small>\(kind.unit)</small>"
            let cells = zip(peers, counts).map { peer, counts -> String in
                guard let figure = peer.figures[kind] else { return "<td></td>" }
                let text = FigureText(figure, kind: kind)
                let times = counts.count > 1 ? " n=\(figure.repetitions)" : ""
                return "<td>\(text.median) <small>\(text.spread)\(times)</small></td>"
            }
            let name = HTML.escape(kind.title(per: scenario.unit))
            return "<tr><th scope=\"row\">\(name)\(unit)</th>\(cells.joined())</tr>"
        }
        return """
            <details>
            <summary>Every figure</summary>
            \(table(heads, rows, class: "figures"))</details>

            """
    }

    static func table(_ heads: [String], _ rows: [String], class name: String) -> String {
        """
        <div class="scroll"><table class="\(name)">
        <thead><tr>\(heads.joined())</tr></thead>
        <tbody>
        \(rows.joined(separator: "\n"))
        </tbody></table></div>

        """
    }
}
