import MeshConfig
import MeshNet

/// Where certificates come from.
package enum IdentitySource: Sendable, Equatable {
    /// `FAKE_CA`: made here, by an authority of our own; for development. With a directory, the authority
    /// is kept there and shared with other agents.
    case developmentAuthority(lifetime: Nanoseconds, directory: String? = nil)
    /// `<directory>/root-cert.pem`, and for each identity
    /// `<directory>/<trust domain>/<namespace>/<service account>/{cert-chain,key}.pem`, or, where that is
    /// missing, `<directory>/{cert-chain,key}.pem`, as Istio mounts the one of a pod.
    case directory(String)
    /// One identity.
    case files(chain: String, key: String, roots: String)

    /// `SECRET_TTL` where nothing else is said.
    package static let usualLifetime = Nanoseconds.seconds(86_400)
}

/// A certificate with its key, on its way into ``Credentials``.
protocol CredentialsProvider: AnyObject {
    var authorities: TLSAuthorities { get }
    /// Certificates are made on demand, and made anew at half of their life.
    var issues: Bool { get }
    /// The files that matter while these identities are wanted.
    func watchedPaths(_ identities: some Sequence<SPIFFEID>) -> Set<WatchedPath>
    /// Reads again what all identities share. True where it has changed.
    func refresh() throws(IdentityError) -> Bool
    func certificate(
        of identity: SPIFFEID,
        now: WallTime
    ) throws(IdentityError) -> TLSCertificateSource
}
