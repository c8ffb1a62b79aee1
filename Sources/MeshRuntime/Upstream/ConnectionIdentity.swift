import MeshConfig
import MeshHTTP
import MeshNet

/// What one request asks of its connection beyond what the cluster says; pools are apart by it
/// (envoy: TransportSocketOptions).
package struct ConnectionIdentity: Hashable, Sendable {
    /// Server name to ask for; empty for the configured one.
    package var serverName: String
    /// Names of which the peer's certificate must have one; empty for the configured ones.
    package var verifiedNames: [String]
    /// What the connection is to bring to a listener inside the process.
    package var shared: SharedState?

    package init(
        serverName: String = "",
        verifiedNames: [String] = [],
        shared: SharedState? = nil
    ) {
        self.serverName = serverName
        self.verifiedNames = verifiedNames
        self.shared = shared
    }
}

/// Takes a connection's identity from each request (envoy: auto_sni, auto_san_validation,
/// override_auto_sni_header).
package struct IdentitySource: Hashable, Sendable {
    private let setsServerName: Bool
    private let verifiesName: Bool
    /// Empty: `:authority`.
    private let header: String

    /// Nil where requests have no say.
    init?(_ config: UpstreamHTTPConfig) {
        guard config.autoSNI || config.autoSANValidation else { return nil }
        setsServerName = config.autoSNI
        verifiesName = config.autoSANValidation
        header = config.autoSNIHeader
    }

    /// Nil where the request names no host. An address is no server name (RFC 6066 §3), but a
    /// certificate may be asked to have it.
    package func identity(of head: HeaderMap) -> ConnectionIdentity? {
        var value: String?
        if !header.isEmpty { value = head.string(HeaderName(header)) }
        guard let host = value ?? head.string(.authority) else { return nil }
        let name = Self.withoutPort(host)
        guard !name.isEmpty else { return nil }
        let isAddress = IPAddress(name) != nil
        return ConnectionIdentity(
            serverName: setsServerName && !isAddress ? name : "",
            verifiedNames: verifiesName ? [name] : []
        )
    }

    private static func withoutPort(_ host: String) -> String {
        if host.hasPrefix("[") { return String(host.dropFirst().prefix { $0 != "]" }) }
        guard let colon = host.lastIndex(of: ":") else { return host }
        let port = host[host.index(after: colon)...]
        return port.utf8.allSatisfy { (0x30...0x39).contains($0) } ? String(host[..<colon]) : host
    }
}
