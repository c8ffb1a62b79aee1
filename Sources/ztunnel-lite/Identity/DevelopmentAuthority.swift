import Glibc
import MeshConfig
import MeshNet
import MeshRuntime

/// The development authority's files: `ca.pem` with root and key, for its agents alone (mode 0600), and
/// `root-cert.pem`, for whoever shall believe it.
///
/// Agents that start at the same time agree: the one that links `ca.pem` first has made the authority, the
/// others read it.
enum DevelopmentAuthority {
    static let secretName = "ca.pem"
    static let rootName = "root-cert.pem"
    private static let name = "ztunnel-lite development CA"

    /// In memory alone, or shared through `directory`, which is made where it is missing.
    static func open(
        _ directory: String?,
        now: WallTime,
        files: any ConfigFiles,
        log: Log
    ) throws(IdentityError) -> CertificateAuthority {
        guard let directory else { return try make(now) }
        guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
            throw failed(directory, "cannot be made")
        }
        let path = "\(directory)/\(secretName)"
        if access(path, F_OK) != 0 { try publish(try make(now), directory, path) }
        let authority = try load(path, files)
        guard now < authority.root.notAfter else {
            throw IdentityError(
                subject: path,
                reason: "the root expired at \(authority.root.notAfter.dateText)",
                check: "whether to delete it: agents that start then make a new one"
            )
        }
        try writeRoot(authority, directory)
        warnOfReaders(path, log)
        return authority
    }

    private static func warnOfReaders(_ path: String, _ log: Log) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & 0o077 != 0 else { return }
        log.warning(
            .secret,
            "\(path): others than its owner may read it, and who has it can be anybody: chmod 600"
        )
    }

    private static func make(_ now: WallTime) throws(IdentityError) -> CertificateAuthority {
        do throws(CertificateAuthorityError) {
            return try CertificateAuthority(name: name, now: now)
        } catch {
            throw IdentityError(subject: "development authority", reason: error.reason, check: "")
        }
    }

    private static func load(
        _ path: String,
        _ files: any ConfigFiles
    ) throws(IdentityError) -> CertificateAuthority {
        let pem: [UInt8]
        do throws(ConfigFileError) {
            pem = try files.read(path)
        } catch {
            throw IdentityError(
                subject: path,
                reason: "cannot be read: \(error.reason)",
                check: "that agents which share an authority run as the same user"
            )
        }
        do throws(CertificateAuthorityError) {
            return try CertificateAuthority(pem: pem)
        } catch {
            throw IdentityError(
                subject: path,
                reason: error.reason,
                check: "that it has the root's certificate, first, and its private key as PEM"
            )
        }
    }

    /// Whole or not at all: written beside, then linked, which fails where somebody was faster.
    private static func publish(
        _ authority: CertificateAuthority,
        _ directory: String,
        _ path: String
    ) throws(IdentityError) {
        let draft = try write(authority.pem, beside: path, mode: 0o600)
        defer { unlink(draft) }
        guard link(draft, path) == 0 || errno == EEXIST else {
            throw failed(path, "cannot be made")
        }
    }

    private static func writeRoot(
        _ authority: CertificateAuthority,
        _ directory: String
    ) throws(IdentityError) {
        let path = "\(directory)/\(rootName)"
        let draft = try write(authority.rootPEM, beside: path, mode: 0o644)
        guard rename(draft, path) == 0 else {
            let error = failed(path, "cannot be written")
            unlink(draft)
            throw error
        }
    }

    /// The path of a new file next to `path`.
    private static func write(
        _ bytes: [UInt8],
        beside path: String,
        mode: mode_t
    ) throws(IdentityError) -> String {
        var template = Array("\(path).XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw failed(path, "cannot be made") }
        let draft = template.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { String(cString: $0) } ?? ""
        }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            written += count
        }
        let isWhole =
            written == bytes.count && fchmod(descriptor, mode) == 0 && fsync(descriptor) == 0
        let error = failed(path, "cannot be written")
        close(descriptor)
        guard isWhole else {
            unlink(draft)
            throw error
        }
        return draft
    }

    /// With the reason that the system gives.
    private static func failed(_ path: String, _ what: String) -> IdentityError {
        IdentityError(
            subject: path,
            reason: "\(what): \(SystemError(code: errno, call: "open").reason)",
            check: "path and permissions"
        )
    }
}
