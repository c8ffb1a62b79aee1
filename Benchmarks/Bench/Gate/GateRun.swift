import Foundation
import MeshLoad

/// Measures scenarios of the catalogue under callgrind, with one connection and one request at a time, so that
/// nothing is left to chance: the difference of two lengths of the same traffic, per request.
package struct GateRun {
    /// Of the catalogue, and who plays it.
    package static let catalogue: [(id: String, peer: String)] = [
        ("hop-h1", "meshproxy"), ("mtls-in", "meshproxy"), ("mtls-out", "meshproxy"),
        ("hop-h2", "meshproxy"), ("grpc-stream-1", "meshproxy"), ("tcp-mtls-1", "meshproxy"),
        ("rbac-1000", "meshproxy"), ("routes-10000", "meshproxy"), ("tcp-hbone-1", "ztunnel-lite"),
    ]

    /// Requests before anything counts: pools, caches and tables are filled.
    private static let warmUpRequests = 300
    private static let warmUpsMax = 5
    private static let shortRequests = 200
    private static let longRequests = 1200

    package let origin: GateRecord.Origin
    private let valgrind: String
    private let peers: PeerDirectory
    private let bench: Workbench

    /// - Throws: where a tool is missing.
    package init(peers: PeerDirectory, on bench: Workbench) throws {
        guard let valgrind = ProgramFinder.inPath("valgrind") else {
            throw BenchError(
                "no gate: valgrind: not found in PATH; scripts/setup --gate installs it"
            )
        }
        self.valgrind = valgrind
        self.peers = peers
        self.bench = bench
        let version = try Self.output(of: valgrind, ["--version"])
        origin = GateRecord.Origin(valgrind: version, processor: Self.processor())
    }

    /// What a request of the scenario costs in all of its hops together.
    ///
    /// - Parameter id: of the gate's own, or of any other scenario with one kind of request.
    package func profile(_ id: String) throws -> (figures: GateFigures, profile: CallgrindProfile) {
        let player = Self.catalogue.first { $0.id == id }?.peer ?? "meshproxy"
        let folder = try bench.newFolder("gate-\(id)")
        let scenario = try ScenarioCatalogue.chosen([id])[0].with {
            $0.connections = 1
            $0.streamsPerConnection = 1
        }
        let peer = try watched(peers.chosen([player])[0], folder)
        let contestant = Contestant(peer, scenario.variants[0])
        let topology = try Topology(contestant, in: scenario, on: bench)
        defer { topology.stop() }
        let measurement = RepetitionMeasurement(
            scenario: scenario,
            contestant: contestant,
            bench: bench
        )
        // Starting is not what is counted, and takes several times as long while it is.
        for pid in topology.proxyPIDs { try Self.tell(pid, ["instrumentation", "on"]) }
        func send(_ requests: Int) throws -> CallgrindProfile {
            try measurement.send(requests, through: topology)
            return try topology.proxyPIDs.map { try Self.dump($0, folder) }.reduce(.init(), +)
        }
        // A handshake under valgrind on a busy machine may take longer than a connect timeout allows.
        for _ in 0..<Self.warmUpsMax {
            do {
                _ = try send(Self.warmUpRequests)
                break
            } catch let error as BenchError where error != .interrupted {
                continue
            }
        }
        return try holding(player == "ztunnel-lite" ? measurement : nil, topology) {
            try count(send)
        }
    }

    /// With a connection that stays open in silence beside those that are counted: agents keep the one between
    /// them, and its handshake is not sometimes in what is counted and sometimes not.
    private func holding<Value>(
        _ measurement: RepetitionMeasurement?,
        _ topology: Topology,
        _ body: () throws -> Value
    ) throws -> Value {
        guard let measurement else { return try body() }
        var attempts = 0
        while true {
            attempts += 1
            var stands = false
            do {
                return try measurement.whileOneStands(through: topology) {
                    stands = true
                    return try body()
                }
            } catch let error as BenchError where error != .interrupted {
                if stands || attempts == Self.warmUpsMax { throw error }
            }
        }
    }

    private func count(
        _ send: (Int) throws -> CallgrindProfile
    ) throws -> (figures: GateFigures, profile: CallgrindProfile) {
        // What came before ends with this dump.
        _ = try send(Self.shortRequests)
        let short = try send(Self.shortRequests)
        let profile = try send(Self.longRequests) - short
        let requests = Self.longRequests - Self.shortRequests
        return (GateFigures(profile, requests: requests), profile.divided(by: requests))
    }

    /// The peer, started by callgrind.
    private func watched(_ peer: Peer, _ folder: String) throws -> Peer {
        var peer = peer
        // Valgrind gives up on debug information that is newer than itself.
        let program = "\(folder)/\(URL(fileURLWithPath: peer.program).lastPathComponent)"
        guard let strip = ProgramFinder.inPath("objcopy") ?? ProgramFinder.inPath("llvm-objcopy")
        else {
            throw BenchError(
                "no gate: objcopy: not found in PATH; scripts/setup --gate installs it"
            )
        }
        _ = try Self.output(of: strip, ["--strip-debug", peer.program, program])
        peer.program = valgrind
        let options = [
            "--tool=callgrind", "--collect-systime=yes", "--separate-threads=yes",
            "--instr-atstart=no", "--callgrind-out-file=\(folder)/%p", program,
        ]
        guard var adapter = peer.adapter else { return peer }
        adapter.arguments = options + adapter.arguments
        adapter.environment = (adapter.environment ?? [:])
            .merging(["SWIFT_DETERMINISTIC_HASHING": "1"]) { $1 }
        peer.adapter = adapter
        return peer
    }

    /// What the process's workers did since the last dump. The first thread is the control thread, which does
    /// things by the clock.
    private static func dump(_ pid: pid_t, _ folder: String) throws -> CallgrindProfile {
        func dumps() throws -> Set<String> {
            Set(try FileManager.default.contentsOfDirectory(atPath: folder))
        }
        let before = try dumps()
        try tell(pid, ["dump", "gate"])
        return try dumps().subtracting(before).sorted()
            .filter { $0.hasPrefix("\(pid).") && !$0.hasSuffix("-01") }
            .map { name in
                guard let content = FileManager.default.contents(atPath: "\(folder)/\(name)") else {
                    throw BenchError("no figures: \(folder)/\(name): cannot be read")
                }
                return try CallgrindProfile(
                    parsing: String(decoding: content, as: UTF8.self),
                    subject: name
                )
            }
            .reduce(.init(), +)
    }

    private static func tell(_ pid: pid_t, _ command: [String]) throws {
        guard let vgdb = ProgramFinder.inPath("vgdb") else {
            throw BenchError("no gate: vgdb: not found in PATH; scripts/setup --gate installs it")
        }
        _ = try output(of: vgdb, ["--pid=\(pid)"] + command)
    }

    /// What libraries choose their code by, as valgrind shows it to them: nothing above AVX2.
    private static func processor() -> String {
        let facts = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let flags = facts.split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
        let hasAVX2 = flags.split(separator: " ").contains("avx2")
        #if arch(x86_64)
            // TLS records are protected by this library where it is installed (docs/tls.md).
            let hasLibrary = !ProgramFinder.matches("/usr/lib/*/libIPSec_MB.so.1").isEmpty
            return (hasAVX2 ? "x86_64 with AVX2" : "x86_64 without AVX2")
                + (hasLibrary ? " and libipsec-mb" : "")
        #else
            return "no x86_64"
        #endif
    }

    private static func output(of program: String, _ arguments: [String]) throws -> String {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchError("no gate: \(program) \(arguments.joined(separator: " ")): \(said)")
        }
        return said
    }
}
