import MeshLoad
import MeshNet
import MeshSimulation
import Testing

/// The floor is a relay all the same: whole in both directions, to both ends, with bounded memory.
@Suite struct RelayTests {
    private static func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 & 0xFF) } }

    /// A relay that leads to `upstream`; with files, TLS lies between two of them.
    private static func relay(
        _ simulation: Simulation,
        to upstream: SocketAddress,
        tls files: LoadFiles? = nil
    ) throws -> Relay {
        let anywhere = SocketAddress.ip(IPAddress(ipv4: 0x0A02_0001), port: 0)
        guard let files else {
            let relay = try Relay(loop: simulation.makeLoop(), listen: anywhere, upstream: upstream)
            simulation.keep(relay)
            return relay
        }
        let inner = try Relay(
            loop: simulation.makeLoop(),
            listen: anywhere,
            upstream: upstream,
            downstreamTLS: try LoadTLS.server(files.server, alpn: [])
        )
        let outer = try Relay(
            loop: simulation.makeLoop(),
            listen: anywhere,
            upstream: inner.address,
            upstreamTLS: try LoadTLS.client(files.client, alpn: []),
            serverName: files.client.serverName
        )
        simulation.keep(inner)
        simulation.keep(outer)
        return outer
    }

    @Test(arguments: Simulation.seeds(5), [false, true])
    func `each direction ends by itself`(seed: UInt64, isSecure: Bool) throws {
        let files = isSecure ? try LoadFiles() : nil
        let simulation = Simulation(seed: seed)
        simulation.network.conditions = { .rough(using: &$1) }
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [[.awaitEnd, .send(Self.bytes(4000)), .wait(.seconds(1)), .close]]
        )
        let relay = try Self.relay(simulation, to: server.address, tls: files)
        let client = ScriptedPeer(
            connectingTo: relay.address,
            in: simulation,
            script: [.send(Self.bytes(3000)), .halfClose, .awaitEnd, .close]
        )
        #expect(simulation.run(until: { client.isClosed }), "\(simulation.replay)")
        #expect(server.connections.first?.received == Self.bytes(3000), "\(simulation.replay)")
        #expect(server.connections.first?.ending == .finished)
        #expect(client.received == Self.bytes(4000) && client.ending == .finished)
        #expect(simulation.run(until: { relay.sessions == 0 }), "a session is left")
    }

    @Test(arguments: [false, true])
    func `a side that does not read stops the other from being read`(isSecure: Bool) throws {
        let files = isSecure ? try LoadFiles() : nil
        let simulation = Simulation(seed: 1)
        let text = [UInt8](repeating: 7, count: 6 << 20)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [
                [.pauseReading, .wait(.seconds(100)), .resumeReading, .awaitEnd, .close]
            ]
        )
        let relay = try Self.relay(simulation, to: server.address, tls: files)
        let client = ScriptedPeer(
            connectingTo: relay.address,
            in: simulation,
            script: [.send(text), .halfClose, .awaitEnd, .close]
        )
        simulation.run(for: .seconds(90))
        #expect(!client.isDone, "6 MiB went somewhere")
        #expect(simulation.run(until: { client.isClosed }))
        #expect(server.connections.first?.received == text)
    }

    @Test(arguments: Simulation.seeds(5))
    func `what breaks at one end breaks at the other`(seed: UInt64) throws {
        let simulation = Simulation(seed: seed)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [[.awaitBytes(5), .abort], [.send("some"), .awaitEnd, .close]]
        )
        let relay = try Self.relay(simulation, to: server.address)
        let cut = ScriptedPeer(
            connectingTo: relay.address,
            in: simulation,
            script: [.send("12345"), .awaitEnd, .close]
        )
        #expect(simulation.run(until: { cut.isClosed }), "\(simulation.replay)")
        #expect(cut.ending == .reset)
        let cutter = ScriptedPeer(
            connectingTo: relay.address,
            in: simulation,
            script: [.awaitText("some"), .abort]
        )
        let hasHeard = simulation.run(until: { server.connections.last?.ending == .reset })
        #expect(hasHeard && cutter.isClosed, "\(simulation.replay)")
        #expect(simulation.run(until: { relay.sessions == 0 }), "a session is left")
    }

    @Test func `where the upstream cannot be reached the client is refused`() throws {
        let simulation = Simulation(seed: 1)
        let relay = try Self.relay(simulation, to: .ip(IPAddress(ipv4: 0x0A09_0909), port: 9))
        let client = ScriptedPeer(
            connectingTo: relay.address,
            in: simulation,
            script: [.awaitEnd, .close]
        )
        #expect(simulation.run(until: { client.isClosed }))
        #expect(client.ending == .reset)
        #expect(simulation.run(until: { relay.sessions == 0 }))
    }
}
