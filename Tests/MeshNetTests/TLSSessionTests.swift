import MeshSimulation
import Testing

@testable import MeshNet

/// A client and a server session joined by byte queues.
final class TLSPair {
    let client: TLSSession
    let server: TLSSession
    private(set) var clientGot: [UInt8] = []
    private(set) var serverGot: [UInt8] = []
    private var toServer = ByteBuffer()
    private var toClient = ByteBuffer()
    private var clientPlain = ByteBuffer()
    private var serverPlain = ByteBuffer()
    /// Bytes delivered per step.
    var step = Int.max

    init(
        client: TLSContext,
        server: TLSContext,
        serverName: String? = nil,
        peerName: String? = nil
    ) {
        self.client = TLSSession(client: client, serverName: serverName, peerName: peerName)
        self.server = TLSSession(server: server)
        self.client.start(output: &toServer)
    }

    /// Delivers until nothing is on its way.
    func run() {
        while toServer.count + toClient.count > 0 {
            let right = min(step, toServer.count)
            if right > 0 {
                _ = server.receive(
                    Bytes(rebasing: toServer.bytes[..<right]),
                    plaintext: &serverPlain,
                    output: &toClient
                )
                toServer.consume(right)
            }
            let left = min(step, toClient.count)
            if left > 0 {
                _ = client.receive(
                    Bytes(rebasing: toClient.bytes[..<left]),
                    plaintext: &clientPlain,
                    output: &toServer
                )
                toClient.consume(left)
            }
        }
        serverGot += Array(serverPlain.bytes)
        serverPlain.release()
        clientGot += Array(clientPlain.bytes)
        clientPlain.release()
    }

    func clientSends(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { client.send($0, output: &toServer) }
    }

    func serverSends(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { server.send($0, output: &toClient) }
    }

    /// Changes a byte on its way to the server.
    func tamper(at index: Int) {
        var bytes = Array(toServer.bytes)
        bytes[index] ^= 1
        toServer.clear()
        bytes.withUnsafeBytes { toServer.append($0) }
    }

    func clientRenewsKey() { client.records?.renewKey(into: &toServer) }

    func clientShutdown() { client.shutdown(output: &toServer) }

    func serverReceives(raw: [UInt8]) -> TLSStatus {
        raw.withUnsafeBytes { server.receive($0, plaintext: &serverPlain, output: &toClient) }
    }

    /// Handshakes and passes a message both ways, so that tickets arrive too.
    @discardableResult
    func exchange() -> Bool {
        run()
        guard client.isEstablished, server.isEstablished else { return false }
        _ = serverSends([1])
        _ = clientSends([2])
        run()
        return clientGot == [1] && serverGot == [2]
    }
}

/// A small mesh: one authority, a client and a server identity.
struct TLSMesh {
    let authority = TestAuthority("mesh root")
    let serverIdentity: TestAuthority.Identity
    let clientIdentity: TestAuthority.Identity

    init() {
        serverIdentity = authority.issue(
            names: "URI:spiffe://cluster.local/ns/a/sa/server,DNS:server.a.svc",
            commonName: "server"
        )
        clientIdentity = authority.issue(
            names: "URI:spiffe://cluster.local/ns/a/sa/client,DNS:client.a.svc",
            commonName: "client"
        )
    }

    var trust: TLSTrust {
        var trust = TLSTrust()
        trust.authorities = authority.pem
        return trust
    }

    var server: TLSSettings {
        var settings = TLSSettings(role: .server)
        settings.certificates = [source(serverIdentity)]
        settings.trust = trust
        settings.requireClientCertificate = true
        return settings
    }

    var client: TLSSettings {
        var settings = TLSSettings(role: .client)
        settings.maxVersion = .tls13
        settings.certificates = [source(clientIdentity)]
        settings.trust = trust
        return settings
    }

    func source(_ identity: TestAuthority.Identity) -> TLSCertificateSource {
        TLSCertificateSource(chain: identity.certificate, privateKey: identity.key)
    }

    func pair(
        client: TLSSettings? = nil,
        server: TLSSettings? = nil,
        serverName: String? = nil,
        peerName: String? = nil
    ) throws -> TLSPair {
        TLSPair(
            client: try TLSContext(client ?? self.client),
            server: try TLSContext(server ?? self.server),
            serverName: serverName,
            peerName: peerName
        )
    }
}

@Suite struct TLSSessionTests {
    let mesh = TLSMesh()

    @Test(arguments: [TLSVersion.tls12, .tls13])
    func `mutual TLS is established and both sides know each other`(version: TLSVersion) throws {
        var server = mesh.server
        server.maxVersion = version
        let pair = try mesh.pair(server: server, serverName: "server.a.svc")
        #expect(pair.exchange())
        let seen = try #require(pair.server.info)
        #expect(seen.version == (version == .tls12 ? "TLSv1.2" : "TLSv1.3"))
        #expect(seen.peer?.uriSANs == ["spiffe://cluster.local/ns/a/sa/client"])
        #expect(seen.peer?.subject == "CN=client")
        #expect(seen.peer?.issuer == "CN=mesh root")
        #expect(seen.local?.dnsSANs == ["server.a.svc"])
        #expect(seen.serverName == "server.a.svc")
        #expect(seen.isPeerVerified)
        #expect(!seen.isResumed)
        let other = try #require(pair.client.info)
        #expect(other.peer?.dnsSANs == ["server.a.svc"])
        #expect(other.local?.subject == "CN=client")
        #expect(other.cipher.contains("AES128") || other.cipher == "TLS_AES_128_GCM_SHA256")
        #expect(pair.server.group == "X25519")
        #expect(pair.server.signatureAlgorithm == "ecdsa_secp256r1_sha256")
    }

