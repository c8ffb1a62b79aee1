import COpenSSL

/// Makes the `SSL_CTX`s of a ``TLSContext`` and finds everything that is wrong with its settings.
struct TLSContextBuilder {
    let settings: TLSSettings
    private(set) var problems: [TLSSettingsError.Problem] = []
    private(set) var warnings: [TLSSettingsError.Problem] = []
    private(set) var authorities: [CertificateInfo] = []
    private(set) var hasRevocationLists = false
    private(set) var ciphersText = ""
    private(set) var curvesText = ""
    /// Shared by all contexts: whichever certificate we present, the peers' trust is one.
    private var store: OpaquePointer?
    private var authorityNames: [OpaquePointer] = []

    init(_ settings: TLSSettings) { self.settings = settings }

    /// The contexts, to be freed by the caller. Look at ``problems`` before using them.
    mutating func build() -> [TLSCertificate] {
        checkParameters()
        store = makeStore()
        defer {
            X509_STORE_free(store)
            authorityNames.forEach { X509_free($0) }
        }
        var certificates: [TLSCertificate] = []
        for (index, source) in settings.certificates.enumerated() {
            guard let context = makeContext() else { break }
            var loader = TLSCertificateLoader(
                field: "common_tls_context.tls_certificates[\(index)]"
            )
            certificates.append(loader.load(source, into: context))
            problems += loader.problems
            warnings += loader.warnings
        }
        if settings.certificates.isEmpty {
            if settings.role == .server {
                problem("common_tls_context.tls_certificates", "a server needs a certificate")
            } else if let context = makeContext() {
                certificates.append(
                    TLSCertificate(
                        context: context,
                        leaf: nil,
                        chain: [],
                        path: "",
                        name: "",
                        curve: nil,
                        serverNames: []
                    )
                )
            }
        }
        if settings.role == .client, certificates.count > 1 {
            problem("common_tls_context.tls_certificates", "a client can present only one")
        }
        return certificates
    }

    var versionsText: String {
        func name(_ version: TLSVersion) -> String { "1.\(version.rawValue - 1)" }
        return settings.minVersion == settings.maxVersion
            ? name(settings.minVersion)
            : "\(name(settings.minVersion)) to \(name(settings.maxVersion))"
    }

    /// The cipher suites that count, for people.
    var suitesText: String { settings.minVersion < .tls13 ? ciphersText : suites13Text }

    /// What is asked of a peer's certificate, for people.
    var wantedText: String {
        guard let trust = settings.trust else { return "any certificate" }
        var parts: [String] = []
        if trust.hasAuthorities {
            let names = authorities.map { "\"\($0.subject)\"" }.joined(separator: ", ")
            let path = trust.sharedAuthorities?.path ?? trust.authoritiesPath
            parts.append("a chain to \(names) (\(path))")
        }
        if !trust.names.isEmpty { parts.append(trust.names.wantedText) }
        if let rule = trust.nameRule { parts.append(rule.text) }
        for hash in trust.certificateHashes { parts.append("SHA-256 \(hexadecimal(hash))") }
        for hash in trust.publicKeyHashes {
            parts.append("public key SHA-256 \(hexadecimal(hash))")
        }
        return parts.isEmpty ? "any certificate" : parts.joined(separator: " and ")
    }

    /// A digest of everything that decides whom we trust and who we are: a session made under one
    /// digest is never resumed under another.
    func sessionContextID(_ certificates: [TLSCertificate]) -> [UInt8] {
        var digest = SHA256Digest()
        digest.update(field: settings.sessionScope)
        for certificate in certificates {
            digest.update(field: certificate.chain.first?.sha256 ?? "")
        }
        digest.update(field: settings.requireClientCertificate ? "required" : "")
        digest.update(field: settings.validatesServerName ? "server name" : "")
        if let trust = settings.trust { trust.update(&digest) }
        return digest.finish()
    }

    // MARK: Parameters

    private mutating func problem(_ field: String, _ message: String) {
        problems.append(.init(field, message))
    }

    private static let defaultCiphers = [
        "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
        "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
    ]

    /// AES-128 first: it is the cheapest of the three on hardware with AES instructions.
    private static let defaultSuites13 =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

    private var suites13Text: String {
        settings.suites13.isEmpty
            ? Self.defaultSuites13 : settings.suites13.joined(separator: ":")
    }

    private var prefersGroupsByClient = false

