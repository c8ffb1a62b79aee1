import MeshLoad
import MeshNet
import MeshSimulation
import Testing

/// What ``Upstream`` answers, on a simulated network that cuts the bytes as it likes.
@Suite struct UpstreamTests {
    private static func start(
        _ simulation: Simulation,
        responseBytes: Int = 1000,
        tls: LoadTLS.ServerFiles? = nil
    ) throws -> Upstream {
        let upstream = try Upstream(
            loop: simulation.makeLoop(),
            host: IPAddress(ipv4: 0x0A01_0001),
            responseBytes: responseBytes,
            tls: tls
        )
        simulation.keep(upstream)
        return upstream
    }

    private static func alphabet(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    }

    @Test(arguments: Simulation.seeds(3), [Wire.http1, .http2])
    func `requests with and without a body are answered on one port`(
        seed: UInt64,
        wire: Wire
    ) throws {
        let simulation = Simulation(seed: seed)
        simulation.network.conditions = { .rough(using: &$1) }
        let upstream = try Self.start(simulation)
        let calls = [
            SimulatedCall("/"), SimulatedCall("/", body: [Self.alphabet(600)]),
            SimulatedCall("/", trailers: ["x-end": "1"]), SimulatedCall("/?again"),
        ]
        let address = try SocketAddress(parsing: upstream.addresses.http)
        let caller = try SimulatedCaller(wire, to: address, in: simulation, calls: calls)
        #expect(simulation.run(until: { caller.isClosed }), "\(simulation.replay)")
        for call in calls {
            #expect(call.isAnswered && call.status == "200", "\(simulation.replay)")
            #expect(call.received == Self.alphabet(1000))
            #expect(call.fields["content-length"] == "1000")
        }
    }

    @Test func `an answer may be empty`() throws {
        let simulation = Simulation(seed: 1)
        let upstream = try Self.start(simulation, responseBytes: 0)
        let call = SimulatedCall("/")
        let address = try SocketAddress(parsing: upstream.addresses.http)
        _ = try SimulatedCaller(.http2, to: address, in: simulation, calls: [call])
        #expect(simulation.run(until: { call.isOver }))
        #expect(call.isAnswered && call.received.isEmpty)
    }

