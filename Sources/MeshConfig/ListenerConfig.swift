import MeshNet

/// Where connections come in, and which filters they meet (envoy: listener.v3.Listener).
package struct ListenerConfig: Sendable {
    package enum Direction: Int, ConfigEnum {
        case unspecified = 0
        case inbound
        case outbound
    }

    /// One socket address to listen on.
    package struct Address: Hashable, Sendable {
        package let address: SocketAddress
        /// An IPv6 socket takes IPv4 connections too (envoy: ipv4_compat).
        package let acceptsIPv4: Bool
        package let path: ConfigPath
        package let position: ConfigPosition
    }

    /// May be empty: see ``displayName``.
    package let name: String
    /// Reached by name from clusters of this process, without a socket.
    package let isInternal: Bool
    /// At least one, unless there were errors; none of an internal listener.
    package let addresses: [Address]
    /// Takes the place of the address in statistics; empty where there is none.
    package let statPrefix: String
    package private(set) var filterChains: [FilterChainConfig]
    package private(set) var defaultFilterChain: FilterChainConfig?
    /// Takes the place of what the chains themselves match; nil where there is none.
    package let filterChainTree: FilterChainTreeConfig?
    package let listenerFilters: [ListenerFilterConfig]
    /// How long listener filters may wait for bytes; nil: forever.
    package let listenerFiltersTimeout: Duration?
    /// What then happens: filter chains are matched with what is known, or the connection closed.
    package let continuesOnListenerFiltersTimeout: Bool
    package let perConnectionBufferLimitBytes: Int
    /// Connections the kernel queues; nil: the system's limit.
    package let backlog: UInt32?
    /// Accept connections for addresses this host does not have.
    package let isTransparent: Bool
    package let tcpKeepalive: TCPKeepaliveConfig?
    package let direction: Direction
    package let accessLogs: [AccessLogConfig]
    package let metadata: MetadataConfig
    package let path: ConfigPath
    package let position: ConfigPosition

    package init(_ object: ConfigObject) {
        path = object.path
        position = object.position
        name = object.string("name", default: "")
        isInternal = object.object("internal_listener") != nil
        addresses = isInternal ? [] : Self.addresses(object)
        if isInternal { Self.checkInternal(object) }
        statPrefix = object.string("stat_prefix", default: "")
        filterChains = object.objects("filter_chains").map { FilterChainConfig($0) }
        defaultFilterChain = object.object("default_filter_chain").map { FilterChainConfig($0) }
        let names = Set(filterChains.map(\.name).filter { !$0.isEmpty })
        filterChainTree = object.object("filter_chain_matcher").map {
            FilterChainTreeDecoder(chains: names).tree($0)
        }
        let timeout = object.duration("listener_filters_timeout") ?? .seconds(15)
        listenerFiltersTimeout = timeout == .zero ? nil : timeout
        continuesOnListenerFiltersTimeout = object.bool(
            "continue_on_listener_filters_timeout",
            default: false
        )
        let limit = object.uint32("per_connection_buffer_limit_bytes", default: 1 << 20)
        perConnectionBufferLimitBytes = Int(limit)
        backlog = object.uint32("tcp_backlog_size")
        isTransparent = object.bool("transparent", default: false)
        tcpKeepalive = object.object("tcp_keepalive").map { TCPKeepaliveConfig($0) }
        direction = object.enumeration("traffic_direction", default: .unspecified)
        accessLogs = object.objects("access_log").map { AccessLogConfig($0) }
        metadata = MetadataConfig(object.object("metadata"))
        let filters = object.objects("listener_filters").compactMap { ListenerFilterConfig($0) }
        listenerFilters = Self.addingInspector(filters, filterChains, object)
        if !isInternal, takesPassedAddresses {
            object.error(
                "original_dst is not supported here: redirected connections are not followed; bind a"
                    + " listener to each port",
                at: "listener_filters"
            )
        }
        Self.refuse(object)
        checkChains(object)
    }

    /// The name, or the address of a listener without one.
    package var displayName: String {
        name.isEmpty ? addresses.first?.address.description ?? "" : name
    }

    /// Whether connections have the addresses that came with them.
    package var takesPassedAddresses: Bool {
        listenerFilters.contains { $0.kind == .originalDestination }
    }

    /// Those that are matched, and the default one.
    package var allFilterChains: [FilterChainConfig] {
        filterChains + (defaultFilterChain.map { [$0] } ?? [])
    }

    mutating func loadFiles(_ files: any ConfigFiles, problems: inout [String]) {
        for index in filterChains.indices {
            filterChains[index].loadFiles(files, problems: &problems)
        }
        defaultFilterChain?.loadFiles(files, problems: &problems)
    }

    private static func addresses(_ object: ConfigObject) -> [Address] {
        var result: [Address] = []
        func read(_ child: ConfigObject?) {
            guard let child else { return }
            let config = AddressConfig(child)
            guard
                let address = config.requireSocketAddress(
                    child,
                    "a listener's address is numeric, such as 0.0.0.0 or ::"
                )
            else { return }
            result.append(
                Address(
                    address: address,
                    acceptsIPv4: config.acceptsIPv4,
                    path: config.path,
                    position: config.position
                )
            )
        }
        read(object.requiredObject("address"))
        for additional in object.objects("additional_addresses") {
            read(additional.requiredObject("address"))
            additional.unsupported("socket_options", ListenerConfig.socketOptionsReason)
            additional.unsupported("tcp_keepalive", "give it once, in the listener")
        }
        return result
    }

    private static let socketOptionsReason =
        "sockets have the options this file has fields for, such as tcp_keepalive"

    private static func refuse(_ object: ConfigObject) {
        object.unsupported("socket_options", socketOptionsReason)
        object.unsupported(
            "use_original_dst",
            "redirected connections are not followed; bind a listener to each port"
        ) { $0 == .bool(false) }
        if object.bool("bind_to_port") == false {
            object.error(
                "bind_to_port is not supported: nothing hands connections to a listener"
                    + " without a socket; give it a port of its own",
                at: "bind_to_port"
            )
        }
        let older = object.bool("reuse_port")
        if object.bool("enable_reuse_port") ?? older == false {
            object.error(
                "enable_reuse_port: false is not supported: every worker has a socket of its own",
                at: object.isPresent("enable_reuse_port") ? "enable_reuse_port" : "reuse_port"
            )
        }
        object.unsupported("deprecated_v1", "use bind_to_port")
        object.unsupported("freebind", "addresses must exist; transparent may bind others")
        object.unsupported("fcds_config", "filter chains are read from this file only")
        object.unsupported("udp_listener_config", "UDP is not supported")
        object.unsupported("api_listener", "there is no API client inside the process")
        object.unsupported("enable_mptcp", "multipath TCP is not implemented")
        object.unsupported("drain_type", "all listeners drain together") {
            $0 == .string("DEFAULT")
        }
        object.unsupported(
            "per_connection_buffer_high_watermark_timeout",
            "a full buffer stops reading, without a time limit"
        )
        // How the kernel and the workers share work, limits that do not exist, and statistics.
        object.inert(
            "connection_balance_config",
            "max_connections_to_accept_per_socket_event",
            "tcp_fast_open_queue_length",
            "ignore_global_conn_limit",
            "bypass_overload_manager",
            "stats_matcher"
        )
    }

    /// What has a socket only.
    private static func checkInternal(_ object: ConfigObject) {
        if object.string("name", default: "").isEmpty {
            object.error("an internal listener is reached by its name, and needs one", at: "name")
        }
        let fields = [
            "address", "additional_addresses", "transparent", "tcp_keepalive", "tcp_backlog_size",
            "enable_reuse_port", "reuse_port", "connection_balance_config", "bind_to_port",
        ]
        for field in fields where object.isPresent(field) {
            object.error("an internal listener has no socket", at: field)
        }
    }

    /// Adds a TLS inspector where filter chains ask for what only it finds out.
    private static func addingInspector(
        _ filters: [ListenerFilterConfig],
        _ chains: [FilterChainConfig],
        _ object: ConfigObject
    ) -> [ListenerFilterConfig] {
        let inspects = filters.contains {
            if case .tlsInspector = $0.kind { true } else { false }
        }
        guard !inspects, chains.contains(where: \.match.needsTLSInspector) else { return filters }
        object.warning(
            "filter chains match on TLS, but listener_filters has no tls_inspector: one is added"
        )
        return filters + [ListenerFilterConfig(.tlsInspector(.init()))]
    }

    // MARK: Rules across filter chains

    private func checkChains(_ object: ConfigObject) {
        if filterChains.isEmpty, defaultFilterChain == nil {
            object.error("no filter chains specified")
        }
        if filterChainTree != nil { return checkNames(object) }
        var seen: [FilterChainMatchConfig.Criterion: String] = [:]
        for (index, child) in object.objects("filter_chains").enumerated() {
            let chain = filterChains[index]
            let label =
                chain.name.isEmpty ? "filter_chains[\(index)]" : ConfigNode.quoted(chain.name)
            for criterion in chain.match.criteria {
                guard let other = seen.updateValue(label, forKey: criterion) else { continue }
                child.error(
                    "this filter chain matches the same connections as \(other): \(criterion)",
                    at: child.isPresent("filter_chain_match") ? "filter_chain_match" : nil
                )
                break
            }
        }
        if let chain = object.object("default_filter_chain"), chain.isPresent("filter_chain_match"),
            defaultFilterChain?.match != FilterChainMatchConfig()
        {
            chain.warning("the default filter chain is not matched", at: "filter_chain_match")
        }
    }

    /// The tree finds chains by their names.
    private func checkNames(_ object: ConfigObject) {
        var names: Set<String> = []
        for child in object.objects("filter_chains") {
            let name = child.requiredString("name")
            if !name.isEmpty, !names.insert(name).inserted {
                child.error(
                    "\(ConfigNode.quoted(name)) is the name of another filter chain",
                    at: "name"
                )
            }
            if child.isPresent("filter_chain_match") {
                child.warning(
                    "filter_chain_matcher chooses the chain: this is not looked at",
                    at: "filter_chain_match"
                )
            }
        }
    }
}
