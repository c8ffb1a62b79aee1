import COpenSSL
import MeshSimulation
import Testing

@testable import MeshNet

/// Records that we protect, beside a peer whose records OpenSSL protects.
@Suite struct TLSRecordsTests {
    let mesh = TLSMesh()

    enum Ours: CaseIterable { case both, clients, servers }

    static let suites = [
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    ]

    private func pair(_ ours: Ours, suite: String = suites[0]) throws -> TLSPair {
        var client = mesh.client
        var server = mesh.server
        client.suites13 = [suite]
        server.suites13 = [suite]
        client.protectsRecords = ours != .servers
        server.protectsRecords = ours != .clients
        return try mesh.pair(client: client, server: server)
    }

    private static func noise(_ count: Int) -> [UInt8] {
        var state: UInt32 = 1
        return (0..<count).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
    }

    @Test(arguments: suites, Ours.allCases)
    func `messages of every size pass, however they are cut`(suite: String, ours: Ours) throws {
        for step in [1, 7, 1000, Int.max] {
            let pair = try pair(ours, suite: suite)
            pair.step = step
            #expect(pair.exchange())
            #expect((pair.client.records != nil) == (ours != .servers))
            #expect((pair.server.records != nil) == (ours != .clients))
            var there = pair.serverGot
            var back = pair.clientGot
            for count in [1, 2, 255, 16_383, 16_384, 16_385, 70_000] where step > 1 || count < 500 {
                let message = Self.noise(count)
                #expect(pair.clientSends(message))
                #expect(pair.serverSends(message))
                pair.run()
                there += message
                back += message
            }
            #expect(pair.serverGot == there)
            #expect(pair.clientGot == back)
            #expect(pair.client.info?.cipher == suite)
        }
    }

    @Test(arguments: Ours.allCases)
    func `with the first data OpenSSL's connection goes, and what it knew stays`(
        ours: Ours
    ) throws {
        let pair = try pair(ours)
        #expect(pair.exchange())
        for _ in 0..<2 {
            #expect(pair.clientSends([3]))
            #expect(pair.serverSends([4]))
            pair.run()
        }
        #expect((pair.client.ssl == nil) == (ours != .servers))
        #expect((pair.server.ssl == nil) == (ours != .clients))
        #expect(pair.server.info?.peer?.subject == "CN=client")
        #expect(pair.client.info?.peer?.subject == "CN=server")
        #expect(pair.server.info?.isPeerVerified == true)
    }

