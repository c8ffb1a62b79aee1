import MeshHTTP
import MeshNet

/// One connection of a pool: connects, carries requests, one after another or many at once, and leaves
/// the pool as soon as it could not carry the next.
///
/// Whatever ends it, its counts and its slot of the connection limit are given back once.
package final class UpstreamConnection {
    enum State { case connecting, open, closed }

    package let id: UInt64
    package var endpoint: Endpoint { pool.endpoint }
    /// What it connects to: the endpoint's address when it was made.
    package var remoteAddress: SocketAddress { account.remoteAddress }
    let pool: HTTPConnectionPool
    private(set) var state = State.connecting
    /// Requests it was given, those under way included.
    package private(set) var requestCount = 0
    /// Requests under way.
    private(set) var activeStreams = 0
    /// It takes no further request.
    private(set) var isDraining = false
    /// It ends for the sake of another worker, which gets its slot, as soon as nothing is under way.
    private(set) var isYielding = false
    private var hasTriedToYield = false
    /// Where the pool keeps it, and whether among those with room.
    var position = 0
    var isAvailable = false
    /// How many requests it is made for.
    let capacity: Int

    private var account: UpstreamConnectionAccount
    private var connection: Connection? { account.connection }
    private var codec: (any ClientCodec)?
    private var factory: (any ClientCodecFactory)?
    package private(set) var isMultiplexed = false
    private var bytesCounted: UInt64 = 0
    private var idleSince: Instant
    private var idleTimer = TimerID.none
    private var durationTimer = TimerID.none
    private var yieldTimer = TimerID.none
    /// We have said that it ends; the peer's FIN is the answer.
    private var isEnding = false
    /// A stream ended early, and the connection ends with it.
    private var hasLostStream = false
    /// Bytes are being delivered to the codec: in HTTP/1 there is room only after it has seen all.
    private var isDelivering = false

    /// Ends of requests that somebody times.
    private var marks = FlushMarks()

    private enum Timer { static let idle: UInt8 = 0, duration: UInt8 = 1, yield: UInt8 = 2 }

    /// The longest that a connection with requests under way takes no other, to leave its slot.
    private static let yieldPatience = Nanoseconds.milliseconds(100)

    init(pool: HTTPConnectionPool, capacity: Int) {
        self.pool = pool
        self.capacity = capacity
        id = ConnectionID.next()
        account = UpstreamConnectionAccount(cluster: pool.cluster, endpoint: pool.endpoint)
        idleSince = pool.loop.now
    }

    // MARK: What logs and the router ask

    /// It served a request before the present one: if it dies now, that may be chance.
    package var isReused: Bool { requestCount > 1 }
    /// What is spoken; nil before it is known.
    package var version: HTTPVersion? { factory?.version }
    package private(set) lazy var localAddress: SocketAddress? = connection?.localAddress
    package var tls: TLSConnectionInfo? { connection?.tls }
    /// When it began to connect, when TCP was connected, and when TLS was established, where it is used.
    package var start: Instant { account.start }
    package var connectedAt: Instant? { (connection?.connectedAt).map { max($0, start) } }
    package var securedAt: Instant? { account.securedAt }
    /// What it took to make it; nil once it has served another request than the present one.
    package var connectTime: Nanoseconds? {
        isReused ? nil : (securedAt ?? connectedAt).map { $0 - start }
    }
    /// Why it could not be made, or why its TLS failed; empty otherwise.
    package var transportFailureReason: String { account.transportFailureReason }

    // MARK: Connecting

    /// Begins to connect. The pool hears the outcome later, never from inside this call.
    func connect() {
        factory = pool.codec
        if let factory { countVersion(factory.version) }
        account.dial(
            pool.identity,
            usualALPN: factory?.applicationProtocols ?? UpstreamCodecs.negotiable,
            for: self
        )
    }

    private func countVersion(_ version: HTTPVersion?) {
        switch version {
        case .http2: pool.stats.upstreamCxHttp2Total.add()
        case .http10, .http11: pool.stats.upstreamCxHttp1Total.add()
        case nil: break
        }
    }

    // MARK: Requests

    /// Whether another request may begin on it now.
    var hasRoom: Bool {
        guard state == .open, !isDraining, !isYielding, isMultiplexed || !isDelivering, let codec
        else {
            return false
        }
        return codec.streamsAvailable > 0
    }

    /// Open, and nothing under way.
    var isIdle: Bool { state == .open && activeStreams == 0 }

    /// How many requests a connection like this one takes at once.
    var streamsExpected: Int { factory?.streamsPerConnection ?? 1 }

    /// Opens a stream for the next request; nil where there is no room.
    func begin(_ delegate: any ClientStreamDelegate, requestsMax: Int?) -> (any ClientStream)? {
        guard hasRoom, let codec else { return nil }
        activeStreams += 1
        requestCount += 1
        if let requestsMax, requestCount >= requestsMax {
            pool.stats.upstreamCxMaxRequests.add()
            isDraining = true
        }
        return codec.openStream(delegate)
    }

    /// Takes no further request: closes at once where none is under way.
    func drain() {
        isDraining = true
        pool.doesNotServe(self)
        if isIdle { end() }
    }

    /// Leaves its slot to another worker once the requests under way have ended. Where one of many lasts,
    /// that would be nobody's gain: then it serves on.
    func yieldToOthers() {
        guard !hasTriedToYield else { return }
        hasTriedToYield = true
        isYielding = true
        pool.doesNotServe(self)
        if isMultiplexed {
            yieldTimer = pool.loop.arm(self, Timer.yield, after: Self.yieldPatience)
        }
    }

    /// As ``drain()``, but what is still connecting may serve those who wait for it.
    func drainUnlessConnecting() {
        if state != .connecting { drain() }
    }

    func close() {
        if let connection { connection.close() } else { closed(byPeer: false, .local) }
    }

    /// Closes when nothing is under way. What a multiplexed connection still has to say is said, and so is
    /// the last of a tunnel's request.
    private func end() {
        guard isMultiplexed else {
            if connection?.hasPeerEnded ?? false { connection?.closeAfterFlush() } else { close() }
            return
        }
        guard !isEnding else { return }
        isEnding = true
        codec?.takeLeave()
        connection?.closeAfterFlush()
    }

    private func requestsFinished(_ count: Int) {
        activeStreams -= count
        countBytes()
        for _ in 0..<count { pool.requestFinished() }
    }

    private func countBytes() {
        guard let sent = connection?.bytesSent else { return }
        pool.stats.upstreamCxTxBytesTotal.add(sent &- bytesCounted)
        bytesCounted = sent
    }

    /// A request has ended, or there may be more room than before.
    private func settle() {
        guard state == .open else { return }
        if activeStreams == 0 {
            idleSince = pool.loop.now
            if isDraining || isYielding { return end() }
        }
        if hasRoom { pool.isReady(self) }
    }

    // MARK: End

    private func closed(byPeer: Bool, _ reason: ConnectionCloseReason) {
        guard state != .closed else { return }
        let wasConnecting = state == .connecting
        let wasBusy = activeStreams > 0 || hasLostStream
        state = .closed
        pool.loop.cancel(&idleTimer)
        pool.loop.cancel(&durationTimer)
        pool.loop.cancel(&yieldTimer)
        account.closed(byPeer: byPeer, isBusy: wasBusy)
        if !wasConnecting { pool.stats.upstreamRqPerCx.record(UInt64(requestCount)) }
        pool.hasLost(self)
        // First the counts: whoever hears of the reset may try again at once, and needs the room.
        requestsFinished(activeStreams)
        codec?.connectionClosed(.connectionTermination)
        if wasConnecting {
            pool.connectFailed(self, account.failure(reason))
        } else {
            pool.serveQueue(isYielded: isYielding)
        }
    }
}

