import MeshConfig
import MeshHTTP
import MeshNet

/// What an RBAC filter does to one request.
package enum RBACVerdict: Hashable, Sendable {
    case allowed
    /// Answer 403 `RBAC: access denied`, with these response code details.
    case denied(details: String)

    package static let deniedBody: StaticString = "RBAC: access denied"
}

/// The HTTP filter's decisions: enforced and shadow rules, what they count and what they leave in
/// dynamic metadata (envoy: extensions.filters.http.rbac.v3.RBAC). One per worker and configuration;
/// knows no stream but its ``StreamInfo``.
///
/// Envoy's order: shadow rules first, then those enforced. Metadata is `<prefix>shadow_engine_result`,
/// `<prefix>shadow_effective_policy_id`, `<prefix>enforced_engine_result` and
/// `<prefix>enforced_effective_policy_id` under `envoy.filters.http.rbac`, and, for enforced LOG rules,
/// `access_log_hint` under `envoy.common`.
package final class RBACFilterLogic {
    package static let metadataNamespace = "envoy.filters.http.rbac"

    /// Nil: everything is allowed.
    package let enforced: RBACRuleSet?
    package let shadow: RBACRuleSet?
    private var published = PublishedMetadata()

    /// - Parameters:
    ///   - statPrefix: the connection manager's, with its dot: `http.ingress.`.
    ///   - chain: the filter's own configuration, where `config` is a route's: it counts under the
    ///     filter's names, and takes over its prefixes where it has none.
    package init(
        _ config: RBACFilterConfig,
        statPrefix: String,
        stats: WorkerStats,
        chain: RBACFilterConfig? = nil
    ) {
        let chain = chain ?? config
        let counters = RBACStats(
            stats,
            prefix: statPrefix,
            rulesPrefix: chain.rulesStatPrefix,
            shadowPrefix: chain.shadowRulesStatPrefix
        )
        func prefix(_ own: String, _ inherited: String) -> String { own.isEmpty ? inherited : own }
        func ruleScope(_ chainPrefix: String) -> StatsScope? {
            guard config.tracksPerRuleStats else { return nil }
            let dotted = chainPrefix.isEmpty ? "" : chainPrefix + "."
            return StatsScope(stats, "\(statPrefix)rbac.\(dotted)policy.")
        }
        enforced = config.rules.map {
            RBACRuleSet(
                $0,
                allowed: counters.allowed,
                denied: counters.denied,
                word: "enforced",
                metadataPrefix: prefix(config.rulesStatPrefix, chain.rulesStatPrefix),
                ruleScope: ruleScope(chain.rulesStatPrefix)
            )
        }
        shadow = config.shadowRules.map {
            RBACRuleSet(
                $0,
                allowed: counters.shadowAllowed,
                denied: counters.shadowDenied,
                word: "shadow",
                metadataPrefix: prefix(config.shadowRulesStatPrefix, chain.shadowRulesStatPrefix),
                ruleScope: ruleScope(chain.shadowRulesStatPrefix)
            )
        }
    }

    package func decide(_ headers: HeaderMap, _ stream: StreamInfo) -> RBACVerdict {
        let shadowDecision = shadow?.decide(headers, stream)
        let decision = enforced?.decide(headers, stream)
        if shadowDecision != nil || decision != nil {
            publish(decision, shadowDecision, to: stream)
        }
        guard let enforced, let decision, !decision.isAllowed else { return .allowed }
        return .denied(details: enforced.engine.deniedDetails(decision))
    }

    private func publish(
        _ decision: RBACDecision?,
        _ shadowDecision: RBACDecision?,
        to stream: StreamInfo
    ) {
        let key = PublishedMetadata.key(decision, shadowDecision)
        if published.values[key] == nil {
            published.insert(makeMetadata(decision, shadowDecision), key)
        }
        guard let metadata = published.values[key] else { return }
        if Self.replaces(metadata, stream.dynamicMetadata) {
            stream.dynamicMetadata = metadata
        } else {
            for (namespace, fields) in metadata {
                stream.dynamicMetadata[namespace, default: [:]].merge(fields) { _, new in new }
            }
        }
    }

    /// Whether nothing of the old is left when the new is merged into it: there is nothing, or only what
    /// an RBAC filter before this one left. Then the new is shared as it is.
    private static func replaces(
        _ new: [String: [String: MetadataValue]],
        _ old: [String: [String: MetadataValue]]
    ) -> Bool {
        if old.isEmpty { return true }
        guard old.count == 1, let oldFields = old[metadataNamespace],
            let newFields = new[metadataNamespace]
        else { return false }
        return oldFields.keys.allSatisfy { newFields[$0] != nil }
    }

    private func makeMetadata(
        _ decision: RBACDecision?,
        _ shadowDecision: RBACDecision?
    ) -> [String: [String: MetadataValue]] {
        var metadata: [String: [String: MetadataValue]] = [:]
        var fields: [String: MetadataValue] = [:]
        if let shadow, let shadowDecision { shadow.addMetadata(shadowDecision, to: &fields) }
        if let enforced, let decision {
            enforced.addMetadata(decision, to: &fields)
            if enforced.engine.action == .log {
                metadata["envoy.common"] = ["access_log_hint": .bool(decision.policy != nil)]
            }
        }
        metadata[Self.metadataNamespace] = fields
        return metadata
    }
}

