import MeshNet
import MeshSimulation
import Testing

@Suite struct TLSVerificationTests {
    let mesh = TLSMesh()

    /// Both ends of a handshake that ought to fail.
    private func refusal(
        client: TLSSettings? = nil,
        server: TLSSettings? = nil,
        serverName: String? = nil,
        peerName: String? = nil
    ) throws -> (server: TLSFailure?, client: TLSFailure?) {
        let pair = try mesh.pair(
            client: client,
            server: server,
            serverName: serverName,
            peerName: peerName
        )
        pair.run()
        return (pair.server.failure, pair.client.failure)
    }

    // MARK: A server looks at its client

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `a client without certificate is refused and both logs say so`(version: TLSVersion) throws
    {
        var client = mesh.client
        client.certificates = []
        var server = mesh.server
        server.maxVersion = version
        let failed = try refusal(client: client, server: server)
        #expect(failed.server?.stage == .noCertificate)
        #expect(failed.server?.refuser == .local)
        #expect(failed.server?.wanted.contains("CN=mesh root") == true)
        #expect(
            failed.server?.envoyText
                == "TLS_error:|268435648:SSL_routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE"
                + ":peer_did_not_provide_required_client_certificate:TLS_error_end"
        )
        #expect(failed.client?.refuser == .peer)
        #expect(failed.client?.sentence.contains("CN=client") != true)
        if version == .tls13 {
            #expect(failed.client?.sentence.contains("alert 116 (certificate required)") == true)
        }
    }

    @Test func `a certificate of another authority is refused`() throws {
        let other = TestAuthority("other root")
        var client = mesh.client
        client.certificates = [
            mesh.source(other.issue(names: "URI:spiffe://cluster.local/ns/a/sa/client"))
        ]
        let failed = try refusal(client: client)
        #expect(failed.server?.stage == .chain)
        #expect(failed.server?.reason.contains("unable to get local issuer certificate") == true)
        #expect(failed.server?.got.contains("URI:spiffe://cluster.local/ns/a/sa/client") == true)
        #expect(failed.server?.got.contains("issuer \"CN=other root\"") == true)
        #expect(
            failed.server?.envoyText.contains(
                "CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_X509_verify_cert"
            ) == true
        )
        #expect(failed.client?.sentence.contains("alert 48 (unknown CA)") == true)
        #expect(failed.client?.got.contains("CN=test") == true)
    }

    @Test func `an expired certificate is refused unless that is allowed`() throws {
        var request = TestAuthority.Request()
        request.names = "URI:spiffe://a/b"
        request.notAfter = -10
        var client = mesh.client
        client.certificates = [mesh.source(mesh.authority.issue(request))]
        let failed = try refusal(client: client)
        #expect(failed.server?.reason.contains("certificate has expired") == true)
        #expect(failed.client?.sentence.contains("alert 45 (certificate expired)") == true)
        var server = mesh.server
        server.trust?.allowsExpired = true
        #expect(try mesh.pair(client: client, server: server).exchange())
    }

    @Test func `a revoked certificate is refused and others are not`() throws {
        var server = mesh.server
        server.trust?.revocationLists = mesh.authority.revocationList([mesh.clientIdentity.serial])
        let failed = try refusal(server: server)
        #expect(failed.server?.reason.contains("certificate revoked") == true)
        #expect(failed.client?.sentence.contains("alert 44 (certificate revoked)") == true)
        server.trust?.revocationLists = mesh.authority.revocationList([9999])
        #expect(try mesh.pair(server: server).exchange())
    }

    @Test func `a revocation list in the trust bundle counts too`() throws {
        var server = mesh.server
        server.trust?.authorities += mesh.authority.revocationList([mesh.clientIdentity.serial])
        #expect(try refusal(server: server).server?.reason.contains("revoked") == true)
    }

    @Test func `a chain with intermediates needs all lists unless only the leaf is checked`() throws
    {
        let middle = TestAuthority("middle", parent: mesh.authority)
        let identity = middle.issue(names: "URI:spiffe://a/b")
        var client = mesh.client
        client.certificates = [
            TLSCertificateSource(chain: identity.chained(middle), privateKey: identity.key)
        ]
        var server = mesh.server
        #expect(try mesh.pair(client: client, server: server).exchange())
        server.trust?.revocationLists = middle.revocationList([])
        #expect(
            try refusal(client: client, server: server).server?.reason.contains(
                "unable to get certificate CRL"
            ) == true
        )
        server.trust?.checksOnlyLeafRevocation = true
        #expect(try mesh.pair(client: client, server: server).exchange())
    }

    @Test func `the depth of a chain is limited`() throws {
        let middle = TestAuthority("middle", parent: mesh.authority)
        let identity = middle.issue(names: "URI:spiffe://a/b")
        var client = mesh.client
        client.certificates = [
            TLSCertificateSource(chain: identity.chained(middle), privateKey: identity.key)
        ]
        var server = mesh.server
        server.trust?.maxDepth = 2
        #expect(try mesh.pair(client: client, server: server).exchange())
        server.trust?.maxDepth = 1
        #expect(try refusal(client: client, server: server).server?.stage == .chain)
    }

    @Test func `an intermediate authority alone is a trust root`() throws {
        let middle = TestAuthority("middle", parent: mesh.authority)
        let identity = middle.issue(names: "URI:spiffe://a/b")
        var client = mesh.client
        client.certificates = [mesh.source(identity)]
        var server = mesh.server
        server.trust?.authorities = middle.pem
        #expect(try mesh.pair(client: client, server: server).exchange())
    }

    struct Usage: Sendable {
        var key: String
        var extended: String
        var isAccepted: Bool
    }

    @Test(arguments: [
        Usage(key: "critical,digitalSignature", extended: "clientAuth", isAccepted: true),
        Usage(key: "", extended: "", isAccepted: true),
        Usage(key: "critical,digitalSignature", extended: "serverAuth", isAccepted: false),
        Usage(key: "critical,keyEncipherment", extended: "clientAuth", isAccepted: false),
        Usage(key: "critical,keyAgreement", extended: "", isAccepted: false),
    ])
    func `a client certificate must be made for being a client`(usage: Usage) throws {
        var request = TestAuthority.Request()
        request.names = "URI:spiffe://a/b"
        request.keyUsage = usage.key
        request.extendedKeyUsage = usage.extended
        var client = mesh.client
        client.certificates = [mesh.source(mesh.authority.issue(request))]
        let pair = try mesh.pair(client: client)
        #expect(pair.exchange() == usage.isAccepted)
        if usage.isAccepted { return }
        let mayNotSign = !usage.key.isEmpty && !usage.key.contains("digitalSignature")
        #expect(pair.server.failure?.stage == (mayNotSign ? .usage : .chain))
    }

    @Test func `a server certificate must not be made for clients only`() throws {
        var request = TestAuthority.Request()
        request.names = "DNS:server.a.svc"
        request.extendedKeyUsage = "clientAuth"
        var server = mesh.server
        server.certificates = [mesh.source(mesh.authority.issue(request))]
        #expect(try refusal(server: server).client?.stage == .chain)
    }

    // MARK: Names

    struct Name: Sendable, CustomTestStringConvertible {
        var matcher: TLSNameMatcher
        var isAccepted: Bool
        var testDescription: String { matcher.text }
    }

    private static func custom(
        _ kind: TLSNameMatcher.Kind,
        _ text: String,
        _ test: @escaping @Sendable (Bytes) -> Bool
    ) -> TLSNameMatcher {
        TLSNameMatcher(kind: kind, test: .custom(test), text: text)
    }

    @Test(arguments: [
        Name(matcher: .init(kind: .uri, exact: "spiffe://td/ns/a/sa/b"), isAccepted: true),
        Name(matcher: .init(kind: .uri, exact: "spiffe://td/ns/a/sa/bc"), isAccepted: false),
        Name(matcher: .init(kind: .uri, exact: "SPIFFE://td/ns/a/sa/b"), isAccepted: false),
        Name(matcher: .init(kind: .dns, exact: "spiffe://td/ns/a/sa/b"), isAccepted: false),
        Name(matcher: .init(kind: .dns, exact: "B.example.com"), isAccepted: true),
        Name(matcher: .init(kind: .dns, exact: "any.wild.example"), isAccepted: true),
        Name(matcher: .init(kind: .dns, exact: "wild.example"), isAccepted: false),
        Name(matcher: .init(kind: .dns, exact: "a.any.wild.example"), isAccepted: false),
        Name(matcher: .init(kind: .dns, exact: ".wild.example"), isAccepted: false),
        Name(matcher: .init(kind: .ipAddress, exact: "10.1.2.3"), isAccepted: true),
        Name(matcher: .init(kind: .ipAddress, exact: "fd00::1"), isAccepted: true),
        Name(matcher: .init(kind: .ipAddress, exact: "10.1.2.4"), isAccepted: false),
        Name(matcher: .init(kind: .email, exact: "ops@example.com"), isAccepted: true),
        Name(
            matcher: custom(.uri, "prefix") { $0.starts(with: Array("spiffe://td/".utf8)) },
            isAccepted: true
        ),
        Name(matcher: custom(.email, "never") { _ in false }, isAccepted: false),
    ])
    func `names of every kind are matched`(name: Name) throws {
        var request = TestAuthority.Request()
        request.names =
            "URI:spiffe://td/ns/a/sa/b,DNS:b.example.com,DNS:*.wild.example,IP:10.1.2.3,IP:fd00::1,"
            + "email:ops@example.com"
        var client = mesh.client
        client.certificates = [mesh.source(mesh.authority.issue(request))]
        var server = mesh.server
        server.trust?.names = [name.matcher]
        let pair = try mesh.pair(client: client, server: server)
        #expect(pair.exchange() == name.isAccepted)
        guard !name.isAccepted else { return }
        #expect(pair.server.failure?.stage == .name)
        #expect(pair.server.failure?.sentence.contains(name.matcher.text) == true)
        #expect(
            pair.server.failure?.envoyText
                == "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"
                + "verify_cert_failed:_SAN_matcher,_certificate_SANs_are_[spiffe://td/ns/a/sa/b,_"
                + "b.example.com,_*.wild.example,_10.1.2.3,_fd00::1,_ops@example.com]:TLS_error_end"
        )
        #expect(pair.client.failure?.sentence.contains("alert 46 (certificate unknown)") == true)
    }

    @Test func `one of several names suffices`() throws {
        var server = mesh.server
        server.trust?.names = [
            TLSNameMatcher(kind: .dns, exact: "nobody"),
            TLSNameMatcher(kind: .uri, exact: "spiffe://cluster.local/ns/a/sa/client"),
        ]
        #expect(try mesh.pair(server: server).exchange())
    }

    // MARK: Hashes

    @Test func `either the certificate's or the key's hash suffices, none does not`() throws {
        let context = try TLSContext(mesh.client)
        let hash = bytes(try #require(context.chains.first?.first?.sha256))
        var server = mesh.server
        server.trust = TLSTrust()
        server.trust?.certificateHashes = [hash]
        #expect(try mesh.pair(server: server).exchange())
        server.trust?.publicKeyHashes = [[UInt8](repeating: 1, count: 32)]
        #expect(try mesh.pair(server: server).exchange())
        server.trust?.certificateHashes = [[UInt8](repeating: 2, count: 32)]
        let failed = try refusal(server: server)
        #expect(failed.server?.stage == .hash)
        #expect(failed.server?.got.contains(context.chains[0][0].sha256) == true)
        #expect(failed.server?.envoyText.contains("verify_cert_failed:_cert_hash_and_spki") == true)
    }

    private func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal.utf8)
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(String(decoding: digits[$0..<($0 + 2)], as: UTF8.self), radix: 16) ?? 0
        }
    }

    // MARK: A client looks at its server

    @Test func `a client without trust configuration accepts any server, and says unverified`()
        throws
    {
        var client = mesh.client
        client.trust = nil
        let pair = try mesh.pair(client: client)
        #expect(pair.exchange())
        #expect(pair.client.info?.isPeerVerified == false)
        #expect(pair.client.info?.peer?.subject == "CN=server")
    }

    @Test func `the server name sent must be in the certificate where that is asked`() throws {
        var client = mesh.client
        client.validatesServerName = true
        #expect(try mesh.pair(client: client, serverName: "server.a.svc").exchange())
        let failed = try refusal(client: client, serverName: "other.a.svc")
        #expect(failed.client?.stage == .name)
        #expect(failed.client?.wanted.contains("other.a.svc") == true)
        #expect(failed.server?.refuser == .peer)
    }

    @Test func `a demanded name replaces the configured ones`() throws {
        var client = mesh.client
        client.trust?.names = [TLSNameMatcher(kind: .uri, exact: "spiffe://nobody")]
        #expect(try mesh.pair(client: client, peerName: "server.a.svc").exchange())
        #expect(
            try mesh.pair(client: client, peerName: "spiffe://cluster.local/ns/a/sa/server")
                .exchange()
        )
        let failed = try refusal(client: client, peerName: "wrong.a.svc")
        #expect(failed.client?.envoyText.contains("expected_SANs:_[wrong.a.svc]") == true)
    }

    // MARK: Leniency

    @Test func `an untrusted certificate is let in unverified where configured`() throws {
        let other = TestAuthority("other root")
        var client = mesh.client
        client.certificates = [mesh.source(other.issue(names: "URI:spiffe://a/b"))]
        var server = mesh.server
        server.trust?.acceptsUntrusted = true
        let pair = try mesh.pair(client: client, server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.isPeerVerified == false)
        #expect(pair.server.info?.peer?.uriSANs == ["spiffe://a/b"])
        let good = try mesh.pair(server: server)
        #expect(good.exchange())
        #expect(good.server.info?.isPeerVerified == true)
    }

    @Test func `without trust roots a required certificate is any certificate, unverified`() throws
    {
        var server = mesh.server
        server.trust = nil
        let pair = try mesh.pair(server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.isPeerVerified == false)
        var client = mesh.client
        client.certificates = []
        #expect(try refusal(client: client, server: server).server?.stage == .noCertificate)
    }

    @Test func `an optional client certificate may be missing`() throws {
        var server = mesh.server
        server.requireClientCertificate = false
        var client = mesh.client
        client.certificates = []
        let pair = try mesh.pair(client: client, server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.peer == nil)
        // What it does present must be good.
        client.certificates = [mesh.source(TestAuthority("other").issue(names: "DNS:a"))]
        #expect(try refusal(client: client, server: server).server?.stage == .chain)
    }

    @Test func `a verdict is remembered, a refusal is not`() throws {
        let server = try TLSContext(mesh.server)
        let client = try TLSContext(mesh.client)
        #expect(TLSPair(client: client, server: server).exchange())
        let second = TLSPair(client: client, server: server)
        #expect(second.exchange())
        #expect(second.server.info?.isPeerVerified == true)
        var stranger = mesh.client
        stranger.certificates = [mesh.source(TestAuthority("other").issue(names: "DNS:a"))]
        let strange = try TLSContext(stranger)
        for _ in 0..<2 { #expect(!TLSPair(client: strange, server: server).exchange()) }
    }
}
