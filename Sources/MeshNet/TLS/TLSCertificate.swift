import COpenSSL

/// One of our certificates with the `SSL_CTX` that presents it. Immutable once its context is built.
struct TLSCertificate {
    let context: OpaquePointer
    /// Leaf, owned by `context`; nil for a client without certificate.
    let leaf: OpaquePointer?
    /// Leaf first.
    let chain: [CertificateInfo]
    let path: String
    /// Of the secret; empty where it has none.
    let name: String
    /// NID of the elliptic curve of an EC key; nil for RSA and others.
    let curve: Int32?
    /// DNS names that this certificate serves: its DNS SANs, or its common name where it has no SAN.
    let serverNames: [String]

    var isPresent: Bool { leaf != nil }
}

/// Reads a certificate chain with its key into an `SSL_CTX`.
struct TLSCertificateLoader {
    var problems: [TLSSettingsError.Problem] = []
    var warnings: [TLSSettingsError.Problem] = []
    let field: String

    init(field: String) { self.field = field }

    mutating func load(_ source: TLSCertificateSource, into context: OpaquePointer)
        -> TLSCertificate
    {
        let (certificates, key) = read(source)
        defer {
            certificates.forEach { X509_free($0) }
            EVP_PKEY_free(key)
        }
        guard let leaf = certificates.first, let key else {
            return TLSCertificate(
                context: context,
                leaf: nil,
                chain: [],
                path: source.path,
                name: source.name,
                curve: nil,
                serverNames: []
            )
        }
        let curve = checkKey(leaf)
        if X509_check_private_key(leaf, key) != 1 {
            ERR_clear_error()
            problem("private_key", "does not belong to the certificate of \(source.path)")
        } else if SSL_CTX_use_certificate(context, leaf) != 1
            || SSL_CTX_use_PrivateKey(context, key) != 1
        {
            problem("certificate_chain", "\(source.path) cannot be used: \(takeOpenSSLReason())")
        }
        for certificate in certificates.dropFirst() {
            _ = copenssl_ctx_add_chain(context, certificate)
        }
        checkDates(leaf, source)
        let chain =
            source.pair?.chain
            ?? certificates.map {
                CertificateParser.info($0, chain: $0 == leaf ? certificates : [])
            }
        let hasNames = copenssl_alternative_names(leaf).map { GENERAL_NAMES_free($0) } != nil
        return TLSCertificate(
            context: context,
            leaf: leaf,
            chain: chain,
            path: source.path,
            name: source.name,
            curve: curve,
            serverNames: hasNames
                ? chain[0].dnsSANs : CertificateParser.commonName(leaf).map { [$0] } ?? []
        )
    }

    /// Chain and key with a reference each for the caller, as far as there are any.
    mutating func read(
        _ source: TLSCertificateSource
    ) -> (certificates: [OpaquePointer], key: OpaquePointer?) {
        if let pair = source.pair {
            pair.certificates.forEach { X509_up_ref($0) }
            EVP_PKEY_up_ref(pair.key)
            return (pair.certificates, pair.key)
        }
        guard let archive = source.pkcs12 else { return (readChain(source), readKey(source)) }
        var certificates: [OpaquePointer] = []
        var key: OpaquePointer?
        readArchive(archive, source, &certificates, &key)
        return (certificates, key)
    }

    private mutating func problem(_ name: String, _ message: String) {
        problems.append(.init("\(field).\(name)", message))
    }

    private mutating func readChain(_ source: TLSCertificateSource) -> [OpaquePointer] {
        let certificates =
            withMemoryBIO(source.chain) { bio -> [OpaquePointer] in
                var list: [OpaquePointer] = []
                if let leaf = PEM_read_bio_X509_AUX(bio, nil, noPassword, nil) { list.append(leaf) }
                while !list.isEmpty, let next = PEM_read_bio_X509(bio, nil, noPassword, nil) {
                    list.append(next)
                }
                return list
            } ?? []
        // The end of the file is reported as "no start line".
        let code = ERR_peek_last_error()
        let ended = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE
        if certificates.isEmpty {
            let reason = ended ? "no PEM certificate in it" : takeOpenSSLReason()
            problem("certificate_chain", "\(source.path) has no certificate: \(reason)")
        } else if !ended {
            problem(
                "certificate_chain",
                "\(source.path): certificate \(certificates.count + 1) of the chain is broken: "
                    + takeOpenSSLReason()
            )
        }
        ERR_clear_error()
        return certificates
    }

