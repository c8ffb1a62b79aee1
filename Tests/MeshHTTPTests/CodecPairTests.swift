import MeshHTTP
import MeshNet
import MeshSimulation
import Testing

/// What every pair of codecs must do, whatever their wire: the same claims for HTTP/1.1 and for the
/// scripted second codec, over networks that cut, delay, stall and break.
struct CodecPairTests {
    @Test(arguments: Wire.allCases)
    func `a request and its response pass whole over any network`(wire: Wire) throws {
        for seed in Simulation.seeds(25) {
            let simulation = Simulation(seed: seed)
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try EchoServer(wire, in: simulation)
            let body = Array("some body that is cut in many places".utf8)
            let call = Call(body: [body, body, body], trailers: ["x-end": "1"])
            let client = try CodecClient(wire, to: server.address, in: simulation, calls: [call])
            #expect(simulation.run(until: { call.isOver }), "\(simulation.replay)")
            #expect(call.status == "200", "\(simulation.replay)")
            #expect(call.received == body + body + body, "\(simulation.replay)")
            #expect(call.echoedTrailer == "1", "\(simulation.replay)")
            #expect(call.reset == nil)
            _ = client
        }
    }

    @Test(arguments: Wire.allCases)
    func `requests follow each other on one connection`(wire: Wire) throws {
        for seed in Simulation.seeds(10) {
            let simulation = Simulation(seed: seed)
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try EchoServer(wire, in: simulation)
            let calls = (0..<5).map { Call(body: [Array("request \($0)".utf8)]) }
            let client = try CodecClient(wire, to: server.address, in: simulation, calls: calls)
            #expect(
                simulation.run(until: { calls.allSatisfy { $0.isOver } }),
                "\(simulation.replay)"
            )
            for (at, call) in calls.enumerated() {
                #expect(call.received == Array("request \(at)".utf8), "\(simulation.replay)")
            }
            #expect(server.connections == 1, "\(simulation.replay)")
            _ = client
        }
    }

    @Test(arguments: Wire.allCases)
    func `a connection that breaks anywhere resets each open stream exactly once`(
        wire: Wire
    ) throws {
        for position in stride(from: 0, to: 260, by: 3) {
            for direction in [LinkConditions.Direction.toServer, .toClient] {
                let simulation = Simulation(seed: UInt64(position))
                simulation.network.conditions = { _, _ in
                    var conditions = LinkConditions()
                    conditions.segmentBytesMax = 20
                    conditions.resetAfter = (direction, position)
                    return conditions
                }
                let server = try EchoServer(wire, in: simulation)
                let call = Call(body: [Array(repeating: 0x61, count: 100)])
                let client = try CodecClient(
                    wire,
                    to: server.address,
                    in: simulation,
                    calls: [call]
                )
                simulation.run()
                #expect(call.endings == 1, "\(wire) broken after \(position) bytes")
                let unfinished = server.streams.filter { $0.endings != 1 }
                #expect(unfinished.isEmpty, "\(wire) broken after \(position) bytes")
                #expect(simulation.network.openConnections == 0, "\(wire) after \(position) bytes")
                _ = client
            }
        }
    }

    @Test(arguments: Wire.allCases)
    func `a server that pauses receives nothing more until it resumes`(wire: Wire) throws {
        for seed in Simulation.seeds(10) {
            let simulation = Simulation(seed: seed)
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try EchoServer(wire, in: simulation, pausesAtHead: true)
            let body = Array(repeating: UInt8(0x62), count: 5000)
            let call = Call(body: [body])
            let client = try CodecClient(wire, to: server.address, in: simulation, calls: [call])
            simulation.run(until: { !server.streams.isEmpty })
            simulation.run(for: .seconds(30))
            #expect(server.streams.first?.body.isEmpty == true, "\(simulation.replay)")
            server.streams.first?.resume()
            #expect(simulation.run(until: { call.isOver }), "\(simulation.replay)")
            #expect(call.received == body, "\(simulation.replay)")
            _ = client
        }
    }

    @Test func `framed streams do not wait for each other`() throws {
        let simulation = Simulation(seed: 1)
        let server = try EchoServer(.framed, in: simulation)
        let slow = Call(body: [[1]], holdsLast: true)
        let quick = Call(body: [[2]])
        let client = try CodecClient(
            .framed,
            to: server.address,
            in: simulation,
            calls: [slow, quick],
            atOnce: true
        )
        #expect(simulation.run(until: { quick.isOver }))
        #expect(!slow.isOver)
        slow.finish()
        #expect(simulation.run(until: { slow.isOver }))
        #expect(slow.received == [1] && quick.received == [2])
        #expect(server.connections == 1)
        _ = client
    }
}

