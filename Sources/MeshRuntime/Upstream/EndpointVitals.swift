import MeshNet
import Synchronization

/// Health as configuration states it (envoy: core.v3.HealthStatus).
package enum EndpointHealth: UInt8, Sendable {
    case healthy, degraded, unhealthy, draining, timeout

    /// Whether load balancing counts it among the healthy.
    package var availability: Availability {
        switch self {
        case .healthy: .healthy
        case .degraded: .degraded
        case .unhealthy, .draining, .timeout: .unavailable
        }
    }

    package enum Availability: Sendable { case healthy, degraded, unavailable }

    /// As `/clusters` prints it.
    package var flags: StaticString {
        switch self {
        case .healthy: "healthy"
        case .degraded: "/degraded_eds_health"
        case .unhealthy, .timeout: "/failed_eds_health"
        case .draining: "/eds_status_draining"
        }
    }
}

/// What is counted per endpoint, as `/clusters` shows it.
package enum EndpointCounter: Int, CaseIterable, Sendable {
    case connectionsActive, connectFailures, connectionsTotal
    case requestsActive, requestsError, requestsPending, requestsSuccess, requestsTimeout
    case requestsTotal

    /// As `/clusters` prints it.
    package var name: StaticString {
        switch self {
        case .connectionsActive: "cx_active"
        case .connectFailures: "cx_connect_fail"
        case .connectionsTotal: "cx_total"
        case .requestsActive: "rq_active"
        case .requestsError: "rq_error"
        case .requestsPending: "rq_pending_active"
        case .requestsSuccess: "rq_success"
        case .requestsTimeout: "rq_timeout"
        case .requestsTotal: "rq_total"
        }
    }

    /// A gauge keeps its value when counters are reset.
    package var isGauge: Bool {
        self == .connectionsActive || self == .requestsActive || self == .requestsPending
    }
}

/// What the whole process knows of one endpoint: counts and health.
///
/// Counts are single-writer cells, one row of cells per worker, summed by the reader: the request path
/// pays a plain add, and balancing by active requests still sees every worker's.
///
/// `@unchecked Sendable`: the pointer is set once and freed last, and what it points to is atomics.
package final class EndpointVitals: @unchecked Sendable {
    /// Whole cache lines per worker: cells of eight bytes, in multiples of eight.
    private static let rowCells = (EndpointCounter.allCases.count + 7) & ~7
    private let cells: UnsafeMutablePointer<Atomic<Int>>
    private let workers: Int
    private let healthState: Atomic<UInt8>
    private let connections: ResourceLimit

    /// - Parameter connectionsMax: of default priority, from all workers (envoy:
    ///   circuit_breakers.per_host_thresholds).
    package init(workers: Int, health: EndpointHealth = .healthy, connectionsMax: Int = .max) {
        precondition(workers > 0)
        self.workers = workers
        connections = ResourceLimit(max: connectionsMax)
        healthState = Atomic(health.rawValue)
        let count = workers * Self.rowCells
        let storage = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Atomic<Int>>.stride,
            alignment: 64
        )
        cells = storage.bindMemory(to: Atomic<Int>.self, capacity: count)
        for index in 0..<count { (cells + index).initialize(to: Atomic(0)) }
    }

    deinit {
        cells.deinitialize(count: workers * Self.rowCells)
        UnsafeMutableRawPointer(cells).deallocate()
    }

    /// Only `worker` itself may call this with its own index.
    package func add(_ amount: Int, to counter: EndpointCounter, worker: Int) {
        precondition(worker >= 0 && worker < workers)
        let cell = cells + (worker &* Self.rowCells &+ counter.rawValue)
        let value = cell.pointee.load(ordering: .relaxed)
        cell.pointee.store(value &+ amount, ordering: .relaxed)
    }

    package func sum(_ counter: EndpointCounter) -> Int {
        var sum = 0
        var cell = cells + counter.rawValue
        for _ in 0..<workers {
            sum &+= cell.pointee.load(ordering: .relaxed)
            cell += Self.rowCells
        }
        return sum
    }

    /// As in Envoy, a pool without any connection gets its first beyond the limit: there is no waiting
    /// for one endpoint's slots across workers.
    func tryAcquireConnection(isFirst: Bool) -> Bool {
        connections.tryAcquire() || (isFirst && connections.tryAcquire(upTo: .max))
    }

    func releaseConnection() { connections.release() }

    /// Requests under way to this endpoint, from all workers.
    package var activeRequests: Int { sum(.requestsActive) }

    package var health: EndpointHealth {
        EndpointHealth(rawValue: healthState.load(ordering: .relaxed)) ?? .unhealthy
    }

    /// Returns whether it was another before. Call ``ClusterVitals/healthChanged()`` then.
    package func setHealth(_ health: EndpointHealth) -> Bool {
        healthState.exchange(health.rawValue, ordering: .relaxed) != health.rawValue
    }
}
