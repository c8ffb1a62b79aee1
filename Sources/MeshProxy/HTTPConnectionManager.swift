import MeshHTTP
import MeshNet
import MeshRuntime

/// One downstream HTTP connection: joins its codec to its streams and ends it in good order.
///
/// Holds no buffer and no header map while idle. Knows the codec only by its contract.
package final class HTTPConnectionManager: ConnectionDelegate, ServerCodecDelegate, TimerTarget {
    package let settings: HTTPConnectionManagerSettings
    package let connectionInfo: ConnectionInfo
    package let worker: Worker

    private var connection: Connection?
    /// Chosen with the first bytes: an idle connection has none.
    private var codec: (any ServerCodec)?
    private var version: HTTPVersion?
    private var streams = 0
    private var requestsServed = 0
    /// The client has sent its FIN: whoever closes now, it was the client who left.
    private var peerHasEnded = false
    private var countedBytes: (in: UInt64, out: UInt64) = (0, 0)
    private var timer = TimerID.none
    private var durationTimer = TimerID.none
    private var drain = DrainState.none

    /// How far the end of this connection has come.
    private enum DrainState {
        case none
        /// The next response says `connection: close`; an idle connection is closed soon.
        case draining
        case closing
    }

    /// Ends of responses that somebody times.
    private var marks = FlushMarks()

    private enum Timer { static let idle: UInt8 = 0, drain: UInt8 = 1, duration: UInt8 = 2 }

    package init(settings: HTTPConnectionManagerSettings, info: ConnectionInfo, worker: Worker) {
        self.settings = settings
        connectionInfo = info
        self.worker = worker
        settings.connectionOpened()
    }

    package var loop: EventLoop { worker.loop }

    // MARK: ConnectionDelegate

    package func connectionEstablished(_ connection: Connection) {
        self.connection = connection
        connection.lingerTimeout = settings.delayedCloseTimeout
        // Envoy allows as little as this for the rest of the output; a slow reader would miss its end, for
        // the kernel tells of progress only by the third of its buffer.
        connection.closingStallMax = max(connection.closingStallMax, settings.delayedCloseTimeout)
        worker.connections.insert(self)
        if let timeout = settings.connectionDurationMax {
            durationTimer = loop.arm(self, Timer.duration, after: timeout)
        }
        armIdleTimer()
        if worker.isDraining { startDrain() }
    }

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        if codec == nil, !chooseCodec(connection, bytes) { return 0 }
        return codec?.received(bytes) ?? bytes.count
    }

    /// False while more bytes are needed to tell.
    private func chooseCodec(_ connection: Connection, _ bytes: Bytes) -> Bool {
        guard let version = settings.version(of: connection, first: bytes) else { return false }
        self.version = version
        settings.connectionSpeaks(version)
        codec = settings.makeCodec(version, connection, self)
        if case .draining = drain, worker.isDraining { codec?.startDrain() }
        return true
    }

    package func connectionReadEnded(_ connection: Connection) {
        peerHasEnded = true
        codec?.receivedEnd()
        if streams == 0 { connection.closeAfterFlush() }
    }

    package func connectionOutputBlocked(_ connection: Connection) {
        settings.stats.downstreamFlowControlPausedReadingTotal.add()
        codec?.outputBlocked()
    }

    package func connectionOutputUnblocked(_ connection: Connection) {
        settings.stats.downstreamFlowControlResumedReadingTotal.add()
        codec?.outputUnblocked()
    }

    package func connectionFlushed(_ connection: Connection) {
        var now: Instant?
        while let mark = marks.next(on: connection) {
            let time = now ?? loop.system.now()
            now = time
            mark.responseFlushed(at: time)
        }
    }

    /// The response that `timing` measures was written: looks for its end in the output.
    func responseWritten(_ timing: RequestTiming) {
        guard let connection else { return timing.end(at: loop.now) }
        // Large pieces do not wait for the flush.
        if connection.bufferedBytes == 0 { return timing.end(at: timing.time(at: .phases)) }
        guard let mark = timing.responseMark(on: connection) else { return }
        marks.append(mark, on: connection)
    }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        loop.cancel(&timer)
        loop.cancel(&durationTimer)
        settings.countBytes(of: connection, since: &countedBytes)
        settings.connectionClosed(
            connection,
            connectionInfo,
            reason,
            version,
            activeStreams: streams,
            peerHasEnded: peerHasEnded,
            now: loop.now
        )
        codec?.connectionClosed(.connectionTermination)
        codec = nil
        self.connection = nil
        while let mark = marks.nextLost() { mark.responseFlushed(at: loop.now) }
        worker.connections.remove(self)
    }

    // MARK: ServerCodecDelegate

    package func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        loop.cancel(&timer)
        streams += 1
        requestsServed += 1
        let request = HTTPStream(self, wire: stream)
        request.begin()
        return request
    }

    package func closeAfterFlush() {
        drain = .closing
        connection?.closeAfterFlush()
    }

    package func abort() {
        drain = .closing
        connection?.abort()
    }

    package func connectionRefused(_ error: CodecError) {
        if error.isProtocolError { settings.stats.downstreamCxProtocolError.add() }
        if error.isForPrematureResets { settings.stats.downstreamRqTooManyPrematureResets.add() }
        worker.log.debug(.http, "connection refused: \(error.reason)")
    }

    // MARK: Streams

    /// Whether the response on this stream is the connection's last.
    func closesAfter(_ stream: HTTPStream) -> Bool {
        if case .none = drain, let limit = settings.requestsPerConnectionMax,
            requestsServed >= limit
        {
            settings.stats.downstreamCxMaxRequestsReached.add()
            drain = .draining
        }
        guard case .none = drain else { return true }
        let isAskedToGo =
            worker.isDraining || worker.isFailingHealthChecks
            || settings.drain?.isDecided(at: loop.now, random: worker.random.next()) ?? false
        if isAskedToGo { settings.stats.downstreamCxDrainClose.add() }
        return isAskedToGo
    }

    func streamEnded(_ stream: HTTPStream) {
        streams -= 1
        guard streams == 0, let connection, !connection.isClosed else { return }
        settings.countBytes(of: connection, since: &countedBytes)
        armIdleTimer()
    }

    // MARK: Ending

    private func armIdleTimer() {
        guard timer.isNone, let timeout = settings.idleTimeout else { return }
        timer = loop.arm(self, Timer.idle, after: timeout)
    }

    /// Lets the request under way finish and takes no other; an idle connection closes.
    package func startDrain() {
        guard case .none = drain else { return }
        drain = .draining
        codec?.startDrain()
        if codec?.isIdle ?? true { close() }
    }

    package func timerFired(_ kind: UInt8) {
        switch kind {
        case Timer.idle:
            timer = .none
            settings.stats.downstreamCxIdleTimeout.add()
            beginDrainSequence()
        case Timer.duration:
            durationTimer = .none
            settings.stats.downstreamCxMaxDurationReached.add()
            beginDrainSequence()
        default:
            timer = .none
            if version == .http2 { codec?.startDrain() }
            if streams == 0 { close() }
        }
    }

    /// As Envoy ends an idle or over-aged connection: for a while a request that is already on its way
    /// is still served, with `connection: close`, then the connection is closed (envoy: drain_timeout).
    /// Over HTTP/2 a GOAWAY says so at once.
    private func beginDrainSequence() {
        guard case .none = drain else { return }
        drain = .draining
        if version == .http2 { codec?.startDrain() }
        loop.cancel(&timer)
        timer = loop.arm(self, Timer.drain, after: settings.drainTimeout)
    }

    /// Closes after what was written is sent.
    package func close() {
        drain = .closing
        connection?.closeAfterFlush()
    }

    /// The named limit of draining is over: what is still under way is lost.
    package func closeNow() { connection?.close() }

    package func pauseReading() { connection?.pauseReading() }
}

extension HTTPConnectionManager: Hashable {
    package static func == (left: HTTPConnectionManager, right: HTTPConnectionManager) -> Bool {
        left === right
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
