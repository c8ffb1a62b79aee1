import ArgumentParser
import Foundation
import MeshLoad
import MeshNet

/// `mesh-bench upstream`: the far end of a measurement.
struct UpstreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstream",
        abstract:
            "Answers HTTP/1.1, HTTP/2 and gRPC, and serves TCP, on ports of the kernel's choice.",
        discussion: """
            Writes one line of JSON when it listens: the addresses of http, tcp and, with a certificate, \
            httpTLS and tcpTLS, whose clients must show one too. Plain requests are answered with 200; of \
            application/grpc each message is echoed. The first byte of a TCP connection says what it is for: \
            E echoes the rest, D sends for ever, U reads for ever.

            Ends on SIGTERM or SIGINT, and when the other end of its standard input is gone.
            """
    )

    @Option(help: "Address of all listeners.")
    var address = "127.0.0.1"

    @Option(help: "Length of the answer to a plain request.")
    var responseBytes = 1024

    @Option(help: "PEM file of the certificate, leaf first.")
    var certificate: String?

    @Option(help: "PEM file of its key.")
    var key: String?

    @Option(help: "PEM file of the authority that clients' certificates must come from.")
    var authority: String?

    func validate() throws {
        guard responseBytes >= 0, responseBytes <= 1 << 26 else {
            throw ValidationError("--response-bytes is 0 to 67108864 (64 MiB)")
        }
        _ = try files()
        _ = try host()
    }

    func run() throws {
        OpenFiles.raiseLimit()
        let loop = EventLoop(system: try LinuxSystem())
        let upstream = try Upstream(
            loop: loop,
            host: try host(),
            responseBytes: responseBytes,
            tls: files()
        )
        try ReadyLine.write(upstream.addresses)
        let watch = ParentWatch(loop: loop)
        withExtendedLifetime((upstream, watch)) { loop.run() }
    }

    private func host() throws -> IPAddress {
        guard let host = IPAddress(address) else {
            throw ValidationError("--address: \(address) is no IP address")
        }
        return host
    }

    private func files() throws -> LoadTLS.ServerFiles? {
        try ServerFiles.all(or: "--certificate, --key and --authority", certificate, key, authority)
    }
}

/// Files that come together or not at all.
enum ServerFiles {
    static func all(
        or names: String,
        _ certificate: String?,
        _ key: String?,
        _ authority: String?
    ) throws -> LoadTLS.ServerFiles? {
        if let certificate, let key, let authority {
            return LoadTLS.ServerFiles(certificate: certificate, key: key, authority: authority)
        }
        guard certificate == nil, key == nil, authority == nil else {
            throw ValidationError("\(names) belong together")
        }
        return nil
    }
}

/// What a command that serves says when it is ready: one line of JSON.
enum ReadyLine {
    static func write(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        FileHandle.standardOutput.write(try encoder.encode(value) + Data("\n".utf8))
    }
}
