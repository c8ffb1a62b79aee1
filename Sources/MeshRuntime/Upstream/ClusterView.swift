import MeshNet

/// A cluster as the admin's `/clusters` shows it: a copy of what was true a moment ago.
package struct ClusterView: Sendable {
    package let name: String
    package let statName: String
    package let limits: [(priority: RequestPriority, limits: CircuitBreakerLimits)]
    package let endpoints: [EndpointView]

    init(_ plan: ClusterPlan) {
        name = plan.options.name
        statName = plan.options.statName
        limits = RequestPriority.allCases.map { ($0, plan.vitals[$0].limits) }
        endpoints = plan.vitals.endpoints.endpoints.map(EndpointView.init)
    }
}

/// One line group of `/clusters`.
package struct EndpointView: Sendable {
    package let address: SocketAddress
    package let hostname: String
    package let weight: Int
    package let priority: Int
    package let locality: Locality
    package let isCanary: Bool
    package let health: EndpointHealth
    /// By ``EndpointCounter``, in its order.
    package let counts: [Int]

    init(_ endpoint: EndpointSpec) {
        address = endpoint.address
        hostname = endpoint.hostname
        weight = endpoint.weight
        priority = endpoint.priority
        locality = endpoint.locality
        isCanary = endpoint.isCanary
        health = endpoint.vitals.health
        counts = EndpointCounter.allCases.map { endpoint.vitals.sum($0) }
    }

    package subscript(counter: EndpointCounter) -> Int { counts[counter.rawValue] }
}
