/// A table of virtual hosts (envoy: route.v3.RouteConfiguration).
package struct RouteConfig: Sendable {
    package let name: String
    package private(set) var virtualHosts: [VirtualHostConfig]
    /// Lower-case names of request headers removed where the request is external.
    package let internalOnlyHeaders: [String]
    package let headers: HeaderMutationsConfig
    /// Whether the route's mutations are applied last, so that they win over the virtual host's and
    /// these over the table's; the other way round where false.
    package let mostSpecificHeaderMutationsWins: Bool
    /// Whether a route to an unknown cluster is an error.
    package let validateClusters: Bool
    package let directResponseBodyBytesMax: Int
    package let ignoresPortInHost: Bool
    /// Whether `;parameters` are left out of the path for matching.
    package let ignoresPathParameters: Bool
    package let filterOverrides: FilterOverridesConfig
    /// Every cluster named, for the check that it exists.
    package let clusterReferences: [ClusterReference]

    package init(_ object: ConfigObject) {
        name = object.string("name", default: "")
        let bytesMax = object.uint32("max_direct_response_body_size_bytes", default: 4096)
        directResponseBodyBytesMax = Int(bytesMax)
        virtualHosts = object.objects("virtual_hosts").map { VirtualHostConfig($0) }
        internalOnlyHeaders = object.strings("internal_only_headers").map { name in
            if let problem = HeaderNameRule.problem(mutating: name) {
                object.error(
                    "\"\(name)\": \(problem)",
                    at: "internal_only_headers",
                    element: name
                )
            }
            return name.lowercased()
        }
        headers = HeaderMutationsConfig(object)
        mostSpecificHeaderMutationsWins = object.bool(
            "most_specific_header_mutations_wins",
            default: false
        )
        // Envoy's default for routes inside the listener, the only ones there are.
        validateClusters = object.bool("validate_clusters", default: true)
        ignoresPortInHost = object.bool("ignore_port_in_host_matching", default: false)
        ignoresPathParameters = object.bool(
            "ignore_path_parameters_in_path_matching",
            default: false
        )
        filterOverrides = FilterOverridesConfig(object)
        object.inert("metadata")
        object.unsupported("vhds", "virtual hosts are read from this file only")
        object.unsupported("vhost_header", "virtual hosts are chosen by :authority only")
        object.unsupported("cluster_specifier_plugins", "no such plugin is implemented")
        object.unsupported("route_specifiers", "no such extension is implemented")
        object.unsupported("request_mirror_policies", "mirroring is not implemented")

        clusterReferences = virtualHosts.flatMap(\.routes).flatMap(\.clusterReferences)
        checkVirtualHosts(object)
        checkBodies(object)
    }

    /// Reads what the table names as files. Control thread only; the result is what workers compile.
    package mutating func loadFiles(_ files: any ConfigFiles, problems: inout [String]) {
        for host in virtualHosts.indices {
            virtualHosts[host].loadFiles(
                files,
                bytesMax: directResponseBodyBytesMax,
                problems: &problems
            )
        }
    }

    private func checkVirtualHosts(_ object: ConfigObject) {
        var names: Set<String> = []
        var domains: [String: String] = [:]
        for (host, child) in zip(virtualHosts, object.objects("virtual_hosts")) {
            if !host.name.isEmpty, !names.insert(host.name).inserted {
                child.error("\"\(host.name)\" is the name of another virtual host", at: "name")
            }
            for domain in host.domains {
                if let other = domains.updateValue(host.name, forKey: domain.text) {
                    child.error(
                        "\"\(domain.text)\" is already a domain of virtual host \"\(other)\";"
                            + " domains must be unique in the table",
                        at: "domains"
                    )
                }
            }
        }
    }

    private func checkBodies(_ object: ConfigObject) {
        for (host, hostObject) in zip(virtualHosts, object.objects("virtual_hosts")) {
            for (route, routeObject) in zip(host.routes, hostObject.objects("routes")) {
                guard case .directResponse(let response) = route.action,
                    response.body.count > directResponseBodyBytesMax
                else { continue }
                routeObject.error(
                    "the body has \(response.body.count) bytes; max_direct_response_body_size_bytes"
                        + " allows \(directResponseBodyBytesMax)",
                    at: "direct_response"
                )
            }
        }
    }
}

