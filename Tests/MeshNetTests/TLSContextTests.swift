import MeshNet
import MeshSimulation
import Testing

@Suite struct TLSContextTests {
    let mesh = TLSMesh()

    private func problems(_ settings: TLSSettings) -> [String] {
        do throws(TLSSettingsError) {
            _ = try TLSContext(settings)
            return []
        } catch {
            return error.problems.map { "\($0.field): \($0.message)" }
        }
    }

    @Test func `all problems are told at once`() {
        var settings = mesh.server
        settings.certificates[0].privateKey = mesh.clientIdentity.key
        settings.cipherSuites = ["ECDHE-ECDSA-AES128-GCM-SHA256", "NONSENSE"]
        settings.curves = ["X25519", "X25519MLKEM768"]
        settings.signatureAlgorithms = ["md5"]
        settings.ticketKeys = [[1, 2, 3]]
        settings.trust?.authorities = Array("garbage".utf8)
        settings.trust?.revocationLists = mesh.authority.pem
        let found = problems(settings)
        #expect(found.count == 7)
        #expect(found.contains { $0.contains("private_key: does not belong to the certificate") })
        #expect(found.contains { $0.contains("entry 2, \"NONSENSE\"") })
        #expect(found.contains { $0.contains("ecdh_curves: \"X25519MLKEM768\" is not supported") })
        #expect(found.contains { $0.contains("signature_algorithms: \"md5\"") })
        #expect(found.contains { $0.contains("session_ticket_keys.keys[0]: has 3 bytes") })
        #expect(found.contains { $0.contains("trusted_ca: <inline> has no PEM certificate") })
        #expect(found.contains { $0.contains("crl: has no PEM certificate revocation list") })
    }

