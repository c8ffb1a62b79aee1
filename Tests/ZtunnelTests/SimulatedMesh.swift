import MeshConfig
import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

@testable import Ztunnel

/// Two nodes with an agent each inside a simulation, and the addresses of the workloads on them.
///
/// The client's agent captures what is sent to a service's address by listening there; the service leads to
/// the server's workload, whose agent takes HBONE at the workload's address.
final class SimulatedMesh {
    /// Captured by the client's agent.
    static let service = SocketAddress.ip(IPAddress(ipv4: 0x0A08_0001), port: 80)

    let client: ZtunnelWorker
    let server: ZtunnelWorker
    /// Where the server's agent takes HBONE.
    let gateway: SocketAddress
    private(set) var identities: IdentitySnapshot
    private let store: IdentityStore

    /// - Parameters:
    ///   - target: where the server's workload listens.
    ///   - policies: YAML of the mesh's policies.
    init(
        in simulation: Simulation,
        to target: SocketAddress,
        policies: String = "[]",
        options change: @escaping (inout ZtunnelOptions) -> Void = { _ in }
    ) throws {
        let control = simulation.makeLoop()
        var published = IdentitySnapshot()
        store = try IdentityStore(
            .developmentAuthority(lifetime: .seconds(3600)),
            loop: control,
            log: Log(output: { _ in })
        ) { published = $0 }
        let state = try Self.state(target, policies)
        store.want(Set(state.workloads.map(\.identity)))
        identities = published
        let make = { (name: String) throws -> ZtunnelWorker in
            var options = ZtunnelOptions()
            options.mode = .dedicated
            options.workload = .init(namespace: "default", name: name, serviceAccount: name)
            change(&options)
            let worker = ZtunnelWorker(
                index: 0,
                loop: simulation.makeLoop(),
                options: options,
                identities: published,
                metrics: TrafficMetrics(),
                traffic: nil,
                log: Log(output: { _ in }),
                canBorrowSources: false
            )
            _ = worker.apply(state)
            return worker
        }
        client = try make("client")
        server = try make("server")
        gateway = .ip(try #require(target.ip), port: 15_008)
        try listen(client, .outbound, Self.service)
        try listen(server, .inbound, gateway)
        simulation.keep(self)
    }

    private func listen(
        _ worker: ZtunnelWorker,
        _ purpose: ZtunnelSocket.Purpose,
        _ address: SocketAddress
    ) throws {
        let socket = try worker.loop.system.listen(on: address, options: ListenOptions())
        try worker.listen(on: [ZtunnelSocket(purpose: purpose, socket: socket)])
    }

    static func state(_ target: SocketAddress, _ policies: String) throws -> MeshState {
        let text = """
            workloads:
            - {name: client, namespace: default, serviceAccount: client, protocol: HBONE,
               workloadIps: [10.9.0.1], services: {}}
            - {name: server, namespace: default, serviceAccount: server, protocol: HBONE,
               workloadIps: [\(try #require(target.ip))],
               services: {default/echo.default.svc: {80: \(try #require(target.port))}}}
            services:
            - {name: echo, namespace: default, hostname: echo.default.svc, vips: [/10.8.0.1],
               ports: {80: \(try #require(target.port))}}
            policies: \(policies)
            """
        return try Mesh(text).state
    }

    /// Another mesh is in force at both nodes.
    func apply(_ state: MeshState) {
        _ = client.apply(state)
        _ = server.apply(state)
    }

    /// Nothing is open but pooled connections.
    func expectIdle(_ comment: String) {
        #expect(client.records.isEmpty, "\(comment)")
        #expect(server.records.isEmpty, "\(comment)")
    }
}
