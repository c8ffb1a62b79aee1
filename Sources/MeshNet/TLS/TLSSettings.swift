/// A TLS protocol version that may be negotiated.
package enum TLSVersion: Int, Comparable, Sendable {
    case tls10 = 1
    case tls11 = 2
    case tls12 = 3
    case tls13 = 4

    package static func < (left: TLSVersion, right: TLSVersion) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// Everything that one side of a TLS connection is configured with: bytes, not file names.
///
/// The control thread makes it from a configuration and the files that it names; ``TLSContext`` is
/// made from it, or refuses it with all problems at once.
package struct TLSSettings: Sendable {
    package enum Role: Sendable { case server, client }

    package var role: Role
    package var minVersion = TLSVersion.tls12
    package var maxVersion: TLSVersion
    /// TLS 1.2 and older, BoringSSL's notation; empty for the default list.
    package var cipherSuites: [String] = []
    /// TLS 1.3, RFC 8446 §B.4 names, most preferred first; empty for the default list.
    package var suites13: [String] = []
    /// Empty for X25519, then P-256.
    package var curves: [String] = []
    /// RFC 8446 §4.2.3 names; empty for the library's default.
    package var signatureAlgorithms: [String] = []
    package var certificates: [TLSCertificateSource] = []
    package var trust: TLSTrust?
    /// Protects the records of TLS 1.3 ourselves once OpenSSL has shaken hands, where the cipher is known.
    package var protectsRecords = true
    /// Most preferred first. A server picks by its own order; without overlap no protocol is agreed.
    package var alpn: [String] = []
    /// Whether a handshake without a common protocol fails.
    package var requiresALPN = false

    // Server.
    package var requireClientCertificate = false
    package var preferClientCiphers = false
    /// Whether, when no certificate fits the server name, all are tried for key type rather than
    /// taking the first (envoy: full_scan_certs_on_sni_mismatch).
    package var fullScanOnNameMismatch = false
    package var issuesTickets = true
    package var keepsSessions = true
    /// 80-byte keys, the first encrypts; empty for keys of our own.
    package var ticketKeys: [[UInt8]] = []
    /// Maximum lifetime of a session, in seconds.
    package var sessionSeconds: Int?
    /// Further text that separates sessions of contexts that look alike (the filter chain's names).
    package var sessionScope = ""

    // Client.
    /// Sessions kept for resumption; 0 turns resumption off.
    package var maxSessionKeys = 1
    /// Whether the peer must have a DNS name equal to the server name sent, instead of
    /// ``TLSTrust/names`` (envoy: auto_sni_san_validation).
    package var validatesServerName = false

    package init(role: Role) {
        self.role = role
        maxVersion = role == .server ? .tls13 : .tls12
    }

    /// Equal only for equal settings: tells whether files that changed changed anything.
    package var digest: [UInt8] {
        var digest = SHA256Digest()
        digest.update(
            field: "\(role) \(minVersion) \(maxVersion) \(cipherSuites) \(suites13) \(curves) "
                + "\(signatureAlgorithms) \(alpn) \(requiresALPN) \(requireClientCertificate) "
                + "\(preferClientCiphers) \(fullScanOnNameMismatch) \(issuesTickets) "
                + "\(keepsSessions) \(sessionSeconds ?? -1) \(sessionScope) \(maxSessionKeys) "
                + "\(validatesServerName) \(protectsRecords)"
        )
        for certificate in certificates {
            digest.update(field: "certificate \(certificate.path)")
            digest.update(field: certificate.chain)
            digest.update(field: certificate.pair?.leaf.chainPEM ?? "")
            digest.update(field: certificate.privateKey)
            digest.update(field: certificate.password ?? [])
            digest.update(field: certificate.pkcs12 ?? [])
        }
        for key in ticketKeys { digest.update(field: key) }
        if let trust { trust.update(&digest) }
        return digest.finish()
    }
}

/// A certificate chain and its key as PEM.
package struct TLSCertificateSource: Sendable {
    /// Leaf first.
    package var chain: [UInt8]
    package var privateKey: [UInt8]
    package var password: [UInt8]?
    /// PKCS #12 in place of both.
    package var pkcs12: [UInt8]?
    /// In place of them all.
    package var pair: TLSKeyPair?
    /// Where the chain came from, for people.
    package var path: String
    /// The secret's name; empty for a certificate in place.
    package var name = ""

    package init(
        chain: [UInt8] = [],
        privateKey: [UInt8] = [],
        password: [UInt8]? = nil,
        pkcs12: [UInt8]? = nil,
        path: String = "<inline>"
    ) {
        self.chain = chain
        self.privateKey = privateKey
        self.password = password
        self.pkcs12 = pkcs12
        self.path = path
    }
}

/// Whom to trust (envoy: CertificateValidationContext).
package struct TLSTrust: Sendable {
    /// PEM: certificates, and revocation lists if any.
    package var authorities: [UInt8] = []
    package var authoritiesPath = "<inline>"
    /// In place of ``authorities``: read once, shared by many contexts.
    package var sharedAuthorities: TLSAuthorities?
    /// The secret's name; empty for a context in place.
    package var name = ""
    /// PEM: revocation lists.
    package var revocationLists: [UInt8] = []
    /// SHA-256 of acceptable certificates; with ``publicKeyHashes``, either list suffices.
    package var certificateHashes: [[UInt8]] = []
    /// SHA-256 of acceptable subject public key infos.
    package var publicKeyHashes: [[UInt8]] = []
    /// The peer must have a name that one of these accepts. Empty: any name.
    package var names: [TLSNameMatcher] = []
    /// Asked after ``names``, of every name at once.
    package var nameRule: TLSNameRule?
    /// Whose certificates were revoked, asked in every handshake; it may change while contexts live.
    package var revocation: RevocationRegister?
    /// The time by which certificates are judged; nil: the library reads the system's clock.
    package var clock: (@Sendable () -> WallTime)?
    package var acceptsUntrusted = false
    package var allowsExpired = false
    package var checksOnlyLeafRevocation = false
    /// Whether clients are not told which authorities we trust (envoy: suppress_client_ca_list).
    package var hidesAuthorities = false
    /// Certificates after the leaf that a chain may have.
    package var maxDepth: Int?

    package init() {}

    /// Adds everything that decides whom we trust.
    func update(_ digest: inout SHA256Digest) {
        digest.update(field: "trust \(authoritiesPath)")
        digest.update(field: sharedAuthorities?.pem ?? authorities)
        digest.update(field: revocationLists)
        for hash in certificateHashes { digest.update(field: hash) }
        digest.update(field: "public keys")
        for hash in publicKeyHashes { digest.update(field: hash) }
        for name in names { digest.update(field: name.text) }
        if let nameRule { digest.update(field: "rule \(nameRule.text)") }
        digest.update(
            field: "\(acceptsUntrusted) \(allowsExpired) \(checksOnlyLeafRevocation) "
                + "\(hidesAuthorities) \(maxDepth ?? -1)"
        )
    }

    var hasAuthorities: Bool { !authorities.isEmpty || sharedAuthorities != nil }

    /// Whether a peer without certificate is refused by what is asked of its certificate.
    var demandsCertificate: Bool {
        nameRule != nil || !names.isEmpty || !certificateHashes.isEmpty || !publicKeyHashes.isEmpty
    }
}

/// Accepts or refuses a peer by all names of its certificate.
package struct TLSNameRule: Sendable {
    /// What is wanted, in words. Equal text means equal behaviour.
    package var text: String
    /// Why the certificate's names will not do; nil where they will.
    package var refusal: @Sendable (CertificateInfo) -> String?

    package init(text: String, refusal: @escaping @Sendable (CertificateInfo) -> String?) {
        self.text = text
        self.refusal = refusal
    }
}

/// Accepts subject alternative names of one kind.
package struct TLSNameMatcher: Sendable {
    package enum Kind: String, Sendable {
        case dns = "DNS"
        case uri = "URI"
        case email = "EMAIL"
        case ipAddress = "IP_ADDRESS"
    }

    /// What is asked of a name. `exact` is apart since DNS names have their own equality (RFC 6125
    /// §6.4.3: a certificate's `*.example.com`), and since it is what a log can quote.
    package enum Test: Sendable {
        case exact(String)
        case custom(@Sendable (Bytes) -> Bool)
    }

    package var kind: Kind
    package var test: Test
    /// The matcher in words, e.g. `URI prefix "spiffe://cluster.local/"`. Equal text means equal
    /// behaviour: it is part of what binds a session to its context.
    package var text: String

    package init(kind: Kind, test: Test, text: String) {
        self.kind = kind
        self.test = test
        self.text = text
    }

    package init(kind: Kind, exact name: String) {
        self.init(kind: kind, test: .exact(name), text: "\(kind.rawValue) exact \"\(name)\"")
    }

    func matches(_ certificate: CertificateInfo) -> Bool {
        let names =
            switch kind {
            case .dns: certificate.dnsSANs
            case .uri: certificate.uriSANs
            case .email: certificate.emailSANs
            case .ipAddress: certificate.ipSANs
            }
        return names.contains { name in
            switch test {
            case .exact(let wanted):
                kind == .dns ? Self.dnsName(wanted, fits: name) : wanted == name
            case .custom(let accepts):
                Self.withBytes(name, accepts)
            }
        }
    }

    /// Whether `pattern`, a certificate's DNS name, covers `name`: equal without regard to case, or
    /// a wildcard as the whole left-most label over exactly one label.
    static func dnsName(_ name: String, fits pattern: String) -> Bool {
        let name = name.utf8.map(lowercased)
        let pattern = pattern.utf8.map(lowercased)
        if name == pattern { return true }
        guard pattern.starts(with: [0x2A, 0x2E]), let dot = name.firstIndex(of: 0x2E), dot > 0
        else {
            return false
        }
        return name[dot...] == pattern[1...]
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
    }

    private static func withBytes(_ text: String, _ body: (Bytes) -> Bool) -> Bool {
        var text = text
        return text.withUTF8 { body(Bytes($0)) }
    }
}

/// Why a ``TLSContext`` cannot be made. Field names are Envoy's, relative to the TLS context.
package struct TLSSettingsError: Error, Equatable {
    package struct Problem: Equatable, Sendable {
        package var field: String
        package var message: String

        package init(_ field: String, _ message: String) {
            self.field = field
            self.message = message
        }
    }

    package var problems: [Problem]

    package init(problems: [Problem]) { self.problems = problems }
}