extension UpstreamConnection: DeferredWork {
    /// Reports a connection that never had a socket.
    package func runDeferred() {
        closed(byPeer: account.isRefusedAtOnce, .local)
    }
}

extension UpstreamConnection: ConnectionDelegate {
    package func connectionEstablished(_ connection: Connection) {
        let options = pool.cluster.options
        account.established(connection)
        let factory = self.factory ?? options.codecs.negotiated(connection.tls?.alpn)
        if self.factory == nil { countVersion(factory.version) }
        self.factory = factory
        isMultiplexed = factory.version == .http2
        state = .open
        codec = factory.makeCodec(sink: connection, delegate: self, cluster: pool.cluster)
        if let timeout = options.idleTimeout {
            idleTimer = pool.loop.arm(self, Timer.idle, after: timeout)
        }
        if let limit = options.maxConnectionDuration {
            durationTimer = pool.loop.arm(self, Timer.duration, after: limit)
        }
        pool.cluster.registerCodecStats(factory.version)
        pool.hasConnected(self)
        settle()
    }

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        guard let codec, isMultiplexed || activeStreams > 0 else {
            // Nobody has asked for these: whatever they are, they are not the next response. Where no
            // protocol is spoken, the server speaks first and its client has gone.
            if version != nil { pool.stats.upstreamCxProtocolError.add() }
            pool.stats.upstreamCxRxBytesTotal.add(UInt64(bytes.count))
            close()
            return bytes.count
        }
        let wasActive = activeStreams > 0
        isDelivering = true
        let consumed = codec.received(bytes)
        isDelivering = false
        pool.stats.upstreamCxRxBytesTotal.add(UInt64(consumed))
        if !isMultiplexed, wasActive, activeStreams == 0, state == .open {
            if consumed < bytes.count { close() } else { settle() }
        }
        return consumed
    }

    package func connectionReadEnded(_ connection: Connection) {
        if let codec, activeStreams > 0 {
            isDelivering = true
            codec.receivedEnd()
            isDelivering = false
            if !isMultiplexed {
                // A tunnel may go on in the other direction, or has its last bytes to send.
                isDraining = true
                pool.doesNotServe(self)
                if activeStreams == 0 { end() }
                return
            }
        }
        close()
    }

    package func connectionOutputBlocked(_ connection: Connection) {
        pool.stats.upstreamFlowControlBackedUpTotal.add()
        codec?.outputBlocked()
    }

    package func connectionOutputUnblocked(_ connection: Connection) {
        pool.stats.upstreamFlowControlDrainedTotal.add()
        codec?.outputUnblocked()
    }

    package func connectionFlushed(_ connection: Connection) {
        var now: Instant?
        while let mark = marks.next(on: connection) {
            let time = now ?? pool.loop.system.now()
            now = time
            mark.requestFlushed(at: time)
        }
    }

    /// The request that `timing` measures was written: looks for its end in the output.
    package func requestWritten(_ timing: RequestTiming) {
        guard let connection, let mark = timing.requestMark(on: connection) else { return }
        if connection.bufferedBytes > 0 { return marks.append(mark, on: connection) }
        // Large pieces do not wait for the flush.
        mark.requestFlushed(at: timing.time(at: .requestFlushed))
    }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        let isByPeer = !isEnding && UpstreamConnectionAccount.isByPeer(connection, reason)
        closed(byPeer: isByPeer, reason)
    }
}

