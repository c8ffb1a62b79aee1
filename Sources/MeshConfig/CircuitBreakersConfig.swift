/// Limits on what a cluster may have in hand (envoy: cluster.v3.CircuitBreakers).
package struct CircuitBreakersConfig: Hashable, Sendable {
    /// How many retries may be in hand in proportion to requests.
    package struct RetryBudget: Hashable, Sendable {
        /// Percent of active and pending requests.
        package let percent: Double
        package let minimumConcurrency: UInt32

        init(_ object: ConfigObject) {
            percent = object.object("budget_percent").map { Percent($0).value } ?? 20
            minimumConcurrency = object.uint32("min_retry_concurrency", default: 3)
            object.unsupported("budget_interval", "the budget counts what is active now")
        }
    }

    package struct Thresholds: Hashable, Sendable {
        package let maxConnections: UInt32
        package let maxPendingRequests: UInt32
        package let maxRequests: UInt32
        package let maxRetries: UInt32
        package let maxConnectionPools: UInt32
        /// Takes the place of ``maxRetries``.
        package let retryBudget: RetryBudget?
        /// Whether gauges tell what is left.
        package let tracksRemaining: Bool

        package init() { self.init(nil) }

        init(_ object: ConfigObject?) {
            maxConnections = object?.uint32("max_connections") ?? 1024
            maxPendingRequests = object?.uint32("max_pending_requests") ?? 1024
            maxRequests = object?.uint32("max_requests") ?? 1024
            maxRetries = object?.uint32("max_retries") ?? 3
            maxConnectionPools = object?.uint32("max_connection_pools") ?? .max
            retryBudget = object?.object("retry_budget").map { RetryBudget($0) }
            tracksRemaining = object?.bool("track_remaining") ?? false
        }
    }

    private enum Priority: Int, ConfigEnum {
        case `default` = 0
        case high
    }

    package let normal: Thresholds
    package let high: Thresholds
    /// Connections to any one endpoint, by priority; nil is no limit.
    package let maxConnectionsPerHost: UInt32?

    package init(_ object: ConfigObject?) {
        var normal: Thresholds?
        var high: Thresholds?
        for child in object?.objects("thresholds") ?? [] {
            let thresholds = Thresholds(child)
            let priority = child.enumeration("priority", default: Priority.default)
            if (priority == .default ? normal : high) != nil {
                child.warning("an earlier entry has this priority; it is used", at: "priority")
            } else if priority == .default {
                normal = thresholds
            } else {
                high = thresholds
            }
        }
        self.normal = normal ?? Thresholds()
        self.high = high ?? Thresholds()
        maxConnectionsPerHost = Self.perHost(object?.objects("per_host_thresholds") ?? [])
    }

    /// Envoy takes nothing but `max_connections` of the default priority here.
    private static func perHost(_ objects: [ConfigObject]) -> UInt32? {
        var limit: UInt32?
        for object in objects {
            for key in [
                "max_pending_requests", "max_requests", "max_retries", "retry_budget",
                "track_remaining", "max_connection_pools",
            ] {
                object.unsupported(key, "only max_connections may be limited per host")
            }
            let connections = object.uint32("max_connections")
            if object.enumeration("priority", default: Priority.default) == .high {
                object.error("limits per host are of priority DEFAULT", at: "priority")
            } else {
                limit = limit ?? connections
            }
        }
        return limit
    }
}
