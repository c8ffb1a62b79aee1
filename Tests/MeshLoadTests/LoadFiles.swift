import Foundation
import MeshLoad
import MeshSimulation

/// PEM files of one authority, a server and a client, which are gone with it.
final class LoadFiles {
    let directory: String

    init() throws {
        directory = NSTemporaryDirectory() + "meshload-" + UUID().uuidString + "/"
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
        let authority = TestAuthority("load root")
        try write("ca.pem", authority.pem)
        for name in ["server", "client"] {
            let identity = authority.issue(names: "DNS:\(name).test")
            try write("\(name).pem", identity.certificate)
            try write("\(name).key", identity.key)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func write(_ name: String, _ content: [UInt8]) throws {
        try Data(content).write(to: URL(fileURLWithPath: directory + name))
    }

    var server: LoadTLS.ServerFiles {
        LoadTLS.ServerFiles(
            certificate: directory + "server.pem",
            key: directory + "server.key",
            authority: directory + "ca.pem"
        )
    }

    var client: LoadPlan.TLS {
        var tls = LoadPlan.TLS(serverName: "server.test", authorityFile: directory + "ca.pem")
        tls.certificateFile = directory + "client.pem"
        tls.keyFile = directory + "client.key"
        return tls
    }
}
