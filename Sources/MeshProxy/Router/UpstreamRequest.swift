import MeshHTTP
import MeshNet
import MeshRuntime

/// One attempt at a request: from the pool's queue, through one upstream stream, to its end.
///
/// Translates what the pool and the codec say into the router's few events, and makes sure that after
/// ``abandon()`` nothing of this attempt reaches anybody.
package final class UpstreamRequest: PoolWaiter, ClientStreamDelegate, TimerTarget {
    private enum State {
        case waiting
        case active(any ClientStream)
        case ended
    }

    private let router: RouterFilter
    private let stream: HTTPStream
    private var state = State.waiting
    private var ticket: PoolTicket?
    private(set) var connection: UpstreamConnection?
    /// Where it went, or would have gone; nil while it waits.
    private(set) var endpoint: Endpoint?
    /// The whole request has been handed to the upstream's codec.
    private(set) var isRequestSent = false
    private(set) var hasRequestBegun = false
    private(set) var hasBodyBegun = false
    /// Something of the response, informational heads included, has arrived.
    private(set) var hasResponseBegun = false
    private var isResponseHeadReceived = false
    private(set) var isResponseEnded = false
    /// The client is paused on this attempt's behalf.
    private var isRequestBlocked = false
    private var perTryTimer = TimerID.none
    private var idleTimer = TimerID.none
    private var durationTimer = TimerID.none
    private let idleTimeout: Nanoseconds
    private let duration: Nanoseconds

    private enum Timer { static let perTry: UInt8 = 0, idle: UInt8 = 1, duration: UInt8 = 2 }

    /// - Parameters:
    ///   - idleTimeout: between two signs of life.
    ///   - duration: from the attempt's begin to its response's end. Zero is none in both.
    init(
        _ router: RouterFilter,
        stream: HTTPStream,
        idleTimeout: Nanoseconds,
        duration: Nanoseconds
    ) {
        self.router = router
        self.stream = stream
        self.idleTimeout = idleTimeout
        self.duration = duration
    }

    var isReady: Bool { if case .active = state { true } else { false } }
    var isConnectionReused: Bool { connection?.isReused ?? false }
    var isEnded: Bool { if case .ended = state { true } else { false } }
    private var loop: EventLoop { stream.loop }

    /// Where the attempt may be found again in the pool's queue.
    func isQueued(as ticket: PoolTicket) {
        if case .waiting = state { self.ticket = ticket }
    }

    // MARK: PoolWaiter

    package func poolReady(_ upstream: any ClientStream, on connection: UpstreamConnection) {
        let hasWaited = ticket != nil
        ticket = nil
        guard case .waiting = state else { return upstream.reset(.localReset) }
        state = .active(upstream)
        self.connection = connection
        endpoint = connection.endpoint
        let info = stream.info
        info.upstreamLocalAddress = connection.localAddress
        info.upstreamTLS = connection.tls
        info.upstreamConnectStart = connection.start
        info.upstreamConnectEnd = connection.connectedAt
        info.upstreamHandshakeEnd = connection.securedAt
        info.upstreamConnectionID = connection.id
        info.timing?.use {
            $0.poolReady(hasWaited: hasWaited, connect: connection.connectTime)
        }
        if idleTimeout > .zero { idleTimer = loop.arm(self, Timer.idle, after: idleTimeout) }
        if duration > .zero { durationTimer = loop.arm(self, Timer.duration, after: duration) }
        router.attemptReady(self, connection)
    }

    package func poolFailed(_ failure: PoolFailure) {
        ticket = nil
        guard case .waiting = state else { return }
        end()
        endpoint = failure.endpoint
        if let endpoint { router.attempted(endpoint) }
        router.attemptReset(
            self,
            failure.resetReason,
            transportFailure: failure.transportFailureReason
        )
    }

    // MARK: Sending

    func send(head: HeaderMap, endStream: Bool) {
        guard case .active(let upstream) = state else { return }
        hasRequestBegun = true
        let points = endStream ? Self.wholeRequest : .upstreamRequestBegin
        let now = stream.time(at: points)
        stream.info.firstUpstreamByteSent = now
        if endStream { requestSent(at: now) }
        upstream.sendHead(head, endStream: endStream)
        if endStream { requestWritten() }
    }

    /// One reading is enough for a request that is a head.
    private static let wholeRequest: TimePoints = [.upstreamRequestBegin, .upstreamRequestEnd]

    func send(_ bytes: Bytes, endStream: Bool) {
        guard case .active(let upstream) = state else { return }
        hasBodyBegun = true
        restartIdleTimer()
        if endStream { requestSent(at: stream.time(at: .upstreamRequestEnd)) }
        upstream.sendData(bytes, endStream: endStream)
        if endStream { requestWritten() }
        if endStream, isResponseEnded { bothEnded() }
    }

    func send(trailers: HeaderMap) {
        guard case .active(let upstream) = state else { return }
        requestSent(at: stream.time(at: .upstreamRequestEnd))
        upstream.sendTrailers(trailers)
        requestWritten()
    }

    private func requestSent(at time: Instant) {
        isRequestSent = true
        stream.info.lastUpstreamByteSent = time
    }

    /// All of it is in the connection's output, as far as windows allow; of a tunnel's, the head.
    func requestWritten() {
        guard let timing = stream.info.timing?.counted else { return }
        connection?.requestWritten(timing)
    }

    /// The client has sent the whole request: the time allowed for this attempt begins
    /// (envoy: per_try_timeout).
    func requestComplete(perTryTimeout: Nanoseconds) {
        guard perTryTimeout > .zero, perTryTimer.isNone, !isResponseHeadReceived, isReady else {
            return
        }
        perTryTimer = loop.arm(self, Timer.perTry, after: perTryTimeout)
    }

    // MARK: ClientStreamDelegate

    package func responseInformational(_ head: HeaderMap) {
        noteResponse()
        router.responseInformational(head)
    }

    package func responseHead(_ head: HeaderMap, endStream: Bool) {
        noteResponse()
        isResponseHeadReceived = true
        stream.info.timing?.use { $0.responseBegan() }
        loop.cancel(&perTryTimer)
        if endStream { responseEnded() }
        router.responseHead(head, endStream: endStream, from: self)
    }

    package func responseData(_ bytes: Bytes, endStream: Bool) {
        restartIdleTimer()
        if !bytes.isEmpty { stream.info.timing?.use { $0.responseBodyBegan() } }
        if endStream { responseEnded() }
        router.responseData(bytes, endStream: endStream, from: self)
    }

    package func responseTrailers(_ trailers: HeaderMap) {
        responseEnded()
        router.responseTrailers(trailers, from: self)
    }

    package func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        guard !isEnded else { return }
        recordWireBytes()
        countReset(reason)
        end()
        let transportFailure = connection?.transportFailureReason ?? ""
        router.attemptReset(self, reason, transportFailure: transportFailure)
    }

    package func requestBlocked() {
        guard isReady, !isRequestBlocked else { return }
        isRequestBlocked = true
        stream.pauseRequest()
    }

    package func requestUnblocked() {
        guard isRequestBlocked else { return }
        isRequestBlocked = false
        stream.resumeRequestReading()
    }

    private func noteResponse() {
        restartIdleTimer()
        guard !hasResponseBegun else { return }
        hasResponseBegun = true
        stream.info.firstUpstreamByteReceived = stream.time(at: .upstreamResponseBegin)
    }

    private func responseEnded() {
        isResponseEnded = true
        stream.info.lastUpstreamByteReceived = stream.time(at: .upstreamResponseEnd)
        stream.info.timing?.use { $0.responseEnded() }
        // With its request unfinished the stream is still to be given up, see ``abandon()``, or is a tunnel.
        if isRequestSent { bothEnded() }
    }

    private func bothEnded() {
        recordWireBytes()
        end()
    }

    /// Resets of single streams, which HTTP/1 does not have.
    private func countReset(_ reason: StreamResetReason) {
        guard let connection, connection.isMultiplexed else { return }
        switch reason {
        case .localReset, .protocolError: connection.countResetSent()
        case .remoteReset: connection.countResetReceived()
        default: break
        }
    }

    private func recordWireBytes() {
        guard case .active(let upstream) = state else { return }
        stream.info.upstreamWireBytesReceived &+= upstream.bytesReceived
        stream.info.upstreamWireBytesSent &+= upstream.bytesSent
    }

    // MARK: Flow control

    func pauseResponse() {
        if case .active(let upstream) = state { upstream.pauseReading() }
    }

    func resumeResponse() {
        if case .active(let upstream) = state { upstream.resumeReading() }
    }

    // MARK: End

    package func timerFired(_ kind: UInt8) {
        switch kind {
        case Timer.perTry:
            perTryTimer = .none
            router.attemptTimedOut(self, .perTry)
        case Timer.idle:
            idleTimer = .none
            router.attemptTimedOut(self, .perTryIdle)
        default:
            durationTimer = .none
            router.attemptTimedOut(self, .streamDuration)
        }
    }

    private func restartIdleTimer() {
        guard idleTimeout > .zero else { return }
        loop.cancel(&idleTimer)
        idleTimer = loop.arm(self, Timer.idle, after: idleTimeout)
    }

    private func end() {
        state = .ended
        loop.cancel(&perTryTimer)
        loop.cancel(&idleTimer)
        loop.cancel(&durationTimer)
        // The next attempt may want what this one did not take.
        requestUnblocked()
    }

    /// Gives the attempt up, wherever it is. Nobody hears of it again.
    func abandon() {
        switch state {
        case .waiting:
            if let ticket { ticket.pool?.cancel(ticket) }
        case .active(let upstream):
            recordWireBytes()
            if !isResponseEnded { countReset(.localReset) }
            upstream.reset(.localReset)
        case .ended:
            return
        }
        ticket = nil
        end()
    }
}
