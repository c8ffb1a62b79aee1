import MeshConfig
import MeshNet
import MeshProxy
import MeshSimulation
import Testing

/// What can be swapped while an agent serves: runtime values, and with them route tables, log filters and
/// codecs; and the endpoints of a cluster.
struct SnapshotTests {
    private let body = (0..<40).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    private static let other = SocketAddress.ip(IPAddress(ipv4: 0x0A01_0002), port: 80)

    /// All requests go to the cluster `up`, or, as far as the runtime key `share` says, to `other`. Both
    /// answer some first attempts with 503, which is tried again.
    private func text() -> String {
        let retries =
            #""retry_policy": {"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.05s"}}, "timeout": "0s""#
        let unlimited = #""circuit_breakers": {"thresholds": [{"max_retries": 1000}]}"#
        let plain = AgentText.file(route: ", " + retries, cluster: ", " + unlimited)
        let chosen = """
            {"match": {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}, "runtime_key": "share"}},
             "route": {"cluster": "other", \(retries)}},
            {"match": {"prefix": "/"}, "route"
            """
        let cluster = """
            "clusters": [{"name": "other", "type": "STATIC", \(unlimited), "load_assignment":
              {"cluster_name": "other", "endpoints": [{"lb_endpoints": [{"endpoint": {"address":
              {"socket_address": {"address": "10.1.0.2", "port_value": 80}}}}]}]}},
            """
        return
            plain
            .replacing(#"{"match": {"prefix": "/"}, "route""#, with: chosen)
            .replacing(#""clusters": ["#, with: cluster)
            .replacing("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", with: "%UPSTREAM_CLUSTER%")
            .replacing(
                #"{"static_resources""#,
                with:
                    #"{"layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]}, "static_resources""#
            )
    }

    @Test(arguments: [1, 4])
    func `a snapshot swapped under load leaves every stream on the route it began with`(
        workers: Int
    ) {
        simulate(seeds: 8) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let first = try SimulatedService(.http1, in: simulation, name: "up")
            let second = try SimulatedService(.http1, in: simulation, name: "other", at: Self.other)
            for service in [first, second] {
                service.delay = .milliseconds(40)
                service.statuses = ["503", "200", "503", "503", "200", "503"]
            }
            let agent = try SimulatedAgent(text(), in: simulation, workers: workers)
            var calls: [SimulatedCall] = []
            for round in 0..<8 {
                for _ in 0..<3 {
                    let call = SimulatedCall("/\(calls.count)", body: [body])
                    calls.append(call)
                    _ = try SimulatedCaller(
                        .http1,
                        to: SimulatedAgent.address,
                        in: simulation,
                        calls: [call]
                    )
                }
                simulation.run(for: .milliseconds(Int64(7 * (round + 1))))
                agent.publish([("share", round % 2 == 0 ? "100" : "0")])
            }
            simulation.run(until: { calls.allSatisfy { $0.isOver } })
            for call in calls {
                #expect(call.status == "200" && call.received == body, "\(simulation.replay)")
            }
            // Who took the first attempt of a request took all of them, and is whom the log names.
            let taken = [first, second].map { Set($0.streams.map { $0.fields[":path"] ?? "" }) }
            #expect(taken[0].isDisjoint(with: taken[1]), "\(simulation.replay)")
            #expect(!taken[0].isEmpty && !taken[1].isEmpty, "\(simulation.replay)")
            let lines = agent.logLines()
            #expect(lines.count == calls.count, "\(simulation.replay)")
            for line in lines {
                let words = line.split(separator: " ").map(String.init)
                let isSecond = taken[1].contains(words[0])
                #expect(words.last == (isSecond ? "other" : "up"), "\(line); \(simulation.replay)")
            }
            simulation.run(for: .seconds(30))
            agent.expectIdle(simulation)
        }
    }

    @Test(arguments: [1, 4])
    func `a swapped log filter decides about every stream once`(workers: Int) {
        simulate(seeds: 4) { simulation in
            simulation.network.conditions = { _, generator in .rough(using: &generator) }
            let service = try SimulatedService(.http1, in: simulation)
            service.delay = .milliseconds(5)
            let agent = try SimulatedAgent(
                Self.filtered(text()),
                in: simulation,
                workers: workers
            )
            func call(_ path: String) throws {
                let call = SimulatedCall(path)
                _ = try SimulatedCaller(
                    .http1,
                    to: SimulatedAgent.address,
                    in: simulation,
                    calls: [call]
                )
                simulation.run(until: { call.isOver })
                simulation.run(for: .seconds(1))
            }
            try call("/before")
            agent.publish([("logged", "100")])
            try call("/logged")
            agent.publish([])
            try call("/after")
            let paths = agent.logLines().compactMap { $0.split(separator: " ").first }
            #expect(paths == ["/logged"], "\(simulation.replay)")
        }
    }

    /// Nothing is logged unless the runtime key `logged` says so.
    private static func filtered(_ text: String) -> String {
        text.replacing(
            #""name": "envoy.access_loggers.file","#,
            with: """
                "name": "envoy.access_loggers.file", "filter": {"runtime_filter": {
                  "runtime_key": "logged", "percent_sampled": {"numerator": 0}}},
                """
        )
    }
}