    @Test(arguments: [1, 2, 7, 100])
    func `bytes may arrive in pieces of any size`(step: Int) throws {
        let pair = try mesh.pair()
        pair.step = step
        let message = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        pair.run()
        let isSent = pair.clientSends(message) && pair.serverSends(message)
        #expect(isSent)
        pair.run()
        let isSame = pair.serverGot == message && pair.clientGot == message
        #expect(isSame)
    }

    @Test func `close_notify is seen by the peer, which may still answer`() throws {
        let pair = try mesh.pair()
        pair.exchange()
        pair.clientShutdown()
        pair.run()
        #expect(pair.serverReceives(raw: []) == .peerClosed)
        #expect(pair.serverSends([9]))
        pair.run()
        #expect(pair.clientGot == [1, 9])
        #expect(!pair.clientSends([1]))
    }

    @Test func `sending before the handshake is refused`() throws {
        let pair = try mesh.pair()
        #expect(!pair.clientSends([1]))
    }

    @Test func `an altered record fails the connection`() throws {
        let pair = try mesh.pair()
        pair.exchange()
        let record: [UInt8] = [23, 3, 3, 0, 30] + [UInt8](repeating: 7, count: 30)
        #expect(pair.serverReceives(raw: record) == .failed)
        #expect(pair.server.failure?.stage == .record)
        #expect(pair.server.failure?.refuser == .local)
    }

    @Test func `plaintext HTTP on a TLS port is told apart from other garbage`() throws {
        let http = try mesh.pair()
        #expect(
            http.serverReceives(raw: Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)) == .failed
        )
        #expect(
            http.server.failure?.sentence.contains("plaintext HTTP on a TLS port") == true
        )
        #expect(
            http.server.failure?.envoyText
                == "TLS_error:|268435612:SSL_routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end"
        )
        let garbage = try mesh.pair()
        #expect(
            garbage.serverReceives(raw: Array("\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{9}".utf8))
                == .failed
        )
        #expect(garbage.server.failure?.stage == .negotiation)
    }

    @Test func `the end of the stream within the handshake names the peer`() throws {
        let pair = try mesh.pair()
        #expect(pair.server.inputEnded() == .failed)
        #expect(pair.server.failure?.refuser == .peer)
    }

    @Test func `versions without overlap fail on both sides with the reason`() throws {
        var server = mesh.server
        server.minVersion = .tls13
        var client = mesh.client
        client.maxVersion = .tls12
        let pair = try mesh.pair(client: client, server: server)
        pair.run()
        #expect(
            pair.server.failure?.sentence.contains("no common protocol version; wanted TLS 1.3")
                == true
        )
        #expect(pair.client.failure?.refuser == .peer)
        #expect(pair.client.failure?.sentence.contains("protocol version") == true)
    }

    @Test func `a client speaks TLS 1.2 at most unless told otherwise`() throws {
        var client = mesh.client
        client.maxVersion = TLSSettings(role: .client).maxVersion
        let pair = try mesh.pair(client: client)
        pair.exchange()
        #expect(pair.client.info?.version == "TLSv1.2")
        #expect(pair.client.info?.cipher == "ECDHE-ECDSA-AES128-GCM-SHA256")
    }

    struct Protocols: Sendable {
        var server: [String]
        var client: [String]
        var agreed: String
    }

    @Test(arguments: [
        Protocols(server: ["h2", "http/1.1"], client: ["http/1.1", "h2"], agreed: "h2"),
        Protocols(server: ["http/1.1"], client: ["h2", "http/1.1"], agreed: "http/1.1"),
        Protocols(server: ["http/1.1"], client: ["h2"], agreed: ""),
        Protocols(server: ["http/1.1"], client: [], agreed: ""),
        Protocols(server: [], client: ["h2"], agreed: ""),
    ])
    func `the server's order decides the protocol and no overlap means none`(
        case protocols: Protocols
    ) throws {
        var server = mesh.server
        server.alpn = protocols.server
        var client = mesh.client
        client.alpn = protocols.client
        let pair = try mesh.pair(client: client, server: server)
        #expect(pair.exchange())
        #expect(pair.server.info?.alpn == protocols.agreed)
        #expect(pair.client.info?.alpn == protocols.agreed)
    }

    @Test func `only the configured chain is sent`() throws {
        let pair = try mesh.pair()
        #expect(pair.exchange())
        let seen = try #require(pair.server.info?.peer)
        #expect(seen.chainPEM == String(decoding: mesh.clientIdentity.certificate, as: UTF8.self))
        #expect(seen.pem == seen.chainPEM)
    }
}
