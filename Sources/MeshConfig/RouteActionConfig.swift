/// Where a request goes, rewritten how and within what time (envoy: route.v3.RouteAction).
package struct RouteActionConfig: Sendable {
    package enum Target: Sendable {
        case cluster(String)
        /// The cluster is named by this request header.
        case header(String)
        case weighted(WeightedClustersConfig)
    }

    package enum HostRewrite: Sendable {
        case literal(String)
        /// The value of this request header.
        case header(String)
        /// The path without its query, substituted.
        case pathRegex(RegexSubstitution)
        /// The chosen endpoint's host name.
        case upstreamHost
    }

    package enum PathRewrite: Sendable {
        /// Replaces what the route's path rule matched.
        case prefix(String)
        case regex(RegexSubstitution)
    }

    /// An upgrade allowed or forbidden on this route only (envoy: RouteAction.UpgradeConfig).
    package struct Upgrade: Sendable {
        /// Lower case.
        package let type: String
        package let isEnabled: Bool
        package let connect: ConnectConfig?

        init(_ object: ConfigObject) {
            type = object.requiredString("upgrade_type").lowercased()
            isEnabled = object.bool("enabled", default: true)
            connect = object.object("connect_config").map { ConnectConfig($0) }
            if connect != nil, type != "connect" {
                object.error("belongs to upgrade_type CONNECT", at: "connect_config")
            }
        }
    }

    /// Tunnels of this route end here: their payload goes on as bytes
    /// (envoy: RouteAction.UpgradeConfig.ConnectConfig).
    package struct ConnectConfig: Sendable {
        /// A POST is taken for a CONNECT.
        package let allowsPost: Bool

        init(_ object: ConfigObject) {
            allowsPost = object.bool("allow_post", default: false)
            object.unsupported(
                "proxy_protocol_config",
                "the PROXY protocol is not implemented"
            )
        }
    }

    /// What answers where the cluster does not exist (envoy: ClusterNotFoundResponseCode).
    package enum ClusterNotFoundStatus: Int, ConfigEnum {
        case serviceUnavailable
        case notFound
        case internalServerError

        package var status: Int {
            switch self {
            case .serviceUnavailable: 503
            case .notFound: 404
            case .internalServerError: 500
            }
        }
    }

    /// Whose circuit breakers count the request (envoy: RoutingPriority).
    package enum Priority: Int, ConfigEnum {
        case normal
        case high

        package var name: String {
            switch self {
            case .normal: "DEFAULT"
            case .high: "HIGH"
            }
        }
    }

    package let target: Target
    package let clusterNotFoundStatus: ClusterNotFoundStatus
    package let metadataMatch: MetadataConfig
    package let pathRewrite: PathRewrite?
    package let hostRewrite: HostRewrite?
    package let appendsForwardedHost: Bool
    /// Of the whole exchange with its retries; zero means none.
    package let timeout: Duration
    /// Nil: the connection manager's `stream_idle_timeout` holds. Zero means none.
    package let idleTimeout: Duration?
    package let retryPolicy: RetryPolicyConfig?
    package let priority: Priority
    package let upgrades: [Upgrade]
    package let internalRedirect: InternalRedirectConfig?
    package let maxGRPCTimeout: Duration?
    package let grpcTimeoutOffset: Duration?
    package let streamDuration: StreamDurationConfig?
    package let clusterReferences: [ClusterReference]

    package init(_ object: ConfigObject) {
        var references: [ClusterReference] = []
        target = Self.target(object, &references)
        clusterReferences = references
        clusterNotFoundStatus =
            object.enumeration("cluster_not_found_response_code", ClusterNotFoundStatus.self)
            ?? .serviceUnavailable
        metadataMatch = MetadataConfig(object.object("metadata_match"))
        pathRewrite = Self.pathRewrite(object)
        hostRewrite = Self.hostRewrite(object)
        appendsForwardedHost = object.bool("append_x_forwarded_host", default: false)
        timeout = object.duration("timeout") ?? .seconds(15)
        idleTimeout = object.duration("idle_timeout")
        retryPolicy = object.object("retry_policy").map { RetryPolicyConfig($0) }
        priority = object.enumeration("priority", Priority.self) ?? .normal
        upgrades = object.objects("upgrade_configs").map { Upgrade($0) }
        UpgradeConfig.checkUnique(object, upgrades.map(\.type))
        internalRedirect = Self.internalRedirect(object)
        maxGRPCTimeout = object.duration("max_grpc_timeout")
        grpcTimeoutOffset = object.duration("grpc_timeout_offset")
        streamDuration = object.object("max_stream_duration").map { StreamDurationConfig($0) }
        Self.refuseTheRest(object)

        if let perTry = retryPolicy?.perTryTimeout, timeout > .zero, perTry >= timeout {
            object.warning(
                "per_try_timeout is not shorter than the route's timeout: it never comes to a"
                    + " second try after it",
                at: "timeout"
            )
        }
    }

    private static func target(
        _ object: ConfigObject,
        _ references: inout [ClusterReference]
    ) -> Target {
        object.unsupported("cluster_specifier_plugin", "no such plugin is implemented")
        object.unsupported("inline_cluster_specifier_plugin", "no such plugin is implemented")
        let field = object.exactlyOne(
            of: "cluster",
            "cluster_header",
            "weighted_clusters",
            "cluster_specifier_plugin",
            "inline_cluster_specifier_plugin"
        )
        switch field {
        case "cluster_header":
            let name = object.requiredString("cluster_header")
            if !name.isEmpty, let problem = HeaderNameRule.problem(name) {
                object.error(problem, at: "cluster_header")
            }
            return .header(name.lowercased())
        case "weighted_clusters":
            guard let weighted = object.object("weighted_clusters") else { return .cluster("") }
            let clusters = WeightedClustersConfig(weighted)
            references += clusters.references
            return .weighted(clusters)
        case "cluster":
            let name = object.requiredString("cluster")
            references.append(
                ClusterReference(
                    name: name,
                    path: object.path.member("cluster"),
                    position: object.position(of: "cluster")
                )
            )
            return .cluster(name)
        default:
            return .cluster("")
        }
    }

    private static func pathRewrite(_ object: ConfigObject) -> PathRewrite? {
        object.unsupported("path_rewrite_policy", "no such extension is implemented")
        object.unsupported(
            "path_rewrite",
            "use regex_rewrite with a regex that matches the whole path"
        )
        let prefix = object.string("prefix_rewrite").flatMap { $0.isEmpty ? nil : $0 }
        let regex = object.object("regex_rewrite").map { RegexSubstitution($0) }
        if prefix != nil, regex != nil {
            object.error("prefix_rewrite and regex_rewrite exclude each other", at: "regex_rewrite")
        }
        return regex.map { .regex($0) } ?? prefix.map { .prefix($0) }
    }

    private static func hostRewrite(_ object: ConfigObject) -> HostRewrite? {
        object.unsupported("host_rewrite", "use host_rewrite_literal")
        let field = object.atMostOne(
            of: "host_rewrite_literal",
            "auto_host_rewrite",
            "host_rewrite_header",
            "host_rewrite_path_regex",
            "host_rewrite"
        )
        switch field {
        case "host_rewrite_literal":
            let text = object.string("host_rewrite_literal", default: "")
            return text.isEmpty ? nil : .literal(text)
        case "auto_host_rewrite":
            return object.bool("auto_host_rewrite", default: false) ? .upstreamHost : nil
        case "host_rewrite_header":
            let name = object.string("host_rewrite_header", default: "")
            if name.isEmpty { return nil }
            if let problem = HeaderNameRule.problem(name) {
                object.error(problem, at: "host_rewrite_header")
            }
            return .header(name.lowercased())
        case "host_rewrite_path_regex":
            return object.object("host_rewrite_path_regex").map {
                .pathRegex(RegexSubstitution($0))
            }
        default: return nil
        }
    }

    private static func internalRedirect(_ object: ConfigObject) -> InternalRedirectConfig? {
        object.unsupported("internal_redirect_action", "use internal_redirect_policy")
        object.unsupported("max_internal_redirects", "use internal_redirect_policy")
        return object.object("internal_redirect_policy").map { InternalRedirectConfig($0) }
    }

    private static func refuseTheRest(_ object: ConfigObject) {
        object.unsupported("flush_timeout", "use the connection manager's stream_idle_timeout")
        object.unsupported("early_data_policy", "there is no early data upstream")
        object.unsupported("retry_policy_typed_config", "no such extension is implemented")
        object.unsupported("request_mirror_policies", "mirroring is not implemented")
        object.unsupported("rate_limits", "global rate limiting is not implemented")
        object.unsupported("include_vh_rate_limits", "global rate limiting is not implemented")
        object.unsupported("hash_policy", "no load balancer here hashes requests")
        object.unsupported("cors", "deprecated, and cross-origin policy is not implemented")
        object.unsupported("hedge_policy", "hedging is not implemented")
    }
}

