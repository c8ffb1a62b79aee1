/// Finds the addresses of a host name, without waiting: another seam of the world outside.
/// ``AresResolver`` in production, a table in tests.
package protocol NameResolver: AnyObject, Sendable {
    /// Calls `completion` once, on a thread of the resolver's choice, possibly before this returns.
    func resolve(
        _ name: String,
        _ family: NameLookup,
        _ completion: @escaping @Sendable (NameAnswer) -> Void
    )
}

/// Which addresses are asked for (envoy: cluster.v3.Cluster.DnsLookupFamily).
package enum NameLookup: Hashable, Sendable {
    case ipv4Only, ipv6Only
    /// The other family only where the first has no address.
    case ipv4First, ipv6First
    case both
}

package enum NameAnswer: Hashable, Sendable {
    /// Empty where the name, or an address of it, does not exist.
    case addresses([ResolvedAddress])
    /// No answer could be had; what was known before is as good as ever. In words.
    case failed(String)
}

package struct ResolvedAddress: Hashable, Sendable {
    package let address: IPAddress
    /// How long the answer may be believed; zero where it does not say, as in a hosts file.
    package let ttlSeconds: Int

    package init(_ address: IPAddress, ttlSeconds: Int = 0) {
        self.address = address
        self.ttlSeconds = ttlSeconds
    }
}

/// Whom to ask and how (envoy: CaresDnsResolverConfig).
package struct ResolverOptions: Hashable, Sendable {
    /// Empty for the system's.
    package var servers: [SocketAddress] = []
    /// ``servers`` are asked after the system's, not instead of them.
    package var serversAreFallback = false
    package var usesTCP = false
    package var ignoresSearchDomains = false
    /// Of one query to one server; nil for the library's 5 s.
    package var timeoutMilliseconds: Int?
    package var tries: Int?
    package var rotatesServers = false

    package init() {}
}
