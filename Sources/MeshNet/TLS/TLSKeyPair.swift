import COpenSSL

/// A certificate chain and its key, read once and used by several contexts: reading a key costs more than a
/// signature with it. Immutable.
package final class TLSKeyPair: @unchecked Sendable {
    // `@unchecked Sendable`: OpenSSL counts references atomically, and nobody changes these.
    /// Leaf first.
    let certificates: [OpaquePointer]
    let key: OpaquePointer
    /// In the order of the chain; the leaf's has the whole chain's text.
    package let chain: [CertificateInfo]

    /// Takes over the references. Nil where there is no certificate.
    init?(certificates: [OpaquePointer], key: OpaquePointer) {
        guard !certificates.isEmpty else { return nil }
        self.certificates = certificates
        self.key = key
        chain = certificates.enumerated().map { index, certificate in
            CertificateParser.info(certificate, chain: index == 0 ? certificates : [])
        }
    }

    deinit {
        certificates.forEach { X509_free($0) }
        EVP_PKEY_free(key)
    }

    /// The leaf's certificate.
    package var leaf: CertificateInfo { chain[0] }

    /// The key as PEM. A secret.
    package var keyPEM: [UInt8] {
        Array(textFromBIO { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }.utf8)
    }
}

extension TLSCertificateSource {
    /// What others have read already.
    package init(_ pair: TLSKeyPair, path: String) {
        self.init(path: path)
        self.pair = pair
    }

    /// Reads chain and key, so that contexts made from this need not. Fails with all problems.
    package mutating func read() throws(TLSSettingsError) {
        guard pair == nil else { return }
        var loader = TLSCertificateLoader(field: "")
        let (certificates, key) = loader.read(self)
        guard loader.problems.isEmpty, let key,
            let pair = TLSKeyPair(certificates: certificates, key: key)
        else {
            certificates.forEach { X509_free($0) }
            EVP_PKEY_free(key)
            throw TLSSettingsError(problems: loader.problems)
        }
        self.pair = pair
    }
}