/// A regex and what to put in place of what it matches; `\1` are its groups
/// (envoy: type.matcher.v3.RegexMatchAndSubstitute).
package struct RegexSubstitution: Sendable {
    /// Nil where it did not compile and an error was reported.
    package let regex: Regex?
    package let substitution: String

    package init(_ object: ConfigObject) {
        substitution = object.string("substitution", default: "")
        guard let pattern = object.object("pattern") else {
            object.error("is required", at: "pattern")
            regex = nil
            return
        }
        regex = Regex.decode(pattern)
        do {
            try regex?.check(rewrite: substitution)
        } catch {
            object.error("\"\(substitution)\": \(error)", at: "substitution")
        }
        if substitution.utf8.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) {
            object.error("must not contain NUL, CR or LF", at: "substitution")
        }
    }
}

/// Limits of a stream's life on one route (envoy: RouteAction.MaxStreamDuration).
package struct StreamDurationConfig: Sendable {
    /// Zero means none; nil means the connection manager's limit.
    package let maxStreamDuration: Duration?
    /// Upper limit for `grpc-timeout`; zero means any value is taken; nil means it is not looked at.
    package let grpcTimeoutHeaderMax: Duration?
    package let grpcTimeoutHeaderOffset: Duration?

    package init(_ object: ConfigObject) {
        maxStreamDuration = object.duration("max_stream_duration")
        grpcTimeoutHeaderMax = object.duration("grpc_timeout_header_max")
        grpcTimeoutHeaderOffset = object.duration("grpc_timeout_header_offset")
    }
}