/// A cluster named by a route, and where.
package struct ClusterReference: Hashable, Sendable {
    package let name: String
    package let path: ConfigPath
    package let position: ConfigPosition
}

/// Routes of one set of domains (envoy: route.v3.VirtualHost).
package struct VirtualHostConfig: Sendable {
    /// A domain, or a pattern of domains, in lower case.
    package struct Domain: Hashable, Sendable {
        package enum Kind: UInt8, Sendable { case exact, suffix, prefix, any }

        package let kind: Kind
        /// As configured.
        package let text: String

        /// What the host must equal, end with or begin with.
        package var fixedPart: Substring {
            switch kind {
            case .exact: text[...]
            case .suffix: text.dropFirst()
            case .prefix: text.dropLast()
            case .any: ""
            }
        }

        init(_ text: String) {
            let lower = text.lowercased()
            self.text = lower
            if lower == "*" {
                kind = .any
            } else if lower.hasPrefix("*") {
                kind = .suffix
            } else if lower.hasSuffix("*") {
                kind = .prefix
            } else {
                kind = .exact
            }
        }
    }

    /// Which requests must have come over TLS (envoy: TlsRequirementType).
    package enum TLSRequirement: Int, ConfigEnum {
        case none
        case externalOnly
        case all
    }

    package let name: String
    package let domains: [Domain]
    package private(set) var routes: [RouteEntryConfig]
    package let tlsRequirement: TLSRequirement
    package let headers: HeaderMutationsConfig
    package let filterOverrides: FilterOverridesConfig
    package let includesRequestAttemptCount: Bool
    package let includesAttemptCountInResponse: Bool
    package let includesTimeoutRetryHeader: Bool
    /// For routes without their own.
    package let retryPolicy: RetryPolicyConfig?
    /// How much of a request is kept for retries; nil means the listener's buffer limit.
    package let requestBufferLimit: UInt64?
    /// `filter_metadata`, for `%METADATA(VIRTUAL_HOST:…)%`.
    package let metadata: MetadataConfig
    /// The first that a request matches counts it.
    package let virtualClusters: [VirtualClusterConfig]

    package init(_ object: ConfigObject) {
        name = object.requiredString("name")
        let patterns = object.strings("domains")
        if patterns.isEmpty { object.error("needs at least one domain", at: "domains") }
        for pattern in patterns {
            if pattern.isEmpty {
                object.error("a domain must not be empty", at: "domains", element: pattern)
            }
            let inner = pattern.dropFirst().dropLast()
            if inner.contains("*")
                || (pattern.count > 1 && pattern.hasPrefix("*") && pattern.hasSuffix("*"))
            {
                object.error(
                    "\"\(pattern)\": a star may only stand alone, first or last",
                    at: "domains",
                    element: pattern
                )
            }
        }
        domains = patterns.map { Domain($0) }
        routes = object.objects("routes").map { RouteEntryConfig($0) }
        tlsRequirement = object.enumeration("require_tls", TLSRequirement.self) ?? .none
        headers = HeaderMutationsConfig(object)
        filterOverrides = FilterOverridesConfig(object)
        includesRequestAttemptCount = object.bool("include_request_attempt_count", default: false)
        includesAttemptCountInResponse = object.bool(
            "include_attempt_count_in_response",
            default: false
        )
        includesTimeoutRetryHeader = object.bool("include_is_timeout_retry_header", default: false)
        retryPolicy = object.object("retry_policy").map { RetryPolicyConfig($0) }
        requestBufferLimit = RouteEntryConfig.bufferLimit(object)
        metadata = MetadataConfig(object.object("metadata"))
        virtualClusters = object.objects("virtual_clusters").map { VirtualClusterConfig($0) }
        object.unsupported("matcher", "matcher trees are not implemented; use routes")
        object.unsupported("rate_limits", "global rate limiting is not implemented")
        object.unsupported("cors", "deprecated, and cross-origin policy is not implemented")
        object.unsupported("hedge_policy", "hedging is not implemented")
        object.unsupported("retry_policy_typed_config", "no such extension is implemented")
        object.unsupported("request_mirror_policies", "mirroring is not implemented")
        object.unsupported("route_specifiers", "no such extension is implemented")
    }

    mutating func loadFiles(_ files: any ConfigFiles, bytesMax: Int, problems: inout [String]) {
        for route in routes.indices {
            routes[route].loadFiles(
                files,
                virtualHost: name,
                bytesMax: bytesMax,
                problems: &problems
            )
        }
    }
}

