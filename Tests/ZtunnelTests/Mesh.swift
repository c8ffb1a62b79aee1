import MeshConfig
import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

/// A state made of YAML, and questions to it in short.
final class Mesh {
    let state: MeshState
    let warnings: [String]
    var random = FastRandom(seed: 1)

    init(_ yaml: String, network: String = "") throws {
        let (config, diagnostics) = ZtunnelConfig.read(
            text: Array(yaml.utf8),
            fileName: "mesh.yaml"
        )
        try #require(diagnostics.errors.map(\.description) == [])
        state = MeshState(try #require(config), network: network)
        warnings = diagnostics.warnings.map(\.description)
    }

    func workload(_ name: String) throws -> Workload {
        try #require(state.workloads.first { $0.name == name })
    }

    func route(
        _ destination: String,
        _ port: UInt16,
        from source: String = "client"
    ) -> OutboundRoute {
        guard let address = IPAddress(destination),
            let workload = state.workloads.first(where: { $0.name == source })
        else { return .refused("the test is wrong") }
        return state.route(
            OutboundRequest(
                source: workload,
                destination: address,
                port: port,
                sourceAddress: workload.addresses.first ?? address,
                hbonePort: 15008
            ),
            random: &random
        )
    }

    func tunnel(_ destination: String, _ port: UInt16) -> TunnelRoute? {
        if case .tunnel(let tunnel) = route(destination, port) { tunnel } else { nil }
    }

    /// `tunnel GATEWAY AUTHORITY`, `waypoint GATEWAY AUTHORITY`, `direct ADDRESS`, `passthrough` or the
    /// refusal.
    func text(_ destination: String, _ port: UInt16, from source: String = "client") -> String {
        switch route(destination, port, from: source) {
        case .tunnel(let tunnel):
            "\(tunnel.isWaypoint ? "waypoint" : "tunnel") \(tunnel.gateway) \(tunnel.authority)"
        case .direct(let direct): "direct \(direct.address)"
        case .passthrough: "passthrough"
        case .refused(let reason): reason
        }
    }
}
