import MeshConfig
import MeshNet
import MeshRuntime

/// Why a set of policies decides as it does: every policy, rule, clause, match and field, with what it
/// asks for and what the connection has. Made by the same comparisons that decide. Cold.
package struct L4Explanation: Sendable {
    /// A field of a match, in both forms.
    package struct Field: Sendable {
        package let name: String
        package let wanted: [String]
        /// Of the `not` form.
        package let unwanted: [String]
        package let found: String
        package let holds: Bool
    }

    package struct Match: Sendable {
        package let holds: Bool
        /// Without any the match holds for nobody.
        package let fields: [Field]
    }

    package struct Clause: Sendable {
        package let holds: Bool
        /// Without any the clause holds.
        package let matches: [Match]
    }

    package struct Rule: Sendable {
        package let matches: Bool
        package let clauses: [Clause]
    }

    package struct Policy: Sendable {
        package let key: String
        package let action: String
        package let scope: String
        package let isDryRun: Bool
        package let matches: Bool
        package let rules: [Rule]
    }

    package let connection: L4Connection
    package let decision: L4Decision
    /// All that hold for the workload, in the order of evaluation.
    package let policies: [Policy]
    /// Keys that the workload names and that are no policy's.
    package let unknownPolicies: [String]
    private let hasAllow: Bool

    init(_ set: PolicySet, _ connection: L4Connection) {
        self.connection = connection
        decision = set.decide(connection)
        unknownPolicies = set.unknown
        hasAllow = set.hasEnforcedAllow
        var facts = L4Facts(connection)
        policies = set.policies.map { Policy($0, &facts) }
    }

    /// One sentence.
    package var summary: String {
        if !decision.isAllowed { return "denied: \(decision.reason)" }
        if !decision.policy.isEmpty { return "allowed by: \(decision.policy)" }
        if policies.isEmpty { return "allowed: no policy holds for this workload" }
        return hasAllow
            ? "allowed" : "allowed: no Deny policy matches and there is no Allow policy"
    }
}

extension L4Explanation.Policy {
    fileprivate init(_ policy: L4Policy, _ facts: inout L4Facts) {
        key = policy.key
        action = policy.action.rawValue
        scope = policy.scope.rawValue
        isDryRun = policy.isDryRun
        matches = policy.matches(&facts)
        var rules: [L4Explanation.Rule] = []
        for rule in policy.rules { rules.append(.init(rule, &facts)) }
        self.rules = rules
    }
}

extension L4Explanation.Rule {
    fileprivate init(_ rule: L4Policy.Rule, _ facts: inout L4Facts) {
        matches = L4Policy.matches(rule, &facts)
        var clauses: [L4Explanation.Clause] = []
        for clause in rule {
            var matches: [L4Explanation.Match] = []
            for match in clause {
                var fields: [L4Explanation.Field] = []
                for field in match.asked { fields.append(.init(field, of: match, &facts)) }
                matches.append(.init(holds: match.holds(&facts), fields: fields))
            }
            clauses.append(.init(holds: L4Policy.matches(clause, &facts), matches: matches))
        }
        self.clauses = clauses
    }
}

extension L4Explanation.Field {
    fileprivate init(_ field: L4Field, of match: L4Match, _ facts: inout L4Facts) {
        let wanted = match.wanted(field)
        name = field.name
        self.wanted = wanted.positive
        unwanted = wanted.negative
        found = facts.found(field)
        holds = match.verdict(field, &facts) == .holds
    }
}
