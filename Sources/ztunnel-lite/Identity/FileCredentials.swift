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
        for pair in identities.flatMap(places) {
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
        let places = places(of: identity)
        guard let first = places.first else {
            throw IdentityError(
                subject: "\(identity)",
                reason: "has a part that cannot be a directory's name",
                check: "trust domain, namespace and service account"
            )
        }
        do throws(IdentityError) {
            return try read(first)
        } catch {
            // An own place that cannot be read is the better story.
            for place in places.dropFirst() {
                if let source = try? read(place) { return source }
            }
            throw error
        }
    }

    private struct Place {
        var chain: String
        var key: String

        init(in directory: String) {
            chain = "\(directory)/cert-chain.pem"
            key = "\(directory)/key.pem"
        }

        init(chain: String, key: String) {
            self.chain = chain
            self.key = key
        }
    }

    /// Where an identity's files may be, the best place first. None where the identity would lead out of
    /// the directory; a part has no slash, see ``IdentityStore/want(_:)``.
    private func places(of identity: SPIFFEID) -> [Place] {
        switch layout {
        case .single(let chain, let key): return [Place(chain: chain, key: key)]
        case .directory(let directory):
            let parts = [identity.trustDomain, identity.namespace, identity.serviceAccount]
            guard !parts.contains(where: { [".", ".."].contains($0) }) else { return [] }
            return [
                Place(in: "\(directory)/\(parts.joined(separator: "/"))"), Place(in: directory),
            ]
        }
    }

    private func read(_ place: Place) throws(IdentityError) -> TLSCertificateSource {
        TLSCertificateSource(
            chain: try Self.read(place.chain, files),
            privateKey: try Self.read(place.key, files),
            path: place.chain
        )
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
