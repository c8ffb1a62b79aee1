/// One filter of the HTTP filter chain (envoy: HttpFilter).
package struct HTTPFilterConfig: Sendable {
    package enum Kind: Sendable {
        case router(RouterConfig)
        case rbac(RBACFilterConfig)
        case grpcStats(GRPCStatsFilterConfig)
        /// Has no options.
        case grpcWeb
        case setFilterState(SetFilterStateConfig)
    }

    /// The key of `typed_per_filter_config`.
    package let name: String
    package let kind: Kind
    /// Off unless a route turns it on.
    package let isDisabled: Bool

    /// The chain, complete: it ends with the router. Filters that are not known are left out if they
    /// are optional or have nothing to do, and reported otherwise.
    static func chain(_ manager: ConfigObject) -> [HTTPFilterConfig] {
        let all = manager.objects("http_filters")
        if all.isEmpty {
            manager.error("needs at least the router filter", at: "http_filters")
        }
        let kept = all.compactMap { object in HTTPFilterConfig(object).map { ($0, object) } }
        let filters = kept.map(\.0)
        let objects = kept.map(\.1)
        // What was refused may be the one that is missed below.
        let isWhole = !all.contains { manager.diagnostics.hasErrors(under: $0.path) }
        guard isWhole else { return filters }
        if filters.isEmpty, !all.isEmpty {
            manager.error("needs at least the router filter", at: "http_filters")
        }
        for (at, (filter, object)) in zip(filters, objects).enumerated() {
            let isLast = at == filters.count - 1
            if case .router = filter.kind {
                if !isLast { object.error("the router must be the last filter") }
                if filter.isDisabled {
                    object.error("the router cannot be disabled", at: "disabled")
                }
            } else if isLast {
                object.error("the last filter must be envoy.filters.http.router")
            }
        }
        var names: Set<String> = []
        for (filter, object) in zip(filters, objects) where !names.insert(filter.name).inserted {
            object.warning(
                "another filter is called \"\(filter.name)\" too: typed_per_filter_config of that"
                    + " name is for both",
                at: "name"
            )
        }
        return filters
    }

    private init?(_ object: ConfigObject) {
        name = object.requiredString("name")
        let isOptional = object.bool("is_optional", default: false)
        isDisabled = object.bool("disabled", default: false)
        object.unsupported("config_discovery", "filters are read from this file only")
        guard let (type, config) = object.typedConfig() else { return nil }
        switch type {
        case "envoy.extensions.filters.http.router.v3.Router": kind = .router(RouterConfig(config))
        case "envoy.extensions.filters.http.rbac.v3.RBAC": kind = .rbac(RBACFilterConfig(config))
        case "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig":
            kind = .grpcStats(GRPCStatsFilterConfig(config))
        case "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb": kind = .grpcWeb
        case "envoy.extensions.filters.http.set_filter_state.v3.Config":
            kind = .setFilterState(SetFilterStateConfig(config))
        default:
            if Self.hasNothingToDo(type, config) {
                object.warning("\"\(type)\" has nothing to do as it is set, and is left out")
            } else if isOptional {
                object.warning("\"\(type)\" is not implemented; it is optional and left out")
            } else {
                object.error(
                    "HTTP filter \"\(type)\" is not implemented; below envoy.extensions.filters.http"
                        + " there are grpc_stats.v3.FilterConfig, grpc_web.v3.GrpcWeb, rbac.v3.RBAC,"
                        + " router.v3.Router and set_filter_state.v3.Config; is_optional: true leaves others out"
                )
            }
            config.skip()
            return nil
        }
    }

    /// Filters that many files have in every chain, and that act on nobody's request unless they, or a
    /// route, say more.
    fileprivate static func hasNothingToDo(_ type: String, _ config: ConfigObject) -> Bool {
        switch type {
        case "envoy.extensions.filters.http.cors.v3.Cors",
            "envoy.extensions.filters.http.fault.v3.HTTPFault":
            config.hasOnlyType
        default: false
        }
    }
}

