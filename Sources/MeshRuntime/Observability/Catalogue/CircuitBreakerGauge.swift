/// The gauges of one cluster's circuit breakers at one priority (envoy:
/// `cluster.<name>.circuit_breakers.<priority>.`). Their truth is process-wide and is read where the
/// limits are kept, at each scrape.
package enum CircuitBreakerGauge: String, CaseIterable, Sendable {
    case cxOpen = "cx_open"
    case cxPoolOpen = "cx_pool_open"
    case rqOpen = "rq_open"
    case rqPendingOpen = "rq_pending_open"
    case rqRetryOpen = "rq_retry_open"
    case remainingCx = "remaining_cx"
    case remainingCxPools = "remaining_cx_pools"
    case remainingPending = "remaining_pending"
    case remainingRetries = "remaining_retries"
    case remainingRq = "remaining_rq"

    private var needsTracking: Bool { rawValue.hasPrefix("remaining_") }

    /// Registers the gauges; those of what remains only where `track_remaining` asks for them.
    /// `read` is called on the scraping thread; nil means "never touched".
    package static func register(
        _ registry: StatsRegistry,
        cluster: String,
        isHighPriority: Bool,
        trackRemaining: Bool,
        read: @escaping @Sendable (CircuitBreakerGauge) -> UInt64?
    ) {
        let prefix = "cluster.\(cluster).circuit_breakers.\(isHighPriority ? "high" : "default")."
        for gauge in allCases where trackRemaining || !gauge.needsTracking {
            registry.computed(prefix + gauge.rawValue) { read(gauge) }
        }
    }
}
