import MeshHTTP
import MeshRuntime

/// Everything that counts a forwarded request: its cluster and, where the file names them, its virtual
/// cluster and its route.
struct RequestAccounts {
    private let cluster: Cluster
    private let virtualCluster: VirtualHostStats?
    private let route: VirtualHostStats?
    private let isInternal: Bool

    init(_ cluster: Cluster, _ selection: RouteSelection, _ head: HeaderMap, _ stream: HTTPStream) {
        self.cluster = cluster
        virtualCluster = selection.host.virtualClusters?.stats(for: head, stream.info)
        route = selection.route.stats
        isInternal = stream.isInternalRequest
    }

    /// A response for the client: the upstream's, or one on its behalf.
    func record(code: Int) {
        cluster.responses.record(code: code, isInternal: isInternal)
        virtualCluster?.responses.record(code: code)
        route?.responses.record(code: code)
    }

    /// Time from the end of the request to the end of the upstream's response.
    func record(milliseconds: UInt64) {
        cluster.responses.record(milliseconds: milliseconds, isInternal: isInternal)
        virtualCluster?.responses.record(milliseconds: milliseconds)
        route?.responses.record(milliseconds: milliseconds)
    }

    /// An attempt has its stream; its cluster has counted it.
    func attemptBegan() {
        virtualCluster?.upstreamRqTotal.add()
        route?.upstreamRqTotal.add()
    }

    func timedOut() {
        cluster.stats.upstreamRqTimeout.add()
        virtualCluster?.upstreamRqTimeout.add()
        route?.upstreamRqTimeout.add()
    }

    func retried() {
        cluster.stats.upstreamRqRetry.add()
        virtualCluster?.upstreamRqRetry.add()
        route?.upstreamRqRetry.add()
    }

    func retrySucceeded() {
        cluster.stats.upstreamRqRetrySuccess.add()
        virtualCluster?.upstreamRqRetrySuccess.add()
        route?.upstreamRqRetrySuccess.add()
    }

    func retryLimitExceeded() {
        cluster.stats.upstreamRqRetryLimitExceeded.add()
        virtualCluster?.upstreamRqRetryLimitExceeded.add()
        route?.upstreamRqRetryLimitExceeded.add()
    }

    func retryOverflowed() {
        cluster.stats.upstreamRqRetryOverflow.add()
        virtualCluster?.upstreamRqRetryOverflow.add()
        route?.upstreamRqRetryOverflow.add()
    }
}
