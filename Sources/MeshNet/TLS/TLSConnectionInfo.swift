/// What matters of an X.509 certificate for policy and logs. Immutable.
package final class CertificateInfo: Sendable {
    /// Subject alternative names by type, in the certificate's order.
    package let uriSANs: [String]
    package let dnsSANs: [String]
    package let ipSANs: [String]
    package let emailSANs: [String]
    /// Subject and issuer as RFC 2253 text.
    package let subject: String
    package let issuer: String
    /// Serial number, lower-case hexadecimal.
    package let serial: String
    /// SHA-256 of the DER encoding, lower-case hexadecimal.
    package let sha256: String
    /// SHA-1 of the DER encoding, lower-case hexadecimal: for logs that are compared with others'.
    package let sha1: String
    package let notBefore: WallTime
    package let notAfter: WallTime
    /// PEM of the certificate, and of the chain as the peer sent it (the certificate first).
    package let pem: String
    package let chainPEM: String
    /// Of the chain as the peer sent it, the certificate first.
    package let chainSerials: [String]
    package let chainSHA256: [String]
    package let chainSHA1: [String]
    /// The earliest end of validity in the chain as the peer sent it.
    package let chainNotAfter: WallTime

    package init(
        uriSANs: [String] = [],
        dnsSANs: [String] = [],
        ipSANs: [String] = [],
        emailSANs: [String] = [],
        subject: String = "",
        issuer: String = "",
        serial: String = "",
        sha256: String = "",
        sha1: String = "",
        notBefore: WallTime = WallTime(nanoseconds: 0),
        notAfter: WallTime = WallTime(nanoseconds: .max),
        pem: String = "",
        chainPEM: String = "",
        chainSerials: [String] = [],
        chainSHA256: [String] = [],
        chainSHA1: [String] = [],
        chainNotAfter: WallTime? = nil
    ) {
        self.uriSANs = uriSANs
        self.dnsSANs = dnsSANs
        self.ipSANs = ipSANs
        self.emailSANs = emailSANs
        self.subject = subject
        self.issuer = issuer
        self.serial = serial
        self.sha256 = sha256
        self.sha1 = sha1
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.pem = pem
        self.chainPEM = chainPEM
        self.chainSerials = chainSerials
        self.chainSHA256 = chainSHA256
        self.chainSHA1 = chainSHA1
        self.chainNotAfter = chainNotAfter ?? notAfter
    }
}

/// What a finished TLS handshake established. Immutable.
package final class TLSConnectionInfo: Sendable {
    /// `TLSv1.2` or `TLSv1.3`.
    package let version: String
    /// OpenSSL's name, e.g. `TLS_AES_128_GCM_SHA256`.
    package let cipher: String
    /// Protocol agreed by ALPN, or empty.
    package let alpn: String
    /// Server name asked for (RFC 6066 §3), or empty.
    package let serverName: String
    /// Session id, lower-case hexadecimal; empty where there is none.
    package let sessionID: String
    package let isResumed: Bool
    /// The peer's certificate, where it presented one.
    package let peer: CertificateInfo?
    /// Whether the peer's certificate was verified against a trust root.
    package let isPeerVerified: Bool
    /// Our own certificate.
    package let local: CertificateInfo?
    /// The earliest end of validity in the peer's chain, the root it was verified by included. Without
    /// a peer's certificate: the end of time.
    package let peerValidUntil: WallTime

    /// Until when both sides' certificates are good: a connection should not outlive it.
    package var validUntil: WallTime {
        min(peerValidUntil, local?.chainNotAfter ?? peerValidUntil)
    }

    package init(
        version: String = "TLSv1.3",
        cipher: String = "",
        alpn: String = "",
        serverName: String = "",
        sessionID: String = "",
        isResumed: Bool = false,
        peer: CertificateInfo? = nil,
        isPeerVerified: Bool = false,
        local: CertificateInfo? = nil,
        peerValidUntil: WallTime? = nil
    ) {
        self.version = version
        self.cipher = cipher
        self.alpn = alpn
        self.serverName = serverName
        self.sessionID = sessionID
        self.isResumed = isResumed
        self.peer = peer
        self.isPeerVerified = isPeerVerified
        self.local = local
        self.peerValidUntil =
            peerValidUntil ?? peer?.chainNotAfter ?? WallTime(nanoseconds: .max)
    }
}
