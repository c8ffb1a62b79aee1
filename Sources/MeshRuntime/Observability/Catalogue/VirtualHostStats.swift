/// What a virtual host counts of some of its requests: those of one virtual cluster, or of the routes with
/// one `stat_prefix` (envoy: `vhost.<virtual host>.vcluster.<name>.` and `….route.<stat_prefix>.`).
package final class VirtualHostStats {
    package let upstreamRqRetry: Counter
    package let upstreamRqRetryLimitExceeded: Counter
    package let upstreamRqRetryOverflow: Counter
    package let upstreamRqRetrySuccess: Counter
    package let upstreamRqTimeout: Counter
    /// Attempts that reached an upstream connection.
    package let upstreamRqTotal: Counter
    package let responses: ResponseCodeStats

    /// The name is `other` for requests that no virtual cluster is for.
    package convenience init(_ stats: WorkerStats, virtualHost: String, virtualCluster: String) {
        self.init(StatsScope(stats, "vhost.\(virtualHost).vcluster.\(virtualCluster)."))
    }

    package convenience init(_ stats: WorkerStats, virtualHost: String, route: String) {
        self.init(StatsScope(stats, "vhost.\(virtualHost).route.\(route)."))
    }

    private init(_ scope: StatsScope) {
        upstreamRqRetry = scope.counter("upstream_rq_retry")
        upstreamRqRetryLimitExceeded = scope.counter("upstream_rq_retry_limit_exceeded")
        upstreamRqRetryOverflow = scope.counter("upstream_rq_retry_overflow")
        upstreamRqRetrySuccess = scope.counter("upstream_rq_retry_success")
        upstreamRqTimeout = scope.counter("upstream_rq_timeout")
        upstreamRqTotal = scope.counter("upstream_rq_total")
        responses = ResponseCodeStats(scope.stats, prefix: scope.prefix)
    }
}
