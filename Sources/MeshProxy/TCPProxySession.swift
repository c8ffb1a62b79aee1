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
    /// Nil: what is carried goes on as it is.
    let tunneling: TunnelSettings?
    private let weightTotal: UInt64

    private unowned let worker: Worker

    init(_ config: TCPProxyConfig, worker: Worker) {
        self.config = config
        stats = TCPProxyStats(worker.stats, statPrefix: config.statPrefix)
        self.worker = worker
        idleTimeout = config.idleTimeout.map { Nanoseconds($0) }
        durationMax = config.maxConnectionDuration.map { Nanoseconds($0) }
        weightTotal = config.weightTotal
        tunneling = config.tunneling.map { TunnelSettings($0, worker.formats) }
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
/// Bytes go from one connection's input to the other's output, or into a tunnel; a full output pauses the
/// other side's reading. Each side's FIN is passed on by itself, so that half-closed connections work.
package final class TCPProxySession: ConnectionDelegate, UpstreamTCPWaiter, TimerTarget {
    let settings: TCPProxySettings
    let worker: Worker
    let info: StreamInfo
    private(set) var downstream: Connection?
    var upstream: (any TCPProxyUpstream)?
    /// Present while the upstream is being connected, as a connection or as a tunnel.
    private var connector: UpstreamTCPConnector?
    var opening: TCPTunnel?
    /// Where the session goes, once chosen.
    private(set) var target: (cluster: Cluster, selection: UpstreamSelection)?
    /// Whose last byte was delivered.
    private var hasDownstreamEnded = false
    private var hasUpstreamEnded = false
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
        if cluster.options.passesState, let shared = info.sharedState {
            selection.identity = ConnectionIdentity(shared: shared)
        }
        // Nothing is read before there is somewhere to put it.
        connection.pauseReading()
        target = (cluster, selection)
        if settings.tunneling != nil { return startTunnel() }
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
        guard connection === downstream else {
            upstreamReceived(bytes)
            return bytes.count
        }
        lastActivity = loop.now
        info.bytesReceived &+= UInt64(bytes.count)
        settings.stats.downstreamCxRxBytesTotal.add(UInt64(bytes.count))
        upstream?.write(bytes)
        return bytes.count
    }

    func upstreamReceived(_ bytes: Bytes) {
        lastActivity = loop.now
        info.bytesSent &+= UInt64(bytes.count)
        settings.stats.downstreamCxTxBytesTotal.add(UInt64(bytes.count))
        downstream?.write(bytes)
    }

    package func connectionReadEnded(_ connection: Connection) {
        guard connection === downstream else { return upstreamEnded() }
        hasDownstreamEnded = true
        upstream?.shutdownSending()
        closeIfBothHaveEnded()
    }

    func upstreamEnded() {
        hasUpstreamEnded = true
        downstream?.shutdownSending()
        closeIfBothHaveEnded()
    }

    /// Both have said all they will: what is left goes out, then both close.
    private func closeIfBothHaveEnded() {
        guard hasDownstreamEnded, hasUpstreamEnded else { return }
        upstream?.closeAfterFlush()
        downstream?.closeAfterFlush()
    }

    package func connectionOutputBlocked(_ connection: Connection) {
        if connection === downstream { upstream?.pauseReading() } else { upstreamBlocked() }
    }

    package func connectionOutputUnblocked(_ connection: Connection) {
        if connection === downstream { upstream?.resumeReading() } else { upstreamUnblocked() }
    }

    func upstreamBlocked() {
        settings.stats.downstreamFlowControlPausedReadingTotal.add()
        downstream?.pauseReading()
    }

    func upstreamUnblocked() {
        settings.stats.downstreamFlowControlResumedReadingTotal.add()
        downstream?.resumeReading()
    }

    // MARK: End

    /// A side that has all it will get may take as long over it as a session may be silent.
    private var closingStallMax: Nanoseconds { settings.idleTimeout ?? .seconds(3600) }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        if connection === downstream {
            downstream = nil
            connector?.cancel()
            opening?.abort()
            opening = nil
            if let upstream, upstream.bufferedBytes > 0 { settings.stats.upstreamFlushTotal.add() }
            // A reset goes on as one: the upstream is to know that something is missing.
            if case .reset = reason { upstream?.abort() } else { upstream?.closeAfterFlush() }
            upstream = nil
            finish()
        } else {
            upstream = nil
            guard case .reset = reason else { return downstream?.closeAfterFlush() ?? () }
            info.flags.insert(.upstreamRemoteReset)
            downstream?.abortAfterFlush()
        }
    }

    /// The tunnel is gone: what it did not bring is missing, unless it ended in order.
    func upstreamClosed(byReset: Bool) {
        upstream = nil
        guard byReset else { return downstream?.closeAfterFlush() ?? () }
        info.flags.insert(.upstreamRemoteReset)
        downstream?.abortAfterFlush()
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
        if info.upstreamConnectionID != 0, settings.tunneling == nil {
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
