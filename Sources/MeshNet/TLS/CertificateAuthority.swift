import COpenSSL

/// A certificate authority for development: a root and short-lived leaf certificates with P-256 keys.
///
/// Whoever has its key can be anybody: it is for labs, not for production. For the control thread.
package final class CertificateAuthority {
    private let certificate: OpaquePointer
    private let key: OpaquePointer

    /// The root certificate as PEM.
    package let rootPEM: [UInt8]
    package let root: CertificateInfo

    /// Clocks of other machines may be that much behind.
    private static let backdate = Nanoseconds.seconds(60)
    /// Ten years.
    private static let rootLifetime = Nanoseconds.seconds(10 * 365 * 86_400)

    /// A new root; its name ends in random digits, so that two of them are told apart in an error.
    package init(name: String, now: WallTime) throws(CertificateAuthorityError) {
        var digits = [UInt8](repeating: 0, count: 4)
        guard RAND_bytes(&digits, 4) == 1, let key = Self.makeKey(), let root = X509_new() else {
            throw CertificateAuthorityError("no key could be made: \(takeOpenSSLReason())")
        }
        let isMade =
            Self.begin(root, key: key, from: now, lifetime: Self.rootLifetime)
            && Self.setName(root, "\(name) \(hexadecimal(digits))")
            && X509_set_issuer_name(root, X509_get_subject_name(root)) == 1
            && Self.extend(
                root,
                issuer: root,
                [
                    (NID_basic_constraints, "critical,CA:TRUE"),
                    (NID_key_usage, "critical,keyCertSign,cRLSign"),
                    (NID_subject_key_identifier, "hash"),
                ]
            ) && Self.sign(root, key)
        guard isMade else {
            X509_free(root)
            EVP_PKEY_free(key)
            throw CertificateAuthorityError("no root could be made: \(takeOpenSSLReason())")
        }
        self.key = key
        certificate = root
        rootPEM = Self.pem { PEM_write_bio_X509($0, root) }
        self.root = CertificateParser.info(root, chain: [])
    }

    /// From a PEM text with the key and the root's certificate, in any order.
    package init(pem: [UInt8]) throws(CertificateAuthorityError) {
        let certificates = X509PEM.certificates(pem)
        let read = withMemoryBIO(pem) { PEM_read_bio_PrivateKey($0, nil, { _, _, _, _ in 0 }, nil) }
        ERR_clear_error()
        let key = read.flatMap { $0 }
        guard let root = certificates.first, let key,
            X509_check_private_key(root, key) == 1, X509_check_ca(root) != 0
        else {
            let problem = Self.problem(certificates.first, key)
            certificates.forEach { X509_free($0) }
            EVP_PKEY_free(key)
            ERR_clear_error()
            throw CertificateAuthorityError(problem)
        }
        certificates.dropFirst().forEach { X509_free($0) }
        self.key = key
        certificate = root
        rootPEM = Self.pem { PEM_write_bio_X509($0, root) }
        self.root = CertificateParser.info(root, chain: [])
    }

    private static func problem(_ root: OpaquePointer?, _ key: OpaquePointer?) -> String {
        guard let root else { return "no certificate in it" }
        if key == nil { return "no private key in it" }
        return X509_check_ca(root) == 0
            ? "its first certificate is not an authority's"
            : "its key does not belong to its first certificate"
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    /// Root and key, what ``init(pem:)`` takes. A secret.
    package var pem: [UInt8] {
        rootPEM + Self.pem { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    /// A leaf for one URI, good for clients and servers, until `lifetime` from now, at latest until the
    /// root ends. The chain is the leaf alone.
    package func issue(
        uri: String,
        now: WallTime,
        lifetime: Nanoseconds
    ) throws(CertificateAuthorityError) -> TLSKeyPair {
        let left = Nanoseconds(root.notAfter.nanoseconds &- now.nanoseconds)
        guard left > .zero else {
            throw CertificateAuthorityError(
                "the root \"\(root.subject)\" expired at \(root.notAfter.dateText)"
            )
        }
        guard let leafKey = Self.makeKey(), let leaf = X509_new() else {
            throw CertificateAuthorityError("no key could be made: \(takeOpenSSLReason())")
        }
        var extensions = [
            (NID_basic_constraints, "critical,CA:FALSE"),
            (NID_key_usage, "critical,digitalSignature"),
            (NID_ext_key_usage, "serverAuth,clientAuth"),
            (NID_subject_key_identifier, "hash"),
        ]
        // A root that was made elsewhere may have no identifier to refer to.
        if X509_get0_subject_key_id(certificate) != nil {
            extensions.append((NID_authority_key_identifier, "keyid:always"))
        }
        // Without a subject the alternative name is critical (RFC 5280 §4.2.1.6).
        let isMade =
            Self.setName(leaf, uri: uri)
            && Self.begin(leaf, key: leafKey, from: now, lifetime: min(lifetime, left))
            && X509_set_issuer_name(leaf, X509_get_subject_name(certificate)) == 1
            && Self.extend(leaf, issuer: certificate, extensions)
            && Self.sign(leaf, key)
        guard isMade, let pair = TLSKeyPair(certificates: [leaf], key: leafKey) else {
            X509_free(leaf)
            EVP_PKEY_free(leafKey)
            throw CertificateAuthorityError("no certificate for \(uri): \(takeOpenSSLReason())")
        }
        return pair
    }

    // MARK: Parts

    private static func makeKey() -> OpaquePointer? {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil) else { return nil }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1,
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) == 1,
            EVP_PKEY_keygen(context, &key) == 1
        else { return nil }
        return key
    }

    /// Version, serial number, dates and key.
    private static func begin(
        _ certificate: OpaquePointer,
        key: OpaquePointer,
        from now: WallTime,
        lifetime: Nanoseconds
    ) -> Bool {
        let end = WallTime(nanoseconds: now.nanoseconds &+ lifetime.count)
        return X509_set_version(certificate, 2) == 1 && setSerial(certificate)
            && ASN1_TIME_set(
                X509_getm_notBefore(certificate),
                time_t(now.seconds - backdate.count / 1_000_000_000)
            ) != nil
            && ASN1_TIME_set(X509_getm_notAfter(certificate), time_t(end.seconds)) != nil
            && X509_set_pubkey(certificate, key) == 1
    }

    /// 127 random bits (RFC 5280 §4.1.2.2 allows 20 bytes, positive).
    private static func setSerial(_ certificate: OpaquePointer) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 16)
        guard RAND_bytes(&bytes, 16) == 1 else { return false }
        bytes[0] = bytes[0] & 0x7F | 0x40
        guard let number = BN_bin2bn(&bytes, 16, nil) else { return false }
        defer { BN_free(number) }
        return BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil
    }

    private static func setName(_ certificate: OpaquePointer, _ name: String) -> Bool {
        X509_NAME_add_entry_by_txt(
            X509_get_subject_name(certificate),
            "CN",
            MBSTRING_FLAG | 1,
            name,
            -1,
            -1,
            0
        ) == 1
    }

    private static func setName(_ certificate: OpaquePointer, uri: String) -> Bool {
        var uri = uri
        return uri.withUTF8 { text in
            text.withMemoryRebound(to: CChar.self) {
                copenssl_add_uri_name(certificate, $0.baseAddress, Int32($0.count)) == 1
            }
        }
    }

    private static func extend(
        _ certificate: OpaquePointer,
        issuer: OpaquePointer,
        _ extensions: [(Int32, String)]
    ) -> Bool {
        extensions.allSatisfy { copenssl_add_extension(certificate, issuer, $0.0, $0.1) == 1 }
    }

    /// Edwards curves hash by themselves (RFC 8410).
    private static func sign(_ certificate: OpaquePointer, _ key: OpaquePointer) -> Bool {
        let hashes = [EVP_PKEY_ED25519, EVP_PKEY_ED448].contains(EVP_PKEY_get_base_id(key))
        return X509_sign(certificate, key, hashes ? nil : EVP_sha256()) > 0
    }

    private static func pem(_ write: (OpaquePointer) -> Void) -> [UInt8] {
        Array(textFromBIO(write).utf8)
    }
}

/// Why an authority cannot be made or cannot issue.
package struct CertificateAuthorityError: Error, Equatable, Sendable {
    package var reason: String

    init(_ reason: String) { self.reason = reason }
}
