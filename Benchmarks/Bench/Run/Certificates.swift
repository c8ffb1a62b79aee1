import Foundation

/// What both ends of a hop show each other, as a mesh has it: ECDSA P-256, SPIFFE identities, one root.
///
/// The folder has `ca.pem`, and of `client` and `server` each `NAME.pem`, `NAME.key` and both in `NAME-all.pem`.
package struct Certificates {
    package static let serverName = "server.default.svc.cluster.local"
    package let folder: String

    /// Makes them with `openssl`, in the folder.
    package init(in folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try key("ca")
        try openssl([
            "req", "-x509", "-new", "-key", "ca.key", "-days", "3", "-subj", "/CN=bench root",
            "-out", "ca.pem", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign",
        ])
        for name in ["client", "server"] {
            try leaf(name)
        }
    }

    private func leaf(_ name: String) throws {
        let extensions = """
            basicConstraints=critical,CA:FALSE
            keyUsage=critical,digitalSignature
            extendedKeyUsage=serverAuth,clientAuth
            subjectAltName=URI:spiffe://cluster.local/ns/default/sa/\(name),\
            DNS:\(name).default.svc.cluster.local

            """
        try extensions.write(toFile: "\(folder)/\(name).ext", atomically: false, encoding: .utf8)
        try key(name)
        try openssl([
            "req", "-new", "-key", "\(name).key", "-subj", "/CN=\(name)", "-out", "\(name).csr",
        ])
        try openssl([
            "x509", "-req", "-in", "\(name).csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "\(name).ext", "-out", "\(name).pem",
        ])
        let parts = try ["pem", "key"].map {
            try String(contentsOfFile: "\(folder)/\(name).\($0)", encoding: .utf8)
        }
        let both = "\(folder)/\(name)-all.pem"
        try parts.joined().write(toFile: both, atomically: false, encoding: .utf8)
    }

    private func key(_ name: String) throws {
        try openssl([
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-out", "\(name).key",
        ])
    }

    private func openssl(_ arguments: [String]) throws {
        guard let program = ProgramFinder.inPath("openssl") else {
            throw BenchError("no certificates: openssl is not in PATH; install it")
        }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = pipe
        try process.run()
        let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchError("no certificates: openssl \(arguments[0]): \(said)")
        }
    }
}
