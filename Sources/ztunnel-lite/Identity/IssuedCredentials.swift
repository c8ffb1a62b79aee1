import MeshNet

/// Certificates from the built-in development authority.
final class IssuedCredentials: CredentialsProvider {
    private let authority: CertificateAuthority
    private let lifetime: Nanoseconds
    let authorities: TLSAuthorities

    let issues = true

    init(_ authority: CertificateAuthority, lifetime: Nanoseconds) throws(IdentityError) {
        self.authority = authority
        self.lifetime = lifetime
        do throws(TLSSettingsError) {
            authorities = try TLSAuthorities(
                pem: authority.rootPEM,
                path: "the development authority"
            )
        } catch {
            throw IdentityError(
                subject: "development authority",
                reason: "\(error.problems)",
                check: ""
            )
        }
    }

    func watchedPaths(_ identities: some Sequence<SPIFFEID>) -> Set<WatchedPath> { [] }

    func refresh() throws(IdentityError) -> Bool { false }

    func certificate(
        of identity: SPIFFEID,
        now: WallTime
    ) throws(IdentityError) -> TLSCertificateSource {
        do throws(CertificateAuthorityError) {
            return TLSCertificateSource(
                try authority.issue(uri: identity.description, now: now, lifetime: lifetime),
                path: "the development authority"
            )
        } catch {
            throw IdentityError(
                subject: "development authority",
                reason: error.reason,
                check: "its root's dates"
            )
        }
    }
}
