import MeshHTTP
import MeshNet
import MeshProxy
import MeshSimulation
import Testing

/// Whole agents with many streams on each connection, over networks that cut and delay.
struct HTTP2AgentTests {
    private let piece = (0..<300).map { UInt8(truncatingIfNeeded: $0) }

    @Test(arguments: [1, 4])
    func `streams that share connections pass whole while others are given up`(workers: Int) {
        simulate(seeds: 4) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(.http2, in: simulation)
            service.delay = .milliseconds(5)
            let agent = try SimulatedAgent(
                AgentText.file(route: #", "timeout": "0s""#),
                in: simulation,
                workers: workers,
                wire: .http2
            )
            let calls = (0..<16).map { SimulatedCall("/\($0)", body: [piece, [UInt8($0)]]) }
            let callers = try [calls[0..<8], calls[8..<16]].map {
                try SimulatedCaller(
                    .http2,
                    to: SimulatedAgent.address,
                    in: simulation,
                    calls: Array($0),
                    atOnce: true
                )
            }
            // Every third is given up, at any time, be it before it was sent.
            for at in stride(from: 0, to: 16, by: 3) {
                let wait = Int64.random(in: 0...40, using: &simulation.network.generator)
                simulation.run(for: .milliseconds(wait))
                calls[at].abandon()
            }
            let kept = calls.indices.filter { $0 % 3 != 0 }
            simulation.run(until: { kept.allSatisfy { calls[$0].isOver } })
            for at in kept {
                let isWhole = calls[at].isAnswered && calls[at].received == piece + [UInt8(at)]
                #expect(isWhole, "call \(at); \(simulation.replay)")
            }
            for caller in callers { caller.close() }
            simulation.run(for: .seconds(30))
            agent.expectIdle(simulation)
            #expect(agent.stat("http2.streams_active") == 0, "\(simulation.replay)")
            #expect(agent.stat("cluster.up.http2.streams_active") == 0, "\(simulation.replay)")
            #expect(agent.stat("cluster.up.http2.pending_send_bytes") == 0, "\(simulation.replay)")
        }
    }

    @Test func `an upstream that breaks under many streams fails each of them once and honestly`() {
        simulate(seeds: 8, breakUnderStreams)
    }

    private func breakUnderStreams(_ simulation: Simulation) throws {
        let service = try SimulatedService(.http2, in: simulation)
        let upstream = service.address
        let position = Int.random(in: 0...4000, using: &simulation.network.generator)
        simulation.network.conditions = { address, _ in
            var conditions = LinkConditions()
            conditions.segmentBytesMax = 700
            if address == upstream { conditions.resetAfter = (.toClient, position) }
            return conditions
        }
        let agent = try SimulatedAgent(AgentText.file(), in: simulation, wire: .http2)
        let calls = (0..<8).map { SimulatedCall("/\($0)", body: [piece]) }
        let caller = try SimulatedCaller(
            .http2,
            to: SimulatedAgent.address,
            in: simulation,
            calls: calls,
            atOnce: true
        )
        simulation.run(until: { calls.allSatisfy { $0.isOver } })
        for at in 0..<8 {
            #expect(isHonest(calls[at]), "call \(at); \(simulation.replay)")
            #expect(calls[at].endings == 1, "call \(at); \(simulation.replay)")
        }
        caller.close()
        simulation.run(for: .seconds(30))
        agent.expectIdle(simulation)
        #expect(agent.logLines().count == 8, "\(simulation.replay)")
    }

    /// Whole, refused, or broken off: never completed by guesswork.
    private func isHonest(_ call: SimulatedCall) -> Bool {
        guard call.reset == nil else { return piece.starts(with: call.received) }
        return call.status == "200" ? call.received == piece : call.status == "503"
    }
}
