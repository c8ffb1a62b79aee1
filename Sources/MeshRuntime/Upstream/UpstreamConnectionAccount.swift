import MeshNet

/// What every upstream connection has in common, whoever uses it and whatever it carries: it is dialled,
/// counted from its first packet to its end, once each, and its failure is told in Envoy's words.
struct UpstreamConnectionAccount {
    let cluster: Cluster
    let endpoint: Endpoint
    /// What it connects to: the endpoint's address when it was made.
    let remoteAddress: SocketAddress
    /// When it began to connect, and when TLS was established, where it is used.
    let start: Instant
    private(set) var securedAt: Instant?
    /// Present from the first packet; nil where not even a socket could be had.
    private(set) var connection: Connection?

    private var failureBeforeSocket: PoolFailure.Kind?
    private var failureText = ""

    init(cluster: Cluster, endpoint: Endpoint) {
        self.cluster = cluster
        self.endpoint = endpoint
        remoteAddress = endpoint.address
        start = cluster.worker.loop.system.now()
    }

    // MARK: Beginning

    /// Begins to connect. `owner` hears the outcome later, never from inside this call: as the
    /// connection's delegate, or without a socket as deferred work.
    mutating func dial(
        _ identity: ConnectionIdentity?,
        usualALPN: [String],
        for owner: some ConnectionDelegate & DeferredWork
    ) {
        cluster.stats.upstreamCxTotal.add()
        cluster.stats.upstreamCxActive.add()
        count(.connectionsTotal)
        count(.connectionsActive)
        let options = cluster.options
        let secure = endpoint.transport.makeSession(
            for: endpoint.spec,
            identity,
            usualALPN: usualALPN
        )
        do throws(SystemError) {
            let connection = try Connection.connect(
                to: remoteAddress,
                options: options.socket,
                loop: cluster.worker.loop,
                secure: secure,
                timeout: options.connectTimeout,
                passing: endpoint.transport.passed(to: endpoint.spec, identity),
                delegate: owner
            )
            connection.outputHighWatermark = options.outputHighWatermark
            self.connection = connection
        } catch {
            failureBeforeSocket = PoolFailure.Kind(immediate: error)
            failureText = "immediate connect error: \(error.reason)"
            cluster.worker.loop.deferWork(owner)
        }
    }

    /// TCP and, where there is any, TLS are there.
    mutating func established(_ connection: Connection) {
        cluster.stats.upstreamCxConnectMs.record(milliseconds)
        guard let tls = connection.tls else { return }
        securedAt = cluster.worker.loop.system.now()
        cluster.tlsStats?.established(tls, connection.secure as? TLSSession)
    }

    // MARK: Ending

    /// To be called once. `isBusy`: somebody was using it.
    func closed(byPeer: Bool, isBusy: Bool) {
        let stats = cluster.stats
        stats.upstreamCxDestroy.add()
        (byPeer ? stats.upstreamCxDestroyRemote : stats.upstreamCxDestroyLocal).add()
        if isBusy {
            stats.upstreamCxDestroyWithActiveRq.add()
            (byPeer
                ? stats.upstreamCxDestroyRemoteWithActiveRq
                : stats.upstreamCxDestroyLocalWithActiveRq).add()
        }
        stats.upstreamCxActive.subtract()
        stats.upstreamCxLengthMs.record(milliseconds)
        count(.connectionsActive, -1)
    }

    /// Whether the peer ended it.
    static func isByPeer(_ connection: Connection, _ reason: ConnectionCloseReason) -> Bool {
        switch reason {
        // Closing after its FIN is the peer's doing.
        case .local: connection.hasPeerEnded
        // Envoy gives up waiting by closing itself.
        case .connectTimeout: false
        case .remote, .reset, .connectFailed, .tlsFailed: true
        }
    }

    /// Whether what kept it from having a socket was the peer's doing.
    var isRefusedAtOnce: Bool { failureBeforeSocket == .remoteConnectionFailure }

    /// Why it did not come to be; counts what has a counter of its own.
    mutating func failure(_ reason: ConnectionCloseReason) -> PoolFailure {
        let kind: PoolFailure.Kind
        switch reason {
        case .local:
            kind = failureBeforeSocket ?? .localConnectionFailure
        case .connectTimeout:
            kind = .connectTimeout
            cluster.stats.upstreamCxConnectTimeout.add()
        case .connectFailed(let error):
            kind = .remoteConnectionFailure
            failureText = "delayed connect error: \(error.reason)"
            if case .internal = remoteAddress {
                // Envoy asks a listener inside the process at once.
                failureText =
                    "immediate connect error: \(error.reason)|remote address:\(remoteAddress)"
            }
        case .tlsFailed:
            kind = .remoteConnectionFailure
            cluster.tlsStats?.failed((connection?.secure as? TLSSession)?.failure)
        case .remote, .reset:
            kind = .remoteConnectionFailure
        }
        // Of a time-out Envoy tells nothing more.
        return PoolFailure(
            kind: kind,
            endpoint: endpoint,
            transportFailureReason: kind == .connectTimeout ? "" : transportFailureReason
        )
    }

    /// Why it could not be made, or why its TLS failed; empty otherwise.
    var transportFailureReason: String {
        if !failureText.isEmpty { return failureText }
        return connection?.secure == nil ? "" : connection?.transportFailureReason ?? ""
    }

    // MARK: Counting

    func count(_ counter: EndpointCounter, _ amount: Int = 1) {
        endpoint.vitals.add(amount, to: counter, worker: cluster.worker.index)
    }

    private var milliseconds: UInt64 {
        UInt64(max(0, (cluster.worker.loop.now - start).milliseconds))
    }
}