    @Test(arguments: Ours.allCases, [true, false])
    func `a close is told, and data behind it still goes the other way`(
        ours: Ours,
        afterData: Bool
    ) throws {
        let pair = try pair(ours)
        pair.run()
        if afterData { #expect(pair.exchange()) }
        pair.clientShutdown()
        pair.run()
        #expect(pair.serverReceives(raw: []) == .peerClosed)
        #expect(!pair.clientSends([1]))
        #expect(pair.serverSends([9]))
        pair.run()
        #expect(pair.clientGot.last == 9)
    }

    @Test(arguments: Ours.allCases)
    func `keys are renewed at the wish of either side`(ours: Ours) throws {
        let pair = try pair(ours)
        #expect(pair.exchange())
        for round in 0..<3 {
            if ours == .both {
                // What our own side does at its limit.
                pair.clientRenewsKey()
            } else {
                let theirs = ours == .clients ? pair.server : pair.client
                SSL_key_update(theirs.ssl, SSL_KEY_UPDATE_REQUESTED)
            }
            let message = Self.noise(20_000 + round)
            #expect(pair.clientSends(message))
            #expect(pair.serverSends(message))
            pair.run()
            #expect(pair.serverGot.suffix(message.count) == message[...])
            #expect(pair.clientGot.suffix(message.count) == message[...])
        }
    }

    @Test(arguments: suites, [true, false])
    func `a changed record ends the connection, and the sender hears why`(
        suite: String,
        afterData: Bool
    ) throws {
        let pair = try pair(.servers, suite: suite)
        pair.run()
        if afterData { #expect(pair.exchange()) }
        #expect(pair.clientSends([1, 2, 3]))
        pair.tamper(at: 6)
        pair.run()
        #expect(
            pair.server.failureReason
                == "TLS_error:|268435593:SSL_routines:OPENSSL_internal:"
                + "DECRYPTION_FAILED_OR_BAD_RECORD_MAC:TLS_error_end"
        )
        #expect(pair.client.failure?.refuser == .peer)
        #expect(pair.client.failure?.reason == "it sent the alert 20 (bad record mac)")
    }

    @Test(arguments: [
        (bytes: [23, 3, 3, 0x41, 1], alert: 22), (bytes: [21, 3, 3, 0, 2, 2, 10], alert: 10),
        (bytes: [20, 3, 3, 0, 1, 1], alert: 10), (bytes: [23, 3, 3, 0, 0], alert: 20),
        (bytes: [23, 3, 3, 0, 17] + [UInt8](repeating: 7, count: 17), alert: 20),
    ])
    func `what is no record of ours is refused`(bytes: [UInt8], alert: Int) throws {
        for afterData in [true, false] {
            let pair = try pair(.servers)
            pair.run()
            if afterData { #expect(pair.exchange()) }
            #expect(pair.serverReceives(raw: bytes) == .failed)
            #expect(!pair.server.failureReason.isEmpty)
            pair.run()
            #expect(pair.client.failure?.reason.hasPrefix("it sent the alert \(alert) ") == true)
        }
    }

    @Test func `records without data are borne for a while only`() throws {
        let pair = try pair(.both)
        #expect(pair.exchange())
        for _ in 0..<32 { pair.clientRenewsKey() }
        pair.run()
        #expect(pair.clientSends([5]))
        pair.run()
        #expect(pair.serverGot.last == 5)
        for _ in 0..<33 { pair.clientRenewsKey() }
        pair.run()
        #expect(pair.server.failure != nil)
    }

    @Test(arguments: [TLSTrafficSecret.Suite.aes128GCM, .aes256GCM])
    func `the library for AES-GCM and OpenSSL understand each other`(
        suite: TLSTrafficSecret.Suite
    ) throws {
        guard let gcm = suite == .aes128GCM ? AESGCM.best128 : AESGCM.best256 else { return }
        let secret = TLSTrafficSecret(suite, Self.noise(suite == .aes256GCM ? 48 : 32))
        for (one, other) in [(gcm as AESGCM?, nil), (nil, gcm as AESGCM?)] {
            let sealing = TLSRecordKey(secret, sequence: 250, isForSending: true, gcm: one)
            let opening = TLSRecordKey(secret, sequence: 250, isForSending: false, gcm: other)
            for count in Array(1...300) + [16_384, 16_385] {
                let message = Self.noise(count)
                var record: [UInt8] = [23, 3, 3, 0, 0] + message + Array(repeating: 0, count: 16)
                record.withUnsafeMutableBytes {
                    sealing.seal($0.baseAddress.unsafelyUnwrapped, count: count)
                }
                var opened = Array(repeating: UInt8(0), count: count)
                let isGenuine = record.withUnsafeBytes { record in
                    opened.withUnsafeMutableBytes {
                        opening.open(record, into: $0.baseAddress.unsafelyUnwrapped)
                    }
                }
                #expect(isGenuine && opened == message, "\(count) bytes")
            }
        }
    }

    /// RFC 8448 §3: the server's handshake secret gives its key, and a finished connection's its next one.
    @Test func `keys are derived as the standard's example shows`() {
        let secret = TLSTrafficSecret(
            .aes128GCM,
            Self.bytes(
                "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
            )
        )
        #expect(
            secret.derived("key", count: 16) == Self.bytes("9f02283b6c9c07efc26bb9f2ac92e356")
        )
        #expect(secret.derived("iv", count: 12) == Self.bytes("cf782b88dd83549aadf1e984"))
    }

    private static func bytes(_ text: String) -> [UInt8] {
        TLSTrafficSecret.parse(keyLogLine: "CLIENT_TRAFFIC_SECRET_0 00 \(text)")?.secret ?? []
    }
}
