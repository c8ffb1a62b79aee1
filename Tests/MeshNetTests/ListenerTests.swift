import MeshNet
import MeshSimulation
import Testing

struct ListenerTests {
    @Test func `every one of many connections is accepted`() {
        simulate(seeds: 5) { simulation in
            let server = try RecordingServer(in: simulation) { RecordingDelegate() }
            let peers = (0..<300).map { _ in
                ScriptedPeer(
                    connectingTo: server.address,
                    in: simulation,
                    script: [.send("x"), .close]
                )
            }
            simulation.run()
            let done = peers.count { $0.isDone }
            #expect(done == peers.count, "\(simulation.replay)")
            #expect(server.delegates.count == 300, "\(simulation.replay)")
            let served = server.delegates.count { $0.received == [0x78] }
            #expect(served == 300, "\(simulation.replay)")
        }
    }

    @Test func `accepting goes on after descriptors ran out`() {
        simulate(seeds: 5) { simulation in
            let server = try RecordingServer(in: simulation) { RecordingDelegate() }
            simulation.network.acceptsExhausted = 3
            let peers = (0..<10).map { _ in
                ScriptedPeer(
                    connectingTo: server.address,
                    in: simulation,
                    script: [.send("x"), .close]
                )
            }
            simulation.run()
            #expect(server.exhausted == 3, "\(simulation.replay)")
            #expect(server.delegates.count == 10, "\(simulation.replay)")
            let done = peers.count { $0.isDone }
            #expect(done == peers.count, "\(simulation.replay)")
        }
    }

    @Test func `a closed listener refuses`() {
        simulate(seeds: 3) { simulation in
            let server = try RecordingServer(in: simulation) { RecordingDelegate() }
            server.stopListening()
            let peer = ScriptedPeer(
                connectingTo: server.address,
                in: simulation,
                script: [.send("x"), .awaitEnd]
            )
            simulation.run()
            #expect(peer.ending == .refused, "\(simulation.replay)")
            #expect(simulation.network.openSockets == 1, "only the refused client's own socket")
        }
    }
}
