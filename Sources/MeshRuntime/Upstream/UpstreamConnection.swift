import MeshHTTP
import MeshNet

/// One connection of a pool: connects, carries one request after another, and leaves the pool as soon
/// as it could not carry the next.
///
/// Whatever ends it, its counts and its slot of the connection limit are given back once.
package final class UpstreamConnection {
    enum State { case connecting, ready, busy, closed }

    package let id: UInt64
    package var endpoint: Endpoint { pool.endpoint }
    /// What it connects to: the endpoint's address when it was made.
    package var remoteAddress: SocketAddress { account.remoteAddress }
    /// When it began to connect, when TCP was connected, and when TLS was established, where it is used.
    package var start: Instant { account.start }
    package var connectedAt: Instant? { connection?.connectedAt }
    package var securedAt: Instant? { account.securedAt }
    let pool: HTTPConnectionPool
    private(set) var state = State.connecting
    /// Requests it was given, the one under way included.
    package private(set) var requestCount = 0
    /// It takes no further request.
    private(set) var isDraining = false
    /// Where the pool keeps it.
    var position = 0

    private var account: UpstreamConnectionAccount
    private var connection: Connection? { account.connection }
    private var codec: (any ClientCodec)?
    private var stream: (any ClientStream)?
    private var idleSince: Instant
    private var idleTimer = TimerID.none
    private var durationTimer = TimerID.none
    /// A stream ended early, and the connection ends with it.
    private var hasLostStream = false
    /// Bytes are being delivered to the codec: the connection becomes ready only after it has seen all.
    private var isDelivering = false

    private enum Timer { static let idle: UInt8 = 0, duration: UInt8 = 1 }

    init(pool: HTTPConnectionPool) {
        self.pool = pool
        id = ConnectionID.next()
        account = UpstreamConnectionAccount(cluster: pool.cluster, endpoint: pool.endpoint)
        idleSince = pool.loop.now
    }

    // MARK: What logs and the router ask

    /// It served a request before the present one: if it dies now, that may be chance.
    package var isReused: Bool { requestCount > 1 }
    package private(set) lazy var localAddress: SocketAddress? =
        connection.flatMap { pool.loop.system.localAddress(of: $0.socket) }
    package var tls: TLSConnectionInfo? { connection?.tls }
    /// Why it could not be made, or why its TLS failed; empty otherwise.
    package var transportFailureReason: String { account.transportFailureReason }

    // MARK: Connecting

    /// Begins to connect. The pool hears the outcome later, never from inside this call.
    func connect() {
        pool.stats.upstreamCxHttp1Total.add()
        account.dial(
            pool.identity,
            usualALPN: pool.cluster.options.codec.applicationProtocol,
            for: self
        )
    }

    // MARK: Requests

    /// Opens a stream for the next request.
    func begin(_ delegate: any ClientStreamDelegate, requestsMax: Int?) -> (any ClientStream)? {
        guard let codec, state == .ready else { return nil }
        state = .busy
        requestCount += 1
        if let requestsMax, requestCount >= requestsMax {
            pool.stats.upstreamCxMaxRequests.add()
            isDraining = true
        }
        let stream = codec.openStream(delegate)
        self.stream = stream
        return stream
    }

    /// Takes no further request: closes at once where none is under way.
    func drain() {
        isDraining = true
        if state == .ready { close() }
    }

    /// As ``drain()``, but what is still connecting may serve those who wait for it.
    func drainUnlessConnecting() {
        if state != .connecting { drain() }
    }

    func close() {
        if let connection { connection.close() } else { closed(byPeer: false, .local) }
    }

    private func finishRequest() {
        guard let stream else { return }
        self.stream = nil
        pool.stats.upstreamCxTxBytesTotal.add(stream.bytesSent)
        pool.requestFinished()
    }

    private func becomeReady() {
        state = .ready
        idleSince = pool.loop.now
        if isDraining { close() } else { pool.isReady(self) }
    }

    // MARK: End

    private func closed(byPeer: Bool, _ reason: ConnectionCloseReason) {
        guard state != .closed else { return }
        let wasConnecting = state == .connecting
        let wasBusy = stream != nil || hasLostStream
        state = .closed
        pool.loop.cancel(&idleTimer)
        pool.loop.cancel(&durationTimer)
        account.closed(byPeer: byPeer, isBusy: wasBusy)
        if !wasConnecting { pool.stats.upstreamRqPerCx.record(UInt64(requestCount)) }
        pool.hasLost(self)
        // First the counts: whoever hears of the reset may try again at once, and needs the room.
        finishRequest()
        codec?.connectionClosed(.connectionTermination)
        if wasConnecting {
            pool.connectFailed(account.failure(reason))
        } else {
            pool.serveQueue()
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
        codec = options.codec.makeCodec(
            sink: connection,
            delegate: self,
            headers: pool.cluster.worker.headers
        )
        if let timeout = options.idleTimeout {
            idleTimer = pool.loop.arm(self, Timer.idle, after: timeout)
        }
        if let limit = options.maxConnectionDuration {
            durationTimer = pool.loop.arm(self, Timer.duration, after: limit)
        }
        pool.cluster.registerCodecStats()
        pool.hasConnected()
        becomeReady()
    }

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        guard state == .busy, let codec else {
            // Nobody has asked for these: whatever they are, they are not the next response.
            pool.stats.upstreamCxProtocolError.add()
            pool.stats.upstreamCxRxBytesTotal.add(UInt64(bytes.count))
            close()
            return bytes.count
        }
        isDelivering = true
        let consumed = codec.received(bytes)
        isDelivering = false
        pool.stats.upstreamCxRxBytesTotal.add(UInt64(consumed))
        if state == .busy, stream == nil {
            if consumed < bytes.count { close() } else { becomeReady() }
        }
        return consumed
    }

    package func connectionReadEnded(_ connection: Connection) {
        if let codec, stream != nil {
            isDelivering = true
            codec.receivedEnd()
            isDelivering = false
            // A tunnel may go on in the other direction.
            if stream != nil { return isDraining = true }
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

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        closed(byPeer: UpstreamConnectionAccount.isByPeer(connection, reason), reason)
    }
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
    }

    package func streamEnded(reusable: Bool) {
        guard state == .busy else { return }
        finishRequest()
        if !reusable { return close() }
        // Bytes behind the response are seen only when the codec has returned.
        if !isDelivering { becomeReady() }
    }

    package func closeAfterFlush() {
        isDraining = true
        pool.doesNotServe(self)
        connection?.closeAfterFlush()
    }
}

extension UpstreamConnection: TimerTarget {
    package func timerFired(_ kind: UInt8) {
        if kind == Timer.duration {
            durationTimer = .none
            pool.stats.upstreamCxMaxDurationReached.add()
            return drain()
        }
        // The timer runs on through requests and looks here how long the connection has really idled.
        idleTimer = .none
        guard let timeout = pool.cluster.options.idleTimeout else { return }
        let idle = state == .ready ? pool.loop.now - idleSince : .zero
        if state == .ready, idle >= timeout {
            pool.stats.upstreamCxIdleTimeout.add()
            return close()
        }
        idleTimer = pool.loop.arm(self, Timer.idle, after: Nanoseconds(timeout.count - idle.count))
    }
}
