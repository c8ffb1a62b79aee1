import ArgumentParser
import Foundation
import MeshLoad

extension LoadPlan.Traffic: ExpressibleByArgument {}

/// The fields of a ``LoadPlan`` as options.
struct LoadOptions: ParsableArguments {
    @Argument(help: "Where to: ADDRESS:PORT.")
    var target: String?

    @Option(
        help: ArgumentHelp(
            "A plan as JSON, from this file or from standard input (-), instead of all options.",
            valueName: "file"
        )
    )
    var plan: String?

    @Option(name: .shortAndLong, help: "What is sent, and so what a request is.")
    var traffic = LoadPlan.Traffic.http1

    @Option(
        name: .shortAndLong,
        help:
            "Connections; of connect-…, how many are made at once; of idle-…, how many shall stand."
    )
    var connections = 32

    @Option(help: "Requests, or calls, under way on each HTTP/2 connection.")
    var streamsPerConnection = 1

    @Option(
        name: .shortAndLong,
        help:
            "Requests a second over all connections, at fixed instants. Without: as fast as answers come."
    )
    var rate: Double?

    @Option(help: "Seconds of traffic before counting begins; idle-… has none.")
    var warmUp = 1.0

    @Option(
        name: .shortAndLong,
        help: "Seconds that are counted; idle-… counts as long as it stands."
    )
    var duration = 5.0

    @Option(
        name: [.customShort("n"), .long],
        help: "End after this many requests instead; all of them are counted, and none warms up."
    )
    var requests: Int?

    @Option(help: "Method of HTTP requests.")
    var method = "GET"

    @Option(help: "Host, or :authority, of HTTP requests.")
    var authority = "bench.test"

    @Option(help: "Path of HTTP requests; of gRPC, /package.Service/Method.")
    var path = "/"

    @Option(
        name: [.customShort("H"), .customLong("header")],
        help: ArgumentHelp(
            "A further header, \"name: value\"; may be repeated.",
            valueName: "header"
        )
    )
    var headers: [String] = []

    @Option(help: "Length of the body of HTTP requests.")
    var bodyBytes = 0

    @Option(help: "Length of gRPC and raw TCP messages.")
    var messageBytes = 64

    @Option(
        name: .customLong("tls-server-name"),
        help: "Use TLS: sent as SNI, and the certificate must have this DNS name."
    )
    var serverName: String?

    @Option(help: "PEM file of the authorities that the server's certificate is checked against.")
    var tlsAuthority: String?

    @Option(help: "PEM file of the client's certificate, for mTLS.")
    var tlsCertificate: String?

    @Option(help: "PEM file of the client certificate's key.")
    var tlsKey: String?

    @Flag(help: "Later connections resume the TLS session of an earlier one.")
    var tlsResume = false

    @Option(
        name: .customLong("through-socks5"),
        help: ArgumentHelp(
            "The target is a SOCKS5 proxy, which shall connect to this ADDRESS:PORT.",
            valueName: "address"
        )
    )
    var throughSOCKS5: String?

    @Option(
        name: .customLong("watch"),
        help: ArgumentHelp(
            "A process whose CPU time and memory are read, with its children; may be repeated.",
            valueName: "name=pid"
        )
    )
    var watched: [String] = []

    func makePlan() throws -> LoadPlan {
        if let plan { return try Self.readPlan(plan) }
        guard let target else {
            throw ValidationError("Missing the target, such as 127.0.0.1:8080 (or give --plan).")
        }
        var plan = LoadPlan(target: target, traffic: traffic)
        plan.throughSOCKS5 = throughSOCKS5
        plan.tls = try makeTLS()
        plan.connections = connections
        plan.streamsPerConnection = streamsPerConnection
        plan.rate = rate
        plan.warmUp = warmUp
        plan.duration = duration
        plan.requests = requests
        plan.method = method
        plan.authority = authority
        plan.path = path
        plan.headers = headers
        plan.bodyBytes = bodyBytes
        plan.messageBytes = messageBytes
        plan.watched = try watched.map(Self.process)
        return plan
    }

    private func makeTLS() throws -> LoadPlan.TLS? {
        guard let serverName else {
            guard tlsAuthority == nil, tlsCertificate == nil, tlsKey == nil, !tlsResume else {
                throw ValidationError("--tls-… needs --tls-server-name.")
            }
            return nil
        }
        guard let tlsAuthority else {
            throw ValidationError(
                "--tls-server-name needs --tls-authority to check the server with."
            )
        }
        var tls = LoadPlan.TLS(serverName: serverName, authorityFile: tlsAuthority)
        tls.certificateFile = tlsCertificate
        tls.keyFile = tlsKey
        tls.resumes = tlsResume
        return tls
    }

    private static func process(_ text: String) throws -> WatchedProcess {
        let parts = text.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let pid = Int32(parts[1]) else {
            throw ValidationError("--watch \(text): give name=pid, such as proxy=4711.")
        }
        return WatchedProcess(name: String(parts[0]), pid: pid)
    }

    private static func readPlan(_ path: String) throws -> LoadPlan {
        let data: Data
        do {
            data =
                path == "-"
                ? Self.readInput()
                : try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw ValidationError("--plan \(path): \(error.localizedDescription)")
        }
        do {
            return try JSONDecoder().decode(LoadPlan.self, from: data)
        } catch let error as DecodingError {
            throw ValidationError("--plan \(path): \(Self.words(error))")
        }
    }

    /// Reads until the plan is complete. Standard input stays open: its end means something with `idle-…`.
    private static func readInput() -> Data {
        var data = Data()
        while true {
            let piece = FileHandle.standardInput.availableData
            data += piece
            if piece.isEmpty { return data }
            if (try? JSONSerialization.jsonObject(with: data)) != nil { return data }
        }
    }

    private static func words(_ error: DecodingError) -> String {
        func place(_ context: DecodingError.Context) -> String {
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            return path.isEmpty ? "" : "\(path): "
        }
        return switch error {
        case .keyNotFound(let key, let context): "\(place(context))\(key.stringValue): is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context),
            .dataCorrupted(let context):
            "\(place(context))\(context.debugDescription)"
        @unknown default: "\(error)"
        }
    }
}
