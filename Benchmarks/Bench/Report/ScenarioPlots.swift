import MeshLoad

/// The plots of one scenario; each is an empty string where the report has nothing to plot.
struct ScenarioPlots {
    let scenario: ScenarioReport
    let colours: PeerColour

    /// CPU of one request, user and system, with the floor as a line.
    func cpu() -> String {
        let rows = scenario.ordered.compactMap { result -> BarChart.Row? in
            guard result.peer != PeerName.floor else { return nil }
            return row(result, .cpuMicroseconds)
        }
        guard !rows.isEmpty else { return "" }
        let floor = scenario.figure(.cpuMicroseconds, of: PeerName.floor)
        let chart = BarChart(
            rows: rows,
            reference: floor.map {
                BarChart.Reference(value: $0.median, label: "floor \(Number.text($0.median))")
            }
        )
        let title = FigureKind.cpuMicroseconds.title(per: scenario.unit)
        return PageParts.figure(
            title,
            unit: "µs",
            chart.markup(label: title + ", " + summary(.cpuMicroseconds)),
            caption: [
                rows.contains { $0.segments.count > 1 }
                    ? "Dark: in user mode, light: in the kernel." : "",
                rows.contains { $0.spread != nil } ? "Whisker: lowest to highest repetition." : "",
            ].filter { !$0.isEmpty }.joined(separator: " ")
        )
    }

    /// Bars of any one kind.
    func bars(_ kind: FigureKind, title: String? = nil, caption: String = "") -> String {
        let rows = scenario.ordered.compactMap { row($0, kind) }
        guard !rows.isEmpty else { return "" }
        let name = title ?? kind.title(per: scenario.unit)
        let label = name + ", " + summary(kind)
        let chart = BarChart(rows: rows).markup(label: label)
        return PageParts.figure(name, unit: kind.unit, chart, caption: caption)
    }

    /// What the hops add to the median latency.
    func added() -> String {
        bars(
            .addedP50,
            caption: "Median latency minus that of the direct path in the same repetition."
        )
    }

    /// Latency over percentiles, each curve as far as ten samples bear it out.
    func latency() -> String {
        let curves = scenario.ordered.compactMap { result -> (PeerResult, LatencySummary)? in
            guard let latency = result.latency else { return nil }
            let borne = latency.borneOut
            return borne.curve.count > 1 ? (result, borne) : nil
        }
        guard let last = curves.compactMap({ $0.1.curve.last?.percentile }).max() else { return "" }
        let right = LineChart.right(names: curves.map { PeerName.title($0.0.peer) })
        let axis = PercentileAxis(to: last, from: LineChart.left, to: right)
        let series = curves.map { result, latency in
            LineChart.Series(
                name: PeerName.title(result.peer),
                colour: style(result.peer),
                points: latency.curve.map {
                    LineChart.Point(x: axis.position($0.percentile), y: $0.microseconds)
                }
            )
        }
        let chart = LineChart(
            series: series,
            ticks: axis.ticks.map { (axis.position($0), PercentileAxis.label($0)) },
            stretches: stretches(axis, curves),
            horizontalTitle: "percentile of \(FigureKind.plural(scenario.unit))",
            verticalTitle: "µs"
        )
        let rate = scenario.rate.map {
            " at \(Number.text($0, decimals: 0)) \(FigureKind.plural(scenario.unit))/s"
        }
        let title = "Latency\(rate ?? "")"
        return PageParts.figure(
            title,
            chart.markup(label: title + ", " + summary(.p99)),
            caption:
                "Open loop, from when each was due. The repetition of the median p99; a curve ends "
                + "where fewer than ten were slower.",
            hasScales: true
        )
    }

    private func stretches(
        _ axis: PercentileAxis,
        _ curves: [(PeerResult, LatencySummary)]
    ) -> [LineChart.Stretch] {
        let shown = PercentileAxis.all.filter { PercentileAxis.nines($0) <= axis.nines + 1e-6 }
        return shown.indices.map { index in
            let here = axis.position(shown[index])
            let before = index > 0 ? axis.position(shown[index - 1]) : here
            let after = index + 1 < shown.count ? axis.position(shown[index + 1]) : axis.end
            var lines = [PercentileAxis.label(shown[index]) + " are at most as slow as"]
            for (result, latency) in curves {
                guard let value = latency.microseconds(at: shown[index]) else { continue }
                lines.append("\(PeerName.title(result.peer)): \(Number.text(value)) µs")
            }
            return LineChart.Stretch(
                from: (before + here) / 2,
                to: (here + after) / 2,
                tip: lines.joined(separator: "\n")
            )
        }
    }

