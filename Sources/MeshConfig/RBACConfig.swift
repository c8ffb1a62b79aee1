import MeshNet

/// What a policy does to requests that match it (envoy: config.rbac.v3.RBAC.Action).
package enum RBACAction: Int, ConfigEnum {
    /// Requests pass only if some policy matches.
    case allow = 0
    /// Requests pass only if no policy matches.
    case deny
    /// All requests pass; whether a policy matched is a hint to access logs.
    case log

    package var name: String {
        switch self {
        case .allow: "ALLOW"
        case .deny: "DENY"
        case .log: "LOG"
        }
    }
}

/// One condition on a request or its connection: a Permission or a Principal of `config.rbac.v3`,
/// which differ only in which of these they may use.
package indirect enum RBACCondition: Hashable, Sendable {
    case any
    case all([RBACCondition])
    case anyOf([RBACCondition])
    case not(RBACCondition)
    case header(HeaderMatchConfig)
    case urlPath(PathMatch)
    case uriTemplate(URITemplate)
    case destinationIP(CIDR)
    case destinationPort(UInt16)
    /// Half-open.
    case destinationPortRange(Range<Int>)
    case requestedServerName(StringMatch)
    case metadata(MetadataMatchConfig)
    case routeMetadata(MetadataMatchConfig)
    /// Nil: any peer on a TLS connection.
    case authenticated(StringMatch?)
    /// The connection's peer, PROXY protocol honoured, `x-forwarded-for` not.
    case sourceIP(CIDR)
    /// The connection's peer as the kernel saw it.
    case directRemoteIP(CIDR)
    /// The client, with what a trusted `x-forwarded-for` says.
    case remoteIP(CIDR)
    case filterState(FilterStateMatchConfig)
}

/// A named policy: it matches if one permission and one principal do (envoy: config.rbac.v3.Policy).
package struct RBACPolicyConfig: Hashable, Sendable {
    package let name: String
    package let permissions: [RBACCondition]
    package let principals: [RBACCondition]

    package init(name: String, permissions: [RBACCondition], principals: [RBACCondition]) {
        self.name = name
        self.permissions = permissions
        self.principals = principals
    }
}

