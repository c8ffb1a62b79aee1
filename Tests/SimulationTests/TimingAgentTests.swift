import MeshHTTP
import MeshNet
import MeshProxy
import MeshRuntime
import MeshSimulation
import Testing

/// Where the nanoseconds go, in a network whose nanoseconds are known.
struct TimingAgentTests {
    private static let answer = Nanoseconds.milliseconds(20)
    private static let client = Nanoseconds.milliseconds(1)
    private static let upstream = Nanoseconds.milliseconds(3)

    /// Each segment takes as long as the next one: to the agent 1 ms, from the agent 3 ms.
    private func steady(_ simulation: Simulation) {
        simulation.network.conditions = { address, _ in
            var conditions = LinkConditions()
            let span = address == SimulatedAgent.address ? Self.client : Self.upstream
            conditions.latency = span.count...span.count
            return conditions
        }
    }

    private func file(
        route: String = "",
        manager: String = "",
        filters: String = ""
    ) -> String {
        var text = AgentText.file(route: route, manager: manager, filters: filters)
        let end = text.lastIndex(of: "}") ?? text.endIndex
        text.replaceSubrange(
            end...,
            with: """
                , "layered_runtime": {"layers": [{"name": "a", "static_layer": {
                  "mesh.timing.histograms": true, "mesh.explain.trusted_addresses": "10.0.0.0/8"}}]}}
                """
        )
        return text
    }

    @Test(arguments: SimulatedAgent.wires)
    func `the phases of a request sum to all of its time`(wire: Wire) throws {
        let simulation = Simulation(seed: 1)
        steady(simulation)
        let service = try SimulatedService(wire, in: simulation)
        service.delay = Self.answer
        let agent = try SimulatedAgent(file(), in: simulation, wire: wire)
        let calls = (0..<3).map { SimulatedCall("/\($0)") }
        _ = try SimulatedCaller(wire, to: SimulatedAgent.address, in: simulation, calls: calls)
        simulation.run(until: { calls.allSatisfy { $0.isOver } })
        simulation.run(for: .seconds(1))
        let phases = agent.timing()
        for phase in TimingPhase.allCases {
            #expect(phases["\(phase.name)"]?.count == 3, "\(phase)")
        }
        // For the first of them.
        #expect(phases["pool_wait"]?.milliseconds == 3)
        #expect(phases["connect"] == AgentTiming(count: 1, milliseconds: 3))
        #expect(isThrice26(phases["upstream"]))
        for phase in ["parse", "authorize", "route", "send", "receive", "flush"] {
            #expect(phases[phase]?.milliseconds == 0, "\(phase)")
        }
        #expect(phases["downstream_handshake"]?.count == 0)
    }

    /// Three times there, answer, and back; the service's timer rounds up to its next tick.
    private func isThrice26(_ timing: AgentTiming?) -> Bool {
        timing?.count == 3 && (78...81).contains(timing?.milliseconds ?? 0)
    }

    @Test(arguments: SimulatedAgent.wires)
    func `every request is in every phase it came to, whatever the network does`(wire: Wire) {
        simulate(seeds: 3) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(wire, in: simulation)
            service.delay = .milliseconds(5)
            let agent = try SimulatedAgent(
                file(route: #", "timeout": "0s""#),
                in: simulation,
                workers: 2,
                wire: wire
            )
            let body = [[UInt8](repeating: 7, count: 100), [1]]
            let calls = (0..<6).map { SimulatedCall("/\($0)", body: body) }
            let callers = try [calls[0..<3], calls[3..<6]].map {
                try SimulatedCaller(
                    wire,
                    to: SimulatedAgent.address,
                    in: simulation,
                    calls: Array($0),
                    atOnce: wire != .http1
                )
            }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            simulation.run(until: { callers.allSatisfy { $0.isClosed } })
            simulation.run(for: .seconds(30))
            let phases = agent.timing()
            for phase in TimingPhase.allCases {
                #expect(phases["\(phase.name)"]?.count == 6, "\(phase); \(simulation.replay)")
            }
        }
    }

