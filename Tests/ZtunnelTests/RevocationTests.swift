import MeshNet
import MeshSimulation
import Testing

@testable import Ztunnel

/// Which certificates are no longer accepted.
@Suite struct RevocationTests {
    let mesh = TestMesh()
    let server = SPIFFEID.account("server")

    private func lists(_ bytes: [UInt8]) throws -> RevokedCertificates {
        try RevokedCertificates(
            bytes,
            path: "crl.pem",
            authorities: [TLSAuthorities(pem: mesh.authority.pem, path: "roots.pem")]
        )
    }

    private func serial(_ credentials: Credentials) throws -> Int {
        try #require(Int(credentials.certificate.serial, radix: 16))
    }

    @Test func `a revoked certificate is refused in both directions, from the next handshake on`()
        throws
    {
        let caller = try mesh.credentials("client")
        let callee = try mesh.credentials("server")
        let before = SessionPair(caller, to: callee, expecting: [server])
        before.run()
        #expect(before.isEstablished)
        mesh.register.current = try lists(mesh.authority.revocationList([try serial(callee)]))
        let out = SessionPair(caller, to: callee, expecting: [server])
        out.run()
        #expect(out.client.failure?.stage == .revoked)
        #expect(
            out.client.failure?.sentence.hasPrefix(
                "we refused the peer: certificate revoked: a revocation list has the peer's"
            ) == true
        )
        #expect(out.server.failure?.sentence.contains("alert 44 (certificate revoked)") == true)
        let back = SessionPair(callee, to: caller, expecting: [.account("client")])
        back.run()
        #expect(back.server.failure?.stage == .revoked)
        // And who was live is found by what its connection knows.
        let peer = try #require(before.client.info?.peer)
        #expect(mesh.register.current.contains(peer))
        let other = try #require(before.server.info?.peer)
        #expect(!mesh.register.current.contains(other))
    }

    @Test func `an authority without a list here is not asked about`() throws {
        let other = TestAuthority("other root")
        mesh.register.current = try lists(other.revocationList([101, 102, 103]))
        let pair = SessionPair(
            try mesh.credentials("client"),
            to: try mesh.credentials("server"),
            expecting: [server]
        )
        pair.run()
        #expect(pair.isEstablished)
    }

    @Test func `a revoked authority takes its certificates along`() throws {
        let middle = TestAuthority("middle", parent: mesh.authority)
        let issued = middle.issue(names: "URI:\(server)")
        let callee = try Credentials(
            server,
            TLSCertificateSource(chain: issued.chained(middle), privateKey: issued.key),
            trust: try mesh.trust()
        )
        let number = try #require(Int(callee.certificate.chainSerials[1], radix: 16))
        mesh.register.current = try lists(mesh.authority.revocationList([number]))
        let pair = SessionPair(try mesh.credentials("client"), to: callee, expecting: [server])
        pair.run()
        #expect(pair.client.failure?.stage == .revoked)
    }

    @Test func `a list of an intermediate authority counts when that authority has signed it`()
        throws
    {
        let middle = TestAuthority("middle", parent: mesh.authority)
        let issued = middle.issue(names: "URI:\(server)")
        let callee = try Credentials(
            server,
            TLSCertificateSource(chain: issued.chained(middle), privateKey: issued.key),
            trust: try mesh.trust()
        )
        let forger = TestAuthority("middle")
        mesh.register.current = try lists(forger.revocationList([issued.serial]))
        let forged = SessionPair(try mesh.credentials("client"), to: callee, expecting: [server])
        forged.run()
        #expect(forged.isEstablished)
        mesh.register.current = try lists(middle.revocationList([issued.serial]))
        let real = SessionPair(try mesh.credentials("client"), to: callee, expecting: [server])
        real.run()
        #expect(real.client.failure?.stage == .revoked)
    }

    @Test func `lists may be empty, several, and with text between them`() throws {
        #expect(try lists([]).isEmpty)
        let other = TestAuthority("other root")
        let text =
            Array("# ours\n".utf8) + mesh.authority.revocationList([7])
            + Array("# theirs\n".utf8) + other.revocationList([8, 9])
        #expect(try lists(text).count == 3)
    }

    @Test func `a broken list, and one that its root has not signed, are refused with the reason`()
        throws
    {
        var broken = mesh.authority.revocationList([7])
        broken.replaceSubrange(60..<64, with: Array("!!!!".utf8))
        #expect(throws: RevocationListError.self) { try lists(broken) }
        #expect(throws: RevocationListError.self) { try lists(Array("hello".utf8)) }
        let forger = TestAuthority("mesh root")
        #expect {
            try lists(forger.revocationList([7]))
        } throws: { error in
            (error as? RevocationListError)?.reason
                == "list 1 is not signed by the root \"CN=mesh root\" that it names"
        }
    }
}
