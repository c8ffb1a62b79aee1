import Synchronization

/// One circuit breaker: how many of something the process may have at once.
///
/// Exact over all workers: the count never exceeds the limit, not even for a moment. Acquire and
/// release pair up by discipline; a release too many is our bug and traps.
package struct ResourceLimit: ~Copyable, Sendable {
    private let used = Atomic<Int>(0)
    package let max: Int

    package init(max: Int) { self.max = max }

    /// Takes one unit if there is room.
    package func tryAcquire() -> Bool { tryAcquire(upTo: max) }

    /// Takes one unit if fewer than `limit` are taken: for limits that move (a retry budget).
    package func tryAcquire(upTo limit: Int) -> Bool {
        // Ordered with the marks of waiting workers (see ClusterVitals); a plain load on x86.
        var current = used.load(ordering: .sequentiallyConsistent)
        while current < limit {
            let (exchanged, original) = used.weakCompareExchange(
                expected: current,
                desired: current + 1,
                ordering: .sequentiallyConsistent
            )
            if exchanged { return true }
            current = original
        }
        return false
    }

    package func release() {
        let old = used.wrappingSubtract(1, ordering: .sequentiallyConsistent).oldValue
        precondition(old > 0, "a resource was released twice")
    }

    package var count: Int { used.load(ordering: .relaxed) }
    /// The breaker is open: the next acquire would fail (envoy: `circuit_breakers.*.*_open`).
    package var isOpen: Bool { count >= max }
    /// How many more may be acquired (envoy: `circuit_breakers.*.remaining_*`).
    package var remaining: Int { Swift.max(0, max - count) }
}

/// Limits of one priority class (envoy: cluster.v3.CircuitBreakers.Thresholds).
package struct CircuitBreakerLimits: Hashable, Sendable {
    package var connections = 1024
    package var pendingRequests = 1024
    package var requests = 1024
    package var retries = 3
    /// Of one worker to one endpoint each.
    package var connectionPools = Int.max
    /// Replaces `retries` where present.
    package var retryBudget: RetryBudget?
    /// Publish `remaining_*` gauges.
    package var trackRemaining = false

    package init() {}

    /// Retries as a share of the requests under way (envoy: Thresholds.RetryBudget).
    package struct RetryBudget: Hashable, Sendable {
        /// Of active and pending requests, in percent.
        package var percent = 20.0
        /// Always allowed, whatever the share.
        package var concurrencyMin = 3

        package init() {}
    }
}

/// What one priority class of a cluster has in use, process-wide.
package final class PriorityVitals: Sendable {
    package let connections: ResourceLimit
    package let pendingRequests: ResourceLimit
    package let requests: ResourceLimit
    package let connectionPools: ResourceLimit
    private let activeRetries: ResourceLimit
    package let limits: CircuitBreakerLimits
    /// Who waits for a connection slot of this class.
    package let waiting = WaitingWorkers()

    package init(_ limits: CircuitBreakerLimits) {
        self.limits = limits
        connections = ResourceLimit(max: limits.connections)
        pendingRequests = ResourceLimit(max: limits.pendingRequests)
        requests = ResourceLimit(max: limits.requests)
        connectionPools = ResourceLimit(max: limits.connectionPools)
        activeRetries = ResourceLimit(max: limits.retries)
    }

    /// How many retries may be under way now: fixed, or the budget's share of current load.
    package var retriesMax: Int {
        guard let budget = limits.retryBudget else { return limits.retries }
        let load = requests.count + pendingRequests.count
        return max(Int(budget.percent / 100 * Double(load)), budget.concurrencyMin)
    }

    package func tryAcquireRetry() -> Bool { activeRetries.tryAcquire(upTo: retriesMax) }
    package func releaseRetry() { activeRetries.release() }
    package var retries: Int { activeRetries.count }
    package var areRetriesOpen: Bool { retries >= retriesMax }
    package var retriesRemaining: Int { max(0, retriesMax - retries) }
}

/// Which workers wait for something: one bit each, beyond 64 workers shared.
package struct WaitingWorkers: ~Copyable, Sendable {
    private let mask = Atomic<UInt64>(0)
    /// The bit after the one taken last: whose turn it is.
    private let turn = Atomic<Int>(0)

    private static func bit(_ worker: Int) -> UInt64 { 1 << UInt64(worker & 63) }

    /// Returns whether the mark is new.
    package func add(_ worker: Int) -> Bool {
        let old = mask.bitwiseOr(Self.bit(worker), ordering: .sequentiallyConsistent).oldValue
        return old & Self.bit(worker) == 0
    }

    package func remove(_ worker: Int) {
        if mask.load(ordering: .relaxed) & Self.bit(worker) != 0 {
            mask.bitwiseAnd(~Self.bit(worker), ordering: .sequentiallyConsistent)
        }
    }

    /// One relaxed load: cheap enough to ask after every request.
    package func contains(otherThan worker: Int) -> Bool {
        mask.load(ordering: .relaxed) & ~Self.bit(worker) != 0
    }

    /// Clears one mark, each in its turn but `last` after all others, and returns its bit number.
    package func takeOne(last: Int? = nil) -> Int? {
        var current = mask.load(ordering: .sequentiallyConsistent)
        guard current != 0 else { return nil }
        let start = UInt64(turn.load(ordering: .relaxed) & 63)
        while current != 0 {
            let others = current & ~(last.map(Self.bit) ?? 0)
            let candidates = others == 0 ? current : others
            let rotated = candidates >> start | candidates << ((64 - start) & 63)
            let number = (rotated.trailingZeroBitCount + Int(start)) & 63
            let (exchanged, original) = mask.compareExchange(
                expected: current,
                desired: current & ~Self.bit(number),
                ordering: .sequentiallyConsistent
            )
            if exchanged {
                turn.store(number + 1, ordering: .relaxed)
                return number
            }
            current = original
        }
        return nil
    }
}

/// Which of a cluster's limits a request counts against (envoy: core.v3.RoutingPriority).
package enum RequestPriority: Int, CaseIterable, Sendable {
    case `default`, high

    /// As in stat names: `circuit_breakers.default.cx_open`.
    package var name: StaticString {
        switch self {
        case .default: "default"
        case .high: "high"
        }
    }
}
