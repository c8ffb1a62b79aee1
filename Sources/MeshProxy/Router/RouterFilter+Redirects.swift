import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Redirects of the upstream that the proxy follows itself.
extension RouterFilter {
    /// Follows a redirect of the upstream where the route says so (envoy: internal_redirect_policy).
    func followsRedirect(_ head: HeaderMap, status: Int, _ attempt: UpstreamRequest) -> Bool {
        guard let policy = action?.internalRedirect, policy.statusCodes.contains(status),
            let cluster
        else { return false }
        let redirect = InternalRedirect(policy, status: status, stream)
        guard isRequestComplete, isKeptWhole, let selection,
            let next = redirect.apply(head, from: selection.route, &redirects)
        else {
            cluster.stats.upstreamInternalRedirectFailedTotal.add()
            return false
        }
        cluster.stats.upstreamInternalRedirectSucceededTotal.add()
        attempt.abandon()
        self.attempt = nil
        loop.cancel(&timer)
        releaseRetrySlot()
        previousHosts.removeAll()
        if redirect.becomesGET {
            kept.clear()
            trailers = nil
        }
        // The redirected request is another one (envoy: recreateStream).
        wasRetried = false
        raceRepeats = 0
        requestCompleteTime = loop.now
        self.cluster = nil
        accounts = nil
        stream.redirected(to: next, endStream: kept.isEmpty && trailers == nil)
        return true
    }
}
