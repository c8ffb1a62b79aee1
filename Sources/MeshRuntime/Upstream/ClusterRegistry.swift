import MeshConfig
import MeshNet
import Synchronization

/// A cluster as the control thread hands it to workers.
package struct ClusterPlan: Sendable {
    package let options: ClusterOptions
    package let vitals: ClusterVitals

    package init(options: ClusterOptions, vitals: ClusterVitals) {
        self.options = options
        self.vitals = vitals
    }
}

/// Every cluster of the process by name: makes their vitals, publishes their gauges, and shows them to
/// the admin.
package final class ClusterRegistry: Sendable {
    private let stats: StatsRegistry
    private let mailboxes: any WorkerMailboxes
    private let current = Mutex<[ClusterPlan]>([])

    package init(stats: StatsRegistry, mailboxes: any WorkerMailboxes) {
        self.stats = stats
        self.mailboxes = mailboxes
    }

    /// Plans for a configuration's clusters, in its order.
    ///
    /// - Parameter transports: made of a cluster's TLS settings.
    package func plan(
        _ configs: [ClusterConfig],
        runtime: RuntimeConfig = RuntimeConfig(),
        transports: (ClusterConfig) -> any UpstreamTransports
    ) -> [ClusterPlan] {
        let plans = configs.map { config in
            let vitals = ClusterVitals(
                name: config.name,
                default: CircuitBreakerLimits(config.circuitBreakers.normal),
                high: CircuitBreakerLimits(config.circuitBreakers.high),
                endpoints: config.discovery.dns == nil ? fixedEndpoints(config) : EndpointSet(),
                mailboxes: mailboxes
            )
            return ClusterPlan(
                options: ClusterOptions(
                    config,
                    runtime: runtime,
                    transports: transports(config)
                ),
                vitals: vitals
            )
        }
        current.withLock { $0 = plans }
        // Written here, on the control thread, alone.
        let manager = ClusterManagerStats(WorkerStats(stats, index: stats.workers))
        manager.clusterAdded.add(UInt64(plans.count))
        manager.activeClusters.set(UInt64(plans.count))
        for plan in plans { registerGauges(plan) }
        return plans
    }

    /// The endpoints a file gives by address.
    private func fixedEndpoints(_ config: ClusterConfig) -> EndpointSet {
        let templates = EndpointTemplate.all(of: config, workers: mailboxes.workerCount)
        return EndpointSet(
            templates.compactMap { template in
                template.literal.map { template.endpoint(at: $0) }
            }
        )
    }

    package var workerCount: Int { mailboxes.workerCount }

    private func registerGauges(_ plan: ClusterPlan) {
        for priority in RequestPriority.allCases {
            let name = plan.options.name
            CircuitBreakerGauge.register(
                stats,
                cluster: plan.options.statName,
                isHighPriority: priority == .high,
                trackRemaining: plan.vitals[priority].limits.trackRemaining
            ) { [weak self] gauge in
                // By name: after an update it is another object's turn.
                self?.vitals(named: name)?[priority].value(of: gauge)
            }
        }
    }

    private func vitals(named name: String) -> ClusterVitals? {
        current.withLock { plans in plans.first { $0.options.name == name }?.vitals }
    }

    /// For the admin's `/clusters`: all clusters in configuration order.
    package func views() -> [ClusterView] {
        current.withLock { $0 }.map { ClusterView($0) }
    }
}

extension PriorityVitals {
    /// A circuit breaker's gauge, as it is now.
    func value(of gauge: CircuitBreakerGauge) -> UInt64 {
        switch gauge {
        // As in Envoy, a breaker that never let anything through has never been seen open.
        case .cxOpen: connections.count > 0 && connections.isOpen ? 1 : 0
        case .cxPoolOpen: connectionPools.count > 0 && connectionPools.isOpen ? 1 : 0
        case .rqOpen: requests.count > 0 && requests.isOpen ? 1 : 0
        case .rqPendingOpen: pendingRequests.count > 0 && pendingRequests.isOpen ? 1 : 0
        case .rqRetryOpen: retries > 0 && areRetriesOpen ? 1 : 0
        case .remainingCx: UInt64(connections.remaining)
        // Envoy's "no limit" is the largest of 64 bits without sign.
        case .remainingCxPools:
            connectionPools.max == .max
                ? .max - UInt64(connectionPools.count) : UInt64(connectionPools.remaining)
        case .remainingPending: UInt64(pendingRequests.remaining)
        case .remainingRetries: UInt64(retriesRemaining)
        case .remainingRq: UInt64(requests.remaining)
        }
    }
}

/// An endpoint as the file describes it: complete but, for a name, its address.
struct EndpointTemplate: Sendable {
    /// Nil where the name has to be resolved.
    let literal: SocketAddress?
    /// Empty where ``literal`` is not.
    let name: String
    let port: UInt16
    /// What a resolver is asked for; an address is its own answer.
    var hostToResolve: String { literal?.ip?.description ?? name }
    private let spec: EndpointSpec
    private let health: EndpointHealth
    private let workers: Int
    private let connectionsMax: Int

    static func all(of config: ClusterConfig, workers: Int) -> [EndpointTemplate] {
        config.loadAssignment.localities.flatMap { locality in
            locality.endpoints.map { endpoint in
                EndpointTemplate(
                    endpoint,
                    locality,
                    isResolved: config.discovery.dns != nil,
                    workers: workers,
                    connectionsMax: config.circuitBreakers.maxConnectionsPerHost.map { Int($0) }
                        ?? .max
                )
            }
        }
    }

    private init(
        _ config: EndpointConfig,
        _ place: LocalityEndpointsConfig,
        isResolved: Bool,
        workers: Int,
        connectionsMax: Int
    ) {
        literal = config.address.socketAddress
        port = config.address.port
        if case .name(let name) = config.address.host { self.name = name } else { name = "" }
        health = EndpointHealth(config.healthStatus)
        // A cluster that resolves names takes an address for a name too.
        let resolvedName = isResolved ? (literal?.ip?.description ?? name) : ""

        self.workers = workers
        self.connectionsMax = connectionsMax
        spec = EndpointSpec(
            address: literal ?? .unix(path: ""),
            hostname: config.hostname.isEmpty ? resolvedName : config.hostname,
            weight: Int(config.weight),
            priority: Int(place.priority),
            locality: Locality(
                region: place.locality.region,
                zone: place.locality.zone,
                subZone: place.locality.subZone
            ),
            metadata: MetadataValue.byFilter(config.metadata),
            isCanary: MetadataValue.members(config.metadata["envoy.lb"])["canary"] == .bool(true),
            vitals: EndpointVitals(
                workers: workers,
                health: health,
                connectionsMax: connectionsMax
            )
        )
    }

    /// The endpoint at one of the addresses its name has, with vitals of its own.
    func endpoint(at address: SocketAddress) -> EndpointSpec {
        var result = spec
        result.address = address
        result.vitals = EndpointVitals(
            workers: workers,
            health: health,
            connectionsMax: connectionsMax
        )
        return result
    }
}
