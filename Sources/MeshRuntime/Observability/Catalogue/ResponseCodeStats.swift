/// Responses by status code: `upstream_rq_completed`, `upstream_rq_2xx`, `upstream_rq_200` and
/// `upstream_rq_time` under one prefix.
///
/// As in Envoy, each appears with its first use; from then on it costs a short scan and no lock.
package final class ResponseCodeStats {
    private let scope: StatsScope
    private var completed: Counter?
    /// 1xx to 5xx.
    private var classes: [Counter?] = Array(repeating: nil, count: 5)
    /// Few codes are ever seen by one cluster: a scan beats a table of 500.
    private var codes: [(code: Int, counter: Counter)] = []
    private var time: Histogram?

    /// `prefix` ends in a dot, e.g. `cluster.reviews.external.`.
    package init(_ stats: WorkerStats, prefix: String) {
        scope = StatsScope(stats, prefix)
    }

    package func record(code: Int) {
        if let completed {
            completed.add()
        } else {
            let counter = scope.counter("upstream_rq_completed")
            counter.add()
            completed = counter
        }
        guard (100..<600).contains(code) else { return }
        let at = code / 100 - 1
        if let counter = classes[at] {
            counter.add()
        } else {
            let counter = scope.counter("upstream_rq_\(code / 100)xx")
            counter.add()
            classes[at] = counter
        }
        for known in codes where known.code == code { return known.counter.add() }
        let counter = scope.counter("upstream_rq_\(code)")
        counter.add()
        codes.append((code, counter))
    }

    package func record(milliseconds: UInt64) {
        if let time { return time.record(milliseconds) }
        let histogram = scope.histogram("upstream_rq_time")
        histogram.record(milliseconds)
        time = histogram
    }
}

/// What one cluster counts by response code (envoy: `cluster.<name>.`, and under it `external.`,
/// `internal.`, `canary.` and `retry.`).
package final class ClusterResponseStats {
    private let all: ResponseCodeStats
    private let external: ResponseCodeStats
    private let `internal`: ResponseCodeStats
    private let canary: ResponseCodeStats
    private let retry: ResponseCodeStats

    package init(_ stats: WorkerStats, cluster: String) {
        let prefix = "cluster.\(cluster)."
        // `upstream_rq_completed` exists from the start: `ClusterStats` registers it.
        all = ResponseCodeStats(stats, prefix: prefix)
        external = ResponseCodeStats(stats, prefix: prefix + "external.")
        `internal` = ResponseCodeStats(stats, prefix: prefix + "internal.")
        canary = ResponseCodeStats(stats, prefix: prefix + "canary.")
        retry = ResponseCodeStats(stats, prefix: prefix + "retry.")
    }

    /// A response that goes downstream: the upstream's, or a local reply on the cluster's behalf.
    package func record(code: Int, isInternal: Bool, isCanary: Bool = false) {
        all.record(code: code)
        (isInternal ? `internal` : external).record(code: code)
        if isCanary { canary.record(code: code) }
    }

    /// Time from the end of the request to the response head, of the upstream's responses only.
    package func record(milliseconds: UInt64, isInternal: Bool, isCanary: Bool = false) {
        all.record(milliseconds: milliseconds)
        (isInternal ? `internal` : external).record(milliseconds: milliseconds)
        if isCanary { canary.record(milliseconds: milliseconds) }
    }

    /// A response that made the router try again.
    package func recordRetry(code: Int) { retry.record(code: code) }
}
