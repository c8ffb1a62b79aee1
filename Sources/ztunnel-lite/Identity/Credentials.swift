import MeshNet

/// What a workload proves itself with, and whom it believes: one identity's certificate in both roles.
/// Immutable; shared by all workers.
package final class Credentials: Sendable {
    package let identity: SPIFFEID
    /// For connections that come in: any identity of our trust domain is let through.
    package let server: TLSContext
    /// For connections that go out: each names the identities that it expects, see
    /// ``MeshNet/TLSSession/init(client:identities:)``.
    package let client: TLSContext
    /// The leaf, with the chain that is presented.
    package let certificate: CertificateInfo
    /// The roots that peers are verified against.
    package let authorities: TLSAuthorities

    /// When the leaf expires.
    package var notAfter: WallTime { certificate.notAfter }
    /// When the first certificate of the chain expires.
    package var validUntil: WallTime { certificate.chainNotAfter }

    /// Fails where certificate and key do not fit, or the certificate is for somebody else.
    ///
    /// - Parameter verifiedAt: the time at which our own roots must accept it, as peers will; nil asks
    ///   nobody.
    init(
        _ identity: SPIFFEID,
        _ source: TLSCertificateSource,
        trust: MeshTrust,
        verifiedAt now: WallTime? = nil
    ) throws(IdentityError) {
        var source = source
        do throws(TLSSettingsError) {
            try source.read()
            server = try TLSContext(trust.serverSettings(source, of: identity))
            client = try TLSContext(trust.clientSettings(source))
        } catch {
            throw IdentityError(
                subject: source.path,
                reason: error.problems.map { "\($0.name): \($0.message)" }.joined(separator: "; "),
                check: "the certificate chain (leaf first) and the key that belongs to it"
            )
        }
        guard let pair = source.pair else {
            throw IdentityError(subject: source.path, reason: "no certificate in it", check: "")
        }
        let leaf = pair.leaf
        guard leaf.uriSANs.contains(identity.description) else {
            throw IdentityError(
                subject: source.path,
                reason: "is not for \(identity); it has [\(leaf.uriSANs.joined(separator: ", "))]",
                check: "that the certificate's URI name is the workload's identity"
            )
        }
        if let now { try Self.checkDates(leaf, source.path, at: now) }
        if let now, let problem = trust.authorities.problem(with: pair, at: now) {
            throw IdentityError(
                subject: source.path,
                reason: "would be refused by peers with our roots: \(problem)",
                check: "that its issuer is in \(trust.authorities.path), with all that is between, "
                    + "and that it may be a client's and a server's"
            )
        }
        self.identity = identity
        certificate = leaf
        authorities = trust.authorities
    }
}

extension Credentials {
    /// Fails where a certificate, with its chain, is not good at the moment.
    static func checkDates(
        _ leaf: CertificateInfo,
        _ path: String,
        at now: WallTime
    ) throws(IdentityError) {
        if leaf.chainNotAfter <= now {
            throw IdentityError(
                subject: path,
                reason: "expired at \(leaf.chainNotAfter.dateText)",
                check: "who renews it, and this machine's clock (\(now.dateText))"
            )
        }
        if now < leaf.notBefore {
            throw IdentityError(
                subject: path,
                reason: "is valid only from \(leaf.notBefore.dateText)",
                check: "this machine's clock (\(now.dateText))"
            )
        }
    }
}

extension TLSSettingsError.Problem {
    /// The last part of the field: what is before it names Envoy's messages.
    fileprivate var name: String { String(field.split(separator: ".").last ?? "") }
}

/// All credentials of a moment, as workers get them.
package struct IdentitySnapshot: Sendable {
    package var credentials: [SPIFFEID: Credentials]
    /// Connections whose peer is in here must end; handshakes ask by themselves.
    package var revoked: RevokedCertificates

    package init(
        credentials: [SPIFFEID: Credentials] = [:],
        revoked: RevokedCertificates = .none
    ) {
        self.credentials = credentials
        self.revoked = revoked
    }
}

/// Why an identity has no certificate, or keeps its old one; for people.
package struct IdentityError: Error, Equatable, Sendable {
    /// A file or an identity.
    package var subject: String
    package var reason: String
    /// What to look at; may be empty.
    package var check: String

    package init(subject: String, reason: String, check: String) {
        self.subject = subject
        self.reason = reason
        self.check = check
    }
}

extension IdentityError: CustomStringConvertible {
    package var description: String {
        "\(subject): \(reason)" + (check.isEmpty ? "" : "; check \(check)")
    }
}
