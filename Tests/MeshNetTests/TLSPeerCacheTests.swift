import MeshSimulation
import Testing

@testable import MeshNet

@Suite struct TLSPeerCacheTests {
    let mesh = TLSMesh()

    @Test func `strangers are forgotten, however much they present`() throws {
        let server = try TLSContext(mesh.server)
        let other = TestAuthority("other")
        for _ in 0..<3 {
            var stranger = mesh.client
            let issued = other.issue(names: "DNS:a")
            stranger.certificates = [
                TLSCertificateSource(chain: issued.chained(other), privateKey: issued.key)
            ]
            #expect(!TLSPair(client: try TLSContext(stranger), server: server).exchange())
        }
        #expect(server.peers.count == 0)
        #expect(TLSPair(client: try TLSContext(mesh.client), server: server).exchange())
        #expect(server.peers.count == 1)
    }

    @Test func `a very long chain is accepted and not kept`() throws {
        let server = try TLSContext(mesh.server)
        var client = mesh.client
        var chain = mesh.clientIdentity.certificate
        for number in 0..<80 { chain += TestAuthority("ballast \(number)").pem }
        client.certificates = [
            TLSCertificateSource(chain: chain, privateKey: mesh.clientIdentity.key)
        ]
        let pair = TLSPair(client: try TLSContext(client), server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.peer?.chainSerials.count == 81)
        #expect(server.peers.count == 0)
    }
}
