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

    @Test func `a client of another trust domain is refused, and hears an alert`() throws {
        let pair = SessionPair(
            try mesh.credentials("client", of: "elsewhere.example"),
            to: try mesh.credentials("server"),
            expecting: [server]
        )
        pair.run()
        #expect(
            pair.server.failure?.reason
                == "identity verification error: peer did not present the expected trustdomain "
                + "(cluster.local), got spiffe://elsewhere.example/ns/default/sa/client"
        )
        #expect(pair.client.failure?.refuser == .peer)
        #expect(pair.client.failure?.got.contains("elsewhere.example") == true)
    }

    @Test func `one fitting name among several will do`() throws {
        let caller = try mesh.credentials("client") {
            $0.names = "URI:https://x.example/,DNS:client,\($0.names)"
        }
        let pair = SessionPair(caller, to: try mesh.credentials("server"), expecting: [server])
        pair.run()
        #expect(pair.isEstablished)
        #expect(pair.server.info.flatMap { SPIFFEID(peerOf: $0) } == .account("client"))
    }

    @Test func `a name that only looks like one of ours is none`() throws {
        for name in ["spiffe://cluster.local/client", "spiffe://cluster.local/ns/a/sa/b/c"] {
            let stranger = try mesh.client(mesh.authority.issue(names: "URI:\(name)"))
            let pair = SessionPair(
                client: TLSSession(client: try TLSContext(stranger)),
                server: TLSSession(server: try mesh.credentials("server").server)
            )
            pair.run()
            #expect(pair.server.failure?.reason.hasSuffix("(cluster.local), got ") == true)
            #expect(pair.server.failure?.got.contains(name) == true)
        }
    }

    @Test func `what a stranger presents does not fill the log`() throws {
        let names =
            (0..<300).map { "URI:spiffe://cluster.local/ns/a/sa/a\($0)" }
            + ["URI:spiffe://cluster.local/ns/a/sa/\(String(repeating: "x", count: 5000))"]
        let stranger = TestAuthority("stranger")
        var settings = try mesh.client(
            stranger.issue(names: names.reversed().joined(separator: ","))
        )
        settings.alpn = ["h2"] + (0..<200).map { "protocol-\($0)" }
        for alpn in [settings.alpn, Array(settings.alpn.dropFirst())] {
            settings.alpn = alpn
            let pair = SessionPair(
                client: TLSSession(client: try TLSContext(settings)),
                server: TLSSession(server: try mesh.credentials("server").server)
            )
            pair.run()
            let told = try #require(pair.server.failure?.sentence)
            #expect(told.contains(" more]"))
            #expect(told.utf8.count < 2000)
        }
    }

    @Test func `a client without certificate is refused`() throws {
        var settings = try mesh.client(mesh.authority.issue(names: ""))
        settings.certificates = []
        let pair = SessionPair(
            client: TLSSession(client: try TLSContext(settings)),
            server: TLSSession(server: try mesh.credentials("server").server)
        )
        pair.run()
        #expect(pair.server.failure?.stage == .noCertificate)
        #expect(pair.client.failure?.sentence.contains("certificate required") == true)
    }

    @Test func `an expired certificate is refused in both directions`() throws {
        let good = try mesh.credentials("client")
        let late = try mesh.credentials("server") { $0.notAfter = -60 }
        let out = SessionPair(good, to: late, expecting: [server])
        out.run()
        #expect(out.client.failure?.reason == "certificate has expired (the leaf)")
        #expect(out.server.failure?.sentence.contains("alert 45 (certificate expired)") == true)
        let back = SessionPair(late, to: good, expecting: [.account("client")])
        back.run()
        #expect(back.server.failure?.reason == "certificate has expired (the leaf)")
    }

    @Test func `a certificate of another root is refused`() throws {
        let stranger = TestMesh(authority: TestAuthority("other root"))
        let pair = SessionPair(
            try mesh.credentials("client"),
            to: try stranger.credentials("server"),
            expecting: [server]
        )
        pair.run()
        #expect(pair.client.failure?.stage == .chain)
        #expect(pair.client.failure?.wanted.contains("CN=mesh root") == true)
        #expect(pair.client.failure?.wanted.contains("(roots.pem)") == true)
        let told = try #require(pair.server.failure?.sentence)
        #expect(told.contains("alert 48 (unknown CA)"))
    }

    @Test func `a certificate that may not be a client's or a server's is refused as one`() throws {
        let onlyServer = try mesh.credentials("a") { $0.extendedKeyUsage = "serverAuth" }
        let onlyClient = try mesh.credentials("b") { $0.extendedKeyUsage = "clientAuth" }
        let fine = SessionPair(onlyClient, to: onlyServer, expecting: [.account("a")])
        fine.run()
        #expect(fine.isEstablished)
        let pair = SessionPair(onlyServer, to: onlyServer, expecting: [.account("a")])
        pair.run()
        #expect(pair.server.failure?.stage == .chain)
        #expect(pair.server.failure?.reason.contains("purpose") == true)
        let other = SessionPair(onlyClient, to: onlyClient, expecting: [.account("b")])
        other.run()
        #expect(other.client.failure?.reason == "unsuitable certificate purpose (the leaf)")
        #expect(other.server.failure?.sentence.contains("43 (unsupported certificate)") == true)
    }

    // MARK: Versions and protocols

    @Test func `a peer that knows only TLS 1_2 is refused by either side`() throws {
        var old = try mesh.client(mesh.authority.issue(names: "URI:\(server)"))
        old.minVersion = .tls12
        old.maxVersion = .tls12
        let here = try mesh.credentials("server")
        let toUs = SessionPair(
            client: TLSSession(client: try TLSContext(old)),
            server: TLSSession(server: here.server)
        )
        toUs.run()
        #expect(toUs.server.failure?.reason == "no common protocol version")
        #expect(toUs.server.failure?.wanted == "TLS 1.3")
        #expect(toUs.client.failure?.sentence.contains("alert 70 (protocol version)") == true)
        old.role = .server
        let fromUs = SessionPair(
            client: TLSSession(client: here.client, identities: [server]),
            server: TLSSession(server: try TLSContext(old))
        )
        fromUs.run()
        #expect(fromUs.client.failure?.sentence.contains("alert 70 (protocol version)") == true)
    }

    @Test func `TLS 1_2 is spoken where it is allowed, with AES-GCM alone`() throws {
        var lenient = mesh
        lenient.allowsTLS12 = true
        var old = try mesh.client(mesh.authority.issue(names: "URI:\(server)"))
        old.minVersion = .tls12
        old.maxVersion = .tls12
        let context = try lenient.credentials("server").server
        for (suite, fits) in [
            ("ECDHE-ECDSA-AES256-GCM-SHA384", true), ("ECDHE-ECDSA-CHACHA20-POLY1305", false),
            ("ECDHE-ECDSA-AES128-SHA", false),
        ] {
            old.cipherSuites = [suite]
            let pair = SessionPair(
                client: TLSSession(client: try TLSContext(old)),
                server: TLSSession(server: context)
            )
            pair.run()
            #expect(pair.isEstablished == fits, "\(suite)")
            if fits { #expect(pair.server.info?.cipher == suite) }
        }
    }

    @Test func `ChaCha20 is never agreed`() throws {
        var only = try mesh.client(mesh.authority.issue(names: "URI:\(server)"))
        only.suites13 = ["TLS_CHACHA20_POLY1305_SHA256"]
        let pair = SessionPair(
            client: TLSSession(client: try TLSContext(only)),
            server: TLSSession(server: try mesh.credentials("server").server)
        )
        pair.run()
        #expect(pair.server.failure?.reason == "no common cipher suite")
        #expect(pair.server.failure?.wanted == "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")
    }

    @Test(arguments: [[], ["http/1.1"], ["h2c", "http/1.1"]])
    func `a client without h2 is refused in words`(offer: [String]) throws {
        var settings = try mesh.client(mesh.authority.issue(names: "URI:\(server)"))
        settings.alpn = offer
        settings.requiresALPN = false
        let pair = SessionPair(
            client: TLSSession(client: try TLSContext(settings)),
            server: TLSSession(server: try mesh.credentials("server").server)
        )
        pair.run()
        let got = offer.isEmpty ? "no ALPN" : "ALPN [\(offer.joined(separator: ", "))]"
        #expect(
            pair.server.failure?.sentence
                == "we refused the peer: negotiation: no common application protocol; "
                + "wanted ALPN [h2]; got \(got)"
        )
        #expect(pair.client.failure?.sentence.contains("no application protocol") == true)
    }

    @Test func `a server that does not agree to h2 is refused`() throws {
        var settings = try mesh.client(mesh.authority.issue(names: "URI:\(server)"))
        settings.role = .server
        settings.alpn = []
        settings.requiresALPN = false
        let pair = SessionPair(
            client: TLSSession(client: try mesh.credentials("client").client, identities: [server]),
            server: TLSSession(server: try TLSContext(settings))
        )
        pair.run()
        #expect(!pair.client.isEstablished)
        #expect(pair.client.failure?.reason == "no common application protocol")
        #expect(pair.client.failure?.got == "no ALPN")
    }

    // MARK: Dates

    @Test func `a connection knows until when both certificates are good`() throws {
        let caller = try mesh.credentials("client") { $0.notAfter = 500 }
        let callee = try mesh.credentials("server") { $0.notAfter = 900 }
        let pair = SessionPair(caller, to: callee, expecting: [server])
        pair.run()
        for info in [pair.client.info, pair.server.info] {
            #expect(info?.validUntil == caller.notAfter)
        }
        #expect(pair.client.info?.peerValidUntil == callee.notAfter)
    }

    @Test func `the first to expire of the whole chain counts`() throws {
        let middle = TestAuthority("middle", parent: mesh.authority, notAfter: 300)
        var request = TestAuthority.Request()
        request.names = "URI:\(server)"
        let issued = middle.issue(request)
        let callee = try Credentials(
            server,
            TLSCertificateSource(chain: issued.chained(middle), privateKey: issued.key),
            trust: try mesh.trust()
        )
        let caller = try mesh.credentials("client")
        // The second time the verdict is remembered.
        for _ in 0..<2 {
            let pair = SessionPair(caller, to: callee, expecting: [server])
            pair.run()
            let end = try #require(pair.client.info?.validUntil)
            #expect(end == callee.validUntil)
            #expect(end < callee.notAfter)
        }
    }
}
