import MeshNet

/// The HTTP filter (envoy: extensions.filters.http.rbac.v3.RBAC).
package struct RBACFilterConfig: Hashable, Sendable {
    /// Nil: nothing is enforced.
    package let rules: RBACRules?
    /// Evaluated and reported, never enforced.
    package let shadowRules: RBACRules?
    package let rulesStatPrefix: String
    package let shadowRulesStatPrefix: String
    package let tracksPerRuleStats: Bool

    package init(
        rules: RBACRules? = nil,
        shadowRules: RBACRules? = nil,
        rulesStatPrefix: String = "",
        shadowRulesStatPrefix: String = "",
        tracksPerRuleStats: Bool = false
    ) {
        self.rules = rules
        self.shadowRules = shadowRules
        self.rulesStatPrefix = rulesStatPrefix
        self.shadowRulesStatPrefix = shadowRulesStatPrefix
        self.tracksPerRuleStats = tracksPerRuleStats
    }

    package init(_ object: ConfigObject) {
        object.refuseMatchers()
        rules = object.object("rules").map { RBACRules($0, isNetwork: false) }
        shadowRules = object.object("shadow_rules").map { RBACRules($0, isNetwork: false) }
        rulesStatPrefix = object.string("rules_stat_prefix", default: "")
        shadowRulesStatPrefix = object.string("shadow_rules_stat_prefix", default: "")
        tracksPerRuleStats = object.bool("track_per_rule_stats", default: false)
    }
}

/// Replaces the filter's configuration on a virtual host, route or weighted cluster
/// (envoy: RBACPerRoute). Without `rbac`, the filter does nothing there.
package struct RBACPerRouteConfig: Hashable, Sendable {
    package let rbac: RBACFilterConfig

    package init(rbac: RBACFilterConfig) { self.rbac = rbac }

    package init(_ object: ConfigObject) {
        rbac = object.object("rbac").map { RBACFilterConfig($0) } ?? RBACFilterConfig()
    }
}

/// The network filter (envoy: extensions.filters.network.rbac.v3.RBAC).
package struct NetworkRBACConfig: Hashable, Sendable {
    package enum EnforcementType: Int, ConfigEnum {
        case oneTimeOnFirstByte = 0
        /// Decides again with every read.
        case continuous

        package var name: String {
            switch self {
            case .oneTimeOnFirstByte: "ONE_TIME_ON_FIRST_BYTE"
            case .continuous: "CONTINUOUS"
            }
        }
    }

    package let statPrefix: String
    package let rules: RBACRules?
    package let shadowRules: RBACRules?
    package let shadowRulesStatPrefix: String
    package let enforcementType: EnforcementType
    /// How long a denied connection is held before it is closed; zero closes it at once.
    package let delayDeny: Duration

    package init(
        statPrefix: String,
        rules: RBACRules? = nil,
        shadowRules: RBACRules? = nil,
        shadowRulesStatPrefix: String = "",
        enforcementType: EnforcementType = .oneTimeOnFirstByte,
        delayDeny: Duration = .zero
    ) {
        self.statPrefix = statPrefix
        self.rules = rules
        self.shadowRules = shadowRules
        self.shadowRulesStatPrefix = shadowRulesStatPrefix
        self.enforcementType = enforcementType
        self.delayDeny = delayDeny
    }

    package init(_ object: ConfigObject) {
        object.refuseMatchers()
        statPrefix = object.requiredString("stat_prefix")
        rules = object.object("rules").map { RBACRules($0, isNetwork: true) }
        shadowRules = object.object("shadow_rules").map { RBACRules($0, isNetwork: true) }
        shadowRulesStatPrefix = object.string("shadow_rules_stat_prefix", default: "")
        enforcementType = object.enumeration(
            "enforcement_type",
            default: EnforcementType.oneTimeOnFirstByte
        )
        delayDeny = object.duration("delay_deny", default: .zero)
    }
}

extension ConfigObject {
    fileprivate func refuseMatchers() {
        for (matcher, rules) in [("matcher", "rules"), ("shadow_matcher", "shadow_rules")]
        where isPresent(matcher) {
            object(matcher)?.skip()
            error(
                "\(matcher) is not supported: matcher trees are not evaluated; use \(rules)",
                at: matcher
            )
        }
    }
}

extension RBACCondition: CustomStringConvertible {
    /// In the configuration's words, for explanations and errors.
    package var description: String {
        switch self {
        case .any: "any"
        case .all(let members): "all of (\(members.map(\.description).joined(separator: "; ")))"
        case .anyOf(let members): "any of (\(members.map(\.description).joined(separator: "; ")))"
        case .not(let member): "not (\(member))"
        case .header(let match): match.description
        case .urlPath(let match): "url_path \(match)"
        case .uriTemplate(let template): "uri_template \"\(template)\""
        case .destinationIP(let range): "destination_ip \(range)"
        case .destinationPort(let port): "destination_port \(port)"
        case .destinationPortRange(let range):
            "destination_port \(range.lowerBound)..<\(range.upperBound)"
        case .requestedServerName(let match): "requested_server_name \(match)"
        case .metadata(let match): match.description
        case .routeMetadata(let match): "route \(match)"
        case .authenticated(nil): "authenticated"
        case .authenticated(.some(let match)): "authenticated.principal_name \(match)"
        case .sourceIP(let range): "source_ip \(range)"
        case .directRemoteIP(let range): "direct_remote_ip \(range)"
        case .remoteIP(let range): "remote_ip \(range)"
        case .filterState(let match): match.description
        }
    }
}
