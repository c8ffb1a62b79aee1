import MeshNet

/// A group of endpoints that serve the same thing (envoy: cluster.v3.Cluster).
package struct ClusterConfig: Sendable {
    /// Where endpoints come from.
    package enum Discovery: Hashable, Sendable {
        /// Addresses of the file.
        case fixed
        /// Every address of every name of the file, asked for again and again.
        case strictDNS(DNSClusterConfig)
        /// The first address of the one name of the file; asked for again and again, and what new
        /// connections go to.
        case logicalDNS(DNSClusterConfig)

        /// How names are resolved; nil where there are none.
        package var dns: DNSClusterConfig? {
            switch self {
            case .fixed: nil
            case .strictDNS(let dns), .logicalDNS(let dns): dns
            }
        }
    }

    package let name: String
    /// The name in statistics.
    package let statName: String
    package let discovery: Discovery
    package let loadAssignment: LoadAssignmentConfig
    package let connectTimeout: Duration
    package let perConnectionBufferLimitBytes: Int
    package let balancing: LoadBalancingConfig
    /// Nil where the cluster has no subsets.
    package let subsets: SubsetConfig?
    package let circuitBreakers: CircuitBreakersConfig
    package let http: UpstreamHTTPConfig
    package let tcpKeepalive: TCPKeepaliveConfig?
    package let transportSocket: UpstreamTransportConfig
    /// Looked through in order for each endpoint before ``transportSocket`` is taken.
    package let transportSocketMatches: [TransportSocketMatchConfig]
    package let metadata: MetadataConfig
    package let path: ConfigPath
    package let position: ConfigPosition

    /// - Parameter defaultResolver: of names, where the cluster has none of its own.
    package init(
        _ object: ConfigObject,
        defaultResolver: DNSResolverConfig = DNSResolverConfig()
    ) {
        path = object.path
        position = object.position
        name = object.requiredString("name")
        let alternative = object.string("alt_stat_name", default: "")
        statName = alternative.isEmpty ? name : alternative
        discovery = Self.discovery(object, defaultResolver)
        let resolvesNames = discovery.dns != nil
        let assignment = object.object("load_assignment")
        loadAssignment =
            assignment.map { LoadAssignmentConfig($0, resolvesNames: resolvesNames) }
            ?? LoadAssignmentConfig()
        if case .logicalDNS = discovery {
            Self.checkLogical(loadAssignment, object)
        } else if loadAssignment.endpointCount == 0 {
            object.warning("the cluster has no endpoints: requests to it are answered with 503")
        }
        connectTimeout = object.positiveDuration("connect_timeout") ?? .seconds(5)
        let bufferLimit = object.uint32("per_connection_buffer_limit_bytes", default: 1 << 20)
        perConnectionBufferLimitBytes = Int(bufferLimit)
        (balancing, subsets) = LoadBalancingConfig.decode(object)
        circuitBreakers = CircuitBreakersConfig(object.object("circuit_breakers"))
        http = UpstreamHTTPConfig(cluster: object)
        let connection = object.object("upstream_connection_options")
        tcpKeepalive = connection?.object("tcp_keepalive").map { TCPKeepaliveConfig($0) }
        // The first tells log formatters an interface's name; the second needs several addresses
        // per endpoint, which are refused.
        connection?.inert(
            "set_local_interface_name_on_upstream_connections",
            "happy_eyeballs_config"
        )
        transportSocket = UpstreamTransportConfig(object.object("transport_socket"))
        transportSocketMatches = object.objects("transport_socket_matches").map {
            TransportSocketMatchConfig($0)
        }
        metadata = MetadataConfig(object.object("metadata"))
        if http.version == .negotiated {
            let transports = transportSocketMatches.map(\.transportSocket) + [transportSocket]
            if !transports.allSatisfy(\.isTLS) {
                object.error(
                    "auto_config negotiates by ALPN, for which every transport socket of the cluster"
                        + " must be TLS",
                    at: "typed_extension_protocol_options"
                )
            }
        }
        Self.refuse(object)
    }

    /// Fields nothing is built from.
    private static func refuse(_ object: ConfigObject) {
        object.unsupported(
            "health_checks",
            "active health checks are not implemented yet; endpoints are as healthy as their"
                + " health_status says"
        )
        object.unsupported(
            "outlier_detection",
            "outlier detection is not implemented yet; retries with retry_host_predicate avoid"
                + " endpoints that fail"
        )
        object.unsupported(
            "eds_cluster_config",
            "endpoints are read from this file only; use load_assignment"
        )
        object.unsupported("transport_socket_matcher", "use transport_socket_matches")
        object.unsupported("upstream_bind_config", "the kernel chooses the local address") {
            $0 == .object(.init([]))
        }
        object.unsupported("filters", "upstream network filters are not implemented")
        object.unsupported("lrs_server", "load is reported to nobody")
        object.unsupported("upstream_config", "there is one kind of connection pool")
        object.unsupported("preconnect_policy", "connections are opened on demand")
        object.unsupported(
            "connection_pool_per_downstream_connection",
            "pools belong to workers"
        )
        object.unsupported("queuing_policies", "pending requests are served in order of arrival")
        object.unsupported(
            "per_connection_buffer_high_watermark_timeout",
            "a full buffer stops reading, without a time limit"
        )
        object.unsupported(
            "ring_hash_lb_config",
            "ring hash balancing is not implemented; use ROUND_ROBIN, LEAST_REQUEST or RANDOM"
        )
        object.unsupported(
            "maglev_lb_config",
            "Maglev balancing is not implemented; use ROUND_ROBIN, LEAST_REQUEST or RANDOM"
        )
        object.unsupported(
            "original_dst_lb_config",
            "clusters of original destinations are not implemented"
        )
        // Without health checks, discovery services and load reports these have no subject.
        object.inert(
            "close_connections_on_host_health_failure",
            "ignore_health_on_host_removal",
            "wait_for_warm_on_init",
            "cleanup_interval",
            "lrs_report_endpoint_metrics"
        )
        // Additional statistics, or fewer of them.
        object.inert("track_timeout_budgets", "track_cluster_stats", "stats_matcher")
    }

    private enum DiscoveryType: Int, ConfigEnum {
        case fixed = 0
        case strictDNS
        case logicalDNS
        case eds
        case originalDestination

        var name: String {
            switch self {
            case .fixed: "STATIC"
            case .strictDNS: "STRICT_DNS"
            case .logicalDNS: "LOGICAL_DNS"
            case .eds: "EDS"
            case .originalDestination: "ORIGINAL_DST"
            }
        }
    }

    private static func discovery(
        _ object: ConfigObject,
        _ resolver: DNSResolverConfig
    ) -> Discovery {
        let dns = DNSClusterConfig(cluster: object, defaultResolver: resolver)
        if object.atMostOne(of: "type", "cluster_type") == "cluster_type",
            let custom = object.object("cluster_type")
        {
            return customDiscovery(custom, resolver, dns)
        }
        return discovery(object, "type", object.enumeration("type", default: .fixed), dns)
    }

    private static func discovery(
        _ object: ConfigObject,
        _ key: String,
        _ type: DiscoveryType,
        _ dns: DNSClusterConfig
    ) -> Discovery {
        switch type {
        case .fixed: return .fixed
        case .strictDNS: return .strictDNS(dns)
        case .logicalDNS: return .logicalDNS(dns)
        case .eds:
            object.error(
                "EDS is not supported: endpoints are read from this file only; use STATIC or"
                    + " STRICT_DNS",
                at: key
            )
            return .fixed
        case .originalDestination:
            object.error(
                "ORIGINAL_DST is not supported: redirected connections are not followed; name the"
                    + " endpoints, with type STATIC or STRICT_DNS",
                at: key
            )
            return .fixed
        }
    }

    /// One name, one endpoint: there is nothing to balance.
    private static func checkLogical(_ assignment: LoadAssignmentConfig, _ object: ConfigObject) {
        guard assignment.localities.count != 1 || assignment.endpointCount != 1 else { return }
        object.error(
            "a LOGICAL_DNS cluster has exactly one locality with one endpoint, got"
                + " \(assignment.localities.count) with \(assignment.endpointCount); use STRICT_DNS"
                + " for several",
            at: object.isPresent("load_assignment") ? "load_assignment" : nil
        )
    }

    private static func customDiscovery(
        _ object: ConfigObject,
        _ resolver: DNSResolverConfig,
        _ dns: DNSClusterConfig
    ) -> Discovery {
        let name = object.requiredString("name")
        // Envoy's own types go by their name too, without options.
        let builtIn: [String: DiscoveryType] = [
            "envoy.cluster.static": .fixed, "envoy.cluster.strict_dns": .strictDNS,
            "envoy.cluster.logical_dns": .logicalDNS, "envoy.cluster.eds": .eds,
            "envoy.cluster.original_dst": .originalDestination,
        ]
        if !object.isPresent("typed_config"), let type = builtIn[name] {
            return discovery(object, "name", type, dns)
        }
        guard let (type, options) = object.typedConfig() else { return .fixed }
        if type == DNSClusterConfig.typeName {
            let settings = DNSClusterConfig(typed: options, defaultResolver: resolver)
            return options.bool("all_addresses_in_single_endpoint", default: false)
                ? .logicalDNS(settings) : .strictDNS(settings)
        }
        object.error(
            "\(ConfigNode.quoted(type)) is not supported; the one custom type with options is "
                + DNSClusterConfig.typeName,
            at: "typed_config"
        )
        options.skip()
        return .fixed
    }
}

/// Which transport an endpoint gets (envoy: cluster.v3.Cluster.TransportSocketMatch).
package struct TransportSocketMatchConfig: Sendable {
    package let name: String
    /// Members that the endpoint's `envoy.transport_socket_match` metadata must have; none: always.
    package let match: ConfigValue.Fields
    package let transportSocket: UpstreamTransportConfig

    package init(_ object: ConfigObject) {
        name = object.requiredString("name")
        match = .init(object.entries("match").map { .init(key: $0.key, value: $0.value) })
        transportSocket = UpstreamTransportConfig(object.object("transport_socket"))
    }
}