enum Wire: CaseIterable, Sendable {
    case http1, framed

    static var settings: HTTP1Settings {
        var settings = HTTP1Settings()
        settings.enableTrailers = true
        return settings
    }
}

// MARK: - The server

/// Answers each request with its own body.
final class EchoServer: ListenerDelegate {
    let address = SocketAddress.ip(IPAddress(ipv4: 0x0A01_0001), port: 80)
    var streams: [EchoStream] = []
    var connections = 0
    let wire: Wire
    let pausesAtHead: Bool
    private let loop: EventLoop
    private var listener: Listener?
    private var open: [CodecServerConnection] = []

    init(_ wire: Wire, in simulation: Simulation, pausesAtHead: Bool = false) throws {
        self.wire = wire
        self.pausesAtHead = pausesAtHead
        loop = simulation.makeLoop()
        let socket = try loop.system.listen(on: address, options: ListenOptions())
        listener = try Listener(socket: socket, loop: loop, delegate: self)
    }

    func accepted(_ socket: Socket, from address: SocketAddress) {
        connections += 1
        let served = CodecServerConnection(self)
        open.append(served)
        let connection = Connection(accepted: socket, loop: loop, secure: nil, delegate: served)
        try? connection.start()
    }

    func acceptExhausted(_ error: SystemError) {}
}

final class CodecServerConnection: ConnectionDelegate, ServerCodecDelegate {
    private let server: EchoServer
    private var connection: Connection?
    private var codec: (any ServerCodec)?

    init(_ server: EchoServer) { self.server = server }

    func connectionEstablished(_ connection: Connection) {
        self.connection = connection
        codec =
            switch server.wire {
            case .http1:
                HTTP1ServerCodec(sink: connection, delegate: self, settings: Wire.settings)
            case .framed: FramedServerCodec(sink: connection, delegate: self)
            }
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        codec?.received(bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { codec?.receivedEnd() }
    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        codec?.connectionClosed(.connectionTermination)
        codec = nil
        self.connection = nil
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        let echo = EchoStream(stream, pausesAtHead: server.pausesAtHead)
        server.streams.append(echo)
        return echo
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }
}

final class EchoStream: ServerStreamDelegate {
    var body: [UInt8] = []
    /// How often the stream was told that it is over.
    var endings = 0
    private let stream: any ServerStream
    private let pausesAtHead: Bool
    private let head = HeaderMap()

    init(_ stream: any ServerStream, pausesAtHead: Bool) {
        self.stream = stream
        self.pausesAtHead = pausesAtHead
    }

    func resume() { stream.resumeReading() }

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        if pausesAtHead { stream.pauseReading() }
        if endStream { answer(trailers: nil) }
    }

    func requestData(_ bytes: Bytes, endStream: Bool) {
        body += bytes
        if endStream { answer(trailers: nil) }
    }

    func requestTrailers(_ trailers: HeaderMap) {
        answer(trailers: trailers.string(HeaderName("x-end")))
    }

    private func answer(trailers: String?) {
        head.append(.status, "200")
        stream.sendHead(head, endStream: false)
        body.withUnsafeBytes { stream.sendData($0, endStream: trailers == nil) }
        guard let trailers else { return }
        let map = HeaderMap()
        map.append(HeaderName("x-end"), trailers)
        stream.sendTrailers(map)
    }

    func requestInvalid(_ error: CodecError) {
        endings += 1
        stream.reset(.protocolError)
    }

