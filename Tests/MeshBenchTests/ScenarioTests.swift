import Foundation
import MeshConfig
import Testing

@testable import MeshBench

/// Certificates are read from where they are; nothing else is.
private struct DiskFiles: ConfigFiles {
    func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ConfigFileError(path, "no such file")
        }
        return [UInt8](data)
    }

    func environment(_ name: String) -> [UInt8]? { nil }
}

@Suite struct ScenarioTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    private static let peers = root + "/Benchmarks/peers"

    private func values(_ certificates: String) -> [String: String] {
        var values = ["CERTIFICATES": certificates, "DIRECTORY": "/tmp", "SERVER_NAME": "server"]
        for name in ["LISTEN", "UPSTREAM", "TARGET"] {
            values[name] = "127.0.0.2:9000"
            values[name + "_ADDRESS"] = "127.0.0.2"
            values[name + "_PORT"] = "9000"
        }
        values["ADMIN_PORT"] = "9001"
        return values
    }

    private func envoy() throws -> Peer {
        let folder = Self.peers + "/envoy"
        return Peer(
            name: "envoy",
            program: "",
            adapter: try PeerAdapter(folder: folder),
            folder: folder
        )
    }

    private func files() throws -> String {
        let folder = NSTemporaryDirectory() + "mesh-bench-tests-\(UUID().uuidString)"
        return try Certificates(in: folder).folder
    }

    /// Every configuration of Envoy's that a run can make: role, change, text.
    private func configurations(_ certificates: String) throws -> [(String, ConfigChange?, String)]
    {
        let peer = try envoy()
        var made: [(String, ConfigChange?, String)] = []
        for scenario in ScenarioCatalogue.all {
            for (role, variant) in scenario.hops.flatMap({ role in
                scenario.variants.map { (role, $0) }
            })
            where variant.change?.dialect != .ztunnel {
                guard !made.contains(where: { $0.0 == role && $0.1 == variant.change }) else {
                    continue
                }
                let text = try #require(try peer.configuration(role, values: values(certificates)))
                let changed = try variant.change?.apply(
                    to: text,
                    directory: "/tmp",
                    path: scenario.path
                )
                made.append((role, variant.change, changed ?? text))
            }
        }
        return made
    }

    @Test func `every configuration of Envoy's, also the large ones, is one that MeshProxy loads`()
        throws
    {
        for (role, change, text) in try configurations(files()) {
            let (bootstrap, diagnostics) = ConfigLoader.load(
                text: Array(text.utf8),
                fileName: role + ".json",
                files: DiskFiles()
            )
            #expect(diagnostics.errors.map(\.description) == [], "\(role), \(change as Any)")
            #expect(bootstrap != nil, "\(role), \(change as Any)")
        }
    }

    private static let oracle = [
        ProcessInfo.processInfo.environment["ENVOY"],
        ProgramFinder.matches(
            (ProcessInfo.processInfo.environment["HOME"] ?? "")
                + "/.cache/meshproxy/oracle/lib/python3*/site-packages/envoy/_bin/envoy"
        ).first,
    ].compactMap(\.self).first(where: ProgramFinder.isExecutable)

    @Test(.enabled(if: oracle != nil, "there is no Envoy"))
    func `every configuration is one that Envoy accepts`() throws {
        let certificates = try files()
        for (role, change, text) in try configurations(certificates) {
            let path = "\(certificates)/\(role).json"
            try text.write(toFile: path, atomically: false, encoding: .utf8)
            let process = Process()
            let pipe = Pipe()
            process.executableURL = URL(fileURLWithPath: Self.oracle ?? "")
            process.arguments = ["--mode", "validate", "-l", "error", "-c", path]
            process.standardOutput = pipe
            process.standardError = pipe
            try process.run()
            let said = String(
                decoding: pipe.fileHandleForReading.readDataToEndOfFile(),
                as: UTF8.self
            )
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(role), \(change as Any): \(said)")
        }
    }

    @Test func `large configurations have as many of everything as they say`() throws {
        let text = try #require(try envoy().configuration("mtls-in", values: values("/tmp")))
        let large = try ConfigChange.large(2_000).apply(
            to: text,
            directory: "/tmp",
            path: "/service/1"
        )
        func count(_ pattern: String) -> Int { large.components(separatedBy: pattern).count - 1 }
        #expect(count(#""domains":"#) == 1_000)
        #expect(count(#""match":"#) == 2_000)
        #expect(count(#""load_assignment":"#) == 2_000)
        #expect(count(#""principals":"#) == 2_000)
    }

    @Test func `identifiers are unique, and one that does not exist is named`() {
        let ids = ScenarioCatalogue.all.map(\.id)
        #expect(Set(ids).count == ids.count)
        #expect(throws: BenchError("no such scenario: h1; mesh-bench scenarios lists them")) {
            try ScenarioCatalogue.chosen(["h1"])
        }
    }

    @Test func `each scenario has a peer that can play it, and direct where there is traffic`()
        throws
    {
        var folders: [Peer] = [.direct]
        for name in ["envoy", "haproxy", "nginx", "nghttpx", "meshproxy", "ztunnel-lite", "floor"] {
            let folder = "\(Self.peers)/\(name)"
            folders.append(
                Peer(
                    name: name,
                    program: "",
                    adapter: try PeerAdapter(folder: folder),
                    folder: folder
                )
            )
        }
        for scenario in ScenarioCatalogue.all {
            let names = scenario.contestants(of: folders).map(\.peer.name)
            let ours = scenario.id == "workloads-10000" ? "ztunnel-lite" : "meshproxy"
            #expect(names.contains(ours), "\(scenario.id)")
            #expect(names.contains("direct") == (scenario.standing == nil && !scenario.isStartOnly))
        }
        let tunnels = ScenarioCatalogue.all.first { $0.id == "tcp-hbone" }?.contestants(of: folders)
        #expect(tunnels?.map(\.name) == ["direct", "envoy", "meshproxy", "ztunnel-lite"])
        let stamps = ScenarioCatalogue.all.first { $0.id == "timing" }?.contestants(of: folders)
        #expect(stamps?.map(\.name) == ["direct", "meshproxy, stamps off", "meshproxy, stamps on"])
    }
}
