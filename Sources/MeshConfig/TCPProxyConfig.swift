/// Passes bytes between a connection and a cluster (envoy:
/// extensions.filters.network.tcp_proxy.v3.TcpProxy).
package struct TCPProxyConfig: Sendable {
    package struct WeightedCluster: Hashable, Sendable {
        package let name: String
        package let weight: UInt32
        package let metadataMatch: MetadataConfig
        package let path: ConfigPath
        package let position: ConfigPosition
    }

    package let statPrefix: String
    /// At least one, unless there were errors. A single `cluster` has weight 1.
    package let clusters: [WeightedCluster]
    package let metadataMatch: MetadataConfig
    /// Without bytes in either direction; nil: never.
    package let idleTimeout: Duration?
    package let accessLogs: [AccessLogConfig]
    /// At least 1.
    package let maxConnectAttempts: UInt32
    /// Nil: as long as it lasts.
    package let maxConnectionDuration: Duration?
    /// Nil: what is carried goes on as it is.
    package let tunneling: TunnelingConfig?

    package init(_ object: ConfigObject) {
        statPrefix = object.requiredString("stat_prefix")
        metadataMatch = MetadataConfig(object.object("metadata_match"))
        clusters = Self.clusters(object)
        let idle = object.duration("idle_timeout") ?? .seconds(3600)
        idleTimeout = idle == .zero ? nil : idle
        accessLogs = object.objects("access_log").map { AccessLogConfig($0) }
        maxConnectAttempts = object.uint32(
            "max_connect_attempts",
            default: 1,
            in: 1...UInt32.max
        )
        maxConnectionDuration = object.duration(
            "max_downstream_connection_duration",
            atLeast: .milliseconds(1)
        )
        tunneling = object.object("tunneling_config").map { TunnelingConfig($0) }
        Self.refuse(object)
    }

    package var weightTotal: UInt64 { clusters.reduce(0) { $0 + UInt64($1.weight) } }

    /// The cluster of one connection, by weight.
    ///
    /// - Parameters:
    ///   - random: any number.
    ///   - total: ``weightTotal``, which is worth remembering.
    package func cluster(_ random: UInt64, of total: UInt64) -> WeightedCluster? {
        guard total > 0 else { return nil }
        var rest = random % total
        for cluster in clusters {
            if rest < UInt64(cluster.weight) { return cluster }
            rest -= UInt64(cluster.weight)
        }
        return nil
    }

    private static func clusters(_ object: ConfigObject) -> [WeightedCluster] {
        object.unsupported("on_demand", "clusters are read from this file only")
        switch object.exactlyOne(of: "cluster", "weighted_clusters") {
        case "cluster":
            let name = object.requiredString("cluster")
            return [
                WeightedCluster(
                    name: name,
                    weight: 1,
                    metadataMatch: MetadataConfig(nil),
                    path: object.path.member("cluster"),
                    position: object.position(of: "cluster")
                )
            ]
        case "weighted_clusters":
            guard let weighted = object.object("weighted_clusters") else { return [] }
            let children = weighted.objects("clusters")
            if children.isEmpty { weighted.error("clusters must not be empty") }
            return children.map { child in
                let name = child.requiredString("name")
                if !child.isPresent("weight") { child.error("weight is required") }
                return WeightedCluster(
                    name: name,
                    weight: child.uint32("weight", default: 1, in: 1...UInt32.max),
                    metadataMatch: MetadataConfig(child.object("metadata_match")),
                    path: child.path.member("name"),
                    position: child.position(of: "name")
                )
            }
        default: return []
        }
    }

    private static func refuse(_ object: ConfigObject) {
        object.unsupported("backoff_options", "connects are tried again at once")
        object.unsupported(
            "max_downstream_connection_duration_jitter_percentage",
            "the duration is exact"
        )
        object.unsupported("proxy_protocol_tlvs", "the PROXY protocol is not implemented")
        object.unsupported(
            "proxy_protocol_tlv_merge_policy",
            "the PROXY protocol is not implemented"
        ) { $0 == .string("ADD_IF_ABSENT") }
        object.unsupported("upstream_connect_mode", "the upstream connection is opened at once") {
            $0 == .string("IMMEDIATE")
        }
        object.unsupported("max_early_data_bytes", "the upstream connection is opened at once")
        object.unsupported("check_drain_close", "connections are drained with their listener")
        object.unsupported("downstream_idle_timeout", "use idle_timeout")
        object.unsupported("upstream_idle_timeout", "use idle_timeout")
        // Read by hash balancing only, which clusters refuse.
        object.inert("hash_policy")
        // One record is written, at the end.
        let logging = object.object("access_log_options")
        logging?.inert("flush_access_log_on_connected", "access_log_flush_interval")
        logging?.inert("flush_access_log_on_start")
        object.inert("access_log_flush_interval", "flush_access_log_on_connected")
    }
}