    func requestReset(_ reason: StreamResetReason) { endings += 1 }
    func responseSent() { endings += 1 }
    func responseBlocked() {}
    func responseUnblocked() {}
}

// MARK: - The client

/// One request and what became of it.
final class Call: ClientStreamDelegate {
    var received: [UInt8] = []
    var status: String?
    var echoedTrailer: String?
    var reset: StreamResetReason?
    var endings = 0
    var isOver: Bool { endings > 0 }
    private let body: [[UInt8]]
    private let trailers: [String: String]
    private let holdsLast: Bool
    private var stream: (any ClientStream)?
    private let head = HeaderMap()

    init(body: [[UInt8]], trailers: [String: String] = [:], holdsLast: Bool = false) {
        self.body = body
        self.trailers = trailers
        self.holdsLast = holdsLast
    }

    func send(on stream: any ClientStream) {
        self.stream = stream
        head.append(.method, "POST")
        head.append(.path, "/echo")
        head.append(.authority, "echo.test")
        stream.sendHead(head, endStream: false)
        for (at, part) in body.enumerated() {
            let isEnd = at == body.count - 1 && trailers.isEmpty && !holdsLast
            part.withUnsafeBytes { stream.sendData($0, endStream: isEnd) }
        }
        if !trailers.isEmpty {
            let map = HeaderMap()
            for (name, value) in trailers { map.append(HeaderName(name), value) }
            stream.sendTrailers(map)
        }
    }

    /// Sends the end that was held back.
    func finish() { stream?.sendData(Bytes(start: nil, count: 0), endStream: true) }

    func responseInformational(_ head: HeaderMap) {}

    func responseHead(_ head: HeaderMap, endStream: Bool) {
        status = head.string(.status)
        if endStream { endings += 1 }
    }

    func responseData(_ bytes: Bytes, endStream: Bool) {
        received += bytes
        if endStream { endings += 1 }
    }

    func responseTrailers(_ trailers: HeaderMap) {
        echoedTrailer = trailers.string(HeaderName("x-end"))
        endings += 1
    }

    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        reset = reason
        endings += 1
    }

    func requestBlocked() {}
    func requestUnblocked() {}
}

/// Makes calls over one connection, one after another or all at once.
final class CodecClient: ConnectionDelegate, ClientCodecDelegate, DeferredWork {
    private let wire: Wire
    private let loop: EventLoop
    private let atOnce: Bool
    private var waiting: ArraySlice<Call>
    private var connection: Connection?
    private var codec: (any ClientCodec)?

    init(
        _ wire: Wire,
        to address: SocketAddress,
        in simulation: Simulation,
        calls: [Call],
        atOnce: Bool = false
    ) throws {
        self.wire = wire
        self.atOnce = atOnce
        waiting = calls[...]
        loop = simulation.makeLoop()
        connection = try Connection.connect(
            to: address,
            options: SocketOptions(),
            loop: loop,
            secure: nil,
            timeout: nil,
            delegate: self
        )
    }

    func connectionEstablished(_ connection: Connection) {
        codec =
            switch wire {
            case .http1:
                HTTP1ClientCodec(sink: connection, delegate: self, settings: Wire.settings)
            case .framed: FramedClientCodec(sink: connection, delegate: self)
            }
        runDeferred()
    }

    func runDeferred() {
        repeat {
            guard let codec, codec.streamsAvailable > 0, let call = waiting.popFirst() else {
                return
            }
            call.send(on: codec.openStream(call))
        } while atOnce
    }

    func streamEnded(reusable: Bool) {
        if waiting.isEmpty, !atOnce {
            connection?.closeAfterFlush()
        } else {
            loop.deferWork(self)
        }
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        codec?.received(bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { codec?.receivedEnd() }
    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        let codec = codec
        self.codec = nil
        self.connection = nil
        codec?.connectionClosed(.connectionTermination)
        // Calls that never got a stream end here.
        while let call = waiting.popFirst() {
            call.responseReset(.remoteConnectionFailure, detail: "no connection")
        }
    }
}
