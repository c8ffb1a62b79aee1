import MeshNet

/// `/stats` as lines `name: value`.
enum StatsText {
    static func append(_ view: StatsView, _ query: StatsQuery, to buffer: inout ByteBuffer) {
        for index in view.sorted {
            let sample = view.sample(Int(index))
            guard query.wants(sample.kind), query.wants(sample.name, isUsed: sample.isUsed) else {
                continue
            }
            buffer.append(sample.name)
            buffer.append(": " as StaticString)
            buffer.append(decimal: sample.value)
            buffer.append(byte: UInt8(ascii: "\n"))
        }
        guard query.wantsHistograms else { return }
        for histogram in view.histograms {
            let bins = histogram.cumulative()
            guard query.wants(histogram.name, isUsed: bins.sampleCount > 0) else { continue }
            buffer.append(histogram.name)
            buffer.append(byte: UInt8(ascii: ":"))
            append(histogram, bins, query.buckets ?? .summary, to: &buffer)
            buffer.append(byte: UInt8(ascii: "\n"))
        }
    }

    private static func append(
        _ histogram: HistogramMetric,
        _ bins: HistogramBins,
        _ form: StatsQuery.Buckets,
        to buffer: inout ByteBuffer
    ) {
        let interval = histogram.interval()
        if form == .detailed {
            buffer.append("\n  totals=" as StaticString)
            appendDetail(bins, to: &buffer)
            buffer.append("\n  intervals=" as StaticString)
            appendDetail(interval, to: &buffer)
            buffer.append("\n  summary=" as StaticString)
            return appendSummary(bins, interval, to: &buffer)
        }
        buffer.append(byte: UInt8(ascii: " "))
        guard bins.sampleCount > 0 else {
            return buffer.append("No recorded values" as StaticString)
        }
        guard form != .summary else { return appendSummary(bins, interval, to: &buffer) }
        for (at, bucket) in StatsBuckets(histogram, bins, interval, form).buckets.enumerated() {
            if at > 0 { buffer.append(byte: UInt8(ascii: " ")) }
            buffer.append(byte: UInt8(ascii: "B"))
            buffer.append(general: bucket.bound, digits: 6)
            buffer.append(byte: UInt8(ascii: "("))
            buffer.append(decimal: bucket.interval)
            buffer.append(byte: UInt8(ascii: ","))
            buffer.append(decimal: bucket.all)
            buffer.append(byte: UInt8(ascii: ")"))
        }
    }

    private static func appendSummary(
        _ bins: HistogramBins,
        _ interval: HistogramBins,
        to buffer: inout ByteBuffer
    ) {
        let all = bins.quantiles(StatsQuantiles.all)
        let recent = interval.quantiles(StatsQuantiles.all)
        for at in all.indices {
            if at > 0 { buffer.append(byte: UInt8(ascii: " ")) }
            buffer.append(byte: UInt8(ascii: "P"))
            buffer.append(StatsQuantiles.percents[at])
            buffer.append(byte: UInt8(ascii: "("))
            buffer.append(number: recent[at])
            buffer.append(byte: UInt8(ascii: ","))
            buffer.append(number: all[at])
            buffer.append(byte: UInt8(ascii: ")"))
        }
    }

    private static func appendDetail(_ bins: HistogramBins, to buffer: inout ByteBuffer) {
        for (at, bin) in bins.detail.enumerated() {
            if at > 0 { buffer.append(", " as StaticString) }
            buffer.append(general: bin.left, digits: 6)
            buffer.append(byte: UInt8(ascii: ","))
            buffer.append(general: bin.width, digits: 6)
            buffer.append(byte: UInt8(ascii: ":"))
            buffer.append(decimal: Int(clamping: bin.count))
        }
    }
}

/// Counts by upper bound: of all values up to each, or of those between it and the one before.
struct StatsBuckets {
    let buckets: [(bound: Double, interval: Int, all: Int)]

