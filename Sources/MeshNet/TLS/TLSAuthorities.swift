import COpenSSL

/// A bundle of trust roots, read once and shared by all contexts that trust it: a mesh has one bundle and
/// a context per workload. Immutable.
package final class TLSAuthorities: @unchecked Sendable {
    // `@unchecked Sendable`: OpenSSL locks an X509_STORE itself; nothing is added after init.
    let store: OpaquePointer
    let certificates: [OpaquePointer]
    package let pem: [UInt8]
    /// Where the bundle came from, for people.
    package let path: String
    /// The roots, in the order of the bundle.
    package let infos: [CertificateInfo]

    /// Any certificate of the bundle is an anchor, intermediates too.
    package init(pem: [UInt8], path: String) throws(TLSSettingsError) {
        let certificates = X509PEM.certificates(pem)
        let failure = certificates.isEmpty ? takeOpenSSLReason() : ""
        ERR_clear_error()
        guard !certificates.isEmpty, let store = X509_STORE_new() else {
            throw TLSSettingsError(
                problems: [.init("trusted_ca", "\(path) has no PEM certificate: \(failure)")]
            )
        }
        certificates.forEach { _ = X509_STORE_add_cert(store, $0) }
        X509_STORE_set_flags(store, copenssl_verify_partial_chain())
        self.store = store
        self.certificates = certificates
        self.pem = pem
        self.path = path
        infos = certificates.map { CertificateParser.info($0, chain: []) }
    }

    /// Why a peer with these roots would not take this chain from a client or a server; nil where it would
    /// take it from both. Names are not looked at.
    ///
    /// - Parameter now: nil for the system's clock.
    package func problem(with pair: TLSKeyPair, at now: WallTime?) -> String? {
        for (purpose, role) in [("ssl_client", "a client"), ("ssl_server", "a server")] {
            if let reason = problem(with: pair, purpose, now) { return "\(reason), as \(role)'s" }
        }
        return nil
    }

    private func problem(
        with pair: TLSKeyPair,
        _ purpose: String,
        _ now: WallTime?
    ) -> String? {
        guard let context = X509_STORE_CTX_new(), let rest = copenssl_certificates_new() else {
            return "out of memory"
        }
        defer {
            X509_STORE_CTX_free(context)
            copenssl_certificates_free(rest)
            ERR_clear_error()
        }
        pair.certificates.dropFirst().forEach { _ = copenssl_certificates_push(rest, $0) }
        guard X509_STORE_CTX_init(context, store, pair.certificates[0], rest) == 1,
            X509_STORE_CTX_set_default(context, purpose) == 1
        else { return takeOpenSSLReason() }
        if let now { copenssl_verify_at(context, Int(now.seconds)) }
        if X509_verify_cert(context) == 1 { return nil }
        let code = X509_STORE_CTX_get_error(context)
        return X509_verify_cert_error_string(Int(code)).map { String(cString: $0) } ?? "refused"
    }

    deinit {
        X509_STORE_free(store)
        certificates.forEach { X509_free($0) }
    }
}

/// PEM texts as OpenSSL's objects, which the caller frees.
enum X509PEM {
    /// All certificates of the text, in order.
    static func certificates(_ pem: [UInt8]) -> [OpaquePointer] {
        var list: [OpaquePointer] = []
        forEach(pem) { info in
            guard let certificate = info.x509 else { return }
            X509_up_ref(certificate)
            list.append(certificate)
        }
        return list
    }

    /// Visits every object of the text; they live for the call.
    static func forEach(_ pem: [UInt8], _ body: (X509_INFO) -> Void) {
        let infos = withMemoryBIO(pem) { PEM_X509_INFO_read_bio($0, nil, { _, _, _, _ in 0 }, nil) }
        guard let infos, let infos else { return }
        defer { copenssl_infos_free(infos) }
        for index in 0..<copenssl_infos_count(infos) {
            guard let info = copenssl_info_at(infos, index)?.pointee else { continue }
            body(info)
        }
    }
}
