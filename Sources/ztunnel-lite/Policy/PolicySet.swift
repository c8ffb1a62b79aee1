import MeshConfig
import MeshNet

/// What policies look at.
package struct L4Connection: Sendable {
    package var source: SocketAddress
    /// Nil where the peer has not proved who it is.
    package var identity: SPIFFEID?
    package var destination: SocketAddress

    package init(source: SocketAddress, identity: SPIFFEID?, destination: SocketAddress) {
        self.source = source
        self.identity = identity
        self.destination = destination
    }
}

package struct L4Decision: Sendable {
    package var isAllowed: Bool
    /// `namespace/name` of the policy that decided; empty where none did.
    package var policy: String
    /// Empty when allowed; else ztunnel's words and the condition that decided.
    package var reason: String
    /// What policies under test would have done, worded for the log.
    package var dryRun: [String]
}

/// The policies that hold for a workload (ztunnel: rbac.rs): those of its namespace, of the whole mesh,
/// and those it names itself. Immutable and shared by workloads with the same ones.
package final class PolicySet: Sendable {
    package static let empty = PolicySet([], unknown: [])

    /// In the order of evaluation: deny before allow, as in the file within each.
    let policies: [L4Policy]
    /// Keys that the workload names and that are no policy's: they are skipped.
    let unknown: [String]
    private let denies: [Int32]
    private let allows: [Int32]
    private let dryRuns: [Int32]

    init(_ policies: [L4Policy], unknown: [String]) {
        let ordered =
            policies.filter { $0.action == .deny } + policies.filter { $0.action == .allow }
        self.policies = ordered
        self.unknown = unknown
        func places(_ isWanted: (L4Policy) -> Bool) -> [Int32] {
            ordered.indices.filter { isWanted(ordered[$0]) }.map { Int32($0) }
        }
        denies = places { $0.action == .deny && !$0.isDryRun }
        allows = places { $0.action == .allow && !$0.isDryRun }
        dryRuns = places(\.isDryRun)
    }

    /// Nothing is enforced and nothing is tried out.
    package var isEmpty: Bool { policies.isEmpty }

    /// Any Deny that matches denies; without an Allow all others are allowed, else those that one of
    /// them matches.
    package func decide(_ connection: L4Connection) -> L4Decision {
        var decision = L4Decision(isAllowed: true, policy: "", reason: "", dryRun: [])
        if policies.isEmpty { return decision }
        var facts = L4Facts(connection)
        if !dryRuns.isEmpty { decision.dryRun = dryRun(&facts) }
        for place in denies where policies[Int(place)].matches(&facts) {
            let policy = policies[Int(place)]
            decision.isAllowed = false
            decision.policy = policy.key
            decision.reason = "explicitly denied by: \(policy.match(&facts))"
            return decision
        }
        if allows.isEmpty { return decision }
        for place in allows where policies[Int(place)].matches(&facts) {
            decision.policy = policies[Int(place)].key
            return decision
        }
        decision.isAllowed = false
        decision.reason = noneAllowed(&facts)
        return decision
    }

    private func dryRun(_ facts: inout L4Facts) -> [String] {
        var verdicts: [String] = []
        for place in dryRuns {
            let policy = policies[Int(place)]
            let matches = policy.matches(&facts)
            switch policy.action {
            case .deny:
                if matches {
                    verdicts.append("dry run: would be denied by: \(policy.match(&facts))")
                }
            case .allow:
                verdicts.append(
                    matches
                        ? "dry run: would be allowed by: \(policy.key)"
                        : "dry run: would not be allowed by: \(policy.failure(&facts))"
                )
            }
        }
        return verdicts
    }

    /// The first few Allow policies and why each does not match.
    private func noneAllowed(_ facts: inout L4Facts) -> String {
        let shown = 3
        var failures: [String] = []
        for place in allows.prefix(shown) {
            failures.append(policies[Int(place)].failure(&facts))
        }
        if allows.count > shown { failures.append("and \(allows.count - shown) more") }
        return "allow policies exist, but none allowed (\(failures.joined(separator: "; ")))"
    }

    /// The whole tree, for people.
    package func explain(_ connection: L4Connection) -> L4Explanation {
        L4Explanation(self, connection)
    }

    var hasEnforcedAllow: Bool { !allows.isEmpty }
}
