import MeshConfig
import MeshNet
import MeshRuntime

/// One `tcp_proxy` filter compiled for one worker.
package final class TCPProxySettings: RuntimeUser {
    let config: TCPProxyConfig
    let stats: TCPProxyStats
    private(set) var accessLogs: [AccessLogger] = []
    let idleTimeout: Nanoseconds?
    let durationMax: Nanoseconds?
    private let weightTotal: UInt64

    private unowned let worker: Worker

    init(_ config: TCPProxyConfig, worker: Worker) {
        self.config = config
        stats = TCPProxyStats(worker.stats, statPrefix: config.statPrefix)
        self.worker = worker
        idleTimeout = config.idleTimeout.map { Nanoseconds($0) }
        durationMax = config.maxConnectionDuration.map { Nanoseconds($0) }
        weightTotal = config.weightTotal
        worker.use(self)
    }

    func apply(_ runtime: RuntimeConfig) {
        accessLogs = config.accessLogs.map { worker.accessLogs.logger($0, runtime: runtime) }
    }

    /// A connection that network RBAC closed before it came here is logged as if it had.
    func logDenied(_ connection: ConnectionInfo, _ worker: Worker) {
        let info = StreamInfo(
            connection: connection,
            start: connection.start,
            startWall: connection.startWall
        )
        info.dynamicMetadata = connection.dynamicMetadata
        info.connectionTerminationDetails = connection.terminationDetails
        info.end = worker.loop.now
        for log in accessLogs { log.log(worker.context(of: info, .tcpConnectionEnd)) }
    }

    /// The cluster of one connection, by weight.
    func choose(_ random: UInt64) -> TCPProxyConfig.WeightedCluster? {
        config.cluster(random, of: weightTotal)
    }
}

