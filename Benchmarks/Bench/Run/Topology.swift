import Foundation

/// The processes of one repetition: an upstream, and the hops before it.
final class Topology {
    struct Hop {
        var process: ChildProcess
        var address: String
        var admin: String
        /// From its start until it accepted.
        var startSeconds: Double
        /// The port for what the kernel redirects.
        var capturedPort: String
    }

    /// What `mesh-bench upstream` says when it is ready.
    private struct Services: Decodable {
        var http: String
        var tcp: String
        var httpTLS: String?
        var tcpTLS: String?

        func address(of service: Scenario.Service) -> String? {
            switch service {
            case .http: http
            case .tcp: tcp
            case .httpTLS: httpTLS
            case .tcpTLS: tcpTLS
            }
        }
    }

    private let bench: Workbench
    let upstream: ChildProcess
    /// The client's first.
    private(set) var hops: [Hop] = []
    /// Where clients connect to.
    private(set) var door: String
    private(set) var throughSOCKS5: String?

    var proxyPIDs: [pid_t] { hops.map(\.process.pid) }

    /// Starts everything, from the upstream to the client's hop, and returns when it accepts.
    ///
    /// - Parameter change: instead of the variant's own.
    init(
        _ contestant: Contestant,
        in scenario: Scenario,
        on bench: Workbench,
        change: ConfigChange? = nil
    ) throws {
        self.bench = bench
        let (process, services) = try Self.startUpstream(on: bench)
        upstream = process
        let isDirect = contestant.peer.isDirect
        let service = isDirect ? scenario.directService ?? scenario.service : scenario.service
        guard let target = services.address(of: service) else {
            throw BenchError("the upstream has no \(service)")
        }
        door = target
        guard !isDirect else { return }
        for role in scenario.hops.reversed() {
            let hop = try start(
                contestant.peer,
                role,
                target: target,
                environment: contestant.variant.environment,
                change: change ?? contestant.variant.change,
                path: scenario.path
            )
            hops.insert(hop, at: 0)
            door = hop.address
        }
        let role = contestant.peer.adapter?.roles?[scenario.hops.first ?? ""]
        if scenario.isCaptured, let capture = bench.capture, let first = hops.first {
            try capture.redirect(to: first.capturedPort)
            door = CaptureNamespace.service
        } else {
            throughSOCKS5 = role?.throughSOCKS5
        }
    }

    /// Ends everything at once.
    func stop() {
        for hop in hops { hop.process.stop() }
        upstream.stop()
    }

    private static func startUpstream(
        on bench: Workbench
    ) throws -> (ChildProcess, Services) {
        let folder = try bench.newFolder("upstream")
        let files = bench.certificates.folder
        var command = ChildProcess.Command(
            program: bench.program,
            arguments: [
                "upstream", "--address", "127.0.0.2", "--certificate", files + "/server.pem",
                "--key", files + "/server.key", "--authority", files + "/ca.pem",
            ],
            directory: folder
        )
        command.input = .pipe
        command.output = .pipe
        command.errors = folder + "/output"
        let process = try ChildProcess("upstream", command, on: bench.upstream)
        let reader = LineReader(process.output, bench.interruption)
        guard let line = try reader.line(within: 10),
            let services = try? JSONDecoder().decode(Services.self, from: Data(line.utf8))
        else {
            throw BenchError("the upstream does not serve: \(said(in: folder))")
        }
        return (process, services)
    }

    private func start(
        _ peer: Peer,
        _ role: String,
        target: String,
        environment: [String: String],
        change: ConfigChange?,
        path: String
    ) throws -> Hop {
        guard let adapter = peer.adapter else { throw BenchError("\(peer.name) is no program") }
        let stated = adapter.roles?[role]
        let folder = try bench.newFolder("\(peer.name)-\(role)")
        var values = try self.values(peer, stated, target: target)
        values["DIRECTORY"] = folder
        let subject = "\(peer.folder)/peer.json"
        if var text = try peer.configuration(role, values: values) {
            if let change {
                text = try change.apply(to: text, directory: folder, path: path)
            }
            let file = "\(folder)/\(role).\(adapter.extension ?? "")"
            try text.write(toFile: file, atomically: false, encoding: .utf8)
            values["CONFIG"] = file
        }
        var command = ChildProcess.Command(
            program: peer.program,
            arguments: try (adapter.arguments + (stated?.arguments ?? [])).map {
                try Template.fill($0, with: values, subject: subject)
            },
            directory: folder
        )
        for (name, text) in (adapter.environment ?? [:]).merging(
            stated?.environment ?? [:],
            uniquingKeysWith: { $1 }
        ) {
            command.environment[name] = try Template.fill(text, with: values, subject: subject)
        }
        command.environment.merge(environment) { $1 }
        command.output = .file(folder + "/output")
        let address = values["LISTEN"] ?? ""
        let began = Clock.seconds()
        let process = try ChildProcess(peer.name, command, on: bench.proxies)
        let admin = "127.0.0.1:\(values["ADMIN_PORT"] ?? "")"
        // The kernel accepts for a process that is still reading a large file.
        let says = adapter.dialect == .envoy ? admin : nil
        while !Sockets.accepts(address)
            || says.map({ Sockets.get("/ready", at: $0) == nil }) ?? false
        {
            guard process.isRunning, Clock.seconds() < began + 60 else {
                process.stop()
                throw BenchError("\(peer.name) does not serve \(role): \(Self.said(in: folder))")
            }
            try bench.interruption.sleep(0.001)
        }
        return Hop(
            process: process,
            address: address,
            admin: admin,
            startSeconds: Clock.seconds() - began,
            capturedPort: values[stated?.capturedPort ?? "LISTEN_PORT"] ?? ""
        )
    }

    /// Values of the placeholders, whose list is in docs/benchmarking.md.
    private func values(
        _ peer: Peer,
        _ role: PeerAdapter.Role?,
        target: String
    ) throws -> [String: String] {
        let host = role?.listenAddress ?? "127.0.0.1"
        let port = try Sockets.freePort(on: host)
        var values = [
            "PROGRAM": peer.program, "LISTEN": "\(host):\(port)", "LISTEN_ADDRESS": host,
            "LISTEN_PORT": "\(port)", "UPSTREAM": door, "TARGET": target,
            "CERTIFICATES": bench.certificates.folder, "SERVER_NAME": Certificates.serverName,
        ]
        for (name, address) in [("UPSTREAM", door), ("TARGET", target)] {
            let parts = address.split(separator: ":").map(String.init)
            values[name + "_ADDRESS"] = parts.first
            values[name + "_PORT"] = parts.last
        }
        for name in ["ADMIN_PORT", "PORT_1", "PORT_2", "PORT_3", "PORT_4", "PORT_5", "PORT_6"] {
            values[name] = "\(try Sockets.freePort())"
        }
        return values
    }

    /// What a process wrote last before it ended, on one line.
    private static func said(in folder: String) -> String {
        let text = (try? String(contentsOfFile: folder + "/output", encoding: .utf8)) ?? ""
        let lines = text.split(separator: "\n").filter { !$0.contains("warning: ") }
        guard !lines.isEmpty else { return "it said nothing" }
        return lines.suffix(2).joined(separator: "; ").replacingOccurrences(
            of: folder + "/",
            with: ""
        )
    }
}
