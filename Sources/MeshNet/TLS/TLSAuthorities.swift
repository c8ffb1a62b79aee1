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
