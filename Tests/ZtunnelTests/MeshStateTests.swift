import MeshConfig
import MeshNet
import MeshRuntime
import Testing

@testable import Ztunnel

struct MeshStateTests {
    @Test
    func `a workload that speaks HBONE is reached through a tunnel, one that does not directly`()
        throws
    {
        let mesh = try Mesh(
            """
            workloads:
            - {name: client, namespace: a, workloadIps: [10.0.0.1], services: {}}
            - {name: server, namespace: b, serviceAccount: srv, workloadIps: [10.0.0.2],
               protocol: HBONE, services: {}}
            - {name: plain, namespace: b, workloadIps: [10.0.0.3], services: {}}
            """
        )
        let tunnel = try #require(mesh.tunnel("10.0.0.2", 80))
        #expect(tunnel.gateway.description == "10.0.0.2:15008")
        #expect(tunnel.authority == "10.0.0.2:80")
        #expect(tunnel.identities.map(\.description) == ["spiffe://cluster.local/ns/b/sa/srv"])
        #expect(mesh.text("10.0.0.3", 80) == "direct 10.0.0.3:80")
        #expect(mesh.text("10.0.0.9", 80) == "passthrough")
    }
}
