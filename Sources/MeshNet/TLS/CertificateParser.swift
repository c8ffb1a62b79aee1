import COpenSSL
import Glibc

/// Reads what policy and logs need from an X.509 certificate. Cold: results are cached by whoever
/// meets the same certificate again.
enum CertificateParser {
    /// `chain` is what the peer sent, leaf first; its text becomes ``CertificateInfo/chainPEM``.
    static func info(_ certificate: OpaquePointer, chain: [OpaquePointer]) -> CertificateInfo {
        var names: [Int32: [String]] = [:]
        if let list = copenssl_alternative_names(certificate) {
            for index in 0..<copenssl_names_count(list) {
                var data: UnsafePointer<UInt8>?
                var length: Int32 = 0
                let kind = copenssl_name_at(list, index, &data, &length)
                guard kind >= 0 else { continue }
                let bytes = Bytes(start: data, count: Int(length))
                names[kind, default: []].append(
                    kind == GEN_IPADD ? address(bytes) : String(bytes: bytes)
                )
            }
            GENERAL_NAMES_free(list)
        }
        let pem = textFromBIO { PEM_write_bio_X509($0, certificate) }
        let whole = chain.isEmpty ? [certificate] : chain
        return CertificateInfo(
            uriSANs: names[GEN_URI] ?? [],
            dnsSANs: names[GEN_DNS] ?? [],
            ipSANs: names[GEN_IPADD] ?? [],
            emailSANs: names[GEN_EMAIL] ?? [],
            subject: name(X509_get_subject_name(certificate)),
            issuer: name(X509_get_issuer_name(certificate)),
            serial: serial(certificate),
            sha256: hexadecimal(fingerprint(certificate)),
            sha1: sha1(certificate),
            notBefore: time(X509_get0_notBefore(certificate)),
            notAfter: time(X509_get0_notAfter(certificate)),
            pem: pem,
            chainPEM: chain.count <= 1
                ? pem : textFromBIO { bio in chain.forEach { PEM_write_bio_X509(bio, $0) } },
            chainSerials: whole.map(serial),
            chainSHA256: whole.map { hexadecimal(fingerprint($0)) },
            chainSHA1: whole.map(sha1),
            chainNotAfter: whole.map { time(X509_get0_notAfter($0)) }.min()
        )
    }

    /// SHA-256 of the DER encoding.
    static func fingerprint(_ certificate: OpaquePointer) -> [UInt8] {
        withDER(certificate) { sha256($0) } ?? []
    }

    private static func sha1(_ certificate: OpaquePointer) -> String {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digest in
            guard
                X509_digest(
                    certificate,
                    EVP_sha1(),
                    digest.bindMemory(to: UInt8.self).baseAddress,
                    nil
                )
                    == 1
            else { return "" }
            return hexadecimal(Bytes(digest))
        }
    }

    /// SHA-256 of the subject public key info.
    static func publicKeyFingerprint(_ certificate: OpaquePointer) -> [UInt8] {
        guard let key = X509_get_X509_PUBKEY(certificate) else { return [] }
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509_PUBKEY(key, &encoded)
        guard count > 0, let encoded else { return [] }
        defer { CRYPTO_free(encoded, nil, 0) }
        return sha256(Bytes(start: encoded, count: Int(count)))
    }

    static func withDER<R>(_ certificate: OpaquePointer, _ body: (Bytes) -> R) -> R? {
        let count = i2d_X509(certificate, nil)
        guard count > 0 else { return nil }
        return withUnsafeTemporaryAllocation(byteCount: Int(count), alignment: 1) { buffer in
            var cursor: UnsafeMutablePointer<UInt8>? = buffer.baseAddress?.assumingMemoryBound(
                to: UInt8.self
            )
            guard i2d_X509(certificate, &cursor) == count else { return nil }
            return body(Bytes(buffer))
        }
    }

    /// Subject or issuer as RFC 2253 text.
    static func name(_ name: OpaquePointer?) -> String {
        textFromBIO { _ = copenssl_print_name($0, name) }
    }

    /// The first common name of the subject.
    static func commonName(_ certificate: OpaquePointer) -> String? {
        guard let subject = X509_get_subject_name(certificate) else { return nil }
        let index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
        guard index >= 0, let entry = X509_NAME_get_entry(subject, index),
            let text = X509_NAME_ENTRY_get_data(entry), ASN1_STRING_length(text) > 0
        else { return nil }
        return String(
            bytes: Bytes(start: ASN1_STRING_get0_data(text), count: Int(ASN1_STRING_length(text)))
        )
    }

    static func time(_ time: UnsafePointer<ASN1_TIME>?) -> WallTime {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return WallTime(nanoseconds: .max) }
        let (nanoseconds, overflow) = timegm(&parts).multipliedReportingOverflow(by: 1_000_000_000)
        // Certificates "without expiry" end in 9999 (RFC 5280 §4.1.2.5), beyond 64-bit nanoseconds.
        return WallTime(nanoseconds: overflow ? .max : Int64(nanoseconds))
    }

    static func serial(_ certificate: OpaquePointer) -> String {
        text(X509_get0_serialNumber(certificate))
    }

    /// Lower-case hexadecimal.
    static func text(_ integer: UnsafePointer<ASN1_INTEGER>?) -> String {
        guard let number = ASN1_INTEGER_to_BN(integer, nil) else { return "" }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return "" }
        defer { CRYPTO_free(text, nil, 0) }
        return String(cString: text).lowercased()
    }

    private static func address(_ bytes: Bytes) -> String {
        let family = bytes.count == 4 ? AF_INET : bytes.count == 16 ? AF_INET6 : -1
        guard family >= 0 else { return hexadecimal(bytes) }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) {
            guard let base = $0.baseAddress,
                inet_ntop(family, bytes.baseAddress, base, socklen_t(INET6_ADDRSTRLEN)) != nil
            else { return "" }
            return String(cString: base)
        }
    }
}
