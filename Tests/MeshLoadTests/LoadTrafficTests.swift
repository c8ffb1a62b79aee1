import MeshLoad
import MeshNet
import MeshSimulation
import Testing

/// Every kind of traffic against the harness's own far end, on the simulated network.
@Suite struct LoadTrafficTests {
    private let simulation = Simulation(seed: 1)
    private let upstream: Upstream
    private let loop: EventLoop

    init() throws {
        upstream = try Upstream(
            loop: simulation.makeLoop(),
            host: IPAddress(ipv4: 0x0A01_0002),
            responseBytes: 100
        )
        loop = simulation.makeLoop()
        simulation.network.conditions = { _, _ in
            var conditions = LinkConditions.calm
            conditions.latency = 1_000_000...1_000_000
            conditions.sendBufferBytes = 40_000
            return conditions
        }
    }

    private func start(_ plan: LoadPlan) throws -> LoadGenerator {
        let generator = try LoadGenerator(plan: plan, loop: loop)
        simulation.keep(generator)
        generator.start()
        return generator
    }

    private func plan(_ traffic: LoadPlan.Traffic) -> LoadPlan {
        let isRaw = traffic.rawValue.contains("tcp")
        var plan = LoadPlan(
            target: isRaw ? upstream.addresses.tcp : upstream.addresses.http,
            traffic: traffic
        )
        plan.connections = 3
        return plan
    }

    @Test(arguments: [
        LoadPlan.Traffic.http1, .http2, .grpcUnary, .grpcStream, .tcpEcho, .connectHTTP1,
        .connectTCP,
    ])
    func `a number of requests is answered, each by its last byte`(
        _ traffic: LoadPlan.Traffic
    ) throws {
        var plan = plan(traffic)
        plan.requests = 100
        plan.messageBytes = 5000
        if [.http1, .http2, .connectHTTP1].contains(traffic) {
            plan.bodyBytes = 3000
            plan.method = "POST"
        }
        if traffic == .http2 || traffic == .grpcStream { plan.streamsPerConnection = 4 }
        let generator = try start(plan)
        #expect(simulation.run(until: { generator.phase == .done }, limit: .seconds(20)))
        let result = generator.result
        #expect(result.requests == 100)
        #expect(result.errors.isEmpty, "\(result.errors)")
        let isChurn = traffic.rawValue.hasPrefix("connect")
        #expect(result.connectionsOpened == (isChurn ? 100 : 3))
        let each = traffic.rawValue.hasPrefix("http") || traffic == .connectHTTP1 ? 3000 : 5000
        #expect(result.bytesSent > 100 * each && result.bytesSent < 100 * (each + 300))
    }

    @Test(arguments: [LoadPlan.Traffic.idleHTTP1, .idleTCP, .idleStreams])
    func `idle connections stand after one exchange, until they are released`(
        _ traffic: LoadPlan.Traffic
    ) throws {
        var plan = plan(traffic)
        plan.connections = 100
        if traffic == .idleStreams { plan.streamsPerConnection = 5 }
        let generator = try start(plan)
        var told: Int?
        generator.stands = { told = $0 }
        #expect(simulation.run(until: { told != nil }, limit: .seconds(5)))
        #expect(told == (traffic == .idleStreams ? 500 : 100))
        simulation.run(for: .seconds(7))
        #expect(generator.phase == .standing)
        generator.release()
        let result = generator.result
        #expect(result.requests == told)
        #expect(result.seconds > 6.9 && result.seconds < 7.1)
        #expect(result.errors.isEmpty && !result.isPartial && generator.failure == nil)
    }
}
