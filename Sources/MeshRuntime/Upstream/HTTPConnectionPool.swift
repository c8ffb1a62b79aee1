import MeshHTTP
import MeshNet

/// Connections of one worker to one endpoint at one priority, and the requests that wait for one.
///
/// The connection used last is used first, so that a burst's surplus times out. A request finds a
/// connection with room and gets its stream at once; otherwise it queues, in order of arrival, while as
/// many connections as the queue needs are being made: one for each request in HTTP/1, one for as many as
/// its server may take at once in HTTP/2. Limits are the cluster's, exact over
/// all workers: where no further connection may be made, idle ones to other endpoints, of this worker
/// and then of the others, are given up for it (see ``ClusterVitals``).
package final class HTTPConnectionPool {
    let cluster: Cluster
    package let endpoint: Endpoint
    package let priority: RequestPriority
    let identity: ConnectionIdentity?
    let payload: UpstreamPayload
    private let isRaw: Bool
    /// The worker's, kept here to spare every request the way to them.
    let loop: EventLoop
    private let workerIndex: Int
    private let vitals: PriorityVitals
    private var all: [UpstreamConnection] = []
    /// Those with room for another request.
    private var available: [UpstreamConnection] = []
    private var queue = PoolQueue()
    /// Requests that the connections being made are meant for.
    private var connectingCapacity = 0
    /// How many a connection is expected to take at once.
    private var expectedCapacity: Int
    /// In the cluster's list of pools that want a connection slot.
    var isBlocked = false
    private var isDraining = false
    /// Requests of our own that began while another worker waited for a slot.
    private var servedBeforeOthers = 0

    /// Connections begun in one go, whatever the queue's length.
    private static let connectionsPerTurn = 3
    /// While other workers wait for a slot, every so many requests a connection is given up to them.
    private static let turnsBeforeOthers = 8

    init(
        cluster: Cluster,
        endpoint: Endpoint,
        priority: RequestPriority,
        identity: ConnectionIdentity?,
        payload: UpstreamPayload
    ) {
        self.cluster = cluster
        self.endpoint = endpoint
        self.priority = priority
        self.identity = identity
        self.payload = payload
        isRaw = payload == .raw
        // Until a server has chosen, the worst is expected (as by Envoy).
        expectedCapacity =
            cluster.options.codecs.codec(for: payload)?.streamsPerConnection ?? 1
        vitals = cluster.vitals[priority]
        loop = cluster.worker.loop
        workerIndex = cluster.worker.index
    }

    var stats: ClusterStats { _read { yield cluster.stats } }

    /// Nil where each server chooses what is spoken.
    var codec: (any ClientCodecFactory)? { cluster.options.codecs.codec(for: payload) }

    func count(_ counter: EndpointCounter, _ amount: Int = 1) {
        endpoint.vitals.add(amount, to: counter, worker: workerIndex)
    }

    // MARK: Streams

    /// Asks for a stream. Where a connection idles, or nothing may be done at all, the waiter hears it
    /// before this returns nil; otherwise the ticket stands for its place in the queue.
    package func newStream(
        for waiter: any PoolWaiter,
        delegate: any ClientStreamDelegate
    ) -> PoolTicket? {
        if let connection = available.last {
            attach(connection, waiter, delegate)
            return nil
        }
        guard vitals.pendingRequests.tryAcquire() else {
            stats.upstreamRqPendingOverflow.add()
            forgetIfUnused()
            overflow(waiter, at: nil)
            return nil
        }
        stats.upstreamRqPendingTotal.add()
        stats.upstreamRqPendingActive.add()
        count(.requestsPending)
        let ticket = PoolTicket(pool: self, waiter: waiter, delegate: delegate)
        queue.append(ticket)
        if isBlocked {
            // Those before it wait for a slot already: it must not overtake whom one was freed for.
            stats.upstreamCxOverflow.add()
        } else {
            connectForQueue()
        }
        return ticket
    }

    /// The waiter has lost interest; it hears no more. A ticket that was served is left alone.
    package func cancel(_ ticket: PoolTicket) {
        guard ticket.pool === self else { return }
        stats.upstreamRqCancelled.add()
        leaveQueue(ticket)
        if queue.isEmpty { cluster.unblock(self) }
        closeIfDrained()
        forgetIfUnused()
    }

    private func leaveQueue(_ ticket: PoolTicket) {
        queue.remove(ticket)
        vitals.pendingRequests.release()
        stats.upstreamRqPendingActive.subtract()
        count(.requestsPending, -1)
    }

    private func overflow(_ waiter: any PoolWaiter, at endpoint: Endpoint?) {
        waiter.poolFailed(
            PoolFailure(kind: .overflow, endpoint: endpoint, transportFailureReason: "")
        )
    }

    /// Where the limit of requests leaves no room the waiter is told, and the connection stays free.
    private func attach(
        _ connection: UpstreamConnection,
        _ waiter: any PoolWaiter,
        _ delegate: any ClientStreamDelegate
    ) {
        // What is no request is not limited as one, as in Envoy.
        guard isRaw || vitals.requests.tryAcquire() else {
            stats.upstreamRqActiveOverflow.add()
            return overflow(waiter, at: endpoint)
        }
        stats.upstreamRqTotal.add()
        stats.upstreamRqActive.add()
        count(.requestsTotal)
        count(.requestsActive)
        let limit = cluster.options.maxRequestsPerConnection
        guard let stream = connection.begin(delegate, requestsMax: limit) else {
            preconditionFailure("a pool offered a connection that is not ready")
        }
        if vitals.waiting.contains(otherThan: workerIndex) {
            servedBeforeOthers += 1
            if servedBeforeOthers % Self.turnsBeforeOthers == 0 { connection.yieldToOthers() }
        }
        if !connection.hasRoom { doesNotServe(connection) }
        waiter.poolReady(stream, on: connection)
    }

    func requestFinished() {
        if !isRaw { vitals.requests.release() }
        stats.upstreamRqActive.subtract()
        count(.requestsActive, -1)
    }

    // MARK: Connections

    /// Makes connections for the requests that no connection under way is meant for.
    func connectForQueue() {
        var made = 0
        while connectingCapacity < queue.count, made < Self.connectionsPerTurn {
            guard acquireSlot() else { return cluster.block(self) }
            made += 1
            let connection = UpstreamConnection(pool: self, capacity: expectedCapacity)
            connectingCapacity += connection.capacity
            connection.position = all.count
            all.append(connection)
            connection.connect()
        }
        cluster.unblock(self)
    }

    private func acquireSlot() -> Bool {
        let perHost = endpoint.vitals
        guard priority == .high || perHost.tryAcquireConnection(isFirst: all.isEmpty) else {
            stats.upstreamCxOverflow.add()
            return false
        }
        if vitals.connections.tryAcquire() { return true }
        if cluster.giveUpIdleConnection(priority), vitals.connections.tryAcquire() { return true }
        stats.upstreamCxOverflow.add()
        if cluster.vitals.waitForConnection(priority, worker: workerIndex) { return true }
        if priority == .default { perHost.releaseConnection() }
        return false
    }

    func hasConnected(_ connection: UpstreamConnection) {
        connectingCapacity -= connection.capacity
        expectedCapacity = connection.streamsExpected
    }

    /// The connection has room: for those who wait longest, if any do.
    func isReady(_ connection: UpstreamConnection) {
        while let ticket = queue.first, connection.hasRoom {
            leaveQueue(ticket)
            attach(connection, ticket.waiter, ticket.delegate)
            if queue.isEmpty { cluster.unblock(self) }
        }
        guard connection.hasRoom else { return }
        if connection.isIdle, isDraining || cluster.isSlotWanted(priority) {
            return connection.close()
        }
        guard !connection.isAvailable else { return }
        connection.isAvailable = true
        available.append(connection)
    }

    /// It has no room, for now or for good.
    func doesNotServe(_ connection: UpstreamConnection) {
        guard connection.isAvailable else { return }
        connection.isAvailable = false
        if let at = available.lastIndex(where: { $0 === connection }) { available.remove(at: at) }
    }

    /// The connection is closed: gives its slot to whoever waits for one.
    func hasLost(_ connection: UpstreamConnection) {
        doesNotServe(connection)
        let last = all.count - 1
        all.swapAt(connection.position, last)
        all[connection.position].position = connection.position
        all.removeLast()
        if priority == .default { endpoint.vitals.releaseConnection() }
        if connection.isYielding, !queue.isEmpty {
            // Marked first: whoever has no use for the slot finds us.
            cluster.block(self)
            _ = vitals.waiting.add(workerIndex)
        }
        cluster.vitals.releaseConnection(
            priority,
            lastTo: connection.isYielding ? workerIndex : nil
        )
    }

    /// All that wait fail with it: whatever befell this connection would befall the next, and who
    /// waits may know somewhere better to go. Retries that come back at once are not failed too.
    func connectFailed(_ connection: UpstreamConnection, _ failure: PoolFailure) {
        connectingCapacity -= connection.capacity
        stats.upstreamCxConnectFail.add()
        count(.connectFailures)
        var failed: [PoolTicket] = []
        while let ticket = queue.first {
            leaveQueue(ticket)
            failed.append(ticket)
        }
        cluster.unblock(self)
        for ticket in failed {
            stats.upstreamRqPendingFailureEject.add()
            ticket.waiter.poolFailed(failure)
        }
        serveQueue()
    }

    /// A connection is gone; those who wait may need another.
    /// - Parameter isYielded: its slot went to another worker, and those who wait here stand behind it.
    func serveQueue(isYielded: Bool = false) {
        if !queue.isEmpty, !isYielded { connectForQueue() }
        closeIfDrained()
        forgetIfUnused()
    }

    /// A pool counts against its limit only while there is something in it.
    private func forgetIfUnused() {
        if all.isEmpty, queue.isEmpty { endpoint.forget(self) }
    }

    /// Closes the connection that has idled longest. Returns false where none idles.
    func giveUpIdleConnection() -> Bool {
        guard let connection = available.first(where: \.isIdle) else { return false }
        connection.close()
        return true
    }

    // MARK: Drain

    /// The endpoint, or its cluster, is gone: idle connections close, others after their request.
    func drain() {
        isDraining = true
        for connection in all { connection.drainUnlessConnecting() }
        closeIfDrained()
    }

    private func closeIfDrained() {
        guard isDraining, queue.isEmpty else { return }
        for connection in all where connection.state == .connecting { connection.close() }
    }

    package var connectionCount: Int { all.count }
    package var idleCount: Int { available.count(where: \.isIdle) }
    package var pendingCount: Int { queue.count }
}
