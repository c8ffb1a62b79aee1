import MeshConfig
import MeshHTTP
import MeshNet

/// What rules say of one request or connection.
package struct RBACDecision: Hashable, Sendable {
    package let isAllowed: Bool
    /// Index of the policy that matched, in order of names; nil where none did.
    package let policy: Int?
}

/// Rules made ready to decide (envoy: config.rbac.v3.RBAC). Compiled once per worker and snapshot.
///
/// Policies are tried in the order of their names' bytes, and the first that matches is the one that
/// is named in logs. A policy that asks for exact paths or exact principals stands in a hash index and
/// is looked at only when one of these occurs; a decision costs the policies that are left, and
/// allocates nothing.
package final class RBACEngine {
    package let action: RBACAction
    /// In order of evaluation.
    package let policyNames: [String]
    let program: RBACProgram
    let policies: [Policy]
    private let byPath: ExactIndex
    private let byPrincipal: ExactIndex
    /// Policies that stand in no index, ascending.
    private let unindexed: [Int32]

    /// Nodes of one policy's two halves, both of which must hold.
    struct Policy {
        let permissions: Int
        let principals: Int
    }

    package init(_ rules: RBACRules) {
        action = rules.action
        policyNames = rules.policies.map(\.name)
        let program = RBACProgram()
        policies = rules.policies.map { policy in
            Policy(
                permissions: program.append(.anyOf(policy.permissions)),
                principals: program.append(.anyOf(policy.principals))
            )
        }
        self.program = program
        let index = RBACKeys.index(rules.policies)
        byPath = ExactIndex(index.byPath)
        byPrincipal = ExactIndex(index.byPrincipal)
        unindexed = index.unindexed
    }

    /// - Parameter headers: nil for a connection without requests.
    package func decide(_ headers: HeaderMap?, _ stream: StreamInfo) -> RBACDecision {
        let match = firstMatch(headers, stream)
        return RBACDecision(isAllowed: allows(match), policy: match)
    }

    func allows(_ match: Int?) -> Bool {
        switch action {
        case .allow: match != nil
        case .deny: match == nil
        case .log: true
        }
    }

    private func firstMatch(_ headers: HeaderMap?, _ stream: StreamInfo) -> Int? {
        var best = policies.count
        for policy in unindexed {
            let policy = Int(policy)
            if policy >= best { break }
            if matches(policy, headers, stream) { best = policy }
        }
        if !byPath.isEmpty, let path = headers?[.path] {
            scan(byPath, PathMatch.withoutQuery(path), headers, stream, &best)
        }
        if !byPrincipal.isEmpty, let tls = stream.connection.tls {
            scanPrincipals(tls.peer, headers, stream, &best)
        }
        return best < policies.count ? best : nil
    }

    private func scanPrincipals(
        _ peer: CertificateInfo?,
        _ headers: HeaderMap?,
        _ stream: StreamInfo,
        _ best: inout Int
    ) {
        guard let peer else { return scan(byPrincipal, "", headers, stream, &best) }
        for name in peer.uriSANs { scan(byPrincipal, name, headers, stream, &best) }
        for name in peer.dnsSANs { scan(byPrincipal, name, headers, stream, &best) }
        scan(byPrincipal, peer.subject, headers, stream, &best)
    }

    private func scan(
        _ index: ExactIndex,
        _ text: String,
        _ headers: HeaderMap?,
        _ stream: StreamInfo,
        _ best: inout Int
    ) {
        var text = text
        text.withUTF8 { scan(index, Bytes($0), headers, stream, &best) }
    }

    /// Lowers `best` to the first policy under the key that matches.
    private func scan(
        _ index: ExactIndex,
        _ text: Bytes,
        _ headers: HeaderMap?,
        _ stream: StreamInfo,
        _ best: inout Int
    ) {
        for at in index.find(text) {
            let policy = index.policy(at: at)
            if policy >= best { return }
            if matches(policy, headers, stream) {
                best = policy
                return
            }
        }
    }

    private func matches(_ policy: Int, _ headers: HeaderMap?, _ stream: StreamInfo) -> Bool {
        var trace = NoRBACTrace()
        return matches(policy, headers, stream, &trace)
    }

    /// The one evaluation of a policy: explanations listen to it.
    func matches<Trace: RBACTrace>(
        _ policy: Int,
        _ headers: HeaderMap?,
        _ stream: StreamInfo,
        _ trace: inout Trace
    ) -> Bool {
        program.holds(policies[policy].permissions, headers, stream, &trace)
            && program.holds(policies[policy].principals, headers, stream, &trace)
    }

    /// Envoy's response code details of a denial, e.g. `rbac_access_denied_matched_policy[none]`;
    /// white space in a policy's name is replaced by underscores.
    package func deniedDetails(_ decision: RBACDecision) -> String {
        let name = decision.policy.map { policyNames[$0] } ?? ""
        if name.isEmpty { return "rbac_access_denied_matched_policy[none]" }
        let blanks: [Character] = [" ", "\t", "\n", "\r", "\r\n", "\u{B}", "\u{C}"]
        return
            "rbac_access_denied_matched_policy[\(String(name.map { blanks.contains($0) ? "_" : $0 }))]"
    }
}