    init(
        _ histogram: HistogramMetric,
        _ bins: HistogramBins,
        _ interval: HistogramBins,
        _ form: StatsQuery.Buckets
    ) {
        var before = (interval: 0, all: 0)
        buckets = histogram.bounds.map { bound in
            let recent = Int(clamping: interval.count(atMost: bound))
            let all = Int(clamping: bins.count(atMost: bound))
            defer { if form == .disjoint { before = (recent, all) } }
            return (bound, recent - before.interval, all - before.all)
        }
    }
}

/// `/stats?format=json`.
enum StatsJSON {
    static func append(_ view: StatsView, _ query: StatsQuery, to json: inout JSONWriter) {
        json.beginObject()
        json.key("stats")
        json.beginArray()
        for index in view.sorted {
            let sample = view.sample(Int(index))
            guard query.wants(sample.kind), query.wants(sample.name, isUsed: sample.isUsed) else {
                continue
            }
            json.beginObject()
            json.member("name", sample.name)
            json.member("value", Int(clamping: sample.value))
            json.endObject()
        }
        if query.wantsHistograms { appendHistograms(view, query, to: &json) }
        json.endArray()
        json.endObject()
    }

    private static func appendHistograms(
        _ view: StatsView,
        _ query: StatsQuery,
        to json: inout JSONWriter
    ) {
        let wanted = view.histograms.map { ($0, $0.cumulative()) }.filter { metric, bins in
            query.wants(metric.name, isUsed: bins.sampleCount > 0)
        }
        guard !wanted.isEmpty else { return }
        let form = query.buckets ?? .summary
        json.beginObject()
        json.key("histograms")
        if form == .summary || form == .detailed {
            let isDetailed = form == .detailed
            json.beginObject()
            json.key(isDetailed ? "supported_percentiles" as StaticString : "supported_quantiles")
            json.beginArray()
            for percent in [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100] { json.number(percent) }
            json.endArray()
            json.key(isDetailed ? "details" as StaticString : "computed_quantiles")
            json.beginArray()
            for (metric, bins) in wanted {
                json.beginObject()
                json.member("name", metric.name)
                let interval = metric.interval()
                if isDetailed {
                    appendDetail("totals", bins, to: &json)
                    appendDetail("intervals", interval, to: &json)
                }
                json.key(isDetailed ? "percentiles" as StaticString : "values")
                appendQuantiles(bins, interval, to: &json)
                json.endObject()
            }
            json.endArray()
            json.endObject()
        } else {
            json.beginArray()
            for (metric, bins) in wanted {
                json.beginObject()
                json.member("name", metric.name)
                json.key("buckets")
                json.beginArray()
                for bucket in StatsBuckets(metric, bins, metric.interval(), form).buckets {
                    json.beginObject()
                    json.member("upper_bound", bucket.bound)
                    json.member("interval", bucket.interval)
                    json.member("cumulative", bucket.all)
                    json.endObject()
                }
                json.endArray()
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
    }

    private static func appendQuantiles(
        _ bins: HistogramBins,
        _ interval: HistogramBins,
        to json: inout JSONWriter
    ) {
        json.beginArray()
        let recent = interval.quantiles(StatsQuantiles.all)
        for (at, value) in bins.quantiles(StatsQuantiles.all).enumerated() {
            json.beginObject()
            json.member("cumulative", value)
            json.member("interval", recent[at])
            json.endObject()
        }
        json.endArray()
    }

    private static func appendDetail(
        _ name: StaticString,
        _ bins: HistogramBins,
        to json: inout JSONWriter
    ) {
        json.key(name)
        json.beginArray()
        for bin in bins.detail {
            json.beginObject()
            json.member("lower_bound", bin.left)
            json.member("width", bin.width)
            json.member("count", Int(clamping: bin.count))
            json.endObject()
        }
        json.endArray()
    }
}
