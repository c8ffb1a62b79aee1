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
    private(set) var selection: RouteSelection?
    private var action: ForwardAction?
    private var cluster: Cluster?
    private(set) var accounts: RequestAccounts?
    private var attempt: UpstreamRequest?
    private var retry: RetryState?
    private(set) var timeouts: RequestTimeouts?
    private var previousHosts: [Endpoint] = []
    /// A slot of the cluster's limit on concurrent retries is ours.
    private var holdsRetrySlot = false
    private var wasRetried = false
    private var raceRepeats = 0
    private var redirects = FollowedRedirects()

    /// Body bytes that an attempt has yet to send, or that the next attempt would have to repeat.
    private var kept = ByteBuffer()
    private var trailers: HeaderMap?
    private var isRequestComplete = false
    /// Whether ``kept`` still holds the body from its first byte.
    private var isKeptWhole = true
    private var isRequestPaused = false
    private var isResponseStarted = false
    private var outcome = AttemptOutcome()
    private var responsePauses = 0

    private var timer = TimerID.none
    private var backoffTimer = TimerID.none
    private var requestCompleteTime: Instant?

    private enum Timer { static let route: UInt8 = 0, backoff: UInt8 = 1 }

    init(_ stream: HTTPStream) { self.stream = stream }

    private var loop: EventLoop { stream.loop }
    private var settings: HTTPConnectionManagerSettings { stream.settings }
    private var config: RouterConfig { settings.router }

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

    private func forward(_ head: HeaderMap, _ action: ForwardAction, _ selection: RouteSelection) {
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

    private func markRequestComplete() {
        isRequestComplete = true
        requestCompleteTime = loop.now
    }

    private func armRouteTimer() {
        guard let whole = timeouts?.whole, whole > .zero, timer.isNone else { return }
        timer = loop.arm(self, Timer.route, after: whole)
    }

    /// A tunnel's directions end each by itself: no time limit begins with the end of one.
    private func endRouteTime() {
        loop.cancel(&timer)
        timeouts?.endWhole()
    }

    private var mayNeedBodyAgain: Bool {
        (retry != nil || action?.internalRedirect != nil) && !isResponseStarted && isKeptWhole
    }

    private func keep(_ bytes: Bytes) {
        guard kept.count + bytes.count <= bufferBytesMax else {
            abandonRepeats()
            return kept.release()
        }
        kept.append(bytes)
    }

    /// Too much to repeat: from here on this request has one attempt only.
    private func abandonRepeats() {
        if mayNeedBodyAgain { cluster?.stats.retryOrShadowAbandoned.add() }
        isKeptWhole = false
    }

    // MARK: Attempts

    private func startAttempt() {
        guard let cluster, let action else { return }
        stream.info.attemptCount += 1
        if stream.info.attemptCount > 1 { prepareRetry() }
        var wanted = UpstreamSelection()
        wanted.priority = action.priority
        wanted.payload = action.payload(of: stream.request, stream.info.httpVersion)
        wanted.criteria = selection?.criteria
        wanted.identity = cluster.options.identitySource?.identity(of: stream.request)
        if let retry, retry.avoidsPreviousHosts, !previousHosts.isEmpty {
            wanted.rejected = previousHosts
            wanted.attemptsMax = retry.hostSelectionAttemptsMax + 1
        }
        let attempt = UpstreamRequest(
            self,
            stream: stream,
            idleTimeout: timeouts?.perTryIdle ?? .zero
        )
        self.attempt = attempt
        switch cluster.openStream(for: attempt, wanted) {
        case .underWay(let ticket):
            if let ticket { attempt.isQueued(as: ticket) }
        case .noEndpoint:
            self.attempt = nil
            accounts?.record(code: 503)
            sendUpstreamReply(.noHealthyUpstream)
        }
    }

    private func prepareRetry() {
        guard let action, let selection else { return }
        let elapsed = requestCompleteTime.map { loop.now - $0 } ?? .zero
        timeouts?.setRetryHeaders(stream, selection.host, action, config, elapsed: elapsed)
    }

    /// An attempt goes to this endpoint, or failed to.
    func attempted(_ endpoint: Endpoint) {
        stream.info.upstreamHost = endpoint.address
        stream.info.upstreamHostName = endpoint.spec.hostname
        stream.info.upstreamHostMetadata = endpoint.spec.metadata
        if let retry, retry.avoidsPreviousHosts { previousHosts.append(endpoint) }
    }

    /// The attempt has its stream: it sends what there is of the request.
    func attemptReady(_ attempt: UpstreamRequest, _ connection: UpstreamConnection) {
        accounts?.attemptBegan()
        let endpoint = connection.endpoint
        attempted(endpoint)
        // The name of a logical endpoint may lead elsewhere by now.
        stream.info.upstreamHost = connection.remoteAddress
        stream.info.upstreamRemoteAddress = connection.remoteAddress
        stream.info.upstreamHTTPVersion = attempt.connection?.version
        if let action, action.usesUpstreamHost, !endpoint.spec.hostname.isEmpty {
            action.setUpstreamHost(
                endpoint.spec.hostname,
                stream.request,
                keepsOriginal: !config.suppressesEnvoyHeaders
            )
        }
        for _ in 0..<responsePauses { attempt.pauseResponse() }
        let ends = isRequestComplete && trailers == nil
        attempt.send(head: stream.request, endStream: ends && kept.isEmpty)
        if !kept.isEmpty, self.attempt === attempt {
            attempt.send(kept.bytes, endStream: ends)
            if !mayNeedBodyAgain {
                abandonRepeats()
                kept.release()
            }
        }
        if let trailers, self.attempt === attempt { attempt.send(trailers: trailers) }
        if isRequestComplete || awaitsUpgrade, self.attempt === attempt {
            attempt.requestComplete(perTryTimeout: perTryTimeout)
        }
        if isRequestPaused {
            isRequestPaused = false
            stream.resumeRequestReading()
        }
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

    private func responseComplete(_ trailers: HeaderMap? = nil) {
        count(outcome.end(trailers), attempt)
        loop.cancel(&timer)
        guard let completed = requestCompleteTime else { return }
        let took = UInt64(max(0, (loop.now - completed).milliseconds))
        accounts?.record(milliseconds: took)
    }

    // MARK: Failures

    func attemptReset(
        _ attempt: UpstreamRequest,
        _ reason: StreamResetReason,
        transportFailure: String
    ) {
        guard self.attempt === attempt, let accounts else { return }
        if !transportFailure.isEmpty {
            stream.info.upstreamTransportFailureReason = LocalReply.underscored(transportFailure)
        }
        if attempt.isResponseEnded, reason == .remoteReset {
            // The upstream of a tunnel has said all it will, and hears no more.
            return stream.abortResponse(.localReset)
        }
        if isResponseStarted {
            count(outcome.end(nil), attempt)
            stream.info.flags.formUnion(reason.upstreamFlag)
            stream.info.responseCodeDetails =
                "upstream_reset_after_response_started{\(reason.detail)}"
            return stream.abortResponse(reason)
        }
        count(.requestsError, attempt)
        // What a server has refused unseen is first the policy's to try again.
        if reason != .remoteRefused, repeatsLostRace(reason, attempt) { return }
        let decision = retry?.reset(
            reason,
            requestStarted: attempt.hasRequestBegun,
            random: stream.worker.random.next()
        )
        if let decision, retries(decision, replacing: attempt) { return }
        if reason == .remoteRefused, decision ?? .no == .no, repeatsLostRace(reason, attempt) {
            return
        }
        accounts.record(code: reason == .protocolError ? 502 : 503)
        sendUpstreamReply(
            .upstreamReset(
                reason,
                transportFailure: transportFailure,
                attempts: stream.info.attemptCount,
                flags: reason.upstreamFlag
            )
        )
    }

    func attemptTimedOut(_ attempt: UpstreamRequest, isIdle: Bool) {
        guard self.attempt === attempt, let cluster else { return }
        if isIdle {
            cluster.stats.upstreamRqPerTryIdleTimeout.add()
        } else {
            cluster.stats.upstreamRqPerTryTimeout.add()
        }
        count(.requestsTimeout, attempt)
        count(.requestsError, attempt)
        timeouts?.hasAttemptTimedOut = true
        attempt.abandon()
        if isResponseStarted {
            stream.info.flags.insert(.upstreamRequestTimeout)
            return stream.abortResponse(.localReset)
        }
        if let decision = retry?.reset(
            .localReset,
            requestStarted: true,
            random: stream.worker.random.next()
        ),
            retries(decision, replacing: attempt)
        {
            return
        }
        accounts?.record(code: 504)
        sendUpstreamReply(.upstreamTimeout(perTry: !isIdle, isIdle: isIdle))
    }

    private func routeTimedOut() {
        guard let accounts else { return }
        accounts.timedOut()
        count(.requestsTimeout, attempt)
        count(.requestsError, attempt)
        attempt?.abandon()
        if isResponseStarted {
            stream.info.flags.insert(.upstreamRequestTimeout)
            stream.info.responseCodeDetails = "response_timeout"
            return stream.abortResponse(.localReset)
        }
        accounts.record(code: 504)
        sendUpstreamReply(.upstreamTimeout(perTry: false, isIdle: false))
    }

    // MARK: Retries

    /// Acts on a decision; true where another attempt will be made.
    private func retries(_ decision: RetryDecision, replacing attempt: UpstreamRequest) -> Bool {
        guard let cluster, let action else { return false }
        if wasRetried, decision == .no { accounts?.retrySucceeded() }
        releaseRetrySlot()
        switch decision {
        case .no:
            return false
        case .limitExceeded:
            accounts?.retryLimitExceeded()
            stream.info.flags.insert(.upstreamRetryLimitExceeded)
            return false
        case .retry(let delay, let kind):
            guard isKeptWhole else { return false }
            guard cluster.vitals[action.priority].tryAcquireRetry() else {
                accounts?.retryOverflowed()
                stream.info.flags.insert(.upstreamOverflow)
                return false
            }
            holdsRetrySlot = true
            wasRetried = true
            accounts?.retried()
            switch kind {
            case .exponential: cluster.stats.upstreamRqRetryBackoffExponential.add()
            case .rateLimited: cluster.stats.upstreamRqRetryBackoffRatelimited.add()
            }
            attempt.abandon()
            self.attempt = nil
            backoffTimer = loop.arm(self, Timer.backoff, after: delay)
            return true
        }
    }

    /// A kept-alive connection that ended as the request met it: sent again at once, elsewhere, where
    /// that is safe. Needs no policy, and says so in the log.
    private func repeatsLostRace(_ reason: StreamResetReason, _ attempt: UpstreamRequest) -> Bool {
        guard
            IdleConnectionRace.allowsRepeat(
                reason,
                method: stream.request[.method],
                isReused: attempt.isConnectionReused,
                requestStarted: attempt.hasRequestBegun,
                responseStarted: attempt.hasResponseBegun,
                isReplayable: isKeptWhole && (retry != nil || !attempt.hasBodyBegun),
                repeats: raceRepeats
            )
        else { return false }
        raceRepeats += 1
        stream.worker.log.debug(
            .router,
            "request repeated: cluster=\(stream.info.clusterName): the idle connection to"
                + " \(stream.info.upstreamHost.map { "\($0)" } ?? "-") ended as the request was sent"
        )
        self.attempt = nil
        startAttempt()
        return true
    }

    private func releaseRetrySlot() {
        guard holdsRetrySlot, let cluster, let action else { return }
        holdsRetrySlot = false
        cluster.vitals[action.priority].releaseRetry()
    }

    package func timerFired(_ kind: UInt8) {
        if kind == Timer.backoff {
            backoffTimer = .none
            startAttempt()
        } else {
            timer = .none
            routeTimedOut()
        }
    }

    // MARK: Internal redirects

    /// Follows a redirect of the upstream where the route says so (envoy: internal_redirect_policy).
    private func followsRedirect(_ head: HeaderMap, status: Int, _ attempt: UpstreamRequest) -> Bool
    {
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
        stream.redirected(to: next, endStream: kept.isEmpty && trailers == nil)
        return true
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
