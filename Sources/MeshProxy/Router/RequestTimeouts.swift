import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// The time limits of one request, out of its route and its headers. Zero is none.
package struct RequestTimeouts: Equatable {
    /// Of the whole exchange with its retries, counted from the end of the request.
    package private(set) var whole: Nanoseconds
    package private(set) var perTry: Nanoseconds
    package private(set) var perTryIdle: Nanoseconds
    /// Of one attempt from its begin to its response's end.
    package private(set) var streamDuration = Nanoseconds.zero
    /// What takes too long is answered with 204 (envoy: x-envoy-upstream-rq-timeout-alt-response).
    package private(set) var answersNoContent = false
    /// The attempt before this one took too long.
    var hasAttemptTimedOut = false

    /// No limit to the whole exchange any more.
    mutating func endWhole() { whole = .zero }

    /// Reads the headers that override the route, takes them out of the head, and tells the upstream
    /// how long we will wait (envoy: FilterUtility::finalTimeout).
    package init(
        _ action: ForwardAction,
        _ router: RouterConfig,
        request head: HeaderMap
    ) {
        whole = .zero
        if action.config.streamDuration == nil {
            whole = action.timeout
            if let most = action.maxGRPCTimeout, GRPC.isRequest(head) {
                whole = Self.grpcTimeout(head, max: most, offset: action.grpcTimeoutOffset)
            }
        }
        perTry = action.retryPolicy?.perTryTimeout ?? .zero
        perTryIdle = action.retryPolicy?.perTryIdleTimeout ?? .zero

        if router.respectsExpectedTimeout, head.contains(.envoyExpectedRequestTimeout) {
            if let wait = Self.milliseconds(head, .envoyExpectedRequestTimeout) { whole = wait }
        } else if head.contains(.envoyUpstreamRequestTimeout) {
            if let wait = Self.milliseconds(head, .envoyUpstreamRequestTimeout) { whole = wait }
            head.remove(.envoyUpstreamRequestTimeout)
        }
        if head.contains(.envoyUpstreamRequestPerTryTimeout) {
            let asked = Self.milliseconds(head, .envoyUpstreamRequestPerTryTimeout)
            if let asked { perTry = asked }
            head.remove(.envoyUpstreamRequestPerTryTimeout)
        }
        if head.contains(.envoyUpstreamStreamDurationMilliseconds) {
            let asked = Self.milliseconds(head, .envoyUpstreamStreamDurationMilliseconds)
            if let asked { streamDuration = asked }
            head.remove(.envoyUpstreamStreamDurationMilliseconds)
        }
        if head.contains(.envoyUpstreamRequestTimeoutAltResponse) {
            answersNoContent = true
            head.remove(.envoyUpstreamRequestTimeoutAltResponse)
        }
        // Names statistics that are not kept; no upstream sees it.
        head.remove(.envoyUpstreamAltStatName)
        // An attempt that may take as long as everything has no limit of its own.
        if whole > .zero, perTry >= whole { perTry = .zero }
        setHeaders(head, action, router, elapsed: .zero)
    }

    /// Tells the next upstream which attempt it is, why there is another, and what time is left.
    mutating func setRetryHeaders(
        _ stream: HTTPStream,
        _ host: VirtualHostFacts,
        _ action: ForwardAction,
        _ router: RouterConfig,
        elapsed: Nanoseconds
    ) {
        let head = stream.request
        if host.includesRequestAttemptCount {
            head.set(.envoyAttemptCount, decimal: stream.info.attemptCount)
        }
        if host.includesTimeoutRetryHeader {
            head.set(.envoyIsTimeoutRetry, hasAttemptTimedOut ? "true" : "false")
        }
        hasAttemptTimedOut = false
        setHeaders(head, action, router, elapsed: elapsed)
    }

    /// For a retry: what is left of the time by now.
    package func setHeaders(
        _ head: HeaderMap,
        _ action: ForwardAction,
        _ router: RouterConfig,
        elapsed: Nanoseconds
    ) {
        var expected = perTry > .zero ? perTry : whole
        guard expected > .zero else { return }
        if whole > .zero {
            // Zero would mean for ever; the timer is about to fire.
            expected =
                elapsed >= whole
                ? .milliseconds(1) : min(expected, Nanoseconds(whole.count - elapsed.count))
        }
        let milliseconds = max(1, expected.milliseconds)
        if !router.suppressesEnvoyHeaders {
            head.set(.envoyExpectedRequestTimeout, decimal: Int(milliseconds))
        }
        if action.config.streamDuration == nil, action.maxGRPCTimeout != nil, GRPC.isRequest(head) {
            GRPC.setTimeout(head, milliseconds: milliseconds)
        }
    }

    /// Nil for what is no number, and for several: which one counts is anybody's guess.
    private static func milliseconds(_ head: HeaderMap, _ name: KnownHeader) -> Nanoseconds? {
        guard head.occurrences(name) == 1 else { return nil }
        return head[name].flatMap { DecimalNumber.parse($0) }.map { value in
            let (span, overflow) = Int64(clamping: value).multipliedReportingOverflow(by: 1_000_000)
            return Nanoseconds(overflow ? .max : span)
        }
    }

    private static func grpcTimeout(
        _ head: HeaderMap,
        max most: Nanoseconds,
        offset: Nanoseconds?
    ) -> Nanoseconds {
        var timeout = GRPC.timeout(head) ?? .zero
        if let offset, offset < timeout { timeout = Nanoseconds(timeout.count - offset.count) }
        if most > .zero, timeout == .zero || timeout > most { return most }
        return timeout
    }
}
