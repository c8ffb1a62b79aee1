import MeshNet

/// The endpoints of a cluster (envoy: endpoint.v3.ClusterLoadAssignment).
package struct LoadAssignmentConfig: Hashable, Sendable {
    package let localities: [LocalityEndpointsConfig]
    /// Percent: how much a priority's fit endpoints are thought to be able to carry.
    package let overprovisioningFactor: UInt32

    package init() {
        localities = []
        overprovisioningFactor = 140
    }

    /// - Parameter resolvesNames: host names are allowed, as in DNS clusters.
    package init(_ object: ConfigObject, resolvesNames: Bool) {
        _ = object.requiredString("cluster_name")
        object.unsupported("named_endpoints", "endpoints are listed where they are used") {
            $0 == .object(.init([]))
        }
        localities = object.objects("endpoints").map {
            LocalityEndpointsConfig($0, resolvesNames: resolvesNames)
        }
        let policy = object.object("policy")
        overprovisioningFactor =
            policy?.uint32("overprovisioning_factor", in: 1...UInt32.max) ?? 140
        policy?.unsupported("drop_overloads", "shedding by category is not implemented")
        policy?.unsupported("weighted_priority_health", "priorities count endpoints, not weights")
        // Only endpoint discovery makes endpoints stale.
        policy?.inert("endpoint_stale_after")
    }

    package var endpointCount: Int { localities.reduce(0) { $0 + $1.endpoints.count } }
}

/// Endpoints of one locality and priority (envoy: endpoint.v3.LocalityLbEndpoints).
package struct LocalityEndpointsConfig: Hashable, Sendable {
    package let locality: LocalityConfig
    /// 0 is used first.
    package let priority: UInt32
    package let endpoints: [EndpointConfig]

    package init(_ object: ConfigObject, resolvesNames: Bool) {
        locality = LocalityConfig(object.object("locality"))
        priority = object.uint32("priority", default: 0, in: 0...128)
        endpoints = object.objects("lb_endpoints").map {
            EndpointConfig($0, resolvesNames: resolvesNames)
        }
        // Weights of localities count only in locality weighted balancing, which is refused where
        // it is asked for.
        object.inert("load_balancing_weight", "proximity", "metadata")
        object.unsupported("load_balancer_endpoints", "use lb_endpoints")
        object.unsupported("leds_cluster_locality_config", "endpoints are read from this file only")
    }
}

/// One endpoint (envoy: endpoint.v3.LbEndpoint).
package struct EndpointConfig: Hashable, Sendable {
    package enum HealthStatus: Int, ConfigEnum {
        case unknown = 0
        case healthy
        case unhealthy
        case draining
        case timeout
        case degraded
    }

    package let address: AddressConfig
    /// Used by `auto_host_rewrite`; empty where there is none.
    package let hostname: String
    package let healthStatus: HealthStatus
    package let metadata: MetadataConfig
    /// At least 1.
    package let weight: UInt32

    package init(_ object: ConfigObject, resolvesNames: Bool) {
        object.unsupported("endpoint_name", "endpoints are listed where they are used")
        let endpoint = object.requiredObject("endpoint")
        let addressObject = endpoint?.requiredObject("address")
        address = addressObject.map { AddressConfig($0) } ?? AddressConfig(empty: object)
        if let addressObject {
            Self.check(address, addressObject, resolvesNames)
        }
        hostname = endpoint?.string("hostname") ?? ""
        // Clusters refuse active health checks, the only readers of this.
        endpoint?.inert("health_check_config", "observability_name")
        endpoint?.unsupported(
            "additional_addresses",
            "connecting to the first of several addresses is not implemented"
        )
        healthStatus = object.enumeration("health_status", default: .unknown)
        metadata = MetadataConfig(object.object("metadata"))
        weight = object.uint32("load_balancing_weight", default: 1, in: 1...UInt32.max)
    }

    private static func check(
        _ address: AddressConfig,
        _ object: ConfigObject,
        _ resolvesNames: Bool
    ) {
        if !resolvesNames {
            _ = address.requireSocketAddress(
                object,
                "use type STRICT_DNS or LOGICAL_DNS for names",
                allowsInternal: true
            )
        } else if case .listener = address.host {
            object.error(
                "a cluster that resolves names has no endpoints in this process; use type STATIC",
                at: "envoy_internal_address"
            )
        } else if case .path = address.host {
            object.error(
                "a cluster that resolves names has no Unix-domain endpoints; use type STATIC",
                at: "pipe"
            )
        }
        switch address.host {
        case .path, .listener: return
        case .ip, .name: break
        }
        if address.port == 0, object.object("socket_address")?.isPresent("port_value") == true {
            object.object("socket_address")?.error(
                "an endpoint's port must not be 0",
                at: "port_value"
            )
        }
    }
}

extension AddressConfig {
    /// Stands for an address whose absence was reported.
    init(empty object: ConfigObject) {
        host = .name("")
        port = 0
        acceptsIPv4 = false
        path = object.path
        position = object.position
    }
}
