import MeshConfig
import MeshNet
import MeshRuntime

/// Chooses a filter chain by a listener's tree of questions (envoy: filter_chain_matcher). A branch that
/// leads to nothing is as good as one that does not match.
struct FilterChainTree: Sendable {
    private let root: FilterChainTreeConfig
    /// Indices by name.
    private let chains: [String: Int]

    init(_ root: FilterChainTreeConfig, chains: [String]) {
        self.root = root
        self.chains = Dictionary(zip(chains, chains.indices)) { first, _ in first }
    }

    /// The index of the chain, or nil where none matches.
    func match(_ facts: ConnectionFacts) -> Int? { find(root, facts).flatMap { chains[$0] } }

    private func find(_ node: FilterChainTreeConfig, _ facts: ConnectionFacts) -> String? {
        switch node {
        case .nothing: return nil
        case .chain(let name): return name
        case .list(let entries, let otherwise):
            for entry in entries where entry.condition.holds(facts) {
                if let found = find(entry.then, facts) { return found }
            }
            return find(otherwise, facts)
        case .values(let input, let values, let otherwise):
            if let then = input.text(of: facts).flatMap({ values[$0] }),
                let found = find(then, facts)
            {
                return found
            }
            return find(otherwise, facts)
        case .prefixes(let input, let prefixes, let otherwise):
            if let text = input.text(of: facts) {
                for prefix in prefixes where text.hasPrefix(prefix.text) {
                    if let found = find(prefix.then, facts) { return found }
                }
            }
            return find(otherwise, facts)
        case .networks(let input, let networks, let otherwise):
            if let address = input.text(of: facts).flatMap({ IPAddress($0) }) {
                var isNarrowest = true
                for network in networks where network.range.contains(address) {
                    if network.isExclusive, !isNarrowest { continue }
                    isNarrowest = false
                    if let found = find(network.then, facts) { return found }
                }
            }
            return find(otherwise, facts)
        }
    }
}

extension ConnectionCondition {
    func holds(_ facts: ConnectionFacts) -> Bool {
        switch self {
        case .value(let input, let match): input.text(of: facts).map(match.matches) ?? false
        case .anyOf(let conditions): conditions.contains { $0.holds(facts) }
        case .all(let conditions): conditions.allSatisfy { $0.holds(facts) }
        case .not(let condition): !condition.holds(facts)
        }
    }
}

extension ConnectionInput {
    /// Nil where nothing is known.
    func text(of facts: ConnectionFacts) -> String? {
        switch self {
        case .destinationIP: facts.localAddress.ip?.description
        case .destinationPort: facts.localAddress.port.map { "\($0)" }
        case .sourceIP, .directSourceIP: facts.remoteAddress.ip?.description
        case .sourcePort: facts.remoteAddress.port.map { "\($0)" }
        case .sourceType: FilterChainMatcher.isLocal(facts) ? "local" : nil
        case .serverName: facts.serverName.isEmpty ? nil : facts.serverName
        case .transportProtocol: facts.transportProtocol
        case .applicationProtocols:
            facts.applicationProtocols.isEmpty
                ? nil : facts.applicationProtocols.map { "'\($0)'" }.joined(separator: ",")
        case .filterState(let key): facts.filterState[key]?.text
        }
    }
}
