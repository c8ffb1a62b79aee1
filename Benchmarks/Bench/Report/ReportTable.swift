/// A report on a terminal: one block for each scenario, a line for each peer.
package enum ReportTable {
    /// The whole report in lines of at most `width` characters; `all` adds the figures that are details.
    package static func text(of report: BenchReport, width: Int = 116, all: Bool = false) -> String
    {
        var lines = header(of: report, width: width)
        for scenario in report.scenarios {
            let kinds = all ? scenario.kinds : report.principalKinds(of: scenario)
            lines += [""] + block(of: scenario, kinds: kinds, width: width)
        }
        let glance = glance(of: report, width: width)
        if !glance.isEmpty { lines += [""] + glance }
        let additions = Additions(report).lines(width: width)
        if !additions.isEmpty { lines += [""] + additions }
        lines += [""] + legend(width: width)
        return lines.joined(separator: "\n") + "\n"
    }

    // MARK: Around the blocks

    private static func header(of report: BenchReport, width: Int) -> [String] {
        let versions = report.peers.filter { !$0.version.isEmpty }
            .map { (PeerName.title($0.name), $0.version) }
        let facts = report.machine.facts + [("command", report.command)] + versions
        let nameWidth = 2 + (facts.map(\.0.count).max() ?? 0)
        var lines = ["MeshBench, \(report.date)"]
        for (name, value) in facts {
            let wrapped = value.wrapped(to: width - nameWidth)
            for (index, line) in wrapped.enumerated() {
                lines.append((index == 0 ? name : "").padded(to: nameWidth) + line)
            }
        }
        for note in report.notes {
            let wrapped = note.wrapped(to: width - 2)
            lines += wrapped.enumerated().map { ($0.offset == 0 ? "! " : "  ") + $0.element }
        }
        if report.isPartial {
            lines.append("PARTIAL: the run was interrupted; this is what it had finished.")
        }
        return lines
    }

    private static func legend(width: Int) -> [String] {
        """
        Medians, with the lowest and highest repetition in brackets. ÷: MeshProxy's figure divided by \
        this peer's; ≈ means that the spreads overlap, which is a tie; ? that there was only one \
        repetition. Above floor: what the minimal relay of the same scenario does not cost. CPU, \
        system calls and memory are the proxies' alone, all hops together; latency is counted from \
        when a request was due.
        """.wrapped(to: width)
    }

    /// MeshProxy's leading figure of each scenario, divided by each peer's.
    private static func glance(of report: BenchReport, width: Int) -> [String] {
        let peers = report.comparedPeers
        let rows = report.scenarios.compactMap { scenario -> [String]? in
            guard let kind = scenario.leading, let figure = scenario.subject?.figures[kind] else {
                return nil
            }
            let name = "\(scenario.id): \(kind.heading(per: scenario.unit))"
            return [name, FigureText(figure, kind: kind).median]
                + peers.map { scenario.leadingRatio(to: $0)?.text ?? "–" }
        }
        guard !rows.isEmpty, !peers.isEmpty else { return [] }
        let heading = ["At a glance", "MeshProxy"] + peers.map { "÷ " + PeerName.title($0) }
        return parts([heading] + rows, leftColumns: 1, fixed: 2, width: width)
    }

    /// A grid that is repeated with its first columns where the others do not fit beside each other.
    static func parts(
        _ rows: [[String]],
        leftColumns: Int,
        fixed: Int,
        width: Int
    ) -> [String] {
        func part(_ columns: Range<Int>) -> [String] {
            grid(rows.map { Array($0.prefix(fixed) + $0[columns]) }, leftColumns: leftColumns)
        }
        let all = rows.first?.count ?? 0
        var lines: [String] = []
        var start = fixed
        while start < all {
            var end = all
            while end > start + 1, (part(start..<end).map(\.count).max() ?? 0) > width { end -= 1 }
            lines += part(start..<end)
            start = end
        }
        return lines
    }

    // MARK: A block

    private static func block(
        of scenario: ScenarioReport,
        kinds: [FigureKind],
        width: Int
    ) -> [String] {
        var lines = ["\(scenario.id): \(scenario.title)"]
        lines += scenario.conditions.wrapped(to: width - 2).map { "  " + $0 }
        let peers = scenario.ordered.filter { result in
            kinds.contains { result.figures[$0] != nil }
        }
        let names = peers.map { PeerName.title($0.peer) }
        let nameWidth = names.map(\.count).max() ?? 0
        var band: [[String]] = []
        func flush() {
            guard let first = band.first else { return }
            for row in first.indices {
                let name = row == 0 ? "" : names[row - 1]
                let line = ([name.padded(to: nameWidth)] + band.map { $0[row] })
                    .joined(separator: "  ")
                lines.append("  " + line.trimmingSpacesAtEnd)
            }
            band = []
        }
        if !peers.isEmpty {
            for kind in kinds {
                let column = column(of: kind, in: scenario, peers: peers)
                let used = band.reduce(2 + nameWidth) { $0 + 2 + ($1.first?.count ?? 0) }
                if used + 2 + (column.first?.count ?? 0) > width { flush() }
                band.append(column)
            }
            flush()
        }
        for note in scenario.notes {
            let wrapped = note.wrapped(to: width - 6)
            lines += wrapped.enumerated().map { ($0.offset == 0 ? "  ! " : "    ") + $0.element }
        }
        return lines
    }

    /// Heading and a line for each peer, all of one width: figure, ratio and, for CPU, what is above the
    /// floor.
    private static func column(
        of kind: FigureKind,
        in scenario: ScenarioReport,
        peers: [PeerResult]
    ) -> [String] {
        let figures = peers.map { $0.figures[kind].map { FigureText($0, kind: kind) } }
        let medianWidth = figures.map { $0?.median.count ?? 1 }.max() ?? 1
        let written = figures.map { figure -> String in
            guard let figure else { return "–".aligned(to: medianWidth) }
            return figure.median.aligned(to: medianWidth)
                + (figure.spread.isEmpty ? "" : " " + figure.spread)
        }
        var columns = [[kind.heading(per: scenario.unit)] + written]
        let ratios = peers.map { scenario.ratio(kind, to: $0.peer)?.text }
        if ratios.contains(where: { $0 != nil }) {
            columns.append(right("÷", ratios))
        }
        if kind == .cpuMicroseconds, let floor = scenario.figure(kind, of: PeerName.floor) {
            let above = peers.map { peer -> String? in
                guard !PeerName.isReference(peer.peer), let figure = peer.figures[kind] else {
                    return nil
                }
                return AboveFloor(figure, floor: floor)?.text
            }
            if above.contains(where: { $0 != nil }) { columns.append(right("above floor", above)) }
        }
        let widths = columns.map { $0.map(\.count).max() ?? 0 }
        return (0...peers.count).map { row in
            columns.indices.map { columns[$0][row].padded(to: widths[$0]) }
                .joined(separator: " ")
        }
    }

    private static func right(_ heading: String, _ cells: [String?]) -> [String] {
        let all = [heading] + cells.map { $0 ?? "" }
        let width = all.map(\.count).max() ?? 0
        return all.map { $0.aligned(to: width) }
    }

    /// Rows of cells in columns, the first ones left-aligned.
    static func grid(_ rows: [[String]], leftColumns: Int) -> [String] {
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            row.enumerated()
                .map { index, cell in
                    index < leftColumns
                        ? cell.padded(to: widths[index]) : cell.aligned(to: widths[index])
                }
                .joined(separator: "  ").trimmingSpacesAtEnd
        }
    }
}

extension String {
    var trimmingSpacesAtEnd: String {
        var end = endIndex
        while end > startIndex, self[index(before: end)] == " " { end = index(before: end) }
        return String(self[..<end])
    }
}
