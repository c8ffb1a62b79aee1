import ArgumentParser
import MeshLoad
import MeshNet

/// `mesh-bench relay`: the floor.
struct RelayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract:
            "Relays TCP on the proxy's own loop and TLS, without any HTTP or policy: the floor.",
        discussion: """
            Writes one line of JSON when it listens: {"listening":"ADDRESS:PORT"}. Each connection gets one of \
            its own to the upstream.

            Ends on SIGTERM or SIGINT, and when the other end of its standard input is gone.
            """
    )

    private struct Ready: Encodable { var listening: String }

    @Option(help: ArgumentHelp("Where connections lead to.", valueName: "address:port"))
    var upstream: String

    @Option(
        help: ArgumentHelp(
            "Where it listens; port 0: of the kernel's choice.",
            valueName: "address:port"
        )
    )
    var listen = "127.0.0.1:0"

    @Option(help: "PEM file: accepts TLS with this certificate, from clients that show one.")
    var downstreamCertificate: String?

    @Option(help: "PEM file of its key.")
    var downstreamKey: String?

    @Option(help: "PEM file of the authority that clients' certificates must come from.")
    var downstreamAuthority: String?

    @Option(
        help: "Protocol agreed on with clients that offer it; repeatable, most preferred first."
    )
    var downstreamALPN: [String] = []

    @Option(help: "PEM file: connects with TLS, and trusts this authority.")
    var upstreamAuthority: String?

    @Option(help: "PEM file of a certificate to show.")
    var upstreamCertificate: String?

    @Option(help: "PEM file of its key.")
    var upstreamKey: String?

    @Option(help: "Sent as server name, and demanded of the upstream's certificate.")
    var upstreamServerName = ""

    @Option(help: "Protocol to offer; repeatable, most preferred first.")
    var upstreamALPN: [String] = []

    func validate() throws {
        _ = try downstreamFiles()
        let needs = [upstreamCertificate, upstreamKey].contains { $0 != nil }
        if upstreamAuthority == nil, needs || !upstreamServerName.isEmpty || !upstreamALPN.isEmpty {
            throw ValidationError("TLS to the upstream needs --upstream-authority")
        }
    }

    func run() throws {
        OpenFiles.raiseLimit()
        let loop = EventLoop(system: try LinuxSystem())
        let relay = try Relay(
            loop: loop,
            listen: try SocketAddress(parsing: listen),
            upstream: try SocketAddress(parsing: upstream),
            downstreamTLS: try downstreamFiles().map {
                try LoadTLS.server($0, alpn: downstreamALPN)
            },
            upstreamTLS: try upstreamTLS(),
            serverName: upstreamServerName
        )
        try ReadyLine.write(Ready(listening: relay.address.description))
        let watch = ParentWatch(loop: loop)
        withExtendedLifetime((relay, watch)) { loop.run() }
    }

    private func downstreamFiles() throws -> LoadTLS.ServerFiles? {
        try ServerFiles.all(
            or: "--downstream-certificate, --downstream-key and --downstream-authority",
            downstreamCertificate,
            downstreamKey,
            downstreamAuthority
        )
    }

    private func upstreamTLS() throws -> TLSContext? {
        guard let upstreamAuthority else { return nil }
        var tls = LoadPlan.TLS(serverName: upstreamServerName, authorityFile: upstreamAuthority)
        tls.certificateFile = upstreamCertificate
        tls.keyFile = upstreamKey
        return try LoadTLS.client(tls, alpn: upstreamALPN)
    }
}