    /// Throughput against p99.
    func load() -> String {
        let results = scenario.ordered.filter { $0.loadCurve.count > 1 }
        let rates = results.flatMap { $0.loadCurve.map(\.requestsPerSecond) }
        guard let most = rates.max() else { return "" }
        let right = LineChart.right(names: results.map { PeerName.title($0.peer) })
        let axis = Axis(linearTo: most, from: LineChart.left, to: right)
        let unit = FigureKind.plural(scenario.unit)
        let series = results.map { result in
            let points = result.loadCurve.sorted { $0.requestsPerSecond < $1.requestsPerSecond }
            return LineChart.Series(
                name: PeerName.title(result.peer),
                colour: style(result.peer),
                points: points.map { point in
                    let p50 = Number.text(Double(point.p50Nanoseconds) / 1000)
                    let p99 = Double(point.p99Nanoseconds) / 1000
                    let rate = Number.text(point.requestsPerSecond, decimals: 0)
                    let tip =
                        "\(PeerName.title(result.peer)) at \(rate) \(unit)/s\n"
                        + "p50 \(p50) µs\np99 \(Number.text(p99)) µs"
                    let x = axis.position(point.requestsPerSecond)
                    return LineChart.Point(x: x, y: p99, tip: tip)
                },
                hasMarks: true
            )
        }
        let chart = LineChart(
            series: series,
            ticks: axis.ticks.map { (axis.position($0), Axis.label($0)) },
            horizontalTitle: "\(unit) per second",
            verticalTitle: "p99, µs"
        )
        return PageParts.figure(
            "Throughput against p99",
            chart.markup(label: "Throughput against p99"),
            caption:
                "Open loop at each rate: the further to the right a curve stays low, the better.",
            hasScales: true
        )
    }

    // MARK: Parts

    private func row(_ result: PeerResult, _ kind: FigureKind) -> BarChart.Row? {
        guard let figure = result.figures[kind] else { return nil }
        let divisor = kind.divisor
        let text = FigureText(figure, kind: kind)
        let name = PeerName.title(result.peer)
        let repetitions =
            figure.repetitions == 1 ? "one repetition" : "median of \(figure.repetitions)"
        let tip = "\(name): \(text.joined) \(kind.unit), \(repetitions)"
        var segments = [
            BarChart.Segment(value: figure.median / divisor, style: "full", tip: tip)
        ]
        if kind == .cpuMicroseconds, let user = result.figures[.cpuUserMicroseconds],
            let system = result.figures[.cpuSystemMicroseconds], user.median + system.median > 0
        {
            // The split is of clock ticks, the sum of the scheduler's nanoseconds: only the shares are used.
            let share = user.median / (user.median + system.median)
            let halves = [(share, "full", "user"), (1 - share, "light", "system")]
            segments = halves.map { share, style, word in
                let part = Number.text(figure.median * share)
                return BarChart.Segment(
                    value: figure.median * share,
                    style: style,
                    tip: "\(tip)\n\(word) \(part) µs (\(Number.percent(share)))"
                )
            }
        }
        let spread =
            figure.repetitions > 1 && figure.lowest <= figure.highest
            ? figure.lowest / divisor...figure.highest / divisor : nil
        return BarChart.Row(
            name: name,
            colour: style(result.peer),
            segments: segments,
            spread: spread,
            label: text.median
        )
    }

    /// Class of a peer; of its second variant and further ones, which share its colour, another line too.
    private func style(_ peer: String) -> String {
        let base = PeerName.base(peer)
        let first = scenario.ordered.first { PeerName.base($0.peer) == base }?.peer
        return colours.style(peer) + (first == peer ? "" : " variant")
    }

    /// What a screen reader says of a plot: the figures.
    private func summary(_ kind: FigureKind) -> String {
        scenario.ordered.compactMap { result in
            result.figures[kind].map {
                "\(PeerName.title(result.peer)) \(FigureText($0, kind: kind).median)"
            }
        }
        .joined(separator: ", ")
    }
}

extension LatencySummary.Point {
    var microseconds: Double { Double(nanoseconds) / 1000 }
}

extension LatencySummary {
    /// Without what fewer than ten samples say, and without 100, which no axis of nines has.
    var borneOut: LatencySummary {
        var copy = self
        copy.curve = curve.filter {
            $0.percentile < 100 && Double(count) * (1 - $0.percentile / 100) >= 10 - 1e-6
        }
        return copy
    }

    /// Of the first point that is as high as `percentile`; nil beyond the curve.
    func microseconds(at percentile: Double) -> Double? {
        curve.first { $0.percentile >= percentile - 1e-9 }?.microseconds
    }
}
