import MeshNet

/// Who asked for a raw connection to a cluster. Hears one of these, once.
package protocol UpstreamTCPWaiter: AnyObject {
    /// Connected, with TLS where the cluster has it. Take it by setting its `user`.
    func upstreamConnected(_ upstream: UpstreamTCPConnection)
    func upstreamFailed(_ failure: UpstreamTCPFailure)
}

package enum UpstreamTCPFailure {
    /// Nobody can serve it (response flag UH).
    case noEndpoint
    /// A circuit breaker is open (UO).
    case overflow
    /// Every attempt failed, the last one like this (UF, URX).
    case attemptsExceeded(PoolFailure)
}

/// Connects to a cluster for one downstream connection, with further attempts at other endpoints.
///
/// The connection it makes is not pooled. It counts against the cluster's limit from its first packet
/// to its close; where the limit leaves no room the attempt fails at once, as in Envoy's tcp_proxy.
package final class UpstreamTCPConnector {
    private let cluster: Cluster
    private let selection: UpstreamSelection
    private let attemptsMax: Int
    /// How many connections were tried, the one under way included.
    package private(set) var attempts = 0
    /// Nil once it was told, or has lost interest.
    private var waiter: (any UpstreamTCPWaiter)?
    private var current: UpstreamTCPConnection?

    /// - Parameter attemptsMax: at least 1 (envoy: tcp_proxy max_connect_attempts).
    package init(
        _ cluster: Cluster,
        _ selection: UpstreamSelection,
        attemptsMax: Int,
        for waiter: any UpstreamTCPWaiter
    ) {
        self.cluster = cluster
        self.selection = selection
        self.attemptsMax = attemptsMax
        self.waiter = waiter
    }

    /// Begins. Without endpoint or room the waiter hears so from inside this call; anything else later.
    package func start() {
        guard let endpoint = cluster.chooseEndpoint(selection) else { return fail(.noEndpoint) }
        let vitals = cluster.vitals[selection.priority]
        guard vitals.pendingRequests.tryAcquire() else {
            cluster.stats.upstreamRqPendingOverflow.add()
            return fail(.overflow)
        }
        guard
            vitals.connections.tryAcquire()
                || (cluster.giveUpIdleConnection(selection.priority)
                    && vitals.connections.tryAcquire())
        else {
            vitals.pendingRequests.release()
            cluster.stats.upstreamCxOverflow.add()
            return fail(.overflow)
        }
        let connection = UpstreamTCPConnection(cluster, endpoint, selection, connector: self)
        attempts += 1
        current = connection
        connection.connect()
    }

    /// The downstream side is gone: nobody is told anything any more.
    package func cancel() {
        guard waiter != nil else { return }
        waiter = nil
        cluster.stats.upstreamRqCancelled.add()
        current?.close()
        current = nil
    }

    fileprivate func connected(_ connection: UpstreamTCPConnection) {
        current = nil
        let waiter = waiter
        self.waiter = nil
        waiter?.upstreamConnected(connection)
    }

    fileprivate func failed(_ failure: PoolFailure) {
        current = nil
        guard waiter != nil else { return }
        cluster.stats.upstreamRqPendingFailureEject.add()
        if attempts < attemptsMax { return start() }
        cluster.stats.upstreamCxConnectAttemptsExceeded.add()
        fail(.attemptsExceeded(failure))
    }

    private func fail(_ failure: UpstreamTCPFailure) {
        let waiter = waiter
        self.waiter = nil
        waiter?.upstreamFailed(failure)
    }
}

