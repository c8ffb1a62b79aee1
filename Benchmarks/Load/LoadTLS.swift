import Glibc
import MeshNet

/// TLS of both ends of a measurement, from PEM files. Nothing is left to defaults that a peer may have chosen
/// otherwise: TLS 1.2 and 1.3, and who is asked for a certificate is asked in earnest.
package enum LoadTLS {
    /// The files of a server that demands a certificate of its clients.
    package struct ServerFiles: Sendable, Equatable {
        package var certificate: String
        package var key: String
        /// Whom clients' certificates must come from.
        package var authority: String

        package init(certificate: String, key: String, authority: String) {
            self.certificate = certificate
            self.key = key
            self.authority = authority
        }
    }

    /// The client's context; connections are `TLSSession(client:serverName:)` with ``LoadPlan/TLS/serverName``.
    ///
    /// - Parameters:
    ///   - alpn: most preferred first; empty offers nothing.
    ///   - sessions: how many are kept to be resumed, each once: as many as connections are made at once.
    package static func client(
        _ tls: LoadPlan.TLS,
        alpn: [String],
        sessions: Int = 1
    ) throws(LoadError) -> TLSContext {
        var settings = TLSSettings(role: .client)
        settings.maxVersion = .tls13
        settings.alpn = alpn
        settings.maxSessionKeys = tls.resumes ? sessions : 0
        settings.validatesServerName = !tls.serverName.isEmpty
        settings.trust = try trust(tls.authorityFile)
        switch (tls.certificateFile, tls.keyFile) {
        case (let certificate?, let key?):
            settings.certificates = [try source(certificate, key)]
        case (nil, nil): break
        case (let certificate?, nil):
            throw LoadError("TLS: \(certificate): has no key; name the key's file too")
        case (nil, let key?):
            throw LoadError("TLS: \(key): has no certificate; name the certificate's file too")
        }
        return try context(settings)
    }

    /// The server's context; connections are `TLSSession(server:)`. Sessions may be resumed by tickets.
    ///
    /// - Parameter alpn: most preferred first; empty agrees on nothing.
    package static func server(_ files: ServerFiles, alpn: [String]) throws(LoadError) -> TLSContext
    {
        var settings = TLSSettings(role: .server)
        settings.alpn = alpn
        settings.requireClientCertificate = true
        settings.trust = try trust(files.authority)
        settings.certificates = [try source(files.certificate, files.key)]
        return try context(settings)
    }

    private static func context(_ settings: TLSSettings) throws(LoadError) -> TLSContext {
        do throws(TLSSettingsError) {
            return try TLSContext(settings)
        } catch {
            let problems = error.problems.map { "\($0.field) \($0.message)" }
            throw LoadError("TLS: \(problems.joined(separator: "; ")); check the PEM files")
        }
    }

    private static func trust(_ authority: String) throws(LoadError) -> TLSTrust {
        var trust = TLSTrust()
        trust.authorities = try read(authority)
        trust.authoritiesPath = authority
        return trust
    }

    private static func source(
        _ certificate: String,
        _ key: String
    ) throws(LoadError) -> TLSCertificateSource {
        TLSCertificateSource(
            chain: try read(certificate),
            privateKey: try read(key),
            path: certificate
        )
    }

    /// Far above any chain or bundle that a measurement has a use for.
    private static let fileBytesMax = 1 << 20

    private static func read(_ path: String) throws(LoadError) -> [UInt8] {
        func failed() -> LoadError {
            let reason = SystemError(code: errno, call: "open").reason
            return LoadError("TLS: \(path): \(reason); check the path")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failed() }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16_384)
        while content.count < fileBytesMax {
            let count = Glibc.read(descriptor, &piece, piece.count)
            guard count >= 0 else { throw failed() }
            if count == 0 { return content }
            content += piece[..<count]
        }
        throw LoadError("TLS: \(path): is larger than 1 MiB; is it a PEM file?")
    }
}
