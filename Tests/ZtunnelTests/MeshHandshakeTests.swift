import MeshNet
import MeshSimulation
import Testing

@testable import Ztunnel

/// What workloads agree to, and what each says when it does not.
@Suite struct MeshHandshakeTests {
    let mesh = TestMesh()
    let server = SPIFFEID.account("server")

    @Test func `two workloads agree on TLS 1_3, h2 and each other's names`() throws {
        let pair = SessionPair(
            try mesh.credentials("client"),
            to: try mesh.credentials("server"),
            expecting: [.account("other"), server]
        )
        pair.run()
        let seen = try #require(pair.server.info)
        let reached = try #require(pair.client.info)
        #expect(seen.version == "TLSv1.3")
        #expect(seen.cipher == "TLS_AES_128_GCM_SHA256")
        #expect(seen.alpn == "h2")
        #expect(seen.serverName == "")
        #expect(SPIFFEID(peerOf: seen) == .account("client"))
        #expect(SPIFFEID(peerOf: reached) == server)
        #expect(pair.client.group == "P-256")
    }

    @Test func `no server name and no old session is sent`() throws {
        let caller = try mesh.credentials("client")
        let callee = try mesh.credentials("server")
        for _ in 0..<2 {
            let pair = SessionPair(caller, to: callee, expecting: [server])
            pair.run()
            #expect(pair.isEstablished)
            #expect(pair.server.info?.isResumed == false)
            #expect(pair.server.info?.serverName == "")
        }
    }

    @Test func `a server with another identity is refused, with both`() throws {
        let pair = SessionPair(
            try mesh.credentials("client"),
            to: try mesh.credentials("imposter"),
            expecting: [.account("a"), .account("b")]
        )
        pair.run()
        #expect(
            pair.client.failure?.reason
                == "identity verification error: peer did not present the expected SAN "
                + "(spiffe://cluster.local/ns/default/sa/a,spiffe://cluster.local/ns/default/sa/b), "
                + "got spiffe://cluster.local/ns/default/sa/imposter"
        )
        #expect(pair.server.failure?.refuser == .peer)
        #expect(
            pair.server.failure?.sentence.contains(
                "the peer refused us: it sent the alert 46 (certificate unknown)"
            ) == true
        )
        #expect(pair.server.failure?.got.contains("sa/imposter") == true)
    }
}
