/// What a filter leaves in the filter state (envoy: filters.http.set_filter_state.v3.Config, and the network
/// filter of that name).
package struct SetFilterStateConfig: Hashable, Sendable {
    package let values: [FilterStateValueConfig]

    package init(_ values: [FilterStateValueConfig]) { self.values = values }

    /// Of the HTTP filter.
    init(_ object: ConfigObject) {
        object.unsupported("clear_route_cache", "routes are chosen before filters run")
        values = object.objects("on_request_headers").compactMap(FilterStateValueConfig.decode)
    }

    /// Of the network filter.
    init(connection object: ConfigObject) {
        object.unsupported(
            "on_downstream_data",
            "values are set when the connection is established; use on_new_connection"
        )
        values = ["on_new_connection", "on_downstream_tls_handshake"]
            .flatMap { object.objects($0) }.compactMap(FilterStateValueConfig.decode)
    }
}

/// Which connections to upstreams bring a value with them (envoy: SharedWithUpstream).
package enum FilterStateSharing: Int, ConfigEnum {
    case none = 0
    /// Those that leave this proxy's listener, but not those that the next one makes.
    case once
    /// Those too.
    case transitive
}

/// How a text becomes an object, and what it is good for (envoy: filter_state.object factories).
package enum FilterStateKind: Hashable, Sendable {
    case text
    /// An address with a port.
    case address
    /// An address without one.
    case ip

    /// By the name of Envoy's factory. Istio's own build of Envoy has those of its namespace.
    static let factories: [String: FilterStateKind] = [
        "envoy.string": .text, "envoy.hashable_string": .text,
        "envoy.filters.listener.original_dst.local_ip": .address,
        "envoy.filters.listener.original_dst.remote_ip": .address,
        "envoy.network.ip": .ip,
        "istio.hashable_string": .text,
        "io.istio.peer_principal": .text, "io.istio.local_principal": .text,
    ]

    /// Factories of Envoy whose objects change what something does that does not look at them here.
    static let withoutReader: Set<String> = [
        "envoy.network.application_protocols",
        "envoy.network.transport_socket.original_dst_address",
        "envoy.network.upstream_server_name", "envoy.network.upstream_subject_alt_names",
        "envoy.tcp_proxy.cluster", "envoy.tcp_proxy.disable_tunneling",
        "envoy.tcp_proxy.per_connection_idle_timeout_ms", "envoy.upstream.dynamic_host",
        "envoy.upstream.dynamic_port", "envoy.udp_proxy.cluster", "envoy.ratelimit.hits_addend",
        "envoy.geoip",
    ]
}

/// One value (envoy: filters.common.set_filter_state.v3.FilterStateValue).
package struct FilterStateValueConfig: Hashable, Sendable {
    package let key: String
    package let kind: FilterStateKind
    package let format: SubstitutionFormatConfig
    /// Nobody may replace it.
    package let isReadOnly: Bool
    package let sharing: FilterStateSharing
    /// An empty text leaves what was there.
    package let skipsEmpty: Bool

    static func decode(_ object: ConfigObject) -> FilterStateValueConfig? {
        let key = object.requiredString("object_key")
        let factory = object.string("factory_key", default: "")
        let kind = kind(object, key: key, factory: factory)
        let format = object.requiredObject("format_string").map { SubstitutionFormatConfig($0) }
        let value = FilterStateValueConfig(
            key: key,
            kind: kind ?? .text,
            format: format ?? SubstitutionFormatConfig(.json(.null)),
            isReadOnly: object.bool("read_only", default: false),
            sharing: object.enumeration("shared_with_upstream", default: .none),
            skipsEmpty: object.bool("skip_if_empty", default: false)
        )
        if case .source = value.format.body {
            object.error(
                "the format must be written here: text_format_source takes inline_string",
                at: "format_string"
            )
            return nil
        }
        return kind == nil || format == nil ? nil : value
    }

    private static func kind(
        _ object: ConfigObject,
        key: String,
        factory: String
    ) -> FilterStateKind? {
        let name = factory.isEmpty ? key : factory
        if name.isEmpty { return nil }
        if let kind = FilterStateKind.factories[name] { return kind }
        let field = factory.isEmpty ? "object_key" : "factory_key"
        if FilterStateKind.withoutReader.contains(name) {
            object.error(
                "\(ConfigNode.quoted(name)) is not supported: nothing here would act on it",
                at: field
            )
        } else {
            object.error(
                "\(ConfigNode.quoted(name)) does not have an object factory; with factory_key"
                    + " \"envoy.string\" it is a text"
                    + Suggestion.hint(for: name, among: FilterStateKind.factories.keys.sorted()),
                at: field
            )
        }
        return nil
    }
}
