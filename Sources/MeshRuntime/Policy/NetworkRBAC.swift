import MeshConfig
import MeshHTTP
import MeshNet

/// The network filter's decision on one connection (envoy: extensions.filters.network.rbac.v3.RBAC).
/// One per worker and configuration.
///
/// It is made when the connection is established, TLS included, before anybody upstream is asked for
/// anything. Envoy waits for the client's first byte, so that a server that speaks first is heard by
/// clients that are then denied. All that the rules can see is known by then, so CONTINUOUS comes to
/// the same.
package final class NetworkRBAC {
    package static let metadataNamespace = "envoy.filters.network.rbac"

    package let enforced: RBACRuleSet?
    package let shadow: RBACRuleSet?
    /// How long a denied connection is held, silent, before it is closed.
    package let delayDeny: Nanoseconds

    package init(_ config: NetworkRBACConfig, stats: WorkerStats) {
        let prefix = config.statPrefix.hasSuffix(".") ? config.statPrefix : config.statPrefix + "."
        let counters = RBACStats(stats, prefix: prefix, shadowPrefix: config.shadowRulesStatPrefix)
        enforced = config.rules.map {
            RBACRuleSet(
                $0,
                allowed: counters.allowed,
                denied: counters.denied,
                word: "enforced",
                metadataPrefix: "",
                ruleScope: nil
            )
        }
        shadow = config.shadowRules.map {
            RBACRuleSet(
                $0,
                allowed: counters.shadowAllowed,
                denied: counters.shadowDenied,
                word: "shadow",
                metadataPrefix: config.shadowRulesStatPrefix,
                ruleScope: nil
            )
        }
        delayDeny = Nanoseconds(config.delayDeny)
    }

    /// Whether the connection may go on. Where it may not, its termination details say why.
    package func admits(_ connection: ConnectionInfo) -> Bool {
        let stream = StreamInfo(
            connection: connection,
            start: connection.start,
            startWall: connection.startWall
        )
        if let shadow {
            var fields: [String: MetadataValue] = [:]
            shadow.addMetadata(shadow.decide(nil, stream), to: &fields)
            connection.dynamicMetadata[Self.metadataNamespace, default: [:]].merge(fields) {
                _,
                new in new
            }
        }
        guard let enforced else { return true }
        let decision = enforced.decide(nil, stream)
        if enforced.engine.action == .log {
            connection.dynamicMetadata["envoy.common", default: [:]]["access_log_hint"] =
                .bool(decision.policy != nil)
        }
        if !decision.isAllowed {
            connection.terminationDetails = enforced.engine.deniedDetails(decision)
        }
        return decision.isAllowed
    }
}
