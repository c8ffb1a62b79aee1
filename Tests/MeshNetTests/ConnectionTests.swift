import MeshNet
import MeshSimulation
import Testing

struct ConnectionTests {
    private func echo() -> RecordingDelegate {
        let delegate = RecordingDelegate()
        delegate.echoes = true
        delegate.answersEndWithClose = true
        return delegate
    }

    @Test func `an echo returns every byte in order over any network that does not break`() {
        simulate(seeds: 40) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try RecordingServer(in: simulation, delegate: echo)
            let sent = pattern(Int.random(in: 1...2000, using: &simulation.network.generator))
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.send(sent), .awaitBytes(sent.count), .halfClose, .awaitEnd, .close]
            )
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            simulation.run()
            #expect(peer.received == sent, "\(simulation.replay)")
            #expect(peer.ending == .finished, "\(simulation.replay)")
            #expect(simulation.network.openConnections == 0, "\(simulation.replay)")
        }
    }

    @Test func `a small message arrives whole however it is cut`() {
        simulate(seeds: 10) { simulation in
            simulation.network.conditions = { _, _ in .bytewise }
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.echoes = true
                return delegate
            }
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.send("every byte alone"), .awaitText("alone"), .close]
            )
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.receivedText == "every byte alone", "\(simulation.replay)")
        }
    }

    @Test func `bytes that were not consumed are offered again with what follows`() {
        simulate { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.appetite = 3
                return delegate
            }
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: (0..<100).flatMap { _ in [.send("0123456789"), .wait(.milliseconds(5))] }
            )
            simulation.run(until: { peer.isDone && peer.isClosed }, limit: .seconds(5))
            let taken = try #require(server.delegates.first).received
            let all = Array(String(repeating: "0123456789", count: 100).utf8)
            #expect(taken.count >= 100, "\(simulation.replay)")
            #expect(taken.elementsEqual(all.prefix(taken.count)), "\(simulation.replay)")
        }
    }

    @Test func `a reset after any number of bytes closes both sides exactly once`() {
        let sent = pattern(200)
        for position in 0..<200 {
            simulate(seeds: 1) { simulation in
                simulation.network.conditions = { _, _ in
                    var conditions = LinkConditions()
                    conditions.segmentBytesMax = 16
                    conditions.resetAfter = (.toServer, position)
                    return conditions
                }
                let server = try RecordingServer(in: simulation, delegate: echo)
                let peer = ScriptedPeer(
                    connectingTo: server.address,
                    in: simulation,
                    script: [.send(sent), .awaitEnd]
                )
                simulation.run(until: { peer.isDone })
                simulation.run()
                let delegate = try #require(server.delegates.first)
                #expect(delegate.closed?.name == "reset", "at byte \(position)")
                #expect(delegate.received.count <= position, "at byte \(position)")
                #expect(peer.ending == .reset, "at byte \(position)")
            }
        }
    }

    @Test func `a refused connect is reported with its reason`() {
        simulate(seeds: 3) { simulation in
            let loop = simulation.makeLoop()
            let delegate = RecordingDelegate()
            let nobody = SocketAddress.ip(IPAddress(ipv4: 0x0A63_0001), port: 1)
            let connection = try Connection.connect(
                to: nobody,
                options: SocketOptions(),
                loop: loop,
                secure: nil,
                timeout: .seconds(1),
                delegate: delegate
            )
            simulation.run()
            #expect(delegate.closed?.name == "connectFailed", "\(simulation.replay)")
            #expect(!connection.transportFailureReason.isEmpty)
            #expect(!delegate.isEstablished)
            #expect(simulation.network.openConnections == 0)
        }
    }

    @Test func `a connect without an answer ends at its timeout`() {
        simulate(seeds: 3) { simulation in
            simulation.network.conditions = { _, _ in
                var conditions = LinkConditions()
                conditions.opening = .blackhole
                return conditions
            }
            let loop = simulation.makeLoop()
            let delegate = RecordingDelegate()
            let start = simulation.clock.now
            _ = try Connection.connect(
                to: .ip(IPAddress(ipv4: 0x0A63_0001), port: 1),
                options: SocketOptions(),
                loop: loop,
                secure: nil,
                timeout: .milliseconds(250),
                delegate: delegate
            )
            simulation.run()
            #expect(delegate.closed?.name == "connectTimeout")
            let waited = simulation.clock.now - start
            #expect(waited >= .milliseconds(250) && waited < .milliseconds(260))
        }
    }

    @Test func `output that the peer does not read blocks the writer and unblocks it later`() {
        simulate(seeds: 5) { simulation in
            simulation.network.conditions = { _, _ in
                var conditions = LinkConditions()
                conditions.sendBufferBytes = 1000
                conditions.receiveBufferBytes = 1000
                return conditions
            }
            let bytes = pattern(100_000)
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { connection in
                    connection.outputHighWatermark = 10_000
                    bytes.withUnsafeBytes { connection.output.append($0) }
                    connection.outputGrew()
                }
                return delegate
            }
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [
                    .pauseReading, .wait(.seconds(1)), .resumeReading,
                    .awaitBytes(bytes.count), .close,
                ]
            )
            simulation.run(until: { server.delegates.first?.blocks == 1 })
            #expect(server.delegates.first?.unblocks == 0)
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.received == bytes)
            #expect(server.delegates.first?.unblocks == 1)
        }
    }

    @Test(arguments: [0, 100_000])
    func `a peer that has ended and then resets is gone, whatever is still to be sent to it`(
        _ unsent: Int
    ) {
        simulate(seeds: 10) { simulation in
            simulation.network.conditions = { _, _ in
                var conditions = LinkConditions()
                conditions.sendBufferBytes = 1000
                conditions.receiveBufferBytes = 1000
                return conditions
            }
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { connection in
                    pattern(unsent).withUnsafeBytes { connection.output.append($0) }
                    connection.outputGrew()
                }
                return delegate
            }
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [
                    .pauseReading, .halfClose, .wait(.milliseconds(100)), .abort,
                ]
            )
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            simulation.run()
            let delegate = try #require(server.delegates.first)
            #expect(delegate.isReadEnded, "\(simulation.replay)")
            guard case .reset = delegate.closed else {
                Issue.record("closed: \(String(describing: delegate.closed)), \(simulation.replay)")
                return
            }
            #expect(simulation.network.openConnections == 0, "\(simulation.replay)")
        }
    }

    @Test func `large pieces, which skip the queue, and small ones arrive in the order of writing`()
    {
        simulate(seeds: 4) { simulation in
            simulation.network.conditions = { _, generator in
                var conditions = LinkConditions()
                conditions.sendBufferBytes = Int.random(in: 1000...30_000, using: &generator)
                conditions.segmentBytesMax = Int.random(in: 500...9000, using: &generator)
                return conditions
            }
            let sizes = [16_384, 1, 20_000, 16_383, 3]
            let pieces = sizes.enumerated().map { at, size in
                pattern(size).map { $0 &+ UInt8(at) }
            }
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { connection in
                    for piece in pieces { piece.withUnsafeBytes { connection.write($0) } }
                }
                return delegate
            }
            let sent = pieces.flatMap { $0 }
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.awaitBytes(sent.count), .close]
            )
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.received == sent, "\(simulation.replay)")
            #expect(server.connections.first?.bytesSent == UInt64(sent.count))
        }
    }

    @Test func `reading stops while it is paused and goes on afterwards`() {
        simulate { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { $0.pauseReading() }
                return delegate
            }
            let sent = pattern(3000)
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.send(sent), .halfClose]
            )
            simulation.run(until: { peer.isDone && server.connections.count == 1 })
            simulation.run(for: .seconds(20))
            let delegate = try #require(server.delegates.first)
            #expect(delegate.received.isEmpty, "\(simulation.replay)")
            #expect(!delegate.isReadEnded, "\(simulation.replay)")
            server.connections.first?.resumeReading()
            simulation.run(until: { delegate.isReadEnded })
            #expect(delegate.received == sent, "\(simulation.replay)")
            #expect(delegate.isReadEnded, "\(simulation.replay)")
        }
    }

    @Test func `a closing connection delivers its output before FIN`() {
        simulate { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let bytes = pattern(5000)
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { connection in
                    bytes.withUnsafeBytes { connection.output.append($0) }
                    connection.outputGrew()
                    connection.closeAfterFlush()
                }
                return delegate
            }
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.send("unwanted"), .awaitEnd, .close]
            )
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.received == bytes, "\(simulation.replay)")
            #expect(peer.ending == .finished, "\(simulation.replay)")
            simulation.run()
            #expect(server.delegates.first?.closed?.name == "local")
            #expect(simulation.network.openConnections == 0, "\(simulation.replay)")
        }
    }

    @Test func `a closing connection waits for the peer's FIN no longer than it may`() {
        simulate(seeds: 3) { simulation in
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { $0.closeAfterFlush() }
                return delegate
            }
            let start = simulation.clock.now
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.wait(.seconds(30)), .close]
            )
            simulation.run(until: { server.delegates.first?.closed != nil })
            let waited = simulation.clock.now - start
            #expect(waited >= .seconds(1) && waited < .milliseconds(1010))
            simulation.run()
            #expect(peer.isDone)
        }
    }

    @Test func `a closing connection ends by RST when its peer takes nothing for too long`() {
        simulate(seeds: 5) { simulation in
            simulation.network.conditions = { _, _ in
                var conditions = LinkConditions()
                conditions.sendBufferBytes = 1000
                conditions.receiveBufferBytes = 1000
                return conditions
            }
            let bytes = pattern(100_000)
            let server = try RecordingServer(in: simulation) {
                let delegate = RecordingDelegate()
                delegate.onEstablished = { connection in
                    connection.closingStallMax = .seconds(5)
                    bytes.withUnsafeBytes { connection.output.append($0) }
                    connection.outputGrew()
                    connection.closeAfterFlush()
                }
                return delegate
            }
            let start = simulation.clock.now
            // Four seconds without a byte are borne, twice; seven are not.
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [
                    .pauseReading, .wait(.seconds(4)), .resumeReading, .awaitBytes(10_000),
                    .pauseReading, .wait(.seconds(4)), .resumeReading, .awaitBytes(20_000),
                    .pauseReading, .wait(.seconds(7)), .resumeReading, .awaitEnd,
                    .close,
                ]
            )
            simulation.run(until: { server.delegates.first?.closed != nil })
            let waited = simulation.clock.now - start
            #expect(waited >= .seconds(13) && waited < .seconds(14), "\(simulation.replay)")
            #expect(server.connections.first?.hasTimedOutClosing == true)
            simulation.run()
            #expect(peer.ending == .reset, "\(simulation.replay)")
            #expect(simulation.network.openConnections == 0, "\(simulation.replay)")
        }
    }
}
