import MeshNet
import MeshSimulation
import Testing

@testable import Ztunnel

/// Whole agents, client's and server's, over simulated networks with real TLS and HTTP/2.
struct TunnelSimulationTests {
    private func simulate(seeds: Int, _ body: (Simulation) throws -> Void) {
        for seed in Simulation.seeds(seeds) {
            let simulation = Simulation(seed: seed)
            do { try body(simulation) } catch { Issue.record("\(error); \(simulation.replay)") }
        }
    }

    private func client(_ simulation: Simulation, _ script: [ScriptedPeer.Step]) -> ScriptedPeer {
        ScriptedPeer(connectingTo: SimulatedMesh.service, in: simulation, script: script)
    }

    private let letters = (0..<1500).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    private let digits = (0..<2500).map { UInt8(ascii: "0") + UInt8($0 % 10) }

    @Test func `bytes pass whole in both directions over any network`() {
        simulate(seeds: 8) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try ScriptedServer(
                in: simulation,
                port: 8080,
                scripts: [[.awaitBytes(letters.count), .send(digits), .awaitEnd, .close]]
            )
            let mesh = try SimulatedMesh(in: simulation, to: server.address)
            let peer = client(simulation, [.send(letters), .awaitBytes(digits.count), .close])
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.received == digits, "\(simulation.replay)")
            #expect(server.connections.first?.received == letters, "\(simulation.replay)")
            simulation.run(for: .seconds(5))
            mesh.expectIdle(simulation.replay)
        }
    }

    @Test func `each direction ends by itself`() throws {
        simulate(seeds: 4) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try ScriptedServer(
                in: simulation,
                port: 8080,
                scripts: [[.awaitEnd, .wait(.seconds(1)), .send(digits), .close]]
            )
            let mesh = try SimulatedMesh(in: simulation, to: server.address)
            let peer = client(simulation, [.send("question"), .halfClose, .awaitEnd, .close])
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.received == digits, "\(simulation.replay)")
            #expect(peer.ending == .finished, "\(simulation.replay)")
            #expect(server.connections.first?.receivedText == "question")
            #expect(server.connections.first?.ending == .finished, "\(simulation.replay)")
            mesh.expectIdle(simulation.replay)
        }
    }

    @Test func `a burst of clients costs one handshake`() throws {
        let simulation = Simulation(seed: 3)
        let server = try ScriptedServer(
            in: simulation,
            port: 8080,
            scripts: [[.send("hello"), .awaitEnd, .close]]
        )
        let mesh = try SimulatedMesh(in: simulation, to: server.address)
        let peers = (0..<40).map { _ in client(simulation, [.awaitText("hello"), .close]) }
        #expect(simulation.run(until: { peers.allSatisfy(\.isDone) }))
        #expect(mesh.client.pool.connections.count == 1)
        #expect(server.connections.count == 40)
    }

    @Test func `a full connection is joined by a second one`() throws {
        let simulation = Simulation(seed: 3)
        let server = try ScriptedServer(
            in: simulation,
            port: 8080,
            scripts: [[.send("hello"), .awaitEnd, .close]]
        )
        let mesh = try SimulatedMesh(in: simulation, to: server.address) {
            $0.poolStreamsMax = 10
        }
        let peers = (0..<25).map { _ in client(simulation, [.awaitText("hello")]) }
        #expect(simulation.run(until: { peers.allSatisfy(\.isDone) }))
        #expect(mesh.client.pool.connections.count == 3)
        #expect(mesh.client.pool.connections.allSatisfy { $0.tunnels <= 10 })
    }

    @Test func `an unused connection is released`() throws {
        let simulation = Simulation(seed: 4)
        let server = try ScriptedServer(in: simulation, port: 8080, scripts: [[.awaitEnd, .close]])
        let mesh = try SimulatedMesh(in: simulation, to: server.address) {
            $0.poolUnusedRelease = .seconds(60)
        }
        let peer = client(simulation, [.send("x"), .close])
        #expect(simulation.run(until: { peer.isDone }))
        simulation.run(for: .seconds(30))
        #expect(mesh.client.pool.connections.count == 1)
        simulation.run(for: .seconds(40))
        #expect(mesh.client.pool.connections.isEmpty)
    }

    @Test func `who is denied gets no byte through, and a reset`() throws {
        let simulation = Simulation(seed: 5)
        let server = try ScriptedServer(in: simulation, port: 8080, scripts: [[.awaitEnd]])
        let mesh = try SimulatedMesh(
            in: simulation,
            to: server.address,
            policies: """
                [{name: no, namespace: default, scope: Namespace, action: Deny, dryRun: false,
                  rules: [[[{principals: [{Exact: cluster.local/ns/default/sa/client}]}]]]}]
                """
        )
        let peer = client(simulation, [.send("secret"), .awaitEnd])
        #expect(simulation.run(until: { peer.isDone }))
        #expect(peer.ending == .reset)
        #expect(server.connections.isEmpty)
        mesh.expectIdle("")
    }

    @Test func `a policy that no longer allows a connection ends it, and no other`() throws {
        let simulation = Simulation(seed: 6)
        let server = try ScriptedServer(
            in: simulation,
            port: 8080,
            scripts: [[.send("hello"), .awaitEnd]]
        )
        let mesh = try SimulatedMesh(in: simulation, to: server.address)
        let peer = client(simulation, [.awaitText("hello"), .awaitEnd])
        simulation.run(until: { peer.received.count == 5 })
        // Another edit, which forbids nothing of ours.
        mesh.apply(
            try SimulatedMesh.state(
                server.address,
                """
                [{name: no, namespace: default, scope: Namespace, action: Deny, dryRun: false,
                  rules: [[[{destinationPorts: [9999]}]]]}]
                """
            )
        )
        simulation.run(for: .seconds(1))
        #expect(peer.ending == .open)
        mesh.apply(
            try SimulatedMesh.state(
                server.address,
                """
                [{name: no, namespace: default, scope: Namespace, action: Deny, dryRun: false,
                  rules: [[[{destinationPorts: [8080]}]]]}]
                """
            )
        )
        #expect(simulation.run(until: { peer.isDone }))
        #expect(peer.ending == .reset)
        #expect(server.connections.first?.ending == .reset)
        simulation.run(for: .seconds(1))
        mesh.expectIdle("")
    }

    @Test func `a link that breaks under a tunnel resets both ends`() {
        simulate(seeds: 4) { simulation in
            let server = try ScriptedServer(
                in: simulation,
                port: 8080,
                scripts: [[.send(digits), .awaitEnd]]
            )
            let mesh = try SimulatedMesh(in: simulation, to: server.address)
            let gateway = mesh.gateway
            let breakAt = 2500 + Int(simulation.seed) * 500
            simulation.network.conditions = { address, generator in
                var conditions = LinkConditions.calm
                if address == gateway { conditions.resetAfter = (.toClient, breakAt) }
                return conditions
            }
            let peer = client(simulation, [.awaitEnd])
            #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
            #expect(peer.ending == .reset, "\(simulation.replay)")
            #expect(digits.starts(with: peer.received), "\(simulation.replay)")
            simulation.run(until: { server.connections.first?.isDone ?? false })
            #expect(server.connections.first?.ending == .reset, "\(simulation.replay)")
            simulation.run(for: .seconds(1))
            mesh.expectIdle(simulation.replay)
        }
    }

    @Test func `a workload that refuses is a reset for the client`() throws {
        let simulation = Simulation(seed: 8)
        let server = try ScriptedServer(in: simulation, port: 8080, scripts: [[.awaitEnd]])
        server.stopListening()
        let mesh = try SimulatedMesh(in: simulation, to: server.address)
        let peer = client(simulation, [.awaitEnd])
        #expect(simulation.run(until: { peer.isDone }))
        #expect(peer.ending == .reset)
        // The connection between the nodes is as good as before.
        #expect(mesh.client.pool.connections.count == 1)
        mesh.expectIdle("")
    }

    @Test func `a node that does not answer costs ten seconds`() throws {
        let simulation = Simulation(seed: 9)
        let server = try ScriptedServer(in: simulation, port: 8080, scripts: [[.awaitEnd]])
        let mesh = try SimulatedMesh(in: simulation, to: server.address)
        let gateway = mesh.gateway
        simulation.network.conditions = { address, _ in
            var conditions = LinkConditions.calm
            if address == gateway { conditions.opening = .blackhole }
            return conditions
        }
        let peer = client(simulation, [.awaitEnd])
        let start = simulation.clock.now
        #expect(simulation.run(until: { peer.isDone }))
        #expect(peer.ending == .reset)
        let took = simulation.clock.now - start
        #expect(took >= .seconds(10) && took < .seconds(11))
        mesh.expectIdle("")
    }

    @Test func `a reader that has stopped holds up nobody else, and its sender`() throws {
        let simulation = Simulation(seed: 10)
        let flood = [UInt8](repeating: 7, count: 40 << 20)
        let server = try ScriptedServer(
            in: simulation,
            port: 8080,
            scripts: [[.send(flood), .awaitEnd, .close], [.send("hello"), .awaitEnd, .close]]
        )
        let mesh = try SimulatedMesh(in: simulation, to: server.address)
        let stuck = client(simulation, [.pauseReading, .wait(.seconds(120)), .abort])
        simulation.run(for: .seconds(5))
        let quick = client(simulation, [.awaitText("hello"), .close])
        let start = simulation.clock.now
        #expect(simulation.run(until: { quick.isDone }))
        #expect(simulation.clock.now - start < .seconds(1))
        simulation.run(for: .seconds(1))
        #expect(mesh.server.records.count == 1)
        // What is under way is bounded by windows and watermarks, far below what was sent.
        #expect(mesh.server.records.allSatisfy { $0.bytesSent < 20 << 20 })
        #expect(simulation.run(until: { stuck.isDone }))
        simulation.run(for: .seconds(1))
        mesh.expectIdle("")
    }

    @Test func `a drain lets open tunnels end`() throws {
        let simulation = Simulation(seed: 11)
        let server = try ScriptedServer(
            in: simulation,
            port: 8080,
            scripts: [[.send("hello"), .awaitText("bye"), .send("bye"), .close]]
        )
        let mesh = try SimulatedMesh(in: simulation, to: server.address)
        let peer = client(
            simulation,
            [.awaitText("hello"), .wait(.seconds(2)), .send("bye"), .awaitEnd, .close]
        )
        simulation.run(until: { peer.received.count == 5 })
        mesh.server.drain()
        mesh.client.drain()
        #expect(simulation.run(until: { peer.isDone }))
        #expect(peer.receivedText == "hellobye")
        #expect(peer.ending == .finished)
        simulation.run(for: .seconds(5))
        #expect(mesh.server.openConnections == 0)
        #expect(mesh.client.openConnections == 0)
    }
}
