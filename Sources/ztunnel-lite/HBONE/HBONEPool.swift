import MeshNet

/// Which tunnels may share a connection: those of one source to one destination, whose identities are part
/// of the question, since they are what the connection's handshake has proved.
struct HBONEKey: Hashable {
    let source: SPIFFEID
    /// Whom we accept at the other end, sorted.
    let destinations: [SPIFFEID]
    /// Our address as the peer sees it; nil: the system's choice.
    let sourceAddress: IPAddress?
    /// Where HBONE is taken.
    let gateway: SocketAddress
}

/// Why there is no tunnel.
struct HBONEFailure: Error, Sendable {
    let flag: FailureFlag
    let reason: String
}

/// Waits for a connection with room for a tunnel.
protocol HBONEWaiter: AnyObject {
    /// There is room on it until this call returns.
    func poolReady(_ connection: HBONEConnection)
    func poolFailed(_ failure: HBONEFailure)
}

/// One worker's HBONE connections to others, shared by tunnels.
///
/// Where none has room one is made, and whoever asks meanwhile waits for it: a burst of clients costs one
/// handshake, not a burst of them. Connections on which nothing is under way close after a while.
final class HBONEPool {
    private unowned let worker: ZtunnelWorker
    private var groups: [HBONEKey: HBONEGroup] = [:]

    init(_ worker: ZtunnelWorker) { self.worker = worker }

    /// Whoever waits is told soon, maybe from inside this call.
    func open(_ key: HBONEKey, for waiter: any HBONEWaiter) {
        let group = groups[key] ?? HBONEGroup(key, worker)
        groups[key] = group
        group.open(for: waiter)
    }

    /// Nobody waits any more.
    func cancel(_ key: HBONEKey, _ waiter: any HBONEWaiter) {
        groups[key]?.cancel(waiter)
        forgetIfEmpty(key)
    }

    func forgetIfEmpty(_ key: HBONEKey) {
        if groups[key]?.isEmpty ?? false { groups[key] = nil }
    }

    /// Connections whose certificate is no longer `identities`' take no further tunnel, those whose peer's
    /// was revoked end at once.
    func review(_ identities: IdentitySnapshot) {
        for group in Array(groups.values) { group.review(identities) }
    }

    /// Takes leave of everybody as soon as the tunnels under way have ended.
    func drain() {
        for group in Array(groups.values) { group.drain() }
    }

    /// For the admin's view: connections and tunnels by key.
    var connections: [HBONEConnection] { groups.values.flatMap(\.connections) }
}

/// The connections of one key.
final class HBONEGroup {
    let key: HBONEKey
    private unowned let worker: ZtunnelWorker
    private(set) var connections: [HBONEConnection] = []
    private var waiters: [any HBONEWaiter] = []
    private var isConnecting = false

    /// Clients that may wait for a connection at a time.
    private static let waitersMax = 10_000

    init(_ key: HBONEKey, _ worker: ZtunnelWorker) {
        self.key = key
        self.worker = worker
    }

    var isEmpty: Bool { connections.isEmpty && waiters.isEmpty }

    func open(for waiter: any HBONEWaiter) {
        if waiters.isEmpty, let connection = connections.first(where: \.hasRoom) {
            return waiter.poolReady(connection)
        }
        guard waiters.count < Self.waitersMax else {
            return waiter.poolFailed(
                HBONEFailure(
                    flag: .connectionFailure,
                    reason: "too many clients wait for a connection"
                )
            )
        }
        waiters.append(waiter)
        connectIfWanted()
    }

    func cancel(_ waiter: any HBONEWaiter) { waiters.removeAll { $0 === waiter } }

    private func connectIfWanted() {
        guard !isConnecting, !waiters.isEmpty else { return }
        isConnecting = true
        do throws(HBONEFailure) {
            connections.append(try HBONEConnection(self, worker))
        } catch {
            isConnecting = false
            failAll(error)
        }
    }

    private func failAll(_ failure: HBONEFailure) {
        let failed = waiters
        waiters.removeAll()
        for waiter in failed { waiter.poolFailed(failure) }
        worker.pool.forgetIfEmpty(key)
    }

    /// There is room, on a new connection or where a tunnel has ended.
    func serve(_ connection: HBONEConnection) {
        while connection.hasRoom, !waiters.isEmpty {
            waiters.removeFirst().poolReady(connection)
        }
    }

    func established(_ connection: HBONEConnection) {
        isConnecting = false
        serve(connection)
        connectIfWanted()
    }

    func failed(_ connection: HBONEConnection, _ failure: HBONEFailure) {
        isConnecting = false
        connections.removeAll { $0 === connection }
        failAll(failure)
    }

    func closed(_ connection: HBONEConnection) {
        connections.removeAll { $0 === connection }
        connectIfWanted()
        worker.pool.forgetIfEmpty(key)
    }

    func review(_ identities: IdentitySnapshot) {
        for connection in connections { connection.review(identities) }
    }

    func drain() {
        for connection in connections { connection.retire() }
    }
}