/// One raw connection to an endpoint: passes everything on to its user, and counts.
package final class UpstreamTCPConnection {
    package let id = ConnectionID.next()
    package let endpoint: Endpoint
    /// What it connects to: the endpoint's address when it was made.
    package let remoteAddress: SocketAddress
    /// Who relays its bytes; set it when connected.
    package var user: (any ConnectionDelegate)?
    /// Present from the first packet; may be used once connected.
    package private(set) var connection: Connection?
    package private(set) var localAddress: SocketAddress?

    private let cluster: Cluster
    private let priority: RequestPriority
    private let identity: ConnectionIdentity?
    /// Present while connecting.
    private var connector: UpstreamTCPConnector?
    package let start: Instant
    private var isClosed = false
    private var failureBeforeSocket: PoolFailure.Kind?
    private var failureText = ""

    fileprivate init(
        _ cluster: Cluster,
        _ endpoint: Endpoint,
        _ selection: UpstreamSelection,
        connector: UpstreamTCPConnector
    ) {
        self.cluster = cluster
        self.endpoint = endpoint
        remoteAddress = endpoint.address
        priority = selection.priority
        identity = selection.identity
        self.connector = connector
        start = cluster.worker.loop.now
    }

    package var tls: TLSConnectionInfo? { connection?.tls }
    package var transportFailureReason: String {
        if !failureText.isEmpty { return failureText }
        return connection?.secure == nil ? "" : connection?.transportFailureReason ?? ""
    }

    fileprivate func connect() {
        let stats = cluster.stats
        stats.upstreamCxTotal.add()
        stats.upstreamCxActive.add()
        stats.upstreamRqPendingTotal.add()
        stats.upstreamRqPendingActive.add()
        count(.requestsPending)
        count(.connectionsTotal)
        count(.connectionsActive)
        let options = cluster.options
        let secure = endpoint.transport.makeSession(for: endpoint.spec, identity, usualALPN: "")
        do throws(SystemError) {
            let connection = try Connection.connect(
                to: remoteAddress,
                options: options.socket,
                loop: cluster.worker.loop,
                secure: secure,
                timeout: options.connectTimeout,
                delegate: self
            )
            connection.outputHighWatermark = options.outputHighWatermark
            self.connection = connection
        } catch {
            failureBeforeSocket = PoolFailure.Kind(immediate: error)
            failureText = "immediate connect error: \(error.reason)"
            cluster.worker.loop.deferWork(self)
        }
    }

    package func close() {
        if let connection { connection.close() } else { closed(byPeer: false, .local) }
    }

    private func count(_ counter: EndpointCounter, _ amount: Int = 1) {
        endpoint.vitals.add(amount, to: counter, worker: cluster.worker.index)
    }

    private func closed(byPeer: Bool, _ reason: ConnectionCloseReason) {
        guard !isClosed else { return }
        isClosed = true
        let stats = cluster.stats
        stats.upstreamCxDestroy.add()
        if byPeer {
            stats.upstreamCxDestroyRemote.add()
        } else {
            stats.upstreamCxDestroyLocal.add()
        }
        stats.upstreamCxActive.subtract()
        stats.upstreamCxLengthMs.record(
            UInt64(max(0, (cluster.worker.loop.now - start).milliseconds))
        )
        count(.connectionsActive, -1)
        cluster.vitals.releaseConnection(priority)
        if let connector {
            self.connector = nil
            noLongerPending()
            stats.upstreamCxConnectFail.add()
            count(.connectFailures)
            connector.failed(failure(reason))
        } else {
            stats.upstreamRqActive.subtract()
            count(.requestsActive, -1)
            stats.upstreamCxTxBytesTotal.add(connection?.socketBytesSent ?? 0)
        }
    }

    private func noLongerPending() {
        cluster.vitals[priority].pendingRequests.release()
        cluster.stats.upstreamRqPendingActive.subtract()
        count(.requestsPending, -1)
    }

    private func failure(_ reason: ConnectionCloseReason) -> PoolFailure {
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
}

extension UpstreamTCPConnection: DeferredWork {
    /// Reports a connection that never had a socket.
    package func runDeferred() {
        closed(byPeer: failureBeforeSocket == .remoteConnectionFailure, .local)
    }
}

extension UpstreamTCPConnection: ConnectionDelegate {
    package func connectionEstablished(_ connection: Connection) {
        guard let connector else { return }
        self.connector = nil
        localAddress = cluster.worker.loop.system.localAddress(of: connection.socket)
        let stats = cluster.stats
        stats.upstreamCxConnectMs.record(
            UInt64(max(0, (cluster.worker.loop.now - start).milliseconds))
        )
        if let tls = connection.tls {
            cluster.tlsStats?.established(tls, connection.secure as? TLSSession)
        }
        noLongerPending()
        stats.upstreamRqTotal.add()
        stats.upstreamRqActive.add()
        count(.requestsTotal)
        count(.requestsActive)
        connector.connected(self)
    }

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        let consumed = user?.connection(connection, received: bytes) ?? 0
        cluster.stats.upstreamCxRxBytesTotal.add(UInt64(consumed))
        return consumed
    }

    package func connectionReadEnded(_ connection: Connection) {
        user?.connectionReadEnded(connection)
    }

    package func connectionOutputBlocked(_ connection: Connection) {
        cluster.stats.upstreamFlowControlBackedUpTotal.add()
        user?.connectionOutputBlocked(connection)
    }

    package func connectionOutputUnblocked(_ connection: Connection) {
        cluster.stats.upstreamFlowControlDrainedTotal.add()
        user?.connectionOutputUnblocked(connection)
    }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        switch reason {
        case .local: closed(byPeer: connection.hasPeerEnded, reason)
        case .connectTimeout: closed(byPeer: false, reason)
        case .remote, .reset, .connectFailed, .tlsFailed: closed(byPeer: true, reason)
        }
        let user = user
        self.user = nil
        user?.connectionClosed(connection, reason)
    }
}
