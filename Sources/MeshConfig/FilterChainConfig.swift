import MeshNet

/// What becomes of the connections that match (envoy: listener.v3.FilterChain).
package struct FilterChainConfig: Sendable {
    /// May be empty.
    package let name: String
    package let match: FilterChainMatchConfig
    package private(set) var filters: [NetworkFilterConfig]
    package let transportSocket: DownstreamTransportConfig
    /// How long the handshake may take; nil: no limit.
    package let transportSocketConnectTimeout: Duration?
    package let metadata: MetadataConfig
    package let path: ConfigPath
    package let position: ConfigPosition

    init(_ object: ConfigObject) {
        path = object.path
        position = object.position
        name = object.string("name", default: "")
        match = object.object("filter_chain_match").map { FilterChainMatchConfig($0) } ?? .init()
        filters = NetworkFilterConfig.chain(object)
        transportSocket = DownstreamTransportConfig(object.object("transport_socket"))
        let timeout = object.duration("transport_socket_connect_timeout") ?? .zero
        transportSocketConnectTimeout = timeout == .zero ? nil : timeout
        metadata = MetadataConfig(object.object("metadata"))
        object.unsupported("use_proxy_proto", "the PROXY protocol is not implemented")
    }

    /// The name, or the place in the listener of a chain without one: `filter_chains[2]`.
    package var displayName: String {
        if !name.isEmpty { return name }
        return path.description.split(separator: ".").last.map(String.init) ?? ""
    }

    mutating func loadFiles(_ files: any ConfigFiles, problems: inout [String]) {
        for index in filters.indices {
            guard case .httpConnectionManager(var manager) = filters[index] else { continue }
            manager.loadFiles(files, problems: &problems)
            filters[index] = .httpConnectionManager(manager)
        }
    }
}

/// Which connections a filter chain takes (envoy: listener.v3.FilterChainMatch). Every list that is
/// empty takes all.
package struct FilterChainMatchConfig: Hashable, Sendable {
    package enum SourceType: Int, ConfigEnum {
        case any = 0
        /// From the connection's own destination address, or over loopback.
        case sameIPOrLoopback
        case external

        package var name: String {
            switch self {
            case .any: "ANY"
            case .sameIPOrLoopback: "SAME_IP_OR_LOOPBACK"
            case .external: "EXTERNAL"
            }
        }
    }

    package private(set) var destinationPort: UInt16?
    package private(set) var prefixRanges: [CIDR] = []
    /// Lower case; `*.example.com` is every name below example.com.
    package private(set) var serverNames: [String] = []
    /// `raw_buffer` or `tls`; empty is any.
    package private(set) var transportProtocol = ""
    package private(set) var applicationProtocols: [String] = []
    package private(set) var directSourcePrefixRanges: [CIDR] = []
    package private(set) var sourceType = SourceType.any
    package private(set) var sourcePrefixRanges: [CIDR] = []
    package private(set) var sourcePorts: [UInt16] = []

    package init() {}

    init(_ object: ConfigObject) {
        destinationPort = object.uint32("destination_port", in: 1...65535).map { UInt16($0) }
        prefixRanges = object.objects("prefix_ranges").compactMap(CIDR.decode)
        serverNames = Self.serverNames(object)
        transportProtocol = object.string("transport_protocol", default: "")
        if !["", "tls", "raw_buffer"].contains(transportProtocol) {
            object.warning(
                "no connection has the transport protocol \(ConfigNode.quoted(transportProtocol)); it"
                    + " is \"tls\" or \"raw_buffer\"",
                at: "transport_protocol"
            )
        }
        applicationProtocols = object.strings("application_protocols")
        directSourcePrefixRanges = object.objects("direct_source_prefix_ranges").compactMap(
            CIDR.decode
        )
        sourceType = object.enumeration("source_type", default: .any)
        sourcePrefixRanges = object.objects("source_prefix_ranges").compactMap(CIDR.decode)
        sourcePorts = object.uint32s("source_ports", in: 1...65535).map { UInt16($0) }
        object.unsupported("address_suffix", "it is not implemented in Envoy either")
        object.unsupported("suffix_len", "it is not implemented in Envoy either")
    }

    private static func serverNames(_ object: ConfigObject) -> [String] {
        object.strings("server_names").map { name in
            let fixed = name.hasPrefix("*.") ? name.dropFirst(2) : name[...]
            if fixed.contains("*") {
                object.error(
                    "\(ConfigNode.quoted(name)): partial wildcards are not supported; write a name,"
                        + " or *. and a name",
                    at: "server_names",
                    element: name
                )
            } else if fixed.isEmpty {
                object.error(
                    "\(ConfigNode.quoted(name)) names nothing",
                    at: "server_names",
                    element: name
                )
            }
            return name.lowercased()
        }
    }

    /// Whether what it asks for is known only after a look at the ClientHello.
    var needsTLSInspector: Bool {
        transportProtocol == "tls"
            || (transportProtocol.isEmpty
                && (!serverNames.isEmpty || !applicationProtocols.isEmpty))
    }

    // MARK: Overlap

    /// One combination of single values; two chains must not share any.
    struct Criterion: Hashable, CustomStringConvertible {
        var port: UInt16?
        var prefix: CIDR?
        var serverName: String?
        var transport: String
        var applicationProtocol: String?
        var directSource: CIDR?
        var sourceType: SourceType
        var source: CIDR?
        var sourcePort: UInt16?

        var description: String {
            var parts: [String] = []
            if let port { parts.append("destination_port \(port)") }
            if let prefix { parts.append("prefix_ranges \(prefix)") }
            if let serverName { parts.append("server_names \(ConfigNode.quoted(serverName))") }
            if !transport.isEmpty {
                parts.append("transport_protocol \(ConfigNode.quoted(transport))")
            }
            if let applicationProtocol {
                parts.append("application_protocols \(ConfigNode.quoted(applicationProtocol))")
            }
            if let directSource { parts.append("direct_source_prefix_ranges \(directSource)") }
            if sourceType != .any { parts.append("source_type \(sourceType.name)") }
            if let source { parts.append("source_prefix_ranges \(source)") }
            if let sourcePort { parts.append("source_ports \(sourcePort)") }
            return parts.isEmpty ? "every connection" : parts.joined(separator: ", ")
        }
    }

    /// All combinations; their number is the product of the lists' lengths.
    var criteria: [Criterion] {
        func each<T>(_ list: [T]) -> [T?] { list.isEmpty ? [nil] : list.map { $0 } }
        var result = [
            Criterion(port: destinationPort, transport: transportProtocol, sourceType: sourceType)
        ]
        func expand<T>(_ list: [T], _ member: WritableKeyPath<Criterion, T?>) {
            guard !list.isEmpty else { return }
            result = result.flatMap { criterion in
                each(list).map { value in
                    var copy = criterion
                    copy[keyPath: member] = value
                    return copy
                }
            }
        }
        expand(prefixRanges, \.prefix)
        expand(serverNames, \.serverName)
        expand(applicationProtocols, \.applicationProtocol)
        expand(directSourcePrefixRanges, \.directSource)
        expand(sourcePrefixRanges, \.source)
        expand(sourcePorts, \.sourcePort)
        return result
    }
}

