import MeshConfig
import MeshNet
import MeshRuntime

/// The file of revocation lists (`CRL_PATH`), read again whenever it changes.
final class RevocationFile {
    let register = RevocationRegister()
    private let path: String?
    private let files: any ConfigFiles
    private var bytes: [UInt8]?
    private var roots: [UInt8] = []
    private var isMissing = false

    init(_ path: String?, files: any ConfigFiles) {
        self.path = path
        self.files = files
    }

    var watchedPaths: Set<WatchedPath> { path.map { [.file($0)] } ?? [] }

    /// Puts the file's lists in force. A file that is not there yet, or no longer, is told of and changes
    /// nothing. Fails, and changes nothing, where one is broken.
    func load(
        _ authorities: TLSAuthorities,
        now: WallTime,
        log: Log
    ) throws(IdentityError) {
        guard let path else { return }
        let read: [UInt8]
        do throws(ConfigFileError) {
            read = try files.read(path)
        } catch {
            defer { isMissing = true }
            if isMissing { return }
            log.warning(
                .secret,
                "revocation lists: \(path): \(error.reason); "
                    + (bytes == nil ? "nothing is revoked until it is there" : "the last ones stay")
            )
            return
        }
        isMissing = false
        if read == bytes, authorities.pem == roots { return }
        do throws(RevocationListError) {
            register.current = try RevokedCertificates(
                read,
                path: path,
                authorities: [authorities]
            )
        } catch {
            throw IdentityError(
                subject: path,
                reason: error.reason,
                check: "that it has complete lists of the mesh's authorities as PEM, or one as DER"
            )
        }
        bytes = read
        roots = authorities.pem
        log.info(.secret, "revocation lists: \(path): \(register.current.count) certificates")
        for warning in register.current.warnings(at: now) {
            log.warning(.secret, "revocation lists: \(path): \(warning)")
        }
    }
}
