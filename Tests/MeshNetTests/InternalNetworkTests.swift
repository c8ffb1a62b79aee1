import Glibc
import MeshNet
import MeshSimulation
import Testing

/// A listener inside the process that serves what it accepts, or refuses it.
private final class InternalServer: InternalListenerDelegate {
    let loop: EventLoop
    var makeDelegate: () -> RecordingDelegate
    var refuses = false
    var connections: [Connection] = []
    var delegates: [RecordingDelegate] = []
    var passed: AnyObject?

    init(_ loop: EventLoop, _ makeDelegate: @escaping () -> RecordingDelegate) {
        self.loop = loop
        self.makeDelegate = makeDelegate
        loop.internalNetwork.listen(on: "inner", delegate: self)
    }

    func accepted(
        _ socket: Socket,
        of sockets: any Sockets,
        from remote: SocketAddress,
        at address: SocketAddress,
        passed: AnyObject?
    ) {
        self.passed = passed
        if refuses { return sockets.abort(socket) }
        let delegate = makeDelegate()
        let connection = Connection(
            accepted: socket,
            of: sockets,
            loop: loop,
            secure: nil,
            delegate: delegate
        )
        delegates.append(delegate)
        connections.append(connection)
        try? connection.start()
    }
}

private func connect(
    _ loop: EventLoop,
    to name: String = "inner",
    timeout: Nanoseconds? = nil,
    passing passed: AnyObject? = nil,
    _ delegate: RecordingDelegate
) throws -> Connection {
    try Connection.connect(
        to: .internal(listener: name, endpointID: ""),
        options: SocketOptions(),
        loop: loop,
        secure: nil,
        timeout: timeout,
        passing: passed,
        delegate: delegate
    )
}

/// Connections that begin and end on one loop.
struct InternalNetworkTests {
    @Test func `every byte comes back in order through buffers of any size`() {
        simulate { simulation in
            let loop = simulation.makeLoop()
            loop.internalNetwork.capacity = Int.random(
                in: 1...100_000,
                using: &simulation.network.generator
            )
            let server = InternalServer(loop) {
                let delegate = RecordingDelegate()
                delegate.echoes = true
                delegate.answersEndWithClose = true
                return delegate
            }
            let client = RecordingDelegate()
            let connection = try connect(loop, client)
            let sent = pattern(Int.random(in: 1...300_000, using: &simulation.network.generator))
            sent.withUnsafeBytes { connection.write($0) }
            connection.shutdownSending()
            simulation.run(until: { client.isReadEnded })
            #expect(client.received == sent, "\(simulation.replay)")
            connection.closeAfterFlush()
            simulation.run()
            #expect(server.delegates.first?.closed?.name == "local", "\(simulation.replay)")
            #expect(loop.internalNetwork.openEnds == 0, "\(simulation.replay)")
        }
    }

    @Test func `a reader that stands still holds what the buffer has room for, and no more`() {
        simulate(seeds: 3) { simulation in
            let loop = simulation.makeLoop()
            loop.internalNetwork.capacity = 10_000
            let server = InternalServer(loop) { RecordingDelegate() }
            let client = RecordingDelegate()
            let connection = try connect(loop, client)
            simulation.run(until: { client.isEstablished })
            let reader = try #require(server.connections.first)
            reader.pauseReading()
            connection.outputHighWatermark = 5000
            pattern(50_000).withUnsafeBytes { connection.write($0) }
            simulation.run(for: .seconds(1))
            #expect(connection.bufferedBytes == 40_000)
            #expect(client.blocks == 1 && client.unblocks == 0)
            reader.resumeReading()
            simulation.run(for: .seconds(1))
            #expect(server.delegates[0].received == pattern(50_000))
            #expect(client.unblocks == 1 && connection.bufferedBytes == 0)
        }
    }

    @Test func `each direction ends by itself`() {
        simulate(seeds: 3) { simulation in
            let loop = simulation.makeLoop()
            let server = InternalServer(loop) { RecordingDelegate() }
            let client = RecordingDelegate()
            let connection = try connect(loop, client)
            connection.shutdownSending()
            simulation.run(until: { server.delegates.first?.isReadEnded == true })
            let far = try #require(server.connections.first)
            pattern(3).withUnsafeBytes { far.write($0) }
            far.closeAfterFlush()
            simulation.run(until: { client.isReadEnded })
            #expect(client.received.count == 3)
            #expect(client.closed == nil)
            connection.closeAfterFlush()
            simulation.run()
            #expect(loop.internalNetwork.openEnds == 0)
        }
    }

    @Test func `a reset is heard after what was sent before it`() {
        simulate(seeds: 3) { simulation in
            let loop = simulation.makeLoop()
            let server = InternalServer(loop) { RecordingDelegate() }
            let client = RecordingDelegate()
            let connection = try connect(loop, client)
            simulation.run(until: { client.isEstablished })
            pattern(1000).withUnsafeBytes { server.connections[0].write($0) }
            connection.pauseReading()
            simulation.run(for: .milliseconds(1))
            server.connections[0].abort()
            simulation.run(for: .milliseconds(1))
            connection.resumeReading()
            simulation.run()
            #expect(client.received == pattern(1000))
            #expect(client.closed?.name == "reset")
            #expect(loop.internalNetwork.openEnds == 0)
        }
    }

    @Test func `a reset after a flush comes behind all that was written`() {
        simulate(seeds: 3) { simulation in
            let loop = simulation.makeLoop()
            loop.internalNetwork.capacity = 3000
            let server = InternalServer(loop) { RecordingDelegate() }
            let client = RecordingDelegate()
            _ = try connect(loop, client)
            simulation.run(until: { client.isEstablished })
            pattern(50_000).withUnsafeBytes { server.connections[0].write($0) }
            server.connections[0].abortAfterFlush()
            simulation.run()
            #expect(client.received.count == 50_000)
            #expect(client.closed?.name == "reset")
            #expect(loop.internalNetwork.openEnds == 0)
        }
    }

    @Test func `who listens may refuse, and nobody may listen`() {
        simulate(seeds: 1) { simulation in
            let loop = simulation.makeLoop()
            let server = InternalServer(loop) { RecordingDelegate() }
            server.refuses = true
            let client = RecordingDelegate()
            let connection = try connect(loop, client)
            #expect(client.closed == nil, "told from inside the call")
            simulation.run()
            #expect(client.closed?.name == "connectFailed" && !client.isEstablished)
            #expect(connection.transportFailureReason == "Invalid argument")
            #expect(throws: SystemError.self) { try connect(loop, to: "nobody", client) }
            #expect(loop.internalNetwork.openEnds == 0)
        }
    }

    @Test func `who gives up before he was accepted leaves nothing behind`() {
        simulate(seeds: 1) { simulation in
            let loop = simulation.makeLoop()
            let server = InternalServer(loop) { RecordingDelegate() }
            try connect(loop, RecordingDelegate()).close()
            simulation.run()
            #expect(server.connections.isEmpty && loop.internalNetwork.openEnds == 0)
        }
    }

    @Test func `what is passed arrives with the connection, and so do the addresses`() {
        simulate(seeds: 1) { simulation in
            let loop = simulation.makeLoop()
            let server = InternalServer(loop) { RecordingDelegate() }
            let client = RecordingDelegate()
            let connection = try connect(loop, passing: client, client)
            simulation.run(until: { client.isEstablished })
            #expect(server.passed === client)
            #expect(server.connections[0].localAddress?.description == "envoy://inner/")
            #expect(connection.localAddress == .internalClient)
        }
    }
}
