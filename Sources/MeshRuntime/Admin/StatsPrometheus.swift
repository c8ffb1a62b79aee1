import MeshNet

/// `/stats/prometheus`: the text exposition format, with Envoy's names and labels.
///
/// Names and labels are made once per metric and kept, so that a scrape writes little but numbers.
/// Belongs to the control thread.
final class StatsPrometheus {
    private struct Series {
        /// `envoy_cluster_upstream_rq_total`
        let family: String
        /// For the order of families: the name with its dots before all else.
        let order: [UInt8]
        /// `envoy_cluster_name="up"`, without braces.
        let labels: String
        /// `family{labels} `: all of a line but its value.
        let line: String
        /// Position in the view.
        let index: Int
    }

    private let tags: StatsTagExtractor
    private var generation = UInt64.max
    private var known: [String: Series] = [:]
    private var counters: [Series] = []
    private var gauges: [Series] = []
    private var histograms: [Series] = []

    init(_ tags: StatsTagExtractor) { self.tags = tags }

    func append(_ view: StatsView, _ query: StatsQuery, to buffer: inout ByteBuffer) {
        if view.generation != generation { update(view) }
        append(counters, "counter", view, query, to: &buffer)
        append(gauges, "gauge", view, query, to: &buffer)
        guard query.wantsHistograms else { return }
        let isSummary = query.buckets == .summary
        var family = ""
        for series in histograms {
            let metric = view.histograms[series.index]
            let bins = metric.cumulative()
            guard query.wants(metric.name, isUsed: bins.sampleCount > 0) else { continue }
            if series.family != family {
                family = series.family
                appendType(family, isSummary ? "summary" : "histogram", to: &buffer)
            }
            if isSummary {
                appendSummary(series, metric.interval(), to: &buffer)
            } else {
                appendBuckets(series, metric, bins, to: &buffer)
            }
        }
    }

    private func append(
        _ list: [Series],
        _ type: StaticString,
        _ view: StatsView,
        _ query: StatsQuery,
        to buffer: inout ByteBuffer
    ) {
        var family = ""
        for series in list {
            let sample = view.sample(series.index)
            guard query.wants(sample.kind), query.wants(sample.name, isUsed: sample.isUsed) else {
                continue
            }
            if series.family != family {
                family = series.family
                appendType(family, type, to: &buffer)
            }
            buffer.append(series.line)
            buffer.append(decimal: sample.value)
            buffer.append(byte: UInt8(ascii: "\n"))
        }
    }

    private func appendType(
        _ family: String,
        _ type: StaticString,
        to buffer: inout ByteBuffer
    ) {
        buffer.append("# TYPE " as StaticString)
        buffer.append(family)
        buffer.append(byte: UInt8(ascii: " "))
        buffer.append(type)
        buffer.append(byte: UInt8(ascii: "\n"))
    }

    private func appendBuckets(
        _ series: Series,
        _ metric: HistogramMetric,
        _ bins: HistogramBins,
        to buffer: inout ByteBuffer
    ) {
        func begin(_ buffer: inout ByteBuffer) {
            buffer.append(series.family)
            buffer.append("_bucket{" as StaticString)
            buffer.append(series.labels)
            if !series.labels.isEmpty { buffer.append(byte: UInt8(ascii: ",")) }
            buffer.append("le=\"" as StaticString)
        }
        for bound in metric.bounds {
            begin(&buffer)
            buffer.append(general: bound, digits: 32)
            buffer.append("\"} " as StaticString)
            buffer.append(decimal: Int(clamping: bins.count(atMost: bound)))
            buffer.append(byte: UInt8(ascii: "\n"))
        }
        begin(&buffer)
        buffer.append("+Inf\"} " as StaticString)
        buffer.append(decimal: Int(clamping: bins.sampleCount))
        buffer.append(byte: UInt8(ascii: "\n"))
        appendSumAndCount(series, bins, to: &buffer)
    }

    /// Quantiles are of the last interval, as Envoy's.
    private func appendSummary(
        _ series: Series,
        _ bins: HistogramBins,
        to buffer: inout ByteBuffer
    ) {
        for (at, value) in bins.quantiles(StatsQuantiles.all).enumerated() {
            buffer.append(series.family)
            buffer.append(byte: UInt8(ascii: "{"))
            buffer.append(series.labels)
            if !series.labels.isEmpty { buffer.append(byte: UInt8(ascii: ",")) }
            buffer.append("quantile=\"" as StaticString)
            buffer.append(number: StatsQuantiles.all[at])
            buffer.append("\"} " as StaticString)
            buffer.append(general: value, digits: 32)
            buffer.append(byte: UInt8(ascii: "\n"))
        }
        appendSumAndCount(series, bins, to: &buffer)
    }

    private func appendSumAndCount(
        _ series: Series,
        _ bins: HistogramBins,
        to buffer: inout ByteBuffer
    ) {
        for isSum in [true, false] {
            buffer.append(series.family)
            buffer.append(isSum ? "_sum{" as StaticString : "_count{")
            buffer.append(series.labels)
            buffer.append("} " as StaticString)
            if isSum {
                buffer.append(general: bins.sampleSum, digits: 32)
            } else {
                buffer.append(decimal: Int(clamping: bins.sampleCount))
            }
            buffer.append(byte: UInt8(ascii: "\n"))
        }
    }

    // MARK: Names

    private func update(_ view: StatsView) {
        generation = view.generation
        counters = []
        gauges = []
        for index in view.sorted {
            let metric = view.metrics[Int(index)]
            let series = series(metric.name, Int(index))
            if metric.kind == .counter { counters.append(series) } else { gauges.append(series) }
        }
        histograms = view.histograms.enumerated().map { series($1.name, $0) }
        for list in [\StatsPrometheus.counters, \.gauges, \.histograms] {
            self[keyPath: list] = Self.sorted(self[keyPath: list])
        }
    }

    /// Families by name; the members of one stay in the order of their full names, which they have.
    private static func sorted(_ list: [Series]) -> [Series] {
        list.indices.sorted { left, right in
            let (one, two) = (list[left].order, list[right].order)
            return one == two ? left < right : one.lexicographicallyPrecedes(two)
        }.map { list[$0] }
    }

    private func series(_ name: String, _ index: Int) -> Series {
        if let series = known[name], series.index == index { return series }
        let extraction = tags.extract(name)
        let family = "envoy_" + StatsTagExtractor.label(extraction.name)
        let labels = extraction.tags.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }
            .joined(separator: ",")
        let series = Series(
            family: family,
            order: extraction.name.utf8.map { $0 == UInt8(ascii: ".") ? 0 : $0 },
            labels: labels,
            line: "\(family){\(labels)} ",
            index: index
        )
        known[name] = series
        return series
    }

    private static func escaped(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 == 0x22 || $0 == 0x5C || $0 == 0x0A }) else {
            return value
        }
        return value.reduce(into: "") { text, character in
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.append(character)
            }
        }
    }
}
