import MeshHTTP
import MeshNet
import MeshSimulation
import Testing

/// What every pair of codecs must do, whatever their wire: the same claims for HTTP/1.1, HTTP/2 and the
/// codec that only tests speak, over networks that cut, delay, stall and break.
struct CodecPairTests {
    @Test(arguments: Wire.allCases)
    func `a request and its response pass whole over any network`(wire: Wire) throws {
        for seed in Simulation.seeds(25) {
            let simulation = Simulation(seed: seed)
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try SimulatedService(wire, in: simulation)
            let body = Array("some body that is cut in many places".utf8)
            let call = SimulatedCall(body: [body, body, body], trailers: ["x-end": "1"])
            let client = try SimulatedCaller(
                wire,
                to: server.address,
                in: simulation,
                calls: [call]
            )
            #expect(simulation.run(until: { call.isOver }), "\(simulation.replay)")
            #expect(call.status == "200", "\(simulation.replay)")
            #expect(call.received == body + body + body, "\(simulation.replay)")
            #expect(call.trailers["x-end"] == "1", "\(simulation.replay)")
            #expect(call.reset == nil)
            _ = client
        }
    }

    @Test(arguments: Wire.allCases)
    func `requests follow each other on one connection`(wire: Wire) throws {
        for seed in Simulation.seeds(10) {
            let simulation = Simulation(seed: seed)
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let server = try SimulatedService(wire, in: simulation)
            let calls = (0..<5).map { SimulatedCall(body: [Array("request \($0)".utf8)]) }
            let client = try SimulatedCaller(wire, to: server.address, in: simulation, calls: calls)
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
        for position in stride(from: 0, to: 260, by: 5) {
            for direction in [LinkConditions.Direction.toServer, .toClient] {
                let simulation = Simulation(seed: UInt64(position))
                simulation.network.conditions = { _, _ in
                    var conditions = LinkConditions()
                    conditions.segmentBytesMax = 20
                    conditions.resetAfter = (direction, position)
                    return conditions
                }
                let server = try SimulatedService(wire, in: simulation)
                let call = SimulatedCall(body: [Array(repeating: 0x61, count: 100)])
                let client = try SimulatedCaller(
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
            let server = try SimulatedService(wire, in: simulation)
            server.pausesAtHead = true
            let body = Array(repeating: UInt8(0x62), count: 5000)
            let call = SimulatedCall(body: [body])
            let client = try SimulatedCaller(
                wire,
                to: server.address,
                in: simulation,
                calls: [call]
            )
            simulation.run(until: { !server.streams.isEmpty })
            simulation.run(for: .seconds(30))
            #expect(server.streams.first?.body.isEmpty == true, "\(simulation.replay)")
            server.streams.first?.resume()
            #expect(simulation.run(until: { call.isOver }), "\(simulation.replay)")
            #expect(call.received == body, "\(simulation.replay)")
            _ = client
        }
    }

    @Test(arguments: [Wire.framed, .http2])
    func `streams that share a connection do not wait for each other`(wire: Wire) throws {
        let simulation = Simulation(seed: 1)
        let server = try SimulatedService(wire, in: simulation)
        let slow = SimulatedCall(body: [[1]], holdsLast: true)
        let quick = SimulatedCall(body: [[2]])
        let client = try SimulatedCaller(
            wire,
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
