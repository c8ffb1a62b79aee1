import MeshNet

/// How TLS is spoken in the mesh, whoever speaks: versions, suites, and whom to believe.
///
/// These are ztunnel's: TLS 1.3 with AES-GCM, ALPN `h2`, no server name, no resumption, certificates on
/// both sides, SPIFFE names in them.
struct MeshTrust: Sendable {
    let authorities: TLSAuthorities
    let revocation: RevocationRegister
    /// See ``MeshNet/System/sharedWallClock``.
    let clock: (@Sendable () -> WallTime)?
    /// `TLS12_ENABLED`: TLS 1.2 too, with four suites.
    let allowsTLS12: Bool

    private static let alpn = "h2"
    /// P-256 first: the cheapest here, and known to ztunnel and Envoy both, so that no handshake needs a
    /// second round for another group.
    private static let groups = ["P-256", "X25519", "P-384"]
    private static let suites12 = [
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256",
    ]
    private static let aes128 = "TLS_AES_128_GCM_SHA256"
    private static let aes256 = "TLS_AES_256_GCM_SHA384"

    /// The peer must be in `identity`'s trust domain.
    func serverSettings(_ source: TLSCertificateSource, of identity: SPIFFEID) -> TLSSettings {
        var settings = common(.server, source)
        // Both suites are strong; the server's choice decides, and this one is cheaper.
        settings.suites13 = [Self.aes128, Self.aes256]
        settings.requireClientCertificate = true
        settings.issuesTickets = false
        settings.keepsSessions = false
        let domain = identity.trustDomain
        settings.trust?.nameRule = TLSNameRule(
            text: "a URI name spiffe://\(domain)/ns/<namespace>/sa/<service account>"
        ) { certificate in
            let identities = certificate.uriSANs.compactMap { SPIFFEID($0) }
            if identities.contains(where: { $0.trustDomain == domain }) { return nil }
            let got = identities.map(\.description).told(",")
            return "identity verification error: peer did not present the expected trustdomain "
                + "(\(domain)), got \(got)"
        }
        return settings
    }

    /// Which identities the peer may have is said per connection.
    func clientSettings(_ source: TLSCertificateSource) -> TLSSettings {
        var settings = common(.client, source)
        // ztunnel's order: servers that follow the client's choose as they would for it.
        settings.suites13 = [Self.aes256, Self.aes128]
        settings.maxSessionKeys = 0
        return settings
    }

    private func common(_ role: TLSSettings.Role, _ source: TLSCertificateSource) -> TLSSettings {
        var settings = TLSSettings(role: role)
        settings.minVersion = allowsTLS12 ? .tls12 : .tls13
        settings.maxVersion = .tls13
        settings.cipherSuites = Self.suites12
        settings.curves = Self.groups
        settings.certificates = [source]
        settings.alpn = [Self.alpn]
        settings.requiresALPN = true
        var trust = TLSTrust()
        trust.sharedAuthorities = authorities
        trust.hidesAuthorities = true
        trust.revocation = revocation
        trust.clock = clock
        settings.trust = trust
        return settings
    }
}
