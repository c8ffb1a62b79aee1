import MeshLoad
import MeshNet
import MeshSimulation
import Testing

/// Against peers that follow a script.
@Suite struct LoadPeerTests {
    private let simulation = Simulation(seed: 1)
    private static let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    private func run(
        _ traffic: LoadPlan.Traffic,
        _ scripts: [[ScriptedPeer.Step]],
        change: (inout LoadPlan) -> Void = { _ in }
    ) throws -> (generator: LoadGenerator, server: ScriptedServer) {
        let server = try ScriptedServer(in: simulation, port: 80, scripts: scripts)
        var plan = LoadPlan(target: "\(server.address)", traffic: traffic)
        plan.connections = 1
        plan.requests = 1
        change(&plan)
        let generator = try LoadGenerator(plan: plan, loop: simulation.makeLoop())
        simulation.keep(generator)
        generator.start()
        simulation.run(until: { generator.phase == .done }, limit: .seconds(5))
        return (generator, server)
    }

    // MARK: Echo

    @Test func `an echo that is longer than the message is an error`() throws {
        let (generator, _) = try run(
            .tcpEcho,
            [[.awaitBytes(65), .send(Array(repeating: 120, count: 65)), .awaitEnd]]
        )
        #expect(generator.result.errors == ["echo of another length": 1])
        #expect(generator.result.requests == 0)
    }

    @Test func `an echo that is shorter ends with its connection, as an error`() throws {
        let (generator, _) = try run(
            .tcpEcho,
            [[.awaitBytes(65), .send(Array(repeating: 120, count: 63)), .close]]
        )
        #expect(generator.result.errors == ["connection closed by the peer": 1])
    }

    @Test func `a connection that is reset under a request is an error, and is opened again`()
        throws
    {
        let (generator, server) = try run(
            .tcpEcho,
            [[.awaitBytes(65), .abort], [.awaitBytes(65), .send("ok"), .awaitEnd]]
        ) { plan in
            plan.requests = 2
            plan.messageBytes = 64
        }
        #expect(generator.result.errors["reset: Connection reset by peer"] == 1)
        #expect(server.connections.count == 2)
    }

    // MARK: Idle

    @Test func `a connection that ends while it should stand is an error`() throws {
        let (generator, _) = try run(
            .idleHTTP1,
            [[.awaitText("\r\n\r\n"), .send(Self.answer), .wait(.seconds(1)), .close]]
        ) { $0.requests = nil }
        #expect(generator.phase == .standing)
        generator.release()
        #expect(generator.result.errors == ["connection closed by the peer": 1])
        #expect(generator.result.requests == 1)
    }

    // MARK: SOCKS5

    private static let toPort80: [UInt8] = [5, 1, 0, 1, 10, 9, 8, 7, 0, 80]

    @Test func `through a SOCKS5 proxy the request follows the proxy's consent`() throws {
        let (generator, server) = try run(
            .http1,
            [
                [
                    .awaitBytes(3), .send([5, 0]), .awaitBytes(13),
                    .send([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), .awaitText("\r\n\r\n"),
                    .send(Self.answer), .awaitEnd,
                ]
            ]
        ) { $0.throughSOCKS5 = "10.9.8.7:80" }
        #expect(generator.result.requests == 1)
        let received = server.connections[0].received
        #expect(received.prefix(13).elementsEqual([5, 1, 0] + Self.toPort80))
        #expect(String(decoding: received.dropFirst(13).prefix(5), as: UTF8.self) == "GET /")
    }

    @Test(
        arguments: [
            ([5, 0xFF], "socks5: the proxy wants authentication"),
            ([0x48, 0x54], "socks5: what answers is no SOCKS5 proxy"),
        ] as [([UInt8], String)]
    )
    func `a SOCKS5 proxy that refuses is told by its words`(_ reply: [UInt8], _ text: String) throws
    {
        let (generator, _) = try run(.http1, [[.awaitBytes(3), .send(reply), .awaitEnd]]) {
            $0.throughSOCKS5 = "10.9.8.7:80"
        }
        #expect(generator.failure?.description.contains(text) == true)
    }

    // MARK: HTTP/2

    @Test func `a server that answers HTTP/1 to HTTP/2 is an error`() throws {
        let (generator, _) = try run(.http2, [[.send("HTTP/1.1 400 Bad Request\r\n\r\n"), .close]])
        #expect(generator.result.requests == 0)
        #expect(generator.failure != nil)
    }
}
