import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// One request and its response, between the codec and the router: prepares the request, drives the
/// filters, answers locally where nobody else does, keeps the stream's timers, and writes the log at
/// the end. Knows no wire protocol.
///
/// Life: opened by the codec with the request's first byte → head → filters → ``RouterFilter`` →
/// response through the filters in reverse → ``finish()``. Whatever ends the stream goes through there.
package final class HTTPStream: ServerStreamDelegate, TimerTarget {
    package let manager: HTTPConnectionManager
    package let info: StreamInfo
    let wire: any ServerStream
    private var router: RouterFilter?

    /// The request's fields, after preparation. Empty before the head has arrived.
    package private(set) var request: HeaderMap
    /// The fields of the response on its way, for logs.
    package private(set) var response: HeaderMap?
    package private(set) var responseTrailers: HeaderMap?
    /// What the route table says of the request; not found before it was asked.
    package private(set) var decision = RouteDecision.notFound(nil)
    /// The request asks for another protocol, and may have it.
    package var isUpgrade = false
    /// Whether the client sits inside the mesh (envoy: x-envoy-internal).
    package var isInternalRequest = false
    /// The client speaks gRPC, whatever filters make of its request: local replies are gRPC's.
    package private(set) var isGRPC = false

    package private(set) var hasRequestHead = false
    /// The request has ended, though held parts may still be on their way through the filters.
    package private(set) var isRequestComplete = false
    package private(set) var isResponseStarted = false
    package private(set) var isFinished = false
    private(set) var isResponseComplete = false

    private var filters: [any HTTPFilter] = []
    /// Of the filters that read or change bodies; nil where there are none.
    private var bodies: HTTPBodyFilters?
    /// The filter that suspended the request or response; nil while nothing is suspended.
    private var requestSuspendedAt: Int?
    private var responseSuspendedAt: Int?
    private var heldRequest = HeldParts()
    private var heldResponse = HeldParts()
    private var isHeldRequestPaused = false
    private var isHeldResponsePaused = false

    private var idleTimer = TimerID.none
    private var requestTimer = TimerID.none
    private var headersTimer = TimerID.none
    private var durationTimer = TimerID.none
    private var idleTimeout: Nanoseconds?
    private var lastActivity: Instant

    private enum Timer {
        static let idle: UInt8 = 0, request: UInt8 = 1, headers: UInt8 = 2, duration: UInt8 = 3
    }

    init(_ manager: HTTPConnectionManager, wire: any ServerStream) {
        self.manager = manager
        self.wire = wire
        info = StreamInfo(
            connection: manager.connectionInfo,
            start: manager.loop.now,
            startWall: manager.worker.wallClock
        )
        lastActivity = manager.loop.now
        request = manager.worker.emptyHeaders
    }

    /// Counts the request and arms its timers.
    func begin() {
        info.httpVersion = wire.version
        beginTiming()
        settings.requestBegan(wire.version)
        if let timeout = settings.requestHeadersTimeout {
            headersTimer = loop.arm(self, Timer.headers, after: timeout)
        }
        if let timeout = settings.requestTimeout {
            requestTimer = loop.arm(self, Timer.request, after: timeout)
        }
        if let timeout = settings.streamIdleTimeout {
            idleTimeout = timeout
            idleTimer = loop.arm(self, Timer.idle, after: timeout)
        }
    }

    package var loop: EventLoop { manager.loop }
    package var worker: Worker { manager.worker }
    package var settings: HTTPConnectionManagerSettings { manager.settings }

    // MARK: Request

    package func requestHead(_ head: HeaderMap, endStream: Bool) {
        request = head
        hasRequestHead = true
        info.httpVersion = wire.version
        loop.cancel(&headersTimer)
        noteActivity()
        headParsed(head)
        if endStream { requestEnded(at: latestTime) }
        isGRPC = GRPC.isRequest(head)
        let isExplained = takesExplainHeader(head)
        let refusal = settings.preparation.prepare(self, head)
        armDurationTimer()
        if isExplained { return sendExplanation(refusal) }
        if let refusal { return sendLocalReply(refusal) }
        if let timeout = action?.idleTimeout { replaceIdleTimeout(timeout) }
        router = RouterFilter(self)
        makeFilters()
        continueRequest(from: 0, endStream: endStream)
    }

    private func makeFilters() {
        for (at, factory) in settings.filters.enumerated()
        where !factory.isSkipped(filterSetting(at: at)) {
            guard let filter = factory.filter(for: self) else { continue }
            filters.append(filter)
            if let body = filter.body { HTTPBodyFilters.add(body, to: &bodies) }
        }
        if !filters.isEmpty { info.timing?.use { $0.filtersBegin() } }
    }

    /// What the route does with the request, where it forwards it.
    private var action: ForwardAction? {
        if case .route(let selection) = decision { selection.forward } else { nil }
    }

    /// Puts the route in force.
    package func choose(_ decision: RouteDecision) {
        self.decision = decision
        if case .notFound(let host?) = decision { info.route = host.labels }
        guard case .route(let selection) = decision else { return }
        info.route = selection.route.labels
        // Logs name the cluster even where a filter refuses the request (envoy: UPSTREAM_CLUSTER).
        info.cluster = nil
        guard hasRequestHead, let action = selection.forward else { return }
        info.cluster = action.chosenCluster(request, selection, worker.clusters)?.labels
    }

    /// An internal redirect has made the request another one: all filters judge it anew.
    func redirected(to next: RouteDecision, endStream: Bool) {
        for filter in filters { filter.streamEnded(self) }
        filters.removeAll()
        bodies = nil
        info.forgetUpstream()
        choose(next)
        loop.cancel(&durationTimer)
        armDurationTimer()
        replaceIdleTimeout(action?.idleTimeout ?? settings.streamIdleTimeout ?? .zero)
        makeFilters()
        continueRequest(from: 0, endStream: endStream)
    }

    private func armDurationTimer() {
        if let limit = durationMax(action) {
            durationTimer = loop.arm(self, Timer.duration, after: limit)
        }
    }

    /// Runs the head through the filters from the given one on, then to the router.
    private func continueRequest(from first: Int, endStream: Bool) {
        for at in first..<filters.count {
            // Assumed until the filter says otherwise: it may resume from inside the call.
            requestSuspendedAt = at
            let verdict = filters[at].requestHead(request, endStream: endStream, of: self)
            guard !isFinished, !isResponseStarted else { return }
            if verdict == .suspend { return }
            requestSuspendedAt = nil
        }
        info.timing?.use { $0.filtersPassed(hadFilters: !filters.isEmpty) }
        router?.requestHead(request, endStream: endStream)
    }

    /// A filter that suspended the request lets it go on.
    package func resumeRequest() {
        guard let at = requestSuspendedAt, !isFinished, !isResponseStarted else { return }
        requestSuspendedAt = nil
        let hasMore = !heldRequest.body.isEmpty || heldRequest.trailers != nil
        continueRequest(from: at + 1, endStream: isRequestComplete && !hasMore)
        guard requestSuspendedAt == nil, !isFinished, hasMore else { return }
        let ended = heldRequest.hasEnded
        if !heldRequest.body.isEmpty {
            let isLast = ended && heldRequest.trailers == nil
            let body = heldRequest.takeBody()
            forwardRequestData(body.bytes, endStream: isLast)
        }
        if let trailers = heldRequest.trailers { forwardRequestTrailers(trailers) }
        if isHeldRequestPaused, !isFinished {
            isHeldRequestPaused = false
            wire.resumeReading()
        }
    }

    package func requestData(_ bytes: Bytes, endStream: Bool) {
        guard !isFinished else { return }
        noteActivity()
        info.bytesReceived &+= UInt64(bytes.count)
        if endStream { requestEnded(at: time(at: .requestEnd)) }
        guard requestSuspendedAt == nil else {
            heldRequest.body.append(bytes)
            heldRequest.hasEnded = endStream
            if heldRequest.body.count > settings.bufferLimit, !isHeldRequestPaused {
                isHeldRequestPaused = true
                wire.pauseReading()
            }
            return
        }
        forwardRequestData(bytes, endStream: endStream)
    }

    package func requestTrailers(_ trailers: HeaderMap) {
        guard !isFinished else { return }
        noteActivity()
        requestEnded(at: time(at: .requestEnd))
        guard requestSuspendedAt == nil else {
            heldRequest.trailers = trailers
            heldRequest.hasEnded = true
            return
        }
        forwardRequestTrailers(trailers)
    }

    private func forwardRequestData(_ bytes: Bytes, endStream: Bool) {
        guard !isFinished else { return }
        guard let bodies else {
            router?.requestData(bytes, endStream: endStream)
            return
        }
        bodies.requestData(bytes, endStream: endStream, of: self) {
            router?.requestData($0, endStream: endStream)
        }
    }

    private func forwardRequestTrailers(_ trailers: HeaderMap) {
        guard !isFinished else { return }
        if let bodies, !bodies.requestTrailers(trailers, of: self) { return }
        router?.requestTrailers(trailers)
    }

    private func requestEnded(at time: Instant) {
        isRequestComplete = true
        info.lastDownstreamByteReceived = time
        loop.cancel(&requestTimer)
    }

    /// Pauses the client's sending; counted.
    package func pauseRequest() { wire.pauseReading() }
    package func resumeRequestReading() { wire.resumeReading() }

    // MARK: Response

    /// An informational head (RFC 9110 §15.2) goes to the client as it is.
    package func sendInformational(_ head: HeaderMap) {
        guard !isFinished, !isResponseStarted else { return }
        settings.responseBegan(Self.status(of: head))
        wire.sendInformational(head)
    }

    /// The response begins: from upstream, or as a local reply.
    package func sendResponseHead(_ head: HeaderMap, endStream: Bool) {
        guard !isFinished, !isResponseStarted else { return }
        isResponseStarted = true
        requestSuspendedAt = nil
        info.timing?.use { $0.responseStarts() }
        response = head
        noteActivity()
        continueResponse(head, from: filters.count - 1, endStream: endStream)
    }

    private func continueResponse(_ head: HeaderMap, from last: Int, endStream: Bool) {
        var at = last
        while at >= 0 {
            responseSuspendedAt = at
            let verdict = filters[at].responseHead(head, endStream: endStream, of: self)
            guard !isFinished else { return }
            if verdict == .suspend { return }
            responseSuspendedAt = nil
            at -= 1
        }
        settings.finisher.finish(head, request: hasRequestHead ? request : nil)
        if !head.contains(.date) { worker.withDate { head.append(.date, $0) } }
        let status = Self.status(of: head)
        info.responseCode = status
        settings.responseBegan(status)
        info.firstDownstreamByteSent = time(at: .responseBegin)
        showTiming(in: head)
        if manager.closesAfter(self) { wire.closeAfterResponse() }
        if endStream { responseEnds() }
        wire.sendHead(head, endStream: endStream)
        if info.timing != nil, !isRequestComplete, isTunnel { tunnelBegan() }
    }

    /// A filter that suspended the response lets it go on.
    package func resumeResponse() {
        guard let at = responseSuspendedAt, let head = response, !isFinished else { return }
        responseSuspendedAt = nil
        let hasMore = !heldResponse.body.isEmpty || heldResponse.trailers != nil
        continueResponse(head, from: at - 1, endStream: heldResponse.hasEnded && !hasMore)
        guard responseSuspendedAt == nil, !isFinished, hasMore else { return }
        if !heldResponse.body.isEmpty {
            let isLast = heldResponse.hasEnded && heldResponse.trailers == nil
            let body = heldResponse.takeBody()
            writeResponseData(body.bytes, endStream: isLast)
        }
        if let trailers = heldResponse.trailers, !isFinished { writeResponseTrailers(trailers) }
        if isHeldResponsePaused, !isFinished {
            isHeldResponsePaused = false
            router?.resumeResponse()
        }
    }

    package func sendResponseData(_ bytes: Bytes, endStream: Bool) {
        guard !isFinished, isResponseStarted else { return }
        noteActivity()
        guard responseSuspendedAt == nil else {
            heldResponse.body.append(bytes)
            heldResponse.hasEnded = endStream
            return responseHeld()
        }
        writeResponseData(bytes, endStream: endStream)
    }

    package func sendResponseTrailers(_ trailers: HeaderMap) {
        guard !isFinished, isResponseStarted else { return }
        noteActivity()
        guard responseSuspendedAt == nil else {
            heldResponse.trailers = trailers
            heldResponse.hasEnded = true
            return responseHeld()
        }
        writeResponseTrailers(trailers)
    }

    /// More of the response has come to the filter that suspended it.
    private func responseHeld() {
        guard let at = responseSuspendedAt, let head = response else { return }
        if let body = filters[at].body,
            body.responseHeld(head, &heldResponse, of: self) == .proceed
        {
            return resumeResponse()
        }
        guard heldResponse.body.count > settings.bufferLimit, !isHeldResponsePaused else { return }
        isHeldResponsePaused = true
        router?.pauseResponse()
    }

    private func writeResponseData(_ bytes: Bytes, endStream: Bool) {
        guard let bodies else { return sendToClient(bytes, endStream: endStream) }
        bodies.responseData(bytes, endStream: endStream, of: self) {
            sendToClient($0, endStream: endStream)
        }
    }

    private func sendToClient(_ bytes: Bytes, endStream: Bool) {
        info.bytesSent &+= UInt64(bytes.count)
        if endStream { responseEnds() }
        wire.sendData(bytes, endStream: endStream)
    }

    private func writeResponseTrailers(_ trailers: HeaderMap) {
        responseTrailers = trailers
        if let bodies {
            let isBody = bodies.responseTrailers(trailers, of: self) {
                sendToClient($0, endStream: true)
            }
            if isBody || isFinished { return }
        }
        responseEnds()
        wire.sendTrailers(trailers)
    }

    /// The last part goes to the codec now, which answers with ``responseSent()``.
    private func responseEnds() {
        isResponseComplete = true
        info.lastDownstreamByteSent = time(at: .responseEnd)
        guard !isRequestComplete, !isTunnel else { return }
        // The rest of the request will be thrown away with its connection.
        settings.stats.downstreamRqResponseBeforeRqComplete.add()
        settings.stats.downstreamRqRxReset.add()
    }

    package func responseSent() { finish() }

    /// The response cannot be completed: upstream ended in the middle of it.
    package func abortResponse(_ reason: StreamResetReason) {
        guard !isFinished else { return }
        // Envoy counts a reset of ours in both directions.
        settings.stats.downstreamRqTxReset.add()
        settings.stats.downstreamRqRxReset.add()
        // What the upstream broke is not the client's fault.
        wire.reset(reason == .protocolError ? .localReset : reason)
        finish()
    }

    // MARK: Local replies

    /// Answers the request here. If a response is under way already, the stream is reset instead.
    package func sendLocalReply(_ reply: LocalReply) {
        guard !isFinished else { return }
        info.flags.formUnion(reply.flags)
        info.responseCodeDetails = reply.detailsText
        guard !isResponseStarted else {
            return abortResponse(.localReset)
        }
        router?.abandon()
        if endsConnection(reply) { wire.closeAfterResponse() }
        let taken = worker.headers.take()
        let head = taken.takeUnretainedValue()
        var body = ByteBuffer()
        settings.localReplies.render(reply, for: self, head: head, body: &body)
        let isHead = request[.method]?.equals("HEAD") ?? false
        let hasBody = !body.isEmpty && !isHead
        sendResponseHead(head, endStream: !hasBody)
        if hasBody { sendResponseData(body.bytes, endStream: true) }
        worker.headers.give(taken)
    }

    // MARK: Flow control

    package func responseBlocked() { router?.pauseResponse() }
    package func responseUnblocked() { router?.resumeResponse() }

    // MARK: Timers

    private func noteActivity() { lastActivity = loop.now }

    private func replaceIdleTimeout(_ timeout: Nanoseconds) {
        loop.cancel(&idleTimer)
        idleTimeout = timeout == .zero ? nil : timeout
        if let idleTimeout { idleTimer = loop.arm(self, Timer.idle, after: idleTimeout) }
    }

    package func timerFired(_ kind: UInt8) {
        guard !isFinished else { return }
        switch kind {
        case Timer.idle: idleTimerFired()
        case Timer.headers:
            headersTimer = .none
            settings.stats.downstreamRqHeaderTimeout.add()
            sendLocalReply(.requestHeaderTimeout)
        case Timer.request:
            requestTimer = .none
            settings.stats.downstreamRqTimeout.add()
            sendLocalReply(.requestTimeout)
        default:
            durationTimer = .none
            settings.stats.downstreamRqMaxDurationReached.add()
            sendLocalReply(.maxDurationExceeded(requestComplete: isRequestComplete))
        }
    }

    private func idleTimerFired() {
        idleTimer = .none
        guard let idleTimeout else { return }
        // Activity only notes the time; the timer finds out here how much is left.
        let quiet = loop.now - lastActivity
        if quiet < idleTimeout {
            let rest = Nanoseconds(idleTimeout.count - quiet.count)
            idleTimer = loop.arm(self, Timer.idle, after: rest)
            return
        }
        settings.stats.downstreamRqIdleTimeout.add()
        info.flags.insert(.streamIdleTimeout)
        // Before the response has begun the client hears why (envoy: stream_idle_timeout).
        sendLocalReply(isRequestComplete ? .streamIdleTimeout : .streamIdleTimeoutInRequest)
    }

    // MARK: End

    /// The one end of every stream: releases the upstream, logs, counts, and tells the manager.
    func finish() {
        guard !isFinished else { return }
        isFinished = true
        loop.cancel(&idleTimer)
        loop.cancel(&requestTimer)
        loop.cancel(&headersTimer)
        loop.cancel(&durationTimer)
        router?.abandon()
        router = nil
        info.end = loop.now
        info.wireBytesReceived = wire.bytesReceived
        info.wireBytesSent = wire.bytesSent
        for filter in filters { filter.streamEnded(self) }
        settings.requestEnded(self)
        for log in settings.accessLogs { log.log(formatContext()) }
        endTiming()
        filters.removeAll()
        manager.streamEnded(self)
    }
}