/// Rules with the counters and names that belong to them: those enforced, or those in shadow.
package final class RBACRuleSet {
    package let engine: RBACEngine
    private let allowed: Counter
    private let denied: Counter
    private let word: String
    private let metadataPrefix: String
    /// Nil where single policies are not counted.
    private let ruleScope: StatsScope?
    /// By policy; made when the policy first matches, as in Envoy.
    private var ruleCounters: [Counter?]

    init(
        _ rules: RBACRules,
        allowed: Counter,
        denied: Counter,
        word: String,
        metadataPrefix: String,
        ruleScope: StatsScope?
    ) {
        engine = RBACEngine(rules)
        self.allowed = allowed
        self.denied = denied
        self.word = word
        self.metadataPrefix = metadataPrefix
        self.ruleScope = ruleScope
        ruleCounters =
            ruleScope == nil ? [] : Array(repeating: nil, count: engine.policyNames.count)
    }

    func decide(_ headers: HeaderMap?, _ stream: StreamInfo) -> RBACDecision {
        let decision = engine.decide(headers, stream)
        (decision.isAllowed ? allowed : denied).add()
        if let ruleScope, let policy = decision.policy { count(policy, decision, ruleScope) }
        return decision
    }

    /// A policy that matches always allows, or always denies: one counter is enough.
    private func count(_ policy: Int, _ decision: RBACDecision, _ scope: StatsScope) {
        if let counter = ruleCounters[policy] { return counter.add() }
        let shadowWord = word == "shadow" ? "shadow_" : ""
        let result = decision.isAllowed ? "allowed" : "denied"
        let counter = scope.counter("\(engine.policyNames[policy]).\(shadowWord)\(result)")
        ruleCounters[policy] = counter
        counter.add()
    }

    func addMetadata(_ decision: RBACDecision, to fields: inout [String: MetadataValue]) {
        fields["\(metadataPrefix)\(word)_engine_result"] = .string(
            decision.isAllowed ? "allowed" : "denied"
        )
        guard let policy = decision.policy, !engine.policyNames[policy].isEmpty else { return }
        fields["\(metadataPrefix)\(word)_effective_policy_id"] = .string(engine.policyNames[policy])
    }
}

/// Metadata is made once for each outcome and then only shared, so that publishing it allocates nothing.
private struct PublishedMetadata {
    /// An outcome is a pair of policies; a file with very many of both starts anew now and then.
    private static let countMax = 4096

    private(set) var values: [Int: [String: [String: MetadataValue]]] = [:]

    static func key(_ decision: RBACDecision?, _ shadow: RBACDecision?) -> Int {
        func part(_ decision: RBACDecision?) -> Int { (decision?.policy ?? -1) + 1 }
        return part(decision) << 32 | part(shadow)
    }

    mutating func insert(_ metadata: [String: [String: MetadataValue]], _ key: Int) {
        if values.count >= Self.countMax { values.removeAll() }
        values[key] = metadata
    }
}
