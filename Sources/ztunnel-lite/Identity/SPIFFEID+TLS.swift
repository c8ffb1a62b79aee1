import MeshNet

extension SPIFFEID {
    /// Who the peer is: the first of its URI names that is a SPIFFE ID of our form. Nil without one.
    package init?(peerOf info: TLSConnectionInfo) {
        guard let certificate = info.peer else { return nil }
        self.init(certificate)
    }

    /// The first URI name of the certificate that is one.
    package init?(_ certificate: CertificateInfo) {
        for name in certificate.uriSANs {
            guard let identity = SPIFFEID(name) else { continue }
            self = identity
            return
        }
        return nil
    }
}

extension TLSSession {
    /// A connection to a workload that must present one of `identities`. No server name is sent.
    package convenience init(client context: TLSContext, identities: [SPIFFEID]) {
        self.init(client: context, identities: identities.map(\.description))
    }
}