    private mutating func readKey(_ source: TLSCertificateSource) -> OpaquePointer? {
        if source.privateKey.isEmpty {
            problem("private_key", "is missing for \(source.path)")
            return nil
        }
        let key = withMemoryBIO(source.privateKey) { bio -> OpaquePointer? in
            guard var password = source.password else {
                return PEM_read_bio_PrivateKey(bio, nil, noPassword, nil)
            }
            // Without callback OpenSSL takes the pointer for a NUL-terminated password.
            password.append(0)
            return password.withUnsafeMutableBytes {
                PEM_read_bio_PrivateKey(bio, nil, nil, $0.baseAddress)
            }
        }
        if let key, let key { return key }
        let reason = takeOpenSSLReason()
        problem(
            "private_key",
            "cannot be read: \(reason)"
                + (source.password == nil ? "" : "; check password")
                + "; a PEM private key is wanted"
        )
        return nil
    }

    private mutating func readArchive(
        _ archive: [UInt8],
        _ source: TLSCertificateSource,
        _ certificates: inout [OpaquePointer],
        _ key: inout OpaquePointer?
    ) {
        let parsed = withMemoryBIO(archive) { d2i_PKCS12_bio($0, nil) }
        guard let parsed, let parsed else {
            problem("pkcs12", "\(source.path) is no PKCS #12 file: \(takeOpenSSLReason())")
            return
        }
        defer { PKCS12_free(parsed) }
        var leaf: OpaquePointer?
        var rest: OpaquePointer?
        let password = String(decoding: source.password ?? [], as: UTF8.self)
        guard PKCS12_parse(parsed, password, &key, &leaf, &rest) == 1, let leaf, key != nil else {
            problem("pkcs12", "\(source.path) cannot be opened: \(takeOpenSSLReason())")
            return
        }
        certificates.append(leaf)
        guard let rest else { return }
        for index in 0..<copenssl_certificates_count(rest) {
            guard let next = copenssl_certificate_at(rest, index) else { continue }
            X509_up_ref(next)
            certificates.append(next)
        }
        copenssl_certificates_free(rest)
    }

    /// Envoy's limits on key sizes and curves. Returns the curve of an EC key.
    private mutating func checkKey(_ leaf: OpaquePointer) -> Int32? {
        guard let key = X509_get0_pubkey(leaf) else {
            problem("certificate_chain", "has a public key that cannot be read")
            return nil
        }
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA:
            let bits = EVP_PKEY_get_bits(key)
            if bits < 2048 {
                problem(
                    "certificate_chain",
                    "has an RSA key of \(bits) bits; 2048 bits or more are wanted"
                )
            }
        case EVP_PKEY_EC:
            var name = [CChar](repeating: 0, count: 80)
            var length = 0
            EVP_PKEY_get_group_name(key, &name, name.count, &length)
            let curve = name.withUnsafeBufferPointer { OBJ_sn2nid($0.baseAddress) }
            if ![NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1].contains(curve) {
                problem("certificate_chain", "has an EC key that is not P-256, P-384 or P-521")
            }
            return curve
        default: break
        }
        return nil
    }

    private mutating func checkDates(_ leaf: OpaquePointer, _ source: TLSCertificateSource) {
        let until = CertificateParser.time(X509_get0_notAfter(leaf)).dateText
        if X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0 {
            warnings.append(
                .init("\(field).certificate_chain", "\(source.path) expired at \(until)")
            )
        } else if X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0 {
            let from = CertificateParser.time(X509_get0_notBefore(leaf)).dateText
            warnings.append(
                .init("\(field).certificate_chain", "\(source.path) is valid only from \(from)")
            )
        }
    }
}

/// Answers "no password": OpenSSL would ask at the terminal otherwise.
private func noPassword(
    _: UnsafeMutablePointer<CChar>?,
    _: Int32,
    _: Int32,
    _: UnsafeMutableRawPointer?
) -> Int32 { 0 }