/// Rules of one action (envoy: config.rbac.v3.RBAC).
package struct RBACRules: Hashable, Sendable {
    package let action: RBACAction
    /// In order of their names' bytes, which is the order of evaluation.
    package let policies: [RBACPolicyConfig]

    package init(action: RBACAction, policies: [RBACPolicyConfig]) {
        self.action = action
        self.policies = policies.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// - Parameter isNetwork: the rules stand in a network filter, where there are no headers.
    package init(_ object: ConfigObject, isNetwork: Bool) {
        object.unsupported("audit_logging_options", "there are no audit loggers; use an access log")
        let decoder = RBACConditionDecoder(isNetwork: isNetwork)
        let policies = object.objectEntries("policies").map { name, policy in
            RBACPolicyConfig(
                name: name,
                permissions: Self.list(policy, "permissions").map(decoder.permission),
                principals: Self.list(policy, "principals").map(decoder.principal)
            )
        }
        for (_, policy) in object.objectEntries("policies") {
            let reason = "conditions in CEL are not evaluated; use permissions and principals"
            for key in ["condition", "checked_condition", "cel_config"] where policy.isPresent(key)
            {
                policy.object(key)?.skip()
                policy.error("\(key) is not supported: \(reason)", at: key)
            }
        }
        self.init(
            action: object.enumeration("action", default: RBACAction.allow),
            policies: policies
        )
    }

    private static func list(_ policy: ConfigObject, _ key: String) -> [ConfigObject] {
        let list = policy.objects(key)
        if list.isEmpty { policy.error("needs at least one; {\"any\": true} matches all", at: key) }
        return list
    }
}

/// Reads permissions and principals. Knows no request.
private struct RBACConditionDecoder {
    let isNetwork: Bool

    func permission(_ object: ConfigObject) -> RBACCondition {
        let chosen = object.exactlyOne(
            of: "any",
            "and_rules",
            "or_rules",
            "not_rule",
            "header",
            "url_path",
            "uri_template",
            "destination_ip",
            "destination_port",
            "destination_port_range",
            "metadata",
            "sourced_metadata",
            "requested_server_name",
            "matcher"
        )
        switch chosen {
        case "and_rules": return .all(set(object, "and_rules", "rules", permission))
        case "or_rules": return .anyOf(set(object, "or_rules", "rules", permission))
        case "not_rule": return object.object("not_rule").map { .not(permission($0)) } ?? .any
        case "uri_template":
            noHeadersHere(object, "uri_template")
            return object.object("uri_template").flatMap(URITemplate.decode).map {
                .uriTemplate($0)
            } ?? .any
        case "destination_ip": return range(object, "destination_ip") { .destinationIP($0) }
        case "destination_port":
            let port = object.uint32("destination_port", default: 0)
            if port > 65_535 { object.error("\(port) is no port", at: "destination_port") }
            return .destinationPort(UInt16(clamping: port))
        case "destination_port_range": return portRange(object.object("destination_port_range"))
        case "requested_server_name":
            return .requestedServerName(string(object, "requested_server_name"))
        case "matcher":
            object.object("matcher")?.skip()
            object.error(
                "matcher is not supported: of the matcher extensions only uri_template is here; "
                    + "give it in the field uri_template",
                at: "matcher"
            )
            return .any
        default: return shared(object, chosen)
        }
    }

    func principal(_ object: ConfigObject) -> RBACCondition {
        let chosen = object.exactlyOne(
            of: "any",
            "and_ids",
            "or_ids",
            "not_id",
            "authenticated",
            "source_ip",
            "direct_remote_ip",
            "remote_ip",
            "header",
            "url_path",
            "metadata",
            "sourced_metadata",
            "filter_state",
            "custom"
        )
        switch chosen {
        case "and_ids": return .all(set(object, "and_ids", "ids", principal))
        case "or_ids": return .anyOf(set(object, "or_ids", "ids", principal))
        case "not_id": return object.object("not_id").map { .not(principal($0)) } ?? .any
        case "authenticated":
            guard let name = object.object("authenticated")?.object("principal_name") else {
                object.warning(
                    "without principal_name, every peer on TLS counts as authenticated, with a"
                        + " certificate or not; ask for {\"safe_regex\": {\"regex\": \".+\"}}",
                    at: "authenticated"
                )
                return .authenticated(nil)
            }
            return .authenticated(StringMatch(name))
        case "source_ip": return range(object, "source_ip") { .sourceIP($0) }
        case "direct_remote_ip": return range(object, "direct_remote_ip") { .directRemoteIP($0) }
        case "remote_ip": return range(object, "remote_ip") { .remoteIP($0) }
        case "filter_state":
            return object.object("filter_state").map { .filterState(FilterStateMatchConfig($0)) }
                ?? .any
        case "custom":
            object.object("custom")?.skip()
            object.error(
                "custom is not supported: there are no principal extensions; use authenticated",
                at: "custom"
            )
            return .any
        default: return shared(object, chosen)
        }
    }

    /// The kinds that permissions and principals have in common.
    private func shared(_ object: ConfigObject, _ chosen: String?) -> RBACCondition {
        switch chosen {
        case "header":
            if isNetwork {
                object.error(
                    "a network filter sees no headers; move the rule to the HTTP filter",
                    at: "header"
                )
            }
            return object.object("header").map { .header(HeaderMatchConfig($0)) } ?? .any
        case "url_path":
            noHeadersHere(object, "url_path")
            return object.object("url_path").map { .urlPath(PathMatch($0)) } ?? .any
        case "metadata":
            return object.object("metadata").map { .metadata(MetadataMatchConfig($0)) } ?? .any
        case "sourced_metadata": return sourcedMetadata(object.object("sourced_metadata"))
        default:
            if chosen == "any", object.bool("any") != true {
                object.error("must be true", at: "any")
            }
            return .any
        }
    }

    /// Envoy accepts these in a network filter, where they never match; so do we, but we say so.
    private func noHeadersHere(_ object: ConfigObject, _ key: String) {
        guard isNetwork else { return }
        object.warning("\(key) never matches in a network filter, which sees no request", at: key)
    }

    private func set(
        _ object: ConfigObject,
        _ key: String,
        _ list: String,
        _ decode: (ConfigObject) -> RBACCondition
    ) -> [RBACCondition] {
        guard let set = object.object(key) else { return [] }
        let members = set.objects(list)
        if members.isEmpty { set.error("needs at least one", at: list) }
        return members.map(decode)
    }

    private func range(
        _ object: ConfigObject,
        _ key: String,
        _ make: (CIDR) -> RBACCondition
    ) -> RBACCondition {
        object.object(key).flatMap(CIDR.decode).map(make) ?? .any
    }

    private func string(_ object: ConfigObject, _ key: String) -> StringMatch {
        object.object(key).map { StringMatch($0) } ?? .exact("")
    }

    private func portRange(_ object: ConfigObject?) -> RBACCondition {
        guard let object else { return .any }
        let start = object.int32("start", default: 0)
        let end = object.int32("end", default: 0)
        guard (0...65_536).contains(start), (0...65_536).contains(end), start < end else {
            object.error("\(start) to \(end) is no range of ports; the end is exclusive")
            return .any
        }
        return .destinationPortRange(Int(start)..<Int(end))
    }

    private enum MetadataSource: Int, ConfigEnum {
        case dynamic = 0
        case route

        var name: String {
            switch self {
            case .dynamic: "DYNAMIC"
            case .route: "ROUTE"
            }
        }
    }

    private func sourcedMetadata(_ object: ConfigObject?) -> RBACCondition {
        guard let object, let matcher = object.requiredObject("metadata_matcher") else {
            return .any
        }
        let match = MetadataMatchConfig(matcher)
        let source = object.enumeration("metadata_source", default: MetadataSource.dynamic)
        return source == .route ? .routeMetadata(match) : .metadata(match)
    }
}
