import MeshHTTP
import MeshNet
import MeshProxy
import MeshSimulation
import Testing

/// Whole agents over simulated networks: downstream codec, connection manager, router, pool, upstream
/// codec, on one worker and on four.
struct AgentTests {
    private let body = (0..<60).map { UInt8(ascii: "a") + UInt8($0 % 26) }

    @Test(arguments: [1, 4], SimulatedAgent.wires)
    func `requests pass whole over any network`(workers: Int, wire: Wire) {
        simulate(seeds: 6) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(wire, in: simulation)
            let agent = try SimulatedAgent(
                AgentText.file(route: #", "timeout": "0s""#),
                in: simulation,
                workers: workers,
                wire: wire
            )
            let calls = (0..<6).map { SimulatedCall("/\($0)", body: [body, [UInt8($0)], body]) }
            let callers = try [calls[0..<3], calls[3..<6]].map {
                try SimulatedCaller(
                    wire,
                    to: SimulatedAgent.address,
                    in: simulation,
                    calls: Array($0)
                )
            }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            for (at, call) in calls.enumerated() {
                #expect(call.status == "200", "call \(at); \(simulation.replay)")
                #expect(call.received == body + [UInt8(at)] + body, "\(simulation.replay)")
            }
            #expect(service.streams.count == 6, "\(simulation.replay)")
            simulation.run(until: { callers.allSatisfy { $0.isClosed } })
            simulation.run(for: .seconds(30))
            agent.expectIdle(simulation)
            #expect(agent.logLines().count == 6, "\(simulation.replay)")
        }
    }