    @Test func `broken certificates and keys are told apart`() {
        var settings = mesh.server
        settings.certificates[0].chain = Array("none here".utf8)
        #expect(problems(settings)[0].contains("no PEM certificate in it"))
        settings = mesh.server
        settings.certificates[0].chain += Array(
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".utf8
        )
        #expect(problems(settings)[0].contains("certificate 2 of the chain is broken"))
        settings = mesh.server
        settings.certificates[0].privateKey = Array("x".utf8)
        #expect(problems(settings)[0].contains("private_key: cannot be read"))
        settings = mesh.server
        settings.certificates = []
        #expect(
            problems(settings) == [
                "common_tls_context.tls_certificates: a server needs a certificate"
            ]
        )
        settings = mesh.client
        settings.certificates.append(mesh.source(mesh.serverIdentity))
        #expect(problems(settings)[0].contains("a client can present only one"))
    }

    @Test func `an expired certificate is a warning`() throws {
        var request = TestAuthority.Request()
        request.names = "DNS:a"
        request.notAfter = -5
        var settings = mesh.server
        settings.certificates = [mesh.source(mesh.authority.issue(request))]
        let warnings = try TLSContext(settings).warnings
        #expect(warnings.count == 1)
        #expect(warnings[0].message.contains("expired at 2"))
    }

    @Test func `BoringSSL's groups and operators are understood`() throws {
        var server = mesh.server
        server.maxVersion = .tls12
        server.cipherSuites = [
            "[ECDHE-ECDSA-CHACHA20-POLY1305|ECDHE-ECDSA-AES256-GCM-SHA384]",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ]
        let pair = try mesh.pair(server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.cipher != "ECDHE-ECDSA-AES128-GCM-SHA256")
        server.cipherSuites = ["-ALL:ECDHE-ECDSA-AES256-GCM-SHA384"]
        let second = try mesh.pair(server: server)
        #expect(second.exchange())
        #expect(second.server.info?.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384")
    }

    @Test func `curves restrict the key exchange and no overlap says so`() throws {
        var server = mesh.server
        server.curves = ["P-384"]
        var client = mesh.client
        client.curves = ["P-384", "P-256"]
        let pair = try mesh.pair(client: client, server: server)
        #expect(pair.exchange())
        #expect(pair.client.group == "P-384")
        client.curves = ["X25519"]
        let failing = try mesh.pair(client: client, server: server)
        #expect(!failing.exchange())
        #expect(
            failing.server.failure?.sentence.contains("no common key agreement group; wanted P-384")
                == true
        )
    }

    @Test func `TLS 1.0 works only where it is asked for`() throws {
        var server = mesh.server
        server.minVersion = .tls10
        server.cipherSuites = ["ECDHE-ECDSA-AES128-SHA"]
        var client = mesh.client
        client.minVersion = .tls10
        client.maxVersion = .tls10
        client.cipherSuites = ["ECDHE-ECDSA-AES128-SHA"]
        let pair = try mesh.pair(client: client, server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.version == "TLSv1")
        #expect(try !mesh.pair(client: client).exchange())
    }

    @Test func `an encrypted PKCS #8 key opens with its password only`() throws {
        var settings = mesh.server
        settings.certificates[0].privateKey = mesh.serverIdentity.encryptedKey("secret")
        #expect(problems(settings)[0].contains("private_key: cannot be read"))
        settings.certificates[0].password = Array("wrong".utf8)
        #expect(problems(settings)[0].contains("check password"))
        settings.certificates[0].password = Array("secret".utf8)
        #expect(problems(settings).isEmpty)
    }

    @Test func `a PKCS #12 archive carries chain and key`() throws {
        var settings = mesh.server
        settings.certificates = [
            TLSCertificateSource(
                password: Array("pw".utf8),
                pkcs12: mesh.serverIdentity.archive(password: "pw", authority: mesh.authority)
            )
        ]
        let context = try TLSContext(settings)
        #expect(context.chains[0].map(\.subject) == ["CN=server", "CN=mesh root"])
        #expect(TLSPair(client: try TLSContext(mesh.client), server: context).exchange())
        settings.certificates[0].password = nil
        #expect(problems(settings)[0].contains("cannot be opened"))
    }

    // MARK: Several certificates

    private func several() throws -> TLSContext {
        var rsa = TestAuthority.Request()
        rsa.usesRSA = true
        rsa.names = "DNS:a.example"
        rsa.commonName = "a-rsa"
        var settings = mesh.server
        settings.certificates = [
            mesh.source(mesh.authority.issue(names: "DNS:first.example", commonName: "first")),
            mesh.source(mesh.authority.issue(rsa)),
            mesh.source(mesh.authority.issue(names: "DNS:a.example", commonName: "a-ec")),
            mesh.source(mesh.authority.issue(names: "DNS:*.wild.example", commonName: "wild")),
        ]
        return try TLSContext(settings)
    }

    @Test(arguments: [
        ("a.example", "a-ec"), ("A.EXAMPLE", "a-ec"), ("b.wild.example", "wild"),
        ("x.b.wild.example", "first"), ("other.example", "first"), ("", "first"),
    ])
    func `the certificate is chosen by server name`(name: String, chosen: String) throws {
        let pair = TLSPair(
            client: try TLSContext(mesh.client),
            server: try several(),
            serverName: name
        )
        #expect(pair.exchange())
        #expect(pair.client.info?.peer?.subject == "CN=\(chosen)")
        #expect(pair.server.info?.local?.subject == "CN=\(chosen)")
        #expect(pair.server.info?.peer?.subject == "CN=client")
    }

    @Test func `a client that cannot verify EC keys gets the RSA certificate`() throws {
        var client = mesh.client
        client.maxVersion = .tls13
        client.curves = ["X25519"]
        client.certificates = []
        client.signatureAlgorithms = ["rsa_pss_rsae_sha256"]
        client.trust = nil
        var server = mesh.server
        server.requireClientCertificate = false
        var rsa = TestAuthority.Request()
        rsa.usesRSA = true
        rsa.names = "DNS:a.example"
        rsa.commonName = "a-rsa"
        server.certificates = [
            mesh.source(mesh.authority.issue(names: "DNS:a.example", commonName: "a-ec")),
            mesh.source(mesh.authority.issue(rsa)),
        ]
        let pair = try mesh.pair(client: client, server: server, serverName: "a.example")
        #expect(pair.exchange())
        #expect(pair.client.info?.peer?.subject == "CN=a-rsa")
    }
}