/// One downstream connection passed on to a cluster as it is (envoy.filters.network.tcp_proxy).
///
/// Bytes go from one connection's input to the other's output; a full output pauses the other side's
/// reading. Each side's FIN is passed on by itself, so that half-closed connections work.
package final class TCPProxySession: ConnectionDelegate, UpstreamTCPWaiter, TimerTarget {
    private let settings: TCPProxySettings
    private let worker: Worker
    private let info: StreamInfo
    private var downstream: Connection?
    private var upstream: Connection?
    private var connector: UpstreamTCPConnector?
    private var timer = TimerID.none
    private var durationTimer = TimerID.none
    private var lastActivity: Instant
    private var isFinished = false

    private enum Timer { static let idle: UInt8 = 0, duration: UInt8 = 1 }

    init(settings: TCPProxySettings, info: ConnectionInfo, worker: Worker) {
        self.settings = settings
        self.worker = worker
        self.info = StreamInfo(connection: info, start: info.start, startWall: info.startWall)
        self.info.dynamicMetadata = info.dynamicMetadata
        lastActivity = worker.loop.now
    }

    private var loop: EventLoop { worker.loop }

    // MARK: Connecting

    package func connectionEstablished(_ connection: Connection) {
        downstream = connection
        connection.closingStallMax = closingStallMax
        worker.sessions.insert(self)
        settings.stats.downstreamCxTotal.add()
        armIdleTimer()
        if let limit = settings.durationMax {
            durationTimer = loop.arm(self, Timer.duration, after: limit)
        }
        guard let chosen = settings.choose(worker.random.next()),
            let cluster = worker.clusters[chosen.name]
        else {
            settings.stats.downstreamCxNoRoute.add()
            info.flags.insert(.noClusterFound)
            return connection.close()
        }
        info.cluster = cluster.labels
        var selection = UpstreamSelection()
        selection.criteria = .merging(settings.config.metadataMatch, chosen.metadataMatch)
        // Nothing is read before there is somewhere to put it.
        connection.pauseReading()
        let connector = UpstreamTCPConnector(
            cluster,
            selection,
            attemptsMax: Int(settings.config.maxConnectAttempts),
            for: self
        )
        self.connector = connector
        connector.start()
    }

    package func upstreamConnected(_ upstream: UpstreamTCPConnection) {
        info.attemptCount = connector?.attempts ?? 1
        connector = nil
        guard let downstream, let connection = upstream.connection else { return upstream.close() }
        upstream.user = self
        self.upstream = connection
        connection.closingStallMax = closingStallMax
        info.upstreamHost = upstream.remoteAddress
        info.upstreamRemoteAddress = upstream.remoteAddress
        info.upstreamLocalAddress = upstream.localAddress
        info.upstreamTLS = upstream.tls
        info.upstreamConnectStart = upstream.start
        info.upstreamConnectEnd = connection.connectedAt
        if upstream.tls != nil { info.upstreamHandshakeEnd = loop.now }
        info.upstreamConnectionID = upstream.id
        downstream.resumeReading()
    }

    package func upstreamFailed(_ failure: UpstreamTCPFailure) {
        if case .attemptsExceeded = failure { info.attemptCount = connector?.attempts ?? 1 }
        connector = nil
        switch failure {
        case .noEndpoint:
            info.flags.insert(.noHealthyUpstream)
        case .overflow:
            info.flags.insert(.upstreamOverflow)
        case .attemptsExceeded(let last):
            info.flags.insert(.upstreamConnectionFailure)
            info.flags.insert(.upstreamRetryLimitExceeded)
            info.upstreamHost = last.endpoint?.address
            info.upstreamTransportFailureReason = LocalReply.underscored(
                last.transportFailureReason
            )
        }
        downstream?.close()
    }

    // MARK: Relaying

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        lastActivity = loop.now
        let target: Connection?
        if connection === downstream {
            info.bytesReceived &+= UInt64(bytes.count)
            settings.stats.downstreamCxRxBytesTotal.add(UInt64(bytes.count))
            target = upstream
        } else {
            info.bytesSent &+= UInt64(bytes.count)
            settings.stats.downstreamCxTxBytesTotal.add(UInt64(bytes.count))
            target = downstream
        }
        guard let target else { return bytes.count }
        target.write(bytes)
        return bytes.count
    }

    package func connectionReadEnded(_ connection: Connection) {
        let other = connection === downstream ? upstream : downstream
        if let other, !other.hasPeerEnded { return other.shutdownSending() }
        // Both have said all they will: what is left goes out, then both close.
        other?.closeAfterFlush()
        connection.closeAfterFlush()
    }

    package func connectionOutputBlocked(_ connection: Connection) {
        if connection === downstream {
            upstream?.pauseReading()
        } else {
            settings.stats.downstreamFlowControlPausedReadingTotal.add()
            downstream?.pauseReading()
        }
    }

    package func connectionOutputUnblocked(_ connection: Connection) {
        if connection === downstream {
            upstream?.resumeReading()
        } else {
            settings.stats.downstreamFlowControlResumedReadingTotal.add()
            downstream?.resumeReading()
        }
    }

    // MARK: End

    /// A side that has all it will get may take as long over it as a session may be silent.
    private var closingStallMax: Nanoseconds { settings.idleTimeout ?? .seconds(3600) }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        if connection === downstream {
            downstream = nil
            connector?.cancel()
            if let upstream, upstream.bufferedBytes > 0 { settings.stats.upstreamFlushTotal.add() }
            // A reset goes on as one: the upstream is to know that something is missing.
            if case .reset = reason { upstream?.abort() } else { upstream?.closeAfterFlush() }
            finish()
        } else {
            upstream = nil
            if case .reset = reason { info.flags.insert(.upstreamRemoteReset) }
            downstream?.closeAfterFlush()
        }
    }

    private func finish() {
        guard !isFinished else { return }
        isFinished = true
        loop.cancel(&timer)
        loop.cancel(&durationTimer)
        worker.sessions.remove(self)
        info.end = loop.now
        info.connectionTerminationDetails = info.connection.terminationDetails
        // Nothing is added to what is passed on but TLS, which Envoy does not count here either.
        info.wireBytesReceived = info.bytesReceived
        info.wireBytesSent = info.bytesSent
        if info.upstreamConnectionID != 0 {
            info.upstreamWireBytesSent = info.bytesReceived
            info.upstreamWireBytesReceived = info.bytesSent
        }
        for log in settings.accessLogs { log.log(worker.context(of: info, .tcpConnectionEnd)) }
    }

    package func closeNow() { downstream?.close() }

    // MARK: Timers

    private func armIdleTimer() {
        guard let timeout = settings.idleTimeout else { return }
        timer = loop.arm(self, Timer.idle, after: timeout)
    }

    package func timerFired(_ kind: UInt8) {
        if kind == Timer.duration {
            durationTimer = .none
            settings.stats.maxDownstreamConnectionDuration.add()
            info.flags.insert(.durationTimeout)
            downstream?.close()
            return
        }
        timer = .none
        guard let timeout = settings.idleTimeout else { return }
        let quiet = loop.now - lastActivity
        if quiet < timeout {
            timer = loop.arm(self, Timer.idle, after: Nanoseconds(timeout.count - quiet.count))
            return
        }
        settings.stats.idleTimeout.add()
        downstream?.close()
    }
}

extension TCPProxySession: Hashable {
    package static func == (left: TCPProxySession, right: TCPProxySession) -> Bool {
        left === right
    }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
