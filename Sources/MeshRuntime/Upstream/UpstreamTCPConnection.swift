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
    package var endpoint: Endpoint { account.endpoint }
    /// What it connects to: the endpoint's address when it was made.
    package var remoteAddress: SocketAddress { account.remoteAddress }
    package var start: Instant { account.start }
    /// Who relays its bytes; set it when connected.
    package var user: (any ConnectionDelegate)?
    /// Present from the first packet; may be used once connected.
    package var connection: Connection? { account.connection }
    package private(set) var localAddress: SocketAddress?

    private var account: UpstreamConnectionAccount
    private let priority: RequestPriority
    private let identity: ConnectionIdentity?
    /// Present while connecting.
    private var connector: UpstreamTCPConnector?
    private var isClosed = false
    /// Bytes sent that are counted already.
    private var countedBytesSent: UInt64 = 0

    fileprivate init(
        _ cluster: Cluster,
        _ endpoint: Endpoint,
        _ selection: UpstreamSelection,
        connector: UpstreamTCPConnector
    ) {
        account = UpstreamConnectionAccount(cluster: cluster, endpoint: endpoint)
        priority = selection.priority
        identity = selection.identity
        self.connector = connector
    }

    private var cluster: Cluster { account.cluster }

    package var tls: TLSConnectionInfo? { connection?.tls }

    fileprivate func connect() {
        cluster.stats.upstreamRqPendingTotal.add()
        cluster.stats.upstreamRqPendingActive.add()
        account.count(.requestsPending)
        account.dial(identity, usualALPN: [], for: self)
    }

    package func close() {
        if let connection { connection.close() } else { closed(byPeer: false, .local) }
    }

    private func closed(byPeer: Bool, _ reason: ConnectionCloseReason) {
        guard !isClosed else { return }
        isClosed = true
        // A raw connection that is there is in use: it is closed when its user is done.
        account.closed(byPeer: byPeer, isBusy: connector == nil)
        cluster.vitals.releaseConnection(priority)
        if let connector {
            self.connector = nil
            noLongerPending()
            cluster.stats.upstreamCxConnectFail.add()
            account.count(.connectFailures)
            connector.failed(account.failure(reason))
        } else {
            cluster.stats.upstreamRqActive.subtract()
            account.count(.requestsActive, -1)
            countBytesSent()
        }
    }

    /// A connection may live for days: what it has sent is counted on the way.
    private func countBytesSent() {
        guard let connection else { return }
        cluster.stats.upstreamCxTxBytesTotal.add(connection.bytesSent &- countedBytesSent)
        countedBytesSent = connection.bytesSent
    }

    private func noLongerPending() {
        cluster.vitals[priority].pendingRequests.release()
        cluster.stats.upstreamRqPendingActive.subtract()
        account.count(.requestsPending, -1)
    }
}

extension UpstreamTCPConnection: DeferredWork {
    /// Reports a connection that never had a socket.
    package func runDeferred() {
        closed(byPeer: account.isRefusedAtOnce, .local)
    }
}

extension UpstreamTCPConnection: ConnectionDelegate {
    package func connectionEstablished(_ connection: Connection) {
        guard let connector else { return }
        self.connector = nil
        localAddress = connection.localAddress
        account.established(connection)
        noLongerPending()
        cluster.stats.upstreamRqTotal.add()
        cluster.stats.upstreamRqActive.add()
        account.count(.requestsTotal)
        account.count(.requestsActive)
        connector.connected(self)
    }

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        let consumed = user?.connection(connection, received: bytes) ?? 0
        cluster.stats.upstreamCxRxBytesTotal.add(UInt64(consumed))
        countBytesSent()
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
        countBytesSent()
        user?.connectionOutputUnblocked(connection)
    }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        closed(byPeer: UpstreamConnectionAccount.isByPeer(connection, reason), reason)
        let user = user
        self.user = nil
        user?.connectionClosed(connection, reason)
    }
}