    private mutating func checkParameters() {
        let field = "common_tls_context.tls_params"
        if settings.minVersion > settings.maxVersion {
            problem(
                "\(field).tls_minimum_protocol_version",
                "is above the maximum (\(settings.role == .client ? "a client's default maximum is TLSv1_2" : "see tls_maximum_protocol_version"))"
            )
        }
        let suites = settings.cipherSuites.isEmpty ? Self.defaultCiphers : settings.cipherSuites
        var names: [String] = []
        // A [A|B] group is BoringSSL's "equally good": the client's order decides within it.
        for suite in suites {
            let group = suite.hasPrefix("[") && suite.hasSuffix("]")
            if group { prefersGroupsByClient = true }
            let inner = group ? String(suite.dropFirst().dropLast()) : suite
            names += inner.split(whereSeparator: { $0 == "|" || $0 == ":" }).map(String.init)
        }
        ciphersText = names.joined(separator: ":")
        curvesText =
            settings.curves.isEmpty ? "X25519:P-256" : settings.curves.joined(separator: ":")
        guard let probe = SSL_CTX_new(TLS_method()) else { return }
        defer { SSL_CTX_free(probe) }
        SSL_CTX_set_security_level(probe, 0)
        for (index, name) in names.enumerated() where !Self.isCipher(name, probe) {
            problem(
                "\(field).cipher_suites",
                "entry \(index + 1), \"\(name)\", is no cipher suite that can be used"
            )
        }
        for name in settings.curves where copenssl_ctx_set_groups(probe, name) != 1 {
            problem(
                "\(field).ecdh_curves",
                "\"\(name)\" is not supported; use X25519, P-256, P-384 or P-521"
            )
        }
        for name in settings.signatureAlgorithms where copenssl_ctx_set_sigalgs(probe, name) != 1 {
            problem("\(field).signature_algorithms", "\"\(name)\" is not supported")
        }
        for (index, key) in settings.ticketKeys.enumerated() where key.count != 80 {
            problem(
                "session_ticket_keys.keys[\(index)]",
                "has \(key.count) bytes; 80 are wanted"
            )
        }
        for name in settings.alpn where name.isEmpty || name.utf8.count > 255 {
            problem("common_tls_context.alpn_protocols", "a name must have 1 to 255 bytes")
        }
        ERR_clear_error()
    }

    private static func isCipher(_ name: String, _ probe: OpaquePointer) -> Bool {
        let bare = name.drop { $0 == "!" || $0 == "-" || $0 == "+" }
        // "-ALL" alone is an empty list, which the library takes for an error.
        return SSL_CTX_set_cipher_list(probe, String(bare)) == 1
    }

    // MARK: Contexts

