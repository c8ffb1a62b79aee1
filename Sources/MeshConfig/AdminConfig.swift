import MeshNet

/// The administration server (envoy: bootstrap.v3.Admin).
package struct AdminConfig: Sendable {
    /// Nil: there is none.
    package let address: SocketAddress?
    package let accessLogs: [AccessLogConfig]
    /// Paths that are served; empty: all.
    package let allowedPaths: [StringMatch]

    package init(_ object: ConfigObject) {
        address = object.object("address").flatMap { child in
            AddressConfig(child).requireSocketAddress(
                child,
                "the administration server's address is numeric, such as 127.0.0.1"
            )
        }
        accessLogs = object.objects("access_log").map { AccessLogConfig($0) }
        allowedPaths = object.objects("allow_paths").map { StringMatch($0) }
        object.inert("access_log_path", "profile_path", "ignore_global_conn_limit")
        object.unsupported("socket_options", "the administration socket has none")
    }
}

/// Who this process is (envoy: core.v3.Node).
package struct NodeConfig: Sendable {
    package let id: String
    package let cluster: String
    package let metadata: ConfigValue.Fields
    package let locality: LocalityConfig

    package init(_ object: ConfigObject?) {
        id = object?.string("id") ?? ""
        cluster = object?.string("cluster") ?? ""
        metadata = .init(
            object?.entries("metadata").map { .init(key: $0.key, value: $0.value) } ?? []
        )
        locality = LocalityConfig(object?.object("locality"))
        // For management servers, which there are none of.
        object?.inert(
            "dynamic_parameters",
            "user_agent_name",
            "user_agent_version",
            "user_agent_build_version",
            "extensions",
            "client_features",
            "listening_addresses"
        )
    }
}