/// The filter that sends requests upstream (envoy: filters.http.router.v3.Router).
package struct RouterConfig: Hashable, Sendable {
    /// Request headers whose value must be well formed, lower case; a request where one is not is
    /// answered with 400.
    package let strictHeaders: [String]
    /// No `x-envoy-*` headers are added or read beyond routing.
    package let suppressesEnvoyHeaders: Bool
    /// Whether `x-envoy-expected-rq-timeout-ms` of the request is the route's timeout.
    package let respectsExpectedTimeout: Bool

    /// A router without options.
    package init() {
        strictHeaders = []
        suppressesEnvoyHeaders = false
        respectsExpectedTimeout = false
    }

    package init(_ object: ConfigObject) {
        suppressesEnvoyHeaders = object.bool("suppress_envoy_headers", default: false)
        respectsExpectedTimeout = object.bool("respect_expected_rq_timeout", default: false)
        let known = [
            "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
            "x-envoy-max-retries", "x-envoy-retry-grpc-on", "x-envoy-retry-on",
        ]
        strictHeaders = object.strings("strict_check_headers").map { name in
            let lower = name.lowercased()
            if !known.contains(lower) {
                object.error(
                    "\"\(name)\" is not one of \(known.joined(separator: ", "))"
                        + Suggestion.hint(for: lower, among: known),
                    at: "strict_check_headers",
                    element: name
                )
            }
            return lower
        }
        // Statistics and tracing only.
        object.inert(
            "dynamic_stats",
            "start_child_span",
            "suppress_grpc_request_failure_code_stats"
        )
        object.unsupported("upstream_log", "attempts are not logged one by one")
        object.unsupported("upstream_log_options", "attempts are not logged one by one")
        object.unsupported("upstream_http_filters", "no upstream filter is implemented")
        object.unsupported(
            "reject_connect_request_early_data",
            "CONNECT payload is always forwarded"
        )
    }
}

/// Settings of filters that hold for one virtual host, route or weighted cluster only
/// (envoy: typed_per_filter_config).
package struct FilterOverridesConfig: Sendable {
    package enum Override: Sendable {
        /// Skip the filter, or apply it although the chain has it disabled.
        case enabled(Bool)
        case rbac(RBACPerRouteConfig)
    }

    /// By filter name, in file order.
    package let entries: [(filter: String, override: Override)]

    package init(_ object: ConfigObject) {
        entries = object.objectEntries("typed_per_filter_config").compactMap { key, any in
            Self.override(key, any).map { (key, $0) }
        }
    }

    package subscript(filter: String) -> Override? {
        entries.first { $0.filter == filter }?.override
    }

    private static func override(_ filter: String, _ any: ConfigObject) -> Override? {
        guard let (type, config) = any.openedAny() else { return nil }
        guard type == "envoy.config.route.v3.FilterConfig" else {
            return override(filter, type, config, isOptional: false)
        }
        let isOptional = config.bool("is_optional", default: false)
        if config.bool("disabled", default: false) {
            config.object("config")?.skip()
            return .enabled(false)
        }
        // An empty `config` only switches the filter on.
        guard let wrapped = config.object("config"), !wrapped.isEmpty,
            let (innerType, inner) = wrapped.openedAny()
        else { return .enabled(true) }
        return override(filter, innerType, inner, isOptional: isOptional)
    }

    private static func override(
        _ filter: String,
        _ type: String,
        _ config: ConfigObject,
        isOptional: Bool
    ) -> Override? {
        if type == "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" {
            return .rbac(RBACPerRouteConfig(config))
        }
        if HTTPFilterConfig.hasNothingToDo(type, config) {
            config.warning("\"\(type)\" has nothing to do as it is set, and is left out")
        } else if isOptional {
            config.warning("\"\(type)\" is not implemented; it is optional and left out")
        } else {
            config.error(
                "settings of type \"\(type)\" for filter \"\(filter)\" are not implemented"
            )
        }
        config.skip()
        return nil
    }
}

extension RouteConfig {
    /// Filters that settings exist for anywhere in the table, each once.
    var filterOverrideNames: (all: Set<String>, rbac: Set<String>) {
        var all: Set<String> = []
        var rbac: Set<String> = []
        func add(_ overrides: FilterOverridesConfig) {
            for (filter, override) in overrides.entries {
                all.insert(filter)
                if case .rbac = override { rbac.insert(filter) }
            }
        }
        add(filterOverrides)
        for host in virtualHosts {
            add(host.filterOverrides)
            for route in host.routes {
                add(route.filterOverrides)
                guard case .route(let action) = route.action,
                    case .weighted(let clusters) = action.target
                else { continue }
                for entry in clusters.entries { add(entry.filterOverrides) }
            }
        }
        return (all, rbac)
    }
}

extension ConfigObject {
    /// An object without fields at the same place, for a required message that is missing.
    static func empty(at object: ConfigObject) -> ConfigObject {
        ConfigObject(
            ConfigNode(.object([]), at: object.position),
            path: object.path,
            diagnostics: ConfigDiagnostics()
        )
    }
}