    private mutating func makeContext() -> OpaquePointer? {
        let isServer = settings.role == .server
        guard let context = SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method()) else {
            problem("common_tls_context", "no TLS context: \(takeOpenSSLReason())")
            return nil
        }
        func number(_ version: TLSVersion) -> Int32 { TLS1_VERSION + Int32(version.rawValue) - 1 }
        // The distribution's default refuses what TLS 1.0 and 1.1 sign with.
        if settings.minVersion < .tls12 { SSL_CTX_set_security_level(context, 0) }
        _ = copenssl_ctx_set_versions(
            context,
            number(settings.minVersion),
            number(settings.maxVersion)
        )
        // NO_AUTO_CHAIN: only the configured chain is sent, as Envoy does. OpenSSL would else build
        // one from the trust store in every handshake, and the peer would parse and keep our root.
        copenssl_ctx_set_mode(
            context,
            Int(
                SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                    | SSL_MODE_RELEASE_BUFFERS
            ) | copenssl_mode_no_auto_chain()
        )
        // A missing close_notify is told by whoever sees the end of the stream.
        var options =
            copenssl_op_no_renegotiation() | copenssl_op_no_compression() | copenssl_op_ignore_eof()
        if isServer {
            if !settings.preferClientCiphers { options |= copenssl_op_server_preference() }
            if prefersGroupsByClient { options |= copenssl_op_prioritize_chacha() }
            if !settings.issuesTickets { options |= copenssl_op_no_ticket() }
        }
        SSL_CTX_set_options(context, options)
        if SSL_CTX_set_ciphersuites(context, suites13Text) != 1, problems.isEmpty {
            problem(
                "common_tls_context.tls_params.cipher_suites",
                "\(suites13Text): \(takeOpenSSLReason())"
            )
        }
        if SSL_CTX_set_cipher_list(context, ciphersText) != 1, problems.isEmpty {
            problem(
                "common_tls_context.tls_params.cipher_suites",
                "\(ciphersText) leaves no cipher suite: \(takeOpenSSLReason())"
            )
        }
        _ = copenssl_ctx_set_groups(context, curvesText)
        if !settings.signatureAlgorithms.isEmpty {
            _ = copenssl_ctx_set_sigalgs(
                context,
                settings.signatureAlgorithms.joined(separator: ":")
            )
        }
        setSessions(context, isServer: isServer)
        setTrust(context, isServer: isServer)
        return context
    }

    /// Sessions a server keeps for TLS 1.2 clients without tickets: some 8 KiB each.
    private static let cachedSessionsMax = 2048

    private func setSessions(_ context: OpaquePointer, isServer: Bool) {
        if isServer {
            copenssl_ctx_set_session_cache_mode(
                context,
                Int(settings.keepsSessions ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF)
            )
            copenssl_ctx_set_session_cache_size(context, Self.cachedSessionsMax)
            // One ticket per handshake: each costs the server some 100 µs, and a client that wants
            // to resume again gets its next one then.
            SSL_CTX_set_num_tickets(context, settings.issuesTickets ? 1 : 0)
        } else {
            copenssl_ctx_set_session_cache_mode(
                context,
                Int(
                    settings.maxSessionKeys > 0
                        ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF
                )
            )
        }
        // BoringSSL's default, two hours.
        SSL_CTX_set_timeout(context, settings.sessionSeconds ?? 7200)
    }

    private func setTrust(_ context: OpaquePointer, isServer: Bool) {
        if let store { _ = copenssl_ctx_use_store(context, store) }
        var mode = SSL_VERIFY_NONE
        if let trust = settings.trust {
            if trust.hasAuthorities || trust.acceptsUntrusted { mode = SSL_VERIFY_PEER }
            if trust.demandsCertificate {
                mode = SSL_VERIFY_PEER
                if !trust.acceptsUntrusted { mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
            }
            // OpenSSL counts neither the leaf nor the root, Envoy counts the root.
            if let depth = trust.maxDepth {
                SSL_CTX_set_verify_depth(context, Int32(clamping: max(0, depth - 1)))
            }
        }
        if isServer, settings.requireClientCertificate {
            mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        }
        SSL_CTX_set_verify(context, mode, nil)
        guard isServer, !authorityNames.isEmpty, settings.trust?.hidesAuthorities != true,
            let names = copenssl_names_new()
        else { return }
        for authority in authorityNames {
            _ = copenssl_names_push(names, X509_get_subject_name(authority))
        }
        SSL_CTX_set_client_CA_list(context, names)
    }

    // MARK: Trust

    private mutating func makeStore() -> OpaquePointer? {
        if let shared = settings.trust?.sharedAuthorities {
            authorities = shared.infos
            X509_STORE_up_ref(shared.store)
            return shared.store
        }
        guard let trust = settings.trust, let store = X509_STORE_new() else {
            if settings.validatesServerName {
                problem("auto_sni_san_validation", "needs a validation context with trusted_ca")
            }
            return nil
        }
        let field = "common_tls_context.validation_context"
        var flags = copenssl_verify_partial_chain()
        if !trust.authorities.isEmpty {
            let found = read(trust.authorities, into: store)
            if found.certificates == 0 {
                problem(
                    "\(field).trusted_ca",
                    "\(trust.authoritiesPath) has no PEM certificate\(found.reason)"
                )
            }
            if found.lists > 0 { hasRevocationLists = true }
        } else if settings.validatesServerName {
            problem("auto_sni_san_validation", "needs trusted_ca")
        }
        if !trust.revocationLists.isEmpty {
            let found = read(trust.revocationLists, into: store)
            if found.lists == 0 {
                problem("\(field).crl", "has no PEM certificate revocation list\(found.reason)")
            }
            hasRevocationLists = true
        }
        if hasRevocationLists {
            flags |=
                trust.checksOnlyLeafRevocation
                ? copenssl_verify_crl_leaf() : copenssl_verify_crl_all()
        }
        if trust.allowsExpired { flags |= copenssl_verify_any_time() }
        X509_STORE_set_flags(store, flags)
        for (name, hashes) in [
            ("verify_certificate_hash", trust.certificateHashes),
            ("verify_certificate_spki", trust.publicKeyHashes),
        ] where hashes.contains(where: { $0.count != 32 }) {
            problem("\(field).\(name)", "a SHA-256 hash has 32 bytes")
        }
        return store
    }

    private mutating func read(
        _ pem: [UInt8],
        into store: OpaquePointer
    ) -> (certificates: Int, lists: Int, reason: String) {
        var certificates = 0
        var lists = 0
        let infos = withMemoryBIO(pem) { PEM_X509_INFO_read_bio($0, nil, { _, _, _, _ in 0 }, nil) }
        guard let infos, let infos else { return (0, 0, ": \(takeOpenSSLReason())") }
        defer { copenssl_infos_free(infos) }
        for index in 0..<copenssl_infos_count(infos) {
            guard let info = copenssl_info_at(infos, index)?.pointee else { continue }
            if let certificate = info.x509 {
                certificates += 1
                X509_STORE_add_cert(store, certificate)
                X509_up_ref(certificate)
                authorityNames.append(certificate)
                authorities.append(CertificateParser.info(certificate, chain: []))
                if X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0,
                    let last = authorities.last
                {
                    warnings.append(
                        .init(
                            "common_tls_context.validation_context.trusted_ca",
                            "\"\(last.subject)\" expired at \(last.notAfter.dateText)"
                        )
                    )
                }
            }
            if let list = info.crl {
                lists += 1
                X509_STORE_add_crl(store, list)
            }
        }
        ERR_clear_error()
        return (certificates, lists, "")
    }
}

extension [TLSNameMatcher] {
    /// `a name with URI exact "…" or DNS suffix "…"`.
    var wantedText: String { "a name with " + map(\.text).joined(separator: " or ") }
}
