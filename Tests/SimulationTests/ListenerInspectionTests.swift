import MeshNet
import MeshSimulation
import Testing

/// Listener filters look at a connection's first bytes, however they come, and choose its filter chain.
struct ListenerInspectionTests {
    /// HTTP/1.1 is answered with 201, everything else that is HTTP with 202.
    private func text(_ listener: String = "") -> String {
        func chain(_ status: Int) -> String {
            """
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
              "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
              "stat_prefix": "in", "http_protocol_options": {"accept_http_10": true},
              "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": \(status)}}]}]},
              "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]
            """
        }
        return """
            {"static_resources": {"listeners": [{"name": "in", \(listener)
              "address": {"socket_address": {"address": "10.0.1.1", "port_value": 10000}},
              "listener_filters": [{"name": "envoy.filters.listener.http_inspector", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"}}],
              "filter_chains": [{"filter_chain_match": {"application_protocols": ["http/1.1"]}, \(chain(201))}],
              "default_filter_chain": {\(chain(202))}}]}}
            """
    }

    private func stat(_ agent: SimulatedAgent, _ name: String) -> Int {
        agent.stat("listener.10.0.1.1_10000.\(name)")
    }

    @Test func `a request that comes byte by byte finds its filter chain`() {
        simulate(seeds: 6) { simulation in
            simulation.network.conditions = { _, _ in .bytewise }
            let agent = try SimulatedAgent(text(), in: simulation)
            for (version, status) in [("1.1", "201"), ("1.0", "202")] {
                let peer = ScriptedPeer(
                    connectingTo: SimulatedAgent.address,
                    in: simulation,
                    script: [
                        .send("GET /x HTTP/\(version)\r\nHost: a\r\n\r\n"),
                        .awaitText("\r\n\r\n"), .close,
                    ]
                )
                #expect(simulation.run(until: { peer.isDone }), "\(simulation.replay)")
                #expect(
                    peer.receivedText.hasPrefix("HTTP/\(version) \(status) "),
                    "\(peer.receivedText); \(simulation.replay)"
                )
            }
            simulation.run(for: .seconds(5))
            #expect(stat(agent, "downstream_pre_cx_active") == 0, "\(simulation.replay)")
            #expect(stat(agent, "downstream_cx_active") == 0, "\(simulation.replay)")
        }
    }

    @Test func `a client that says too little is refused after listener_filters_timeout`() throws {
        let simulation = Simulation(seed: 1)
        let agent = try SimulatedAgent(
            text(#""listener_filters_timeout": "2s","#),
            in: simulation
        )
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [.send("GET /"), .awaitEnd, .close]
        )
        simulation.run(for: .seconds(1))
        #expect(stat(agent, "downstream_pre_cx_active") == 1)
        simulation.run(until: { peer.isDone })
        #expect(stat(agent, "downstream_pre_cx_timeout") == 1)
        #expect(stat(agent, "downstream_pre_cx_active") == 0)
        #expect(agent.stat("http.in.downstream_cx_total") == 0)
    }

    @Test func `or goes on with what is known, where the listener says so`() throws {
        let simulation = Simulation(seed: 1)
        let agent = try SimulatedAgent(
            text(
                #""listener_filters_timeout": "2s", "continue_on_listener_filters_timeout": true,"#
            ),
            in: simulation
        )
        let peer = ScriptedPeer(
            connectingTo: SimulatedAgent.address,
            in: simulation,
            script: [
                .send("GET /"), .wait(.seconds(3)), .send(" HTTP/1.1\r\nHost: a\r\n\r\n"),
                .awaitText("\r\n\r\n"), .close,
            ]
        )
        simulation.run(until: { peer.isDone })
        #expect(peer.receivedText.hasPrefix("HTTP/1.1 202 "), "\(peer.receivedText)")
        #expect(stat(agent, "downstream_pre_cx_timeout") == 1)
    }

    @Test func `a client that leaves at any byte while it is looked at leaves nothing behind`()
        throws
    {
        let request = Array("GET /x HTTP/1.1\r\n".utf8)
        for count in 0..<request.count {
            let simulation = Simulation(seed: UInt64(count))
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let agent = try SimulatedAgent(text(), in: simulation)
            let peer = ScriptedPeer(
                connectingTo: SimulatedAgent.address,
                in: simulation,
                script: [.send(Array(request[..<count])), .close]
            )
            simulation.run(until: { peer.isDone })
            simulation.run(for: .seconds(30))
            #expect(stat(agent, "downstream_pre_cx_active") == 0, "\(count)")
            #expect(stat(agent, "downstream_cx_active") == 0, "\(count)")
            #expect(agent.stat("http.in.downstream_cx_active") == 0, "\(count)")
        }
    }
}