/// A filter that works on a connection's bytes (envoy: listener.v3.Filter).
package enum NetworkFilterConfig: Sendable {
    case httpConnectionManager(HTTPConnectionManagerConfig)
    case tcpProxy(TCPProxyConfig)
    case rbac(NetworkRBACConfig)
    case setFilterState(SetFilterStateConfig)

    /// Whether it ends a chain: others pass connections on.
    package var isTerminal: Bool {
        switch self {
        case .httpConnectionManager, .tcpProxy: true
        case .rbac, .setFilterState: false
        }
    }

    private static let prefix = "envoy.extensions.filters.network."
    private static let types = [
        "http_connection_manager.v3.HttpConnectionManager", "tcp_proxy.v3.TcpProxy",
        "rbac.v3.RBAC", "set_filter_state.v3.Config",
    ].map { prefix + $0 }

    /// The filters of a chain, with the rule that the last one, and only the last one, is terminal.
    static func chain(_ object: ConfigObject) -> [NetworkFilterConfig] {
        let objects = object.objects("filters")
        var filters: [NetworkFilterConfig] = []
        for (index, child) in objects.enumerated() {
            let name = child.requiredString("name")
            guard let (filter, type) = decode(child, name) else { continue }
            filters.append(filter)
            let isLast = index == objects.count - 1
            if filter.isTerminal, !isLast {
                child.error(
                    "terminal filter named \(name) of type \(type) must be the last filter in a"
                        + " network filter chain"
                )
            } else if !filter.isTerminal, isLast {
                child.error(
                    "non-terminal filter named \(name) of type \(type) is the last filter in a"
                        + " network filter chain"
                )
            }
        }
        if objects.isEmpty {
            object.warning("a filter chain without filters closes every connection")
        }
        return filters
    }

    private static func decode(
        _ object: ConfigObject,
        _ name: String
    ) -> (NetworkFilterConfig, String)? {
        object.unsupported("config_discovery", "configuration is read from this file only")
        if object.isPresent("config_discovery") { return nil }
        guard let (type, options) = object.typedConfig() else { return nil }
        switch type {
        case types[0]: return (.httpConnectionManager(HTTPConnectionManagerConfig(options)), type)
        case types[1]: return (.tcpProxy(TCPProxyConfig(options)), type)
        case types[2]: return (.rbac(NetworkRBACConfig(options)), type)
        case types[3]: return (.setFilterState(SetFilterStateConfig(connection: options)), type)
        default:
            object.error(
                "\(ConfigNode.quoted(type)) is not supported"
                    + Suggestion.hint(for: type, among: types) + "; network filters are "
                    + types.joined(separator: ", ")
            )
            options.skip()
            return nil
        }
    }
}
