import MeshHTTP

/// What HTTP/2 codecs count (envoy: `http2.` for downstream, `cluster.<name>.http2.` for upstream).
package final class HTTP2CodecStats: HTTP2Stats {
    private let counters: [Counter]
    private let gauges: [Gauge]

    /// `prefix` is empty, or ends in a dot.
    package init(_ stats: WorkerStats, prefix: String = "") {
        let scope = StatsScope(stats, prefix + "http2.")
        counters = HTTP2Counter.allCases.map { scope.counter($0.name.description) }
        gauges = HTTP2Gauge.allCases.map { scope.gauge($0.name.description) }
        // Envoy's, of which nothing here can come.
        scope.keepAtZero(
            counters: [
                "cookies_total_bytes_too_large", "headers_cb_no_stream",
                "oghttp2_downstream_connections", "oghttp2_upstream_connections",
                "dropped_headers_with_underscores", "metadata_empty_frames",
                "requests_rejected_with_underscores_in_headers",
            ],
            // A stream stays among the active ones until its delegate has heard its end.
            gauges: ["deferred_stream_close"]
        )
    }

    package func count(_ counter: HTTP2Counter) { counters[Int(counter.rawValue)].add() }

    package func change(_ gauge: HTTP2Gauge, by amount: Int) {
        let level = gauges[Int(gauge.rawValue)]
        if amount >= 0 { level.add(UInt64(amount)) } else { level.subtract(UInt64(-amount)) }
    }
}
