import Synchronization

/// What workers tell each other about clusters.
package enum UpstreamMessage: Sendable {
    /// Another worker has requests waiting for a connection slot of this cluster.
    case capacityWanted(cluster: Int, RequestPriority)
    /// A connection slot of this cluster was freed for you.
    case capacityFreed(cluster: Int, RequestPriority)
    /// The cluster's endpoints are now these.
    case endpointsChanged(cluster: Int, EndpointSet)
}

/// How a message reaches a worker's loop. Called from any thread; never waits.
package protocol WorkerMailboxes: Sendable {
    /// How many workers there are; their indexes are `0..<workerCount`.
    var workerCount: Int { get }
    func post(worker: Int, _ message: UpstreamMessage)
}

/// What the whole process knows of one cluster: limits in use, who waits for room, the endpoints.
///
/// One object per cluster, made on the control thread and shared by all workers; it outlives a
/// configuration that leaves the cluster unchanged.
package final class ClusterVitals: Sendable {
    /// Unique in the process; names the cluster in ``UpstreamMessage``.
    package let id: Int
    package let name: String
    package let `default`: PriorityVitals
    package let high: PriorityVitals
    private let mailboxes: any WorkerMailboxes
    private let health = Atomic<UInt64>(0)
    private let current: Mutex<EndpointSet>

    private static let nextID = Atomic<Int>(0)

    package init(
        name: String,
        default: CircuitBreakerLimits,
        high: CircuitBreakerLimits,
        endpoints: EndpointSet,
        mailboxes: any WorkerMailboxes
    ) {
        id = Self.nextID.wrappingAdd(1, ordering: .relaxed).oldValue
        self.name = name
        self.default = PriorityVitals(`default`)
        self.high = PriorityVitals(high)
        self.mailboxes = mailboxes
        current = Mutex(endpoints)
    }

    package subscript(_ priority: RequestPriority) -> PriorityVitals {
        switch priority {
        case .default: self.default
        case .high: high
        }
    }

    package var workerCount: Int { mailboxes.workerCount }

    // MARK: Endpoints

    /// The endpoints now in force.
    package var endpoints: EndpointSet { current.withLock { $0 } }

    /// Puts new endpoints in force and tells every worker.
    package func publish(_ endpoints: EndpointSet) {
        current.withLock { $0 = endpoints }
        for worker in 0..<mailboxes.workerCount {
            mailboxes.post(worker: worker, .endpointsChanged(cluster: id, endpoints))
        }
    }

    /// Grows whenever some endpoint's health changed; balancers compare it to what they computed with.
    package var healthGeneration: UInt64 { health.load(ordering: .acquiring) }

    /// Some endpoint's health is another now: workers balance anew with their next request.
    package func healthChanged() { health.wrappingAdd(1, ordering: .releasing) }

    // MARK: Waiting for a connection slot

    // A worker that finds the connection limit reached marks itself and asks again, then tells the
    // others. Whoever frees a slot clears one mark and posts. Both sides write before they read, with
    // one total order, so that either the slot is seen by the second asking or the mark by the freer.

    /// `worker` has requests queued for want of a connection slot. Returns true where a slot was free
    /// after all and is now taken; otherwise all other workers have been asked to give up a connection
    /// that merely idles, and whoever frees one posts ``UpstreamMessage/capacityFreed(cluster:_:)``.
    package func waitForConnection(_ priority: RequestPriority, worker: Int) -> Bool {
        let vitals = self[priority]
        // Marked already: the others have been asked, and will see the mark with their next release.
        let isNew = vitals.waiting.add(worker)
        if vitals.connections.tryAcquire() { return true }
        guard isNew else { return false }
        for other in 0..<mailboxes.workerCount where other != worker {
            mailboxes.post(worker: other, .capacityWanted(cluster: id, priority))
        }
        return false
    }

    /// Gives a connection slot back and wakes one waiting worker, if any: `last` only if it is the one.
    package func releaseConnection(_ priority: RequestPriority, lastTo last: Int? = nil) {
        self[priority].connections.release()
        wakeOne(priority, last: last)
    }

    /// A slot is free and may be wanted: also for a woken worker that has no use for it any more.
    package func wakeOne(_ priority: RequestPriority, last: Int? = nil) {
        guard let number = self[priority].waiting.takeOne(last: last) else { return }
        // Beyond 64 workers several share a mark; all of them are woken and ask again.
        for worker in stride(from: number, to: mailboxes.workerCount, by: 64) {
            mailboxes.post(worker: worker, .capacityFreed(cluster: id, priority))
        }
    }
}