/// A redirect of the upstream that the proxy follows itself (envoy: route.v3.InternalRedirectPolicy).
package struct InternalRedirectConfig: Sendable {
    package enum Predicate: Sendable {
        /// Not to a route this request has been redirected to before.
        case previousRoutes
        /// Only to routes of these names.
        case allowListedRoutes([String])
        /// From HTTPS to HTTP not.
        case safeCrossScheme
    }

    package let redirectsMax: Int
    package let statusCodes: [Int]
    package let predicates: [Predicate]
    package let allowsCrossScheme: Bool
    /// Lower-case names of response headers put into the redirected request.
    package let responseHeadersToCopy: [String]

    package init(_ object: ConfigObject) {
        redirectsMax = Int(object.uint32("max_internal_redirects", default: 1))
        let codes = object.uint32s("redirect_response_codes").map { Int($0) }
        let known = [301, 302, 303, 307, 308]
        for code in codes where !known.contains(code) {
            object.warning(
                "\(code) is not a redirect and is left out",
                at: "redirect_response_codes"
            )
        }
        statusCodes = codes.isEmpty ? [302] : codes.filter { known.contains($0) }
        predicates = object.objects("predicates").compactMap { Self.predicate($0) }
        allowsCrossScheme = object.bool("allow_cross_scheme_redirect", default: false)
        responseHeadersToCopy = object.strings("response_headers_to_copy").map { name in
            if let problem = HeaderNameRule.problem(mutating: name) {
                object.error("\"\(name)\": \(problem)", at: "response_headers_to_copy")
            }
            return name.lowercased()
        }
    }

    private static func predicate(_ object: ConfigObject) -> Predicate? {
        _ = object.string("name")
        guard let (type, config) = object.typedConfig() else { return nil }
        switch type {
        case "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig":
            return .previousRoutes
        case "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig":
            return .allowListedRoutes(config.strings("allowed_route_names"))
        case "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig":
            return .safeCrossScheme
        default:
            object.error("internal redirect predicate \"\(type)\" is not implemented")
            return nil
        }
    }
}
