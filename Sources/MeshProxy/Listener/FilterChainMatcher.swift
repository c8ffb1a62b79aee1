import MeshConfig
import MeshNet
import MeshRuntime

/// What is known of a connection when its filter chain is chosen.
package struct ConnectionFacts {
    package var localAddress: SocketAddress
    package var remoteAddress: SocketAddress
    /// Lower case; empty where the client named none.
    package var serverName = ""
    /// `tls` or `raw_buffer`.
    package var transportProtocol = "raw_buffer"
    /// Protocols the client offers, by ALPN or found in its first bytes.
    package var applicationProtocols: [String] = []
    package var filterState: [String: FilterStateObject] = [:]

    package init(localAddress: SocketAddress, remoteAddress: SocketAddress) {
        self.localAddress = localAddress
        self.remoteAddress = remoteAddress
    }
}

/// Chooses a filter chain (envoy: FilterChainMatch).
///
/// Criteria are looked at in Envoy's order: destination port, destination address, server name,
/// transport, application protocol, then the source. At each one only the chains with the most
/// specific matching value remain, and there is no way back: a chain that lost at the server name is
/// not reconsidered because a later criterion failed.
package struct FilterChainMatcher: Sendable {
    private let matches: [FilterChainMatchConfig]
    /// The only chain, where it takes everything: the usual listener.
    private let takesAll: Bool
    /// Takes their place; nil where there is none.
    private let tree: FilterChainTree?

    package init(_ matches: [FilterChainMatchConfig]) {
        self.matches = matches
        takesAll = matches.count == 1 && matches[0] == FilterChainMatchConfig()
        tree = nil
    }

    package init(_ listener: ListenerConfig) {
        matches = listener.filterChains.map(\.match)
        tree = listener.filterChainTree.map {
            FilterChainTree($0, chains: listener.filterChains.map(\.name))
        }
        takesAll = tree == nil && matches.count == 1 && matches[0] == FilterChainMatchConfig()
    }

    /// The index of the chain, or nil where none matches. `trace` hears why chains fall away.
    package func match(
        _ facts: ConnectionFacts,
        trace: ((_ chain: Int, _ criterion: String) -> Void)? = nil
    ) -> Int? {
        if takesAll { return 0 }
        if let tree { return tree.match(facts) }
        var candidates = Array(matches.indices)
        func narrow(_ criterion: String, _ rank: (FilterChainMatchConfig) -> Int?) {
            guard !candidates.isEmpty else { return }
            let ranked = candidates.map { (chain: $0, rank: rank(matches[$0])) }
            let best = ranked.compactMap(\.rank).max()
            if let trace {
                for (chain, rank) in ranked where rank == nil || rank != best {
                    trace(chain, criterion)
                }
            }
            candidates = ranked.filter { $0.rank != nil && $0.rank == best }.map(\.chain)
        }
        narrow("destination_port") { match in
            guard let wanted = match.destinationPort else { return 0 }
            return wanted == facts.localAddress.port ? 1 : nil
        }
        narrow("prefix_ranges") { Self.longestPrefix($0.prefixRanges, facts.localAddress.ip) }
        narrow("server_names") { Self.serverNameRank($0.serverNames, facts.serverName) }
        narrow("transport_protocol") { match in
            if match.transportProtocol.isEmpty { return 0 }
            return match.transportProtocol == facts.transportProtocol ? 1 : nil
        }
        narrow("application_protocols") { match in
            if match.applicationProtocols.isEmpty { return 0 }
            // The client's order decides: an earlier protocol ranks higher.
            let offered = facts.applicationProtocols
            let first = offered.firstIndex { match.applicationProtocols.contains($0) }
            return first.map { offered.count - $0 }
        }
        let source = facts.remoteAddress
        narrow("direct_source_prefix_ranges") {
            Self.longestPrefix($0.directSourcePrefixRanges, source.ip)
        }
        narrow("source_type") { match in
            switch match.sourceType {
            case .any: 0
            case .sameIPOrLoopback: Self.isLocal(facts) ? 1 : nil
            case .external: Self.isLocal(facts) ? nil : 1
            }
        }
        narrow("source_prefix_ranges") { Self.longestPrefix($0.sourcePrefixRanges, source.ip) }
        narrow("source_ports") { match in
            if match.sourcePorts.isEmpty { return 0 }
            return source.port.map(match.sourcePorts.contains) == true ? 1 : nil
        }
        return candidates.first
    }

    /// One more than the length of the longest range that contains the address; 0 where the list is
    /// empty; nil where no range does.
    private static func longestPrefix(_ ranges: [CIDR], _ address: IPAddress?) -> Int? {
        if ranges.isEmpty { return 0 }
        guard let address else { return nil }
        return ranges.filter { $0.contains(address) }.map { $0.prefixLength + 1 }.max()
    }

    /// The exact name before wildcards, longer wildcards before shorter ones, then chains without names.
    private static func serverNameRank(_ names: [String], _ name: String) -> Int? {
        if names.isEmpty { return 0 }
        guard !name.isEmpty else { return nil }
        return names.compactMap { pattern -> Int? in
            if pattern == name { return Int.max }
            guard pattern.hasPrefix("*."), name.hasSuffix(pattern.dropFirst()),
                name.utf8.count >= pattern.utf8.count
            else { return nil }
            return pattern.utf8.count
        }.max()
    }

    static func isLocal(_ facts: ConnectionFacts) -> Bool {
        if case .unix = facts.remoteAddress { return true }
        guard let remote = facts.remoteAddress.ip else { return false }
        return remote.isLoopback || remote == facts.localAddress.ip
    }
}