    @Test func `what a client takes to send its request is parse, then send`() throws {
        let simulation = Simulation(seed: 1)
        _ = try SimulatedService(.http1, in: simulation)
        let agent = try SimulatedAgent(file(), in: simulation)
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send("POST /x HTTP/1.1\r\nHost: a\r\n"), .wait(.milliseconds(7)),
                .send("content-length: 5\r\n\r\nhe"), .wait(.milliseconds(11)), .send("llo"),
                .awaitText("0\r\n\r\n"), .close,
            ]
        )
        #expect(simulation.run(until: { peer.isDone }), "\(peer.receivedText)")
        simulation.run(for: .seconds(1))
        #expect(agent.timing()["parse"] == AgentTiming(count: 1, milliseconds: 7))
        #expect(agent.timing()["send"] == AgentTiming(count: 1, milliseconds: 11))
        #expect(agent.timing()["upstream"] == AgentTiming(count: 1, milliseconds: 0))
    }

    @Test func `a response in pieces is received, one nobody reads is flushed`() throws {
        let simulation = Simulation(seed: 1)
        let large = String(repeating: "x", count: 700_000)
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [
                [
                    .awaitText("\r\n\r\n"),
                    .send("HTTP/1.1 200 OK\r\ncontent-length: 700001\r\n\r\n"),
                    .wait(.milliseconds(9)), .send(large), .send("y"), .awaitEnd,
                ]
            ]
        )
        let agent = try SimulatedAgent(
            file().replacing("10.1.0.1", with: "\(try #require(server.address.ip))"),
            in: simulation
        )
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), .pauseReading, .wait(.milliseconds(50)),
                .resumeReading, .awaitText("xy"), .close,
            ]
        )
        #expect(simulation.run(until: { peer.isDone }))
        simulation.run(for: .seconds(1))
        #expect(agent.timing()["receive"] == AgentTiming(count: 1, milliseconds: 9))
        #expect(agent.timing()["flush"] == AgentTiming(count: 1, milliseconds: 41))
    }

    @Test func `a retry adds to the phases of its request`() throws {
        let simulation = Simulation(seed: 1)
        steady(simulation)
        let service = try SimulatedService(.http1, in: simulation)
        service.delay = Self.answer
        service.statuses = ["503"]
        let agent = try SimulatedAgent(
            file(
                route: """
                    , "retry_policy": {"retry_on": "5xx", "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"}}
                    """
            ),
            in: simulation
        )
        let call = SimulatedCall()
        _ = try SimulatedCaller(
            .http1,
            to: SimulatedAgent.address,
            in: simulation,
            calls: [call]
        )
        simulation.run(until: { call.isOver })
        simulation.run(for: .seconds(1))
        #expect(call.status == "200")
        let phases = agent.timing()
        for phase in TimingPhase.allCases {
            #expect(phases["\(phase.name)"]?.count == 1, "\(phase)")
        }
        #expect((52...54).contains(phases["upstream"]?.milliseconds ?? 0))
        // Two connects, and a millisecond or two of back-off.
        #expect((6...9).contains(phases["pool_wait"]?.milliseconds ?? 0))
    }

    @Test func `a reply of the proxy's own has the phases up to it, and its flush`() throws {
        let simulation = Simulation(seed: 1)
        _ = try SimulatedService(.http1, in: simulation)
        let deny = """
            {"name": "rbac", "typed_config": {
              "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
              "rules": {"action": "ALLOW", "policies": {}}}},
            """
        let agent = try SimulatedAgent(file(filters: deny), in: simulation)
        let call = SimulatedCall(fields: [("x-mesh-timing", "1")])
        _ = try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [call])
        simulation.run(until: { call.isOver })
        simulation.run(for: .seconds(1))
        #expect(call.status == "403")
        #expect(
            call.fields["server-timing"]
                == "parse;dur=0.000000, authorize;dur=0.000000, route;dur=0.000000"
        )
        let phases = agent.timing()
        for phase in ["parse", "authorize", "route", "flush"] {
            #expect(phases[phase]?.count == 1, "\(phase)")
        }
        for phase in ["pool_wait", "send", "upstream", "receive"] {
            #expect(phases[phase]?.count == 0, "\(phase)")
        }
    }

    @Test func `a request without an upstream has waited for one`() throws {
        let simulation = Simulation(seed: 1)
        simulation.network.conditions = { address, _ in
            var conditions = LinkConditions()
            if address != SimulatedAgent.address { conditions.opening = .blackhole }
            return conditions
        }
        let agent = try SimulatedAgent(file(), in: simulation)
        let call = SimulatedCall()
        _ = try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [call])
        simulation.run(until: { call.isOver })
        simulation.run(for: .seconds(1))
        #expect(call.status == "503")
        let phases = agent.timing()
        // The connect timeout, which the timer wheel may round up.
        #expect((1000...1001).contains(phases["pool_wait"]?.milliseconds ?? 0))
        #expect(phases["connect"]?.count == 0)
        #expect(phases["send"]?.count == 0)
        #expect(phases["flush"]?.count == 1)
    }

    @Test func `a client that leaves is counted as far as it came`() throws {
        let simulation = Simulation(seed: 1)
        let service = try SimulatedService(.http1, in: simulation)
        service.delay = .seconds(5)
        let agent = try SimulatedAgent(file(), in: simulation)
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), .wait(.milliseconds(90)), .abort,
            ]
        )
        #expect(simulation.run(until: { peer.isDone }))
        simulation.run(for: .seconds(1))
        #expect(agent.timing()["upstream"] == AgentTiming(count: 1, milliseconds: 90))
        #expect(agent.timing()["receive"]?.count == 0)
        #expect(agent.timing()["flush"]?.count == 0)
    }

    @Test func `a tunnel is timed until it is open`() throws {
        let simulation = Simulation(seed: 1)
        let granted =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        let server = try ScriptedServer(
            in: simulation,
            port: 80,
            scripts: [
                [
                    .awaitText("\r\n\r\n"), .wait(.milliseconds(5)), .send(granted),
                    .awaitText("ping"), .wait(.seconds(3)), .send("pong"), .close,
                ]
            ]
        )
        let agent = try SimulatedAgent(
            file(manager: #""upgrade_configs": [{"upgrade_type": "websocket"}],"#)
                .replacing("10.1.0.1", with: "\(try #require(server.address.ip))"),
            in: simulation
        )
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send(
                    "GET / HTTP/1.1\r\nHost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                ),
                .awaitText("\r\n\r\n"), .send("ping"), .awaitText("pong"), .close,
            ]
        )
        #expect(simulation.run(until: { peer.isDone }), "\(peer.receivedText)")
        simulation.run(for: .seconds(1))
        let phases = agent.timing()
        #expect(phases["upstream"] == AgentTiming(count: 1, milliseconds: 5))
        #expect(phases["receive"] == AgentTiming(count: 1, milliseconds: 0))
        #expect(phases["flush"] == AgentTiming(count: 1, milliseconds: 0))
    }

    @Test(arguments: SimulatedAgent.wires)
    func `server-timing tells what is known at the response's head`(wire: Wire) throws {
        let simulation = Simulation(seed: 1)
        steady(simulation)
        let service = try SimulatedService(wire, in: simulation)
        service.delay = Self.answer
        _ = try SimulatedAgent(file(), in: simulation, wire: wire)
        let asking = (0..<2).map { _ in SimulatedCall(fields: [("x-mesh-timing", "")]) }
        let silent = SimulatedCall()
        _ = try SimulatedCaller(
            wire,
            to: SimulatedAgent.address,
            in: simulation,
            calls: asking + [silent]
        )
        simulation.run(until: { silent.isOver })
        let told = asking.map { Self.phases(in: $0.fields["server-timing"] ?? "") }
        #expect(
            told[0].map(\.name) == [
                "parse", "authorize", "route", "pool_wait", "connect", "send", "upstream",
            ]
        )
        #expect(told[0].prefix(6).map(\.duration) == [0, 0, 0, 3, 3, 0])
        #expect(
            told[1].map(\.name) == ["parse", "authorize", "route", "pool_wait", "send", "upstream"]
        )
        #expect(told[1].prefix(5).allSatisfy { $0.duration == 0 })
        for last in told.compactMap(\.last) { #expect((26...27).contains(last.duration)) }
        #expect(silent.fields["server-timing"] == nil)
        #expect(service.streams.allSatisfy { $0.fields["x-mesh-timing"] == nil })
    }

    /// `name;dur=milliseconds`, separated by commas.
    private static func phases(in value: String) -> [(name: String, duration: Double)] {
        value.split(separator: ", ").map { entry in
            let parts = entry.split(separator: ";dur=", maxSplits: 1)
            return (String(parts[0]), parts.count == 2 ? Double(parts[1]) ?? -1 : -1)
        }
    }

    @Test func `without the runtime value nothing of it is there`() throws {
        let simulation = Simulation(seed: 1)
        _ = try SimulatedService(.http1, in: simulation)
        let agent = try SimulatedAgent(AgentText.file(), in: simulation)
        let call = SimulatedCall(fields: [("x-mesh-timing", "1")])
        _ = try SimulatedCaller(.http1, to: SimulatedAgent.address, in: simulation, calls: [call])
        simulation.run(until: { call.isOver })
        #expect(agent.timing().isEmpty)
        #expect(call.fields["server-timing"] == nil)
    }
}

struct AgentTiming: Equatable {
    var count: Int
    var milliseconds: Int
}

extension SimulatedAgent {
    /// The histograms of times, by phase.
    fileprivate func timing() -> [String: AgentTiming] {
        var found: [String: AgentTiming] = [:]
        for metric in registry.view().histograms where metric.name.hasPrefix("http.in.timing.") {
            let bins = metric.cumulative()
            found[String(metric.name.dropFirst(15).dropLast(3))] = AgentTiming(
                count: Int(bins.sampleCount),
                milliseconds: Int(bins.sampleSum) / 1_000_000
            )
        }
        return found
    }
}