extension UpstreamConnection {
    package func countResetSent() { pool.stats.upstreamRqTxReset.add() }
    package func countResetReceived() { pool.stats.upstreamRqRxReset.add() }
}

extension UpstreamConnection: ClientCodecDelegate {
    package func connectionSpoiled(_ cause: ConnectionSpoilage) {
        switch cause {
        case .closeAnnounced, .goAway: pool.stats.upstreamCxCloseNotify.add()
        case .surplusBytes: pool.stats.upstreamCxProtocolError.add()
        case .protocolError:
            pool.stats.upstreamCxProtocolError.add()
            hasLostStream = true
        case .streamLost: hasLostStream = true
        }
        // The streams under way may go on, or are told by the codec.
        guard isMultiplexed, cause != .streamLost else { return }
        isDraining = true
        pool.doesNotServe(self)
    }

    package func streamEnded(reusable: Bool) {
        guard state == .open, activeStreams > 0 else { return }
        requestsFinished(1)
        if !reusable {
            isDraining = true
            pool.doesNotServe(self)
            if activeStreams == 0 { end() }
        } else if isMultiplexed || !isDelivering {
            // In HTTP/1, bytes behind the response are seen only when the codec has returned.
            settle()
        }
    }

    package func streamsAvailableChanged() {
        if hasRoom { pool.isReady(self) } else { pool.doesNotServe(self) }
    }

    package func closeAfterFlush() {
        isDraining = true
        pool.doesNotServe(self)
        connection?.closeAfterFlush()
    }

    package func closeNow() { close() }

    package func abort() { connection?.abort() }
}

extension UpstreamConnection: TimerTarget {
    package func timerFired(_ kind: UInt8) {
        if kind == Timer.yield {
            yieldTimer = .none
            isYielding = false
            return settle()
        }
        if kind == Timer.duration {
            durationTimer = .none
            pool.stats.upstreamCxMaxDurationReached.add()
            return drain()
        }
        // The timer runs on through requests and looks here how long the connection has really idled.
        idleTimer = .none
        guard let timeout = pool.cluster.options.idleTimeout else { return }
        let idle = isIdle ? pool.loop.now - idleSince : .zero
        if isIdle, idle >= timeout {
            pool.stats.upstreamCxIdleTimeout.add()
            return drain()
        }
        idleTimer = pool.loop.arm(self, Timer.idle, after: Nanoseconds(timeout.count - idle.count))
    }
}
