import COpenSSL
import MeshNet

/// A certificate authority for tests: issues what a test describes, in memory.
package final class TestAuthority {
    /// What a certificate says; dates are seconds from now.
    package struct Request {
        package var commonName = ""
        /// OpenSSL's notation: `URI:spiffe://…,DNS:…,IP:…,email:…`. Empty: no such extension.
        package var names = ""
        package var keyUsage = "critical,digitalSignature"
        package var extendedKeyUsage = "serverAuth,clientAuth"
        package var isAuthority = false
        package var notBefore = -3600
        package var notAfter = 86_400
        package var usesRSA = false

        package init() {}
    }

    package struct Identity {
        package var certificate: [UInt8]
        package var key: [UInt8]
        package var serial: Int

        /// The certificate followed by its issuer.
        package func chained(_ issuer: TestAuthority) -> [UInt8] { certificate + issuer.pem }

        /// The key as encrypted PKCS #8.
        package func encryptedKey(_ password: String) -> [UInt8] {
            TestAuthority.withKey(key) { key in
                TestAuthority.pem {
                    _ = PEM_write_bio_PKCS8PrivateKey(
                        $0,
                        key,
                        EVP_aes_128_cbc(),
                        password,
                        Int32(password.utf8.count),
                        nil,
                        nil
                    )
                }
            } ?? []
        }

        /// Certificate, key and the authority's certificate as PKCS #12.
        package func archive(password: String, authority: TestAuthority) -> [UInt8] {
            TestAuthority.withKey(key) { key in
                var pem = certificate
                guard let bio = BIO_new_mem_buf(&pem, Int32(pem.count)),
                    let leaf = PEM_read_bio_X509(bio, nil, nil, nil),
                    let rest = copenssl_certificates_new()
                else { return [] }
                defer {
                    BIO_free(bio)
                    X509_free(leaf)
                    copenssl_certificates_free(rest)
                }
                _ = copenssl_certificates_push(rest, authority.certificate)
                let archive = PKCS12_create(password, "test", key, leaf, rest, 0, 0, 0, 0, 0)
                defer { PKCS12_free(archive) }
                return TestAuthority.pem { _ = i2d_PKCS12_bio($0, archive) }
            } ?? []
        }
    }

    private let certificate: OpaquePointer
    private let key: OpaquePointer
    private var nextSerial = 100

    /// The authority's certificate as PEM.
    package let pem: [UInt8]

    /// A root, or an intermediate authority under `parent`.
    package init(_ name: String, parent: TestAuthority? = nil, notAfter: Int = 864_000) {
        var request = Request()
        request.commonName = name
        request.isAuthority = true
        request.keyUsage = "critical,keyCertSign,cRLSign"
        request.extendedKeyUsage = ""
        request.notAfter = notAfter
        guard let key = Self.makeKey(rsa: false),
            let certificate = Self.make(
                request,
                key: key,
                issuer: parent?.certificate,
                issuerKey: parent?.key ?? key,
                serial: Int.random(in: 1_000_000..<2_000_000_000)
            )
        else { fatalError("test authority: OpenSSL refused") }
        self.key = key
        self.certificate = certificate
        pem = Self.pem { PEM_write_bio_X509($0, certificate) }
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    package func issue(_ request: Request) -> Identity {
        nextSerial += 1
        guard let key = Self.makeKey(rsa: request.usesRSA),
            let leaf = Self.make(
                request,
                key: key,
                issuer: certificate,
                issuerKey: self.key,
                serial: nextSerial
            )
        else { fatalError("test certificate: OpenSSL refused \(request)") }
        defer {
            X509_free(leaf)
            EVP_PKEY_free(key)
        }
        return Identity(
            certificate: Self.pem { PEM_write_bio_X509($0, leaf) },
            key: Self.pem { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) },
            serial: nextSerial
        )
    }

    /// A leaf with the given names.
    package func issue(names: String, commonName: String = "test") -> Identity {
        var request = Request()
        request.names = names
        request.commonName = commonName
        return issue(request)
    }

    /// The authority's certificate and its key.
    package var secret: [UInt8] {
        pem + Self.pem { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    /// A revocation list as PEM.
    package func revocationList(_ serials: [Int]) -> [UInt8] {
        revocationList(hexadecimal: serials.map { String($0, radix: 16) })
    }

    /// A revocation list as PEM, by serial numbers in hexadecimal.
    package func revocationList(hexadecimal serials: [String]) -> [UInt8] {
        guard let list = X509_CRL_new() else { return [] }
        defer { X509_CRL_free(list) }
        X509_CRL_set_version(list, 1)
        X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate))
        let now = X509_gmtime_adj(nil, -3600)
        X509_CRL_set1_lastUpdate(list, now)
        let next = X509_gmtime_adj(nil, 86_400)
        X509_CRL_set1_nextUpdate(list, next)
        for serial in serials {
            var value: OpaquePointer?
            guard let entry = X509_REVOKED_new(), BN_hex2bn(&value, serial) > 0,
                let number = BN_to_ASN1_INTEGER(value, nil)
            else { continue }
            BN_free(value)
            X509_REVOKED_set_serialNumber(entry, number)
            X509_REVOKED_set_revocationDate(entry, now)
            X509_CRL_add0_revoked(list, entry)
            ASN1_STRING_free(number)
        }
        ASN1_STRING_free(now)
        ASN1_STRING_free(next)
        X509_CRL_sort(list)
        X509_CRL_sign(list, key, EVP_sha256())
        return Self.pem { PEM_write_bio_X509_CRL($0, list) }
    }

    private static func withKey<R>(_ pem: [UInt8], _ body: (OpaquePointer) -> R) -> R? {
        var pem = pem
        guard let bio = BIO_new_mem_buf(&pem, Int32(pem.count)) else { return nil }
        defer { BIO_free(bio) }
        guard let key = PEM_read_bio_PrivateKey(bio, nil, nil, nil) else { return nil }
        defer { EVP_PKEY_free(key) }
        return body(key)
    }

    private static func makeKey(rsa: Bool) -> OpaquePointer? {
        guard let context = EVP_PKEY_CTX_new_id(rsa ? EVP_PKEY_RSA : EVP_PKEY_EC, nil) else {
            return nil
        }
        defer { EVP_PKEY_CTX_free(context) }
        guard EVP_PKEY_keygen_init(context) == 1 else { return nil }
        if rsa {
            EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048)
        } else {
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1)
        }
        var key: OpaquePointer?
        return EVP_PKEY_keygen(context, &key) == 1 ? key : nil
    }

    private static func make(
        _ request: Request,
        key: OpaquePointer,
        issuer: OpaquePointer?,
        issuerKey: OpaquePointer,
        serial: Int
    ) -> OpaquePointer? {
        guard let leaf = X509_new(), let subject = X509_get_subject_name(leaf) else { return nil }
        X509_set_version(leaf, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(leaf), serial)
        X509_gmtime_adj(X509_getm_notBefore(leaf), request.notBefore)
        X509_gmtime_adj(X509_getm_notAfter(leaf), request.notAfter)
        X509_set_pubkey(leaf, key)
        if !request.commonName.isEmpty {
            X509_NAME_add_entry_by_txt(
                subject,
                "CN",
                MBSTRING_FLAG | 1,
                request.commonName,
                -1,
                -1,
                0
            )
        }
        X509_set_issuer_name(leaf, X509_get_subject_name(issuer ?? leaf))
        let extensions = [
            (NID_basic_constraints, request.isAuthority ? "critical,CA:TRUE" : "CA:FALSE"),
            (NID_key_usage, request.keyUsage), (NID_ext_key_usage, request.extendedKeyUsage),
            (NID_subject_alt_name, request.names),
        ]
        for (nid, value) in extensions where !value.isEmpty {
            guard let item = X509V3_EXT_conf_nid(nil, nil, nid, value) else { return nil }
            X509_add_ext(leaf, item, -1)
            X509_EXTENSION_free(item)
        }
        return X509_sign(leaf, issuerKey, EVP_sha256()) > 0 ? leaf : nil
    }

    private static func pem(_ write: (OpaquePointer) -> Void) -> [UInt8] {
        guard let bio = BIO_new(BIO_s_mem()) else { return [] }
        defer { BIO_free(bio) }
        write(bio)
        var start: UnsafeMutablePointer<CChar>?
        let count = copenssl_bio_contents(bio, &start)
        return [UInt8](UnsafeRawBufferPointer(start: start, count: count))
    }
}
