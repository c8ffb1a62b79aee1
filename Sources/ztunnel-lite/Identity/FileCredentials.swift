import MeshConfig
import MeshNet

/// Certificates that somebody else puts into files: a directory of identities, or one identity.
final class FileCredentials: CredentialsProvider {
    enum Layout {
        case directory(String)
        case single(chain: String, key: String)
    }

    private let layout: Layout
    private let rootsPath: String
    private let files: any ConfigFiles
    private(set) var authorities: TLSAuthorities

    let issues = false

    init(
        _ layout: Layout,
        roots rootsPath: String,
        files: any ConfigFiles
    ) throws(IdentityError) {
        self.layout = layout
        self.rootsPath = rootsPath
        self.files = files
        authorities = try Self.readRoots(rootsPath, files)
    }

    func watchedPaths(_ identities: some Sequence<SPIFFEID>) -> Set<WatchedPath> {
        var watched: Set<WatchedPath> = [.file(rootsPath)]
        for identity in identities {
            guard let pair = paths(of: identity) else { continue }
            watched.formUnion([.file(pair.chain), .file(pair.key)])
        }
        return watched
    }

    func refresh() throws(IdentityError) -> Bool {
        let read = try Self.readRoots(rootsPath, files)
        if read.pem == authorities.pem { return false }
        authorities = read
        return true
    }

    func certificate(
        of identity: SPIFFEID,
        now: WallTime
    ) throws(IdentityError) -> TLSCertificateSource {
        guard let pair = paths(of: identity) else {
            throw IdentityError(
                subject: "\(identity)",
                reason: "has a part that cannot be a directory's name",
                check: "trust domain, namespace and service account"
            )
        }
        return TLSCertificateSource(
            chain: try Self.read(pair.chain, files),
            privateKey: try Self.read(pair.key, files),
            path: pair.chain
        )
    }

    /// Nil where the identity would lead out of the directory; a part has no slash, see
    /// ``IdentityStore/want(_:)``.
    private func paths(of identity: SPIFFEID) -> (chain: String, key: String)? {
        switch layout {
        case .single(let chain, let key): return (chain, key)
        case .directory(let directory):
            let parts = [identity.trustDomain, identity.namespace, identity.serviceAccount]
            guard !parts.contains(where: { [".", ".."].contains($0) }) else {
                return nil
            }
            let place = "\(directory)/\(parts.joined(separator: "/"))"
            return ("\(place)/cert-chain.pem", "\(place)/key.pem")
        }
    }

    private static func readRoots(
        _ path: String,
        _ files: any ConfigFiles
    ) throws(IdentityError) -> TLSAuthorities {
        let pem = try read(path, files)
        do throws(TLSSettingsError) {
            return try TLSAuthorities(pem: pem, path: path)
        } catch {
            throw IdentityError(
                subject: path,
                reason: "no certificate in it",
                check: "that it is the PEM bundle of the mesh's roots"
            )
        }
    }

    private static func read(
        _ path: String,
        _ files: any ConfigFiles
    ) throws(IdentityError) -> [UInt8] {
        do throws(ConfigFileError) {
            return try files.read(path)
        } catch {
            throw IdentityError(
                subject: path,
                reason: "cannot be read: \(error.reason)",
                check: "path and permissions"
            )
        }
    }
}