/// One route: which requests, and what becomes of them (envoy: route.v3.Route).
package struct RouteEntryConfig: Sendable {
    package enum Action: Sendable {
        case route(RouteActionConfig)
        case redirect(RedirectConfig)
        case directResponse(DirectResponseConfig)
    }

    package let name: String
    package let match: RouteMatchConfig
    package private(set) var action: Action
    package let headers: HeaderMutationsConfig
    package let filterOverrides: FilterOverridesConfig
    /// `filter_metadata`, for RBAC and `%METADATA(ROUTE:…)%`.
    package let metadata: MetadataConfig
    package let requestBufferLimit: UInt64?
    /// Under which its requests are counted; empty where they are not.
    package let statPrefix: String
    /// Where it stands in the file.
    package let path: ConfigPath
    package let position: ConfigPosition

    package init(_ object: ConfigObject) {
        name = object.string("name", default: "")
        path = object.path
        position = object.position
        if let match = object.object("match") {
            self.match = RouteMatchConfig(match)
        } else {
            object.error("is required", at: "match")
            match = .everything
        }
        object.unsupported("filter_action", "no filter takes over routes")
        object.unsupported("non_forwarding_action", "routes here either forward or answer")
        switch object.exactlyOne(
            of: "route",
            "redirect",
            "direct_response",
            "filter_action",
            "non_forwarding_action"
        )
        {
        case "route":
            action =
                object.object("route").map { .route(RouteActionConfig($0)) } ?? .redirect(.none)
        case "redirect":
            action = .redirect(object.object("redirect").map { RedirectConfig($0) } ?? .none)
        default:
            action = .directResponse(
                object.object("direct_response").map { DirectResponseConfig($0) } ?? .none
            )
        }
        headers = HeaderMutationsConfig(object)
        filterOverrides = FilterOverridesConfig(object)
        metadata = MetadataConfig(object.object("metadata"))
        requestBufferLimit = Self.bufferLimit(object)
        statPrefix = object.string("stat_prefix", default: "")
        // Both serve tracing, which is off.
        object.inert("decorator", "tracing")
        object.unsupported("route_specifiers", "no such extension is implemented")
    }

    package var clusterReferences: [ClusterReference] {
        if case .route(let action) = action { action.clusterReferences } else { [] }
    }

    mutating func loadFiles(
        _ files: any ConfigFiles,
        virtualHost: String,
        bytesMax: Int,
        problems: inout [String]
    ) {
        guard case .directResponse(var response) = action else { return }
        let subject = "direct response of route \"\(name)\" in virtual host \"\(virtualHost)\""
        response.loadFiles(files, subject: subject, bytesMax: bytesMax, problems: &problems)
        action = .directResponse(response)
    }

    /// The limit under its new name or its old one.
    fileprivate static func bufferLimit(_ object: ConfigObject) -> UInt64? {
        if object.present("request_body_buffer_limit", "per_request_buffer_limit_bytes").count == 2
        {
            object.error(
                "per_request_buffer_limit_bytes is the old name of this field; set one of them",
                at: "request_body_buffer_limit"
            )
        }
        let old = object.uint32("per_request_buffer_limit_bytes").map { UInt64($0) }
        return object.uint64("request_body_buffer_limit") ?? old
    }
}
