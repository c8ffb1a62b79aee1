import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// The end of the filter chain: sends the request where its route says, retries within the route's
/// policy and time, and hands the response back (envoy.filters.http.router).
///
/// One attempt is under way at a time, an ``UpstreamRequest``. What the request has brought so far is
/// kept while another attempt may need it.
package final class RouterFilter: TimerTarget {
    let stream: HTTPStream
    var selection: RouteSelection?
    var action: ForwardAction?
    var cluster: Cluster?
    var accounts: RequestAccounts?
    var attempt: UpstreamRequest?
    var retry: RetryState?
    var timeouts: RequestTimeouts?
    var previousHosts: [Endpoint] = []
    /// A slot of the cluster's limit on concurrent retries is ours.
    var holdsRetrySlot = false
    var wasRetried = false
    var raceRepeats = 0
    var redirects = FollowedRedirects()

    /// Body bytes that an attempt has yet to send, or that the next attempt would have to repeat.
    var kept = ByteBuffer()
    var trailers: HeaderMap?
    var isRequestComplete = false
    /// Whether ``kept`` still holds the body from its first byte.
    var isKeptWhole = true
    var isRequestPaused = false
    var isResponseStarted = false
    var outcome = AttemptOutcome()
    var responsePauses = 0

    var timer = TimerID.none
    var backoffTimer = TimerID.none
    var requestCompleteTime: Instant?

    enum Timer { static let route: UInt8 = 0, backoff: UInt8 = 1 }

    init(_ stream: HTTPStream) { self.stream = stream }

    var loop: EventLoop { stream.loop }
    var settings: HTTPConnectionManagerSettings { stream.settings }
    var config: RouterConfig { settings.router }

    // MARK: Request

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        if endStream { markRequestComplete() }
        settings.routerStats.rqTotal.add()
        switch stream.decision {
        case .notFound:
            settings.routerStats.noRoute.add()
            stream.sendLocalReply(.routeNotFound)
        case .demandTLS:
            settings.routerStats.rqDirectResponse.add()
            var location = ByteBuffer()
            RedirectLocation.appendSecure(head, to: &location)
            stream.sendLocalReply(.redirect(status: 301, location))
        case .route(let selection):
            self.selection = selection
            if let action = selection.forward { return forward(head, action, selection) }
            switch selection.route.action {
            case .redirect(let redirect):
                settings.routerStats.rqDirectResponse.add()
                var location = ByteBuffer()
                selection.route.appendLocation(redirect, for: head, to: &location)
                var reply = LocalReply.redirect(status: redirect.status, location)
                reply.route = selection
                stream.sendLocalReply(reply)
            case .respond(let response):
                settings.routerStats.rqDirectResponse.add()
                var reply = LocalReply.direct(response, for: head)
                reply.route = selection
                stream.sendLocalReply(reply)
            case .forward: break
            }
        }
    }

    func forward(_ head: HeaderMap, _ action: ForwardAction, _ selection: RouteSelection) {
        guard let cluster = action.chosenCluster(head, selection, stream.worker.clusters) else {
            settings.routerStats.noCluster.add()
            return stream.sendLocalReply(.clusterNotFound(status: action.clusterNotFoundStatus))
        }
        if stream.info.cluster !== cluster.labels { stream.info.cluster = cluster.labels }
        if let refusal = StrictHeaderCheck.refusal(config.strictHeaders, head) {
            return stream.sendLocalReply(refusal)
        }
        self.action = action
        self.cluster = cluster
        accounts = RequestAccounts(cluster, selection, head, stream)
        timeouts = RequestTimeouts(action, config, request: head)
        stream.info.attemptCount = 1
        if selection.host.includesRequestAttemptCount { head.set(.envoyAttemptCount, "1") }
        selection.route.prepareRequest(
            head,
            forward: action,
            split: selection.split,
            keepsOriginals: !config.suppressesEnvoyHeaders,
            context: { stream.formatContext() }
        )
        // Headers that the route adds may ask for retries too.
        retry = RetryState(action.retryPolicy, request: head)
        if isRequestComplete || awaitsUpgrade { armRouteTimer() }
        startAttempt()
    }

    func requestData(_ bytes: Bytes, endStream: Bool) {
        guard cluster != nil else { return }
        if endStream { markRequestComplete() }
        if let attempt, attempt.isReady {
            if mayNeedBodyAgain { keep(bytes) }
            attempt.send(bytes, endStream: endStream)
            if endStream { attempt.requestComplete(perTryTimeout: perTryTimeout) }
        } else {
            kept.append(bytes)
            if kept.count > bufferBytesMax, !isRequestPaused {
                isRequestPaused = true
                stream.pauseRequest()
                abandonRepeats()
            }
        }
        if endStream { armRouteTimer() }
    }

    func requestTrailers(_ trailers: HeaderMap) {
        guard cluster != nil else { return }
        self.trailers = trailers
        markRequestComplete()
        armRouteTimer()
        if let attempt, attempt.isReady {
            attempt.send(trailers: trailers)
            attempt.requestComplete(perTryTimeout: perTryTimeout)
        }
    }

    func markRequestComplete() {
        isRequestComplete = true
        requestCompleteTime = loop.now
    }

    func armRouteTimer() {
        guard let whole = timeouts?.whole, whole > .zero, timer.isNone else { return }
        timer = loop.arm(self, Timer.route, after: whole)
    }

    /// A tunnel's directions end each by itself: no time limit begins with the end of one.
    func endRouteTime() {
        loop.cancel(&timer)
        timeouts?.endWhole()
    }

    var mayNeedBodyAgain: Bool {
        (retry != nil || action?.internalRedirect != nil) && !isResponseStarted && isKeptWhole
    }

    func keep(_ bytes: Bytes) {
        guard kept.count + bytes.count <= bufferBytesMax else {
            abandonRepeats()
            return kept.release()
        }
        kept.append(bytes)
    }

    /// Too much to repeat: from here on this request has one attempt only.
    func abandonRepeats() {
        if mayNeedBodyAgain { cluster?.stats.retryOrShadowAbandoned.add() }
        isKeptWhole = false
    }

    // MARK: Response

    func responseHead(_ head: HeaderMap, endStream: Bool, from attempt: UpstreamRequest) {
        guard self.attempt === attempt, cluster != nil else { return }
        let status = HTTPStream.status(of: head)
        let random = stream.worker.random.next()
        if let decision = retry?.responseHead(
            head,
            random: random,
            wallNow: stream.worker.wallClock
        ),
            retries(decision, replacing: attempt)
        {
            cluster?.responses.recordRetry(code: status)
            count(.requestsError, attempt)
            return
        }
        let isGRPC = GRPC.isRequest(stream.request)
        count(outcome.head(head, status: status, isGRPC: isGRPC, endStream: endStream), attempt)
        if followsRedirect(head, status: status, attempt) { return }
        isResponseStarted = true
        // Header mutations may ask for `%RESPONSE_CODE%`. The route's time runs on: it covers the
        // whole response (envoy: RouteAction.timeout).
        stream.info.responseCode = status
        if isRequestComplete, attempt.isRequestSent { kept.release() }
        accounts?.record(code: status)
        if let completed = requestCompleteTime, !config.suppressesEnvoyHeaders {
            let waited = max(0, (loop.now - completed).milliseconds)
            head.set(.envoyUpstreamServiceTime, decimal: Int(waited))
        }
        if let selection {
            selection.route.mutateResponse(
                head,
                split: selection.split,
                context: { stream.formatContext(response: head) }
            )
            if selection.host.includesAttemptCountInResponse {
                head.set(.envoyAttemptCount, decimal: stream.info.attemptCount)
            }
        }
        if stream.info.responseCodeDetails.isEmpty {
            stream.info.responseCodeDetails = "via_upstream"
        }
        if endStream { responseComplete() } else if stream.isTunnel { endRouteTime() }
        stream.sendResponseHead(head, endStream: endStream)
    }

    func responseData(_ bytes: Bytes, endStream: Bool, from attempt: UpstreamRequest) {
        guard self.attempt === attempt, isResponseStarted else { return }
        if endStream { responseComplete() }
        stream.sendResponseData(bytes, endStream: endStream)
    }

    func responseTrailers(_ trailers: HeaderMap, from attempt: UpstreamRequest) {
        guard self.attempt === attempt, isResponseStarted else { return }
        responseComplete(trailers)
        stream.sendResponseTrailers(trailers)
    }

    func responseComplete(_ trailers: HeaderMap? = nil) {
        count(outcome.end(trailers), attempt)
        loop.cancel(&timer)
        guard let completed = requestCompleteTime else { return }
        let took = UInt64(max(0, (loop.now - completed).milliseconds))
        accounts?.record(milliseconds: took)
    }

    // MARK: Flow control

    func pauseResponse() {
        responsePauses += 1
        attempt?.pauseResponse()
    }

    func resumeResponse() {
        responsePauses -= 1
        attempt?.resumeResponse()
    }

    // MARK: End

    /// The stream is over or answered locally: nothing more is wanted from upstream.
    func abandon() {
        loop.cancel(&timer)
        loop.cancel(&backoffTimer)
        attempt?.abandon()
        attempt = nil
        kept.release()
        releaseRetrySlot()
        cluster = nil
        accounts = nil
    }
}
