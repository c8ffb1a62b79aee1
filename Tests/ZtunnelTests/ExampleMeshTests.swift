import Foundation
import MeshConfig
import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

/// The files under configs/ztunnel.
struct ExampleMeshTests {
    static let folder = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "../../configs/ztunnel").standardized

    static var files: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()) ?? []
    }

    private static func read(_ file: String) throws -> ZtunnelConfig {
        let text = try Data(contentsOf: folder.appending(path: file))
        let (config, diagnostics) = ZtunnelConfig.read(text: Array(text), fileName: file)
        #expect(diagnostics.report(fileName: file) == [])
        return try #require(config)
    }

    @Test(arguments: files) func `every example is read without errors and warnings`(
        file: String
    ) throws {
        #expect(Self.files.count >= 3)
        #expect(try !Self.read(file).workloads.isEmpty)
    }

    @Test(arguments: files) func `a cut or damaged example never crashes, and what is read serves`(
        file: String
    ) throws {
        let text = Array(try Data(contentsOf: Self.folder.appending(path: file)))
        var random = FastRandom(seed: 1)
        for round in 0..<400 {
            var damaged = text
            if round % 4 == 0 {
                damaged.removeSubrange(random.next(below: text.count)...)
            } else {
                for _ in 0..<(round % 3 + 1) {
                    damaged[random.next(below: text.count)] = text[random.next(below: text.count)]
                }
            }
            let (config, diagnostics) = ZtunnelConfig.read(text: damaged, fileName: file)
            #expect((config == nil) == diagnostics.hasErrors)
            guard let config else { continue }
            let state = MeshState(config, network: "")
            for workload in state.workloads {
                _ =
                    state.policies(for: workload).explain(
                        L4Connection(
                            source: .unix(path: "/a"),
                            identity: workload.identity,
                            destination: .unix(path: "/b")
                        )
                    ).text
                for service in state.services {
                    guard let vip = service.vips.first, let source = workload.addresses.first
                    else { continue }
                    let request = OutboundRequest(
                        source: workload,
                        destination: vip.address,
                        port: service.ports.entries.first?.service ?? 80,
                        sourceAddress: source,
                        hbonePort: 15008
                    )
                    _ = state.route(request, random: &random)
                }
            }
        }
    }

    @Test func `the local mesh is the same in JSON and in YAML`() throws {
        let yaml = MeshState(try Self.read("local.yaml"), network: "")
        let json = MeshState(try Self.read("local.json"), network: "")
        for state in [yaml, json] {
            let local = try #require(
                state.workload(named: "local", namespace: "default", serviceAccount: "default")
            )
            #expect(
                local.isHBONE && local.identity.principal == "cluster.local/ns/default/sa/default"
            )
            #expect(state.workloads.map(\.uid) == yaml.workloads.map(\.uid))
            #expect(
                state.service(hostname: "echo.example")?.vips.first?.description == "/127.10.0.1"
            )
            #expect(try Self.isAllowed(state, local, nil, 9998))
            #expect(try !Self.isAllowed(state, local, nil, 9999))
        }
    }

    @Test func `the shop may use the database, at its port, and nobody else may`() throws {
        let state = MeshState(try Self.read("shop-and-database.yaml"), network: "")
        let database = try #require(state.workloads.last)
        let shop = "spiffe://cluster.local/ns/web/sa/shop"
        #expect(try Self.isAllowed(state, database, shop, 5432))
        #expect(try !Self.isAllowed(state, database, shop, 22))
        #expect(try !Self.isAllowed(state, database, "spiffe://cluster.local/ns/web/sa/x", 5432))
        #expect(try !Self.isAllowed(state, database, nil, 5432))
    }

    /// The page shows what this file gives.
    @Test func `the explanation in the documentation is what the example gives`() throws {
        let state = MeshState(try Self.read("shop-and-database.yaml"), network: "")
        let database = try #require(state.workloads.last)
        let explanation = state.policies(for: database).explain(
            L4Connection(
                source: .ip(state.workloads[0].addresses[0], port: 40000),
                identity: state.workloads[0].identity,
                destination: .ip(database.addresses[0], port: 22)
            )
        )
        let page = Self.folder.appending(path: "../../docs/ztunnel-authorization.md").standardized
        let text = try String(contentsOf: page, encoding: .utf8)
        #expect(text.contains(explanation.text), "\(explanation.text)")
    }

    private static func isAllowed(
        _ state: MeshState,
        _ workload: Workload,
        _ identity: String?,
        _ port: UInt16
    ) throws -> Bool {
        state.policies(for: workload).decide(
            L4Connection(
                source: .ip(try #require(IPAddress("10.0.0.1")), port: 1),
                identity: try identity.map { try #require(SPIFFEID($0)) },
                destination: .ip(workload.addresses[0], port: port)
            )
        ).isAllowed
    }
}