    @Test(arguments: Simulation.seeds(3))
    func `a gRPC call gets its messages back, and status 0 when it ends`(seed: UInt64) throws {
        let simulation = Simulation(seed: seed)
        simulation.network.conditions = { .rough(using: &$1) }
        let upstream = try Self.start(simulation)
        let messages: [[UInt8]] = [10, 0, 2500].map { size in
            [0, 0, UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255)]
                + Self.alphabet(size)
        }
        let fields = [("content-type", "application/grpc+proto"), ("te", "trailers")]
        let unary = SimulatedCall("/echo.Echo/Say", fields: fields, body: [messages[0]])
        let stream = SimulatedCall(
            "/echo.Echo/Stream",
            fields: fields,
            body: messages,
            holdsLast: true
        )
        let address = try SocketAddress(parsing: upstream.addresses.http)
        let caller = try SimulatedCaller(
            .http2,
            to: address,
            in: simulation,
            calls: [unary, stream],
            atOnce: true
        )
        let all = messages.reduce([], +)
        let isEchoed = simulation.run(until: { stream.received.count == all.count })
        #expect(isEchoed, "\(simulation.replay)")
        #expect(!stream.isOver, "the caller has not ended")
        stream.finish()
        #expect(simulation.run(until: { stream.isOver && unary.isOver }), "\(simulation.replay)")
        for call in [unary, stream] {
            #expect(call.isAnswered)
            #expect(call.fields["content-type"] == "application/grpc")
            #expect(call.trailers["grpc-status"] == "0")
        }
        #expect(unary.received.elementsEqual(messages[0]))
        #expect(stream.received == all)
        caller.close()
    }

    @Test(arguments: Simulation.seeds(3))
    func `E echoes what follows it, to the client's end`(seed: UInt64) throws {
        let simulation = Simulation(seed: seed)
        simulation.network.conditions = { .rough(using: &$1) }
        let upstream = try Self.start(simulation)
        let text = Self.alphabet(4000)
        let client = ScriptedPeer(
            connectingTo: try SocketAddress(parsing: upstream.addresses.tcp),
            in: simulation,
            script: [.send("E"), .send(text), .halfClose, .awaitEnd, .close]
        )
        #expect(simulation.run(until: { client.isClosed }), "\(simulation.replay)")
        #expect(client.received == text && client.ending == .finished)
    }

    @Test func `an echo that nobody reads stops reading`() throws {
        let simulation = Simulation(seed: 1)
        let upstream = try Self.start(simulation)
        let text = [UInt8](repeating: 7, count: 4 << 20)
        let client = ScriptedPeer(
            connectingTo: try SocketAddress(parsing: upstream.addresses.tcp),
            in: simulation,
            script: [
                .pauseReading, .send("E"), .send(text), .resumeReading, .halfClose, .awaitEnd,
                .close,
            ]
        )
        simulation.run(for: .seconds(60))
        #expect(!client.isDone, "4 MiB went somewhere")
    }

    @Test func `D sends until the client has gone`() throws {
        let simulation = Simulation(seed: 1)
        let upstream = try Self.start(simulation)
        let client = ScriptedPeer(
            connectingTo: try SocketAddress(parsing: upstream.addresses.tcp),
            in: simulation,
            script: [
                .send("D"), .awaitBytes(3 << 20), .pauseReading, .wait(.seconds(5)),
                .resumeReading, .awaitBytes(6 << 20), .close,
            ]
        )
        #expect(simulation.run(until: { client.isClosed }))
        #expect(client.received.count >= 6 << 20 && client.ending == .open)
        // Nothing is left that would go on for ever.
        simulation.run(for: .seconds(5))
    }

    @Test func `U reads without end and says nothing`() throws {
        let simulation = Simulation(seed: 1)
        let upstream = try Self.start(simulation)
        let client = ScriptedPeer(
            connectingTo: try SocketAddress(parsing: upstream.addresses.tcp),
            in: simulation,
            script: [
                .send("U"), .send([UInt8](repeating: 7, count: 5 << 20)), .halfClose, .awaitEnd,
                .close,
            ]
        )
        #expect(simulation.run(until: { client.isClosed }))
        #expect(client.received.isEmpty && client.ending == .finished)
    }

    @Test func `another first byte is refused`() throws {
        let simulation = Simulation(seed: 1)
        let upstream = try Self.start(simulation)
        let client = ScriptedPeer(
            connectingTo: try SocketAddress(parsing: upstream.addresses.tcp),
            in: simulation,
            script: [.send("GET / HTTP/1.1\r\n\r\n"), .awaitEnd, .close]
        )
        #expect(simulation.run(until: { client.isClosed }))
        #expect(client.ending == .reset)
    }

    @Test func `who shows no certificate is not served over TLS`() throws {
        let files = try LoadFiles()
        let simulation = Simulation(seed: 1)
        let upstream = try Self.start(simulation, tls: files.server)
        var tls = files.client
        for isKnown in [false, true] {
            if !isKnown { (tls.certificateFile, tls.keyFile) = (nil, nil) }
            let relay = try Relay(
                loop: simulation.makeLoop(),
                listen: .ip(IPAddress(ipv4: 0x0A02_0001), port: 0),
                upstream: try SocketAddress(parsing: try #require(upstream.addresses.httpTLS)),
                upstreamTLS: try LoadTLS.client(tls, alpn: ["http/1.1"]),
                serverName: tls.serverName
            )
            simulation.keep(relay)
            let call = SimulatedCall("/")
            _ = try SimulatedCaller(.http1, to: relay.address, in: simulation, calls: [call])
            #expect(simulation.run(until: { call.isOver }))
            #expect(call.isAnswered == isKnown)
            tls = files.client
        }
    }

    @Test func `a file that is not there is named`() throws {
        let files = try LoadFiles()
        var server = files.server
        server.key = files.directory + "absent.key"
        let error = #expect(throws: LoadError.self) { try LoadTLS.server(server, alpn: []) }
        #expect(error?.description.contains(server.key) == true)
        var client = files.client
        client.keyFile = nil
        #expect(throws: LoadError.self) { try LoadTLS.client(client, alpn: []) }
    }
}