/// Finds which exact texts a policy cannot match without.
private enum RBACKeys {
    struct Result {
        var byPath: [[UInt8]: [Int32]] = [:]
        var byPrincipal: [[UInt8]: [Int32]] = [:]
        var unindexed: [Int32] = []
    }

    enum Kind { case path, principal }

    /// Puts each policy under the keys that it shares with the fewest others.
    static func index(_ policies: [RBACPolicyConfig]) -> Result {
        let keys = policies.map { policy in
            (path: self.keys(policy, .path), principal: self.keys(policy, .principal))
        }
        var pathUse: [[UInt8]: Int] = [:]
        var principalUse: [[UInt8]: Int] = [:]
        for (path, principal) in keys {
            for key in path ?? [] { pathUse[key, default: 0] += 1 }
            for key in principal ?? [] { principalUse[key, default: 0] += 1 }
        }
        var result = Result()
        for (at, (path, principal)) in keys.enumerated() {
            let policy = Int32(at)
            let pathCost = path.map { $0.map { pathUse[$0, default: 0] }.max() ?? 0 } ?? .max
            let principalCost =
                principal.map { $0.map { principalUse[$0, default: 0] }.max() ?? 0 } ?? .max
            if let path, pathCost <= principalCost {
                for key in path { result.byPath[key, default: []].append(policy) }
            } else if let principal {
                for key in principal { result.byPrincipal[key, default: []].append(policy) }
            } else {
                result.unindexed.append(policy)
            }
        }
        return result
    }

    private static func keys(_ policy: RBACPolicyConfig, _ kind: Kind) -> Set<[UInt8]>? {
        keys(.all([.anyOf(policy.permissions), .anyOf(policy.principals)]), kind)
    }

    /// Texts of which one must occur for the condition to hold; nil where it may hold without.
    private static func keys(_ condition: RBACCondition, _ kind: Kind) -> Set<[UInt8]>? {
        switch (condition, kind) {
        case (.urlPath(let match), .path): return exact(match.match)
        case (.authenticated(.some(let match)), .principal): return exact(match)
        case (.all(let members), _):
            return members.compactMap { keys($0, kind) }.min { $0.count < $1.count }
        case (.anyOf(let members), _):
            var union: Set<[UInt8]> = []
            for member in members {
                guard let keys = keys(member, kind) else { return nil }
                union.formUnion(keys)
            }
            return union
        default: return nil
        }
    }

    private static func exact(_ match: StringMatch) -> Set<[UInt8]>? {
        match.kind == .exact && !match.ignoresCase ? [Array(match.pattern.utf8)] : nil
    }
}