    @Test func `a response cut at every byte arrives as it was`() throws {
        let simulation = Simulation(seed: 5)
        simulation.network.conditions = { _, _ in .bytewise }
        _ = try SimulatedService(.http1, in: simulation)
        let agent = try SimulatedAgent(AgentText.file(), in: simulation)
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send("POST /x HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello"),
                .awaitText("0\r\n\r\n"), .close,
            ]
        )
        #expect(simulation.run(until: { peer.isDone }), "\(peer.receivedText)")
        #expect(peer.receivedText.hasPrefix("HTTP/1.1 200 OK\r\n"))
        let letters = peer.receivedText.components(after: "\r\n\r\n").filter { $0.isLetter }
        #expect(String(letters) == "hello")
        simulation.run(for: .seconds(5))
        agent.expectIdle(simulation)
    }

    @Test(arguments: SimulatedAgent.wires)
    func `an upstream that breaks at any byte gives a whole answer or an honest failure`(
        wire: Wire
    ) throws {
        for direction in [LinkConditions.Direction.toServer, .toClient] {
            for position in stride(from: 0, to: 320, by: 11) {
                let simulation = Simulation(seed: UInt64(position))
                let service = try SimulatedService(wire, in: simulation)
                let upstream = service.address
                simulation.network.conditions = { address, _ in
                    var conditions = LinkConditions()
                    conditions.segmentBytesMax = 30
                    if address == upstream { conditions.resetAfter = (direction, position) }
                    return conditions
                }
                let agent = try SimulatedAgent(AgentText.file(), in: simulation, wire: wire)
                let call = SimulatedCall(body: [body])
                let caller = try SimulatedCaller(
                    wire,
                    to: SimulatedAgent.address,
                    in: simulation,
                    calls: [call]
                )
                simulation.run(until: { call.isOver })
                #expect(call.endings == 1, "\(wire), \(direction) \(position)")
                let isWhole = call.status == "200" && call.received == body && call.reset == nil
                let isRefused = ["502", "503"].contains(call.status) && call.reset == nil
                // A response that had begun is broken off, never completed by guesswork.
                let isBroken = call.reset != nil && body.starts(with: call.received)
                #expect(isWhole || isRefused || isBroken, "\(wire), \(direction) \(position)")
                caller.close()
                simulation.run(for: .seconds(30))
                agent.expectIdle(simulation)
                #expect(agent.logLines().count == 1, "\(wire), \(direction) \(position)")
            }
        }
    }

    @Test(arguments: SimulatedAgent.wires)
    func `a client that breaks at any byte leaves nothing behind`(wire: Wire) throws {
        for direction in [LinkConditions.Direction.toServer, .toClient] {
            for position in stride(from: 0, to: 320, by: 11) {
                let simulation = Simulation(seed: UInt64(position))
                simulation.network.conditions = { address, _ in
                    var conditions = LinkConditions()
                    conditions.segmentBytesMax = 30
                    if address == SimulatedAgent.address {
                        conditions.resetAfter = (direction, position)
                    }
                    return conditions
                }
                let service = try SimulatedService(wire, in: simulation)
                service.delay = .milliseconds(20)
                let agent = try SimulatedAgent(AgentText.file(), in: simulation, wire: wire)
                let call = SimulatedCall(body: [body])
                let caller = try SimulatedCaller(
                    wire,
                    to: SimulatedAgent.address,
                    in: simulation,
                    calls: [call]
                )
                simulation.run(until: { caller.isClosed })
                simulation.run(for: .seconds(30))
                agent.expectIdle(simulation)
                #expect(service.active == 0, "\(wire), \(direction) \(position)")
            }
        }
    }

    @Test func `failing connects are retried until one holds`() {
        simulate(seeds: 6) { simulation in
            let upstream = SocketAddress.ip(IPAddress(ipv4: 0x0A01_0001), port: 80)
            simulation.network.conditions = { address, generator in
                var conditions = LinkConditions.rough(using: &generator)
                if address == upstream, generator.chance(perMille: 500) {
                    conditions.opening = .refused
                }
                return conditions
            }
            _ = try SimulatedService(.http1, in: simulation)
            let agent = try SimulatedAgent(
                AgentText.file(
                    route: """
                        , "timeout": "0s", "retry_policy": {"retry_on": "connect-failure", "num_retries": 50}
                        """
                ),
                in: simulation
            )
            let calls = (0..<5).map { SimulatedCall("/\($0)", body: [body]) }
            let callers = try calls.map {
                try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [$0])
            }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            for call in calls {
                #expect(call.status == "200" && call.received == body, "\(simulation.replay)")
            }
            simulation.run(until: { callers.allSatisfy { $0.isClosed } })
            simulation.run(for: .seconds(30))
            agent.expectIdle(simulation)
        }
    }

    @Test func `a connect without an answer is a connection failure at its timeout`() throws {
        let simulation = Simulation(seed: 1)
        let upstream = SocketAddress.ip(IPAddress(ipv4: 0x0A01_0001), port: 80)
        simulation.network.conditions = { address, _ in
            var conditions = LinkConditions()
            if address == upstream { conditions.opening = .blackhole }
            return conditions
        }
        let agent = try SimulatedAgent(AgentText.file(), in: simulation)
        let start = simulation.clock.now
        let call = SimulatedCall()
        let caller = try SimulatedCaller(
            .http1,
            to: SimulatedAgent.address,
            in: simulation,
            calls: [call]
        )
        simulation.run(until: { call.isOver })
        #expect(call.status == "503")
        let waited = simulation.clock.now - start
        #expect(waited >= .seconds(1) && waited < .milliseconds(1010))
        caller.close()
        simulation.run(for: .seconds(5))
        #expect(agent.logLines().first?.contains(" 503 UF ") == true, "\(agent.logLines())")
        agent.expectIdle(simulation)
    }

    @Test(arguments: SimulatedAgent.wires)
    func `the route's timeout answers 504 in virtual time`(wire: Wire) throws {
        let simulation = Simulation(seed: 1)
        let service = try SimulatedService(wire, in: simulation)
        service.delay = .seconds(3600)
        let agent = try SimulatedAgent(AgentText.file(), in: simulation, wire: wire)
        let start = simulation.clock.now
        let call = SimulatedCall()
        let caller = try SimulatedCaller(
            wire,
            to: SimulatedAgent.address,
            in: simulation,
            calls: [call]
        )
        simulation.run(until: { call.isOver })
        #expect(call.status == "504")
        // Envoy's default: fifteen seconds.
        let waited = simulation.clock.now - start
        #expect(waited >= .seconds(15) && waited < .milliseconds(15_010))
        caller.close()
        simulation.run(for: .seconds(5))
        #expect(agent.logLines() == ["/echo 504 UT response_timeout 1"])
        agent.expectIdle(simulation)
    }

    @Test(arguments: [1, 4])
    func `max_requests holds exactly over all workers`(workers: Int) {
        simulate(seeds: 5) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(.http1, in: simulation)
            service.delay = .seconds(1)
            let agent = try SimulatedAgent(
                AgentText.file(
                    cluster: """
                        , "circuit_breakers": {"thresholds": [{"max_requests": 3}]}
                        """
                ),
                in: simulation,
                workers: workers
            )
            let calls = (0..<16).map { _ in SimulatedCall() }
            let callers = try calls.map {
                try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [$0])
            }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            #expect(service.activeMax <= 3, "\(service.activeMax) at once; \(simulation.replay)")
            for call in calls {
                #expect(["200", "503"].contains(call.status), "\(simulation.replay)")
            }
            #expect(calls.contains { $0.status == "200" }, "\(simulation.replay)")
            simulation.run(until: { callers.allSatisfy { $0.isClosed } })
            simulation.run(for: .seconds(30))
            agent.expectIdle(simulation)
        }
    }

    @Test(arguments: [1, 4])
    func `a request that waits for a connection is woken when another worker frees one`(
        workers: Int
    ) {
        simulate(seeds: 5) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(.http1, in: simulation)
            service.delay = .milliseconds(100)
            let agent = try SimulatedAgent(
                AgentText.file(
                    route: #", "timeout": "0s""#,
                    cluster: """
                        , "circuit_breakers": {"thresholds": [{"max_connections": 2}]}
                        """
                ),
                in: simulation,
                workers: workers
            )
            let calls = (0..<20).map { SimulatedCall("/\($0)") }
            let callers = try calls.map {
                try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [$0])
            }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            let served = calls.count { $0.status == "200" }
            #expect(served == 20, "\(served) of 20; \(simulation.replay)")
            #expect(service.activeMax <= 2, "\(service.activeMax) at once; \(simulation.replay)")
            simulation.run(until: { callers.allSatisfy { $0.isClosed } })
            simulation.run(for: .seconds(30))
            agent.expectIdle(simulation)
        }
    }

    @Test(arguments: [1, 4])
    func `a new generation takes over under load and no request is lost`(workers: Int) {
        simulate(seeds: 5) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(.http1, in: simulation)
            service.delay = .milliseconds(30)
            let old = try SimulatedAgent(AgentText.file(), in: simulation, workers: workers)
            var calls: [SimulatedCall] = []
            var callers: [SimulatedCaller] = []
            func begin() throws {
                let call = SimulatedCall("/\(calls.count)", body: [body])
                calls.append(call)
                callers.append(
                    try SimulatedCaller(
                        .http1,
                        to: SimulatedAgent.address,
                        in: simulation,
                        calls: [call]
                    )
                )
            }
            for _ in 0..<10 { try begin() }
            simulation.run(until: { service.streams.count >= 3 })
            // The new one listens first, then the old one drains.
            let new = try SimulatedAgent(AgentText.file(), in: simulation, workers: workers)
            for worker in old.workers { worker.drain() }
            for _ in 0..<10 { try begin() }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            // A connection that the old generation had not yet accepted is refused with its socket:
            // its client has sent nothing that was taken.
            for call in calls where call.status != nil {
                #expect(call.status == "200" && call.received == body, "\(simulation.replay)")
            }
            let begun = calls.count { $0.status != nil }
            #expect(begun >= 10, "\(begun) of 20 were served; \(simulation.replay)")
            simulation.run(for: .seconds(30))
            old.expectIdle(simulation)
            #expect(old.workers.count { $0.openConnections > 0 } == 0, "\(simulation.replay)")
            #expect(new.stat("http.in.downstream_rq_2xx") > 0, "\(simulation.replay)")
            _ = callers
        }
    }

    @Test func `an idle connection is closed after its time`() throws {
        let simulation = Simulation(seed: 1)
        _ = try SimulatedService(.http1, in: simulation)
        _ = try SimulatedAgent(AgentText.file(), in: simulation)
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), .awaitText("\r\n\r\n"), .awaitEnd,
                .close,
            ]
        )
        let start = simulation.clock.now
        simulation.run(until: { peer.isDone }, limit: .seconds(4000))
        #expect(peer.ending == .finished)
        // An hour of idleness, then Envoy's five seconds of drain.
        let waited = simulation.clock.now - start
        #expect(waited >= .seconds(3605) && waited < .seconds(3607), "\(waited)")
    }

    @Test func `the same seed gives the same history`() throws {
        func history(_ seed: UInt64) throws -> [String] {
            let simulation = Simulation(seed: seed)
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(.http1, in: simulation)
            let agent = try SimulatedAgent(AgentText.file(), in: simulation, workers: 4)
            let calls = (0..<8).map { SimulatedCall("/\($0)", body: [body]) }
            let callers = try calls.map {
                try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [$0])
            }
            simulation.run(until: { callers.allSatisfy { $0.isClosed } })
            let order = service.streams.map { $0.fields[":path"] ?? "" }
            return order + ["\(simulation.clock.now.nanoseconds)"] + agent.logLines()
        }
        for seed in UInt64(1)...3 {
            let first = try history(seed)
            let second = try history(seed)
            #expect(first == second, "seed \(seed)")
        }
        let one = try history(1)
        let other = try history(2)
        #expect(one != other)
    }
}

extension String {
    fileprivate func components(after mark: String) -> Substring {
        firstRange(of: mark).map { self[$0.upperBound...] } ?? ""
    }
}
