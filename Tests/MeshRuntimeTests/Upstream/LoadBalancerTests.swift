import MeshNet
import Testing

@testable import MeshRuntime

/// 10.0.0.n:80
func makeSpec(
    _ n: Int,
    weight: Int = 1,
    priority: Int = 0,
    health: EndpointHealth = .healthy,
    metadata: [String: MetadataValue] = [:]
) -> EndpointSpec {
    EndpointSpec(
        address: .ip(IPAddress(ipv4: 0x0A00_0000 + UInt32(n)), port: 80),
        weight: weight,
        priority: priority,
        metadata: ["envoy.lb": metadata],
        vitals: EndpointVitals(workers: 1, health: health)
    )
}

/// The n of 10.0.0.n.
func number(_ endpoint: Endpoint) -> Int {
    Int(truncatingIfNeeded: (endpoint.address.ip?.low ?? 0) & 255)
}

extension EndpointChoice {
    var number: Int? {
        if case .endpoint(let endpoint, _) = self { MeshRuntimeTests.number(endpoint) } else { nil }
    }
    var inPanic: Bool { if case .endpoint(_, let panic) = self { panic } else { false } }
}

@Suite struct LoadBalancerTests {
    private func picks(
        _ specs: [EndpointSpec],
        _ policy: LoadBalancingPolicy,
        count: Int,
        offset: UInt64 = 0,
        options: (inout BalancingOptions) -> Void = { _ in },
        seed: UInt64 = 7
    ) -> [Int] {
        var balancing = BalancingOptions()
        balancing.policy = policy
        options(&balancing)
        let balancer = LoadBalancer(specs.map { Endpoint($0) }, options: balancing, offset: offset)
        var random = FastRandom(seed: seed)
        return (0..<count).compactMap { _ in balancer.choose(&random).number }
    }

    private func shares(_ picks: [Int]) -> [Int: Double] {
        Dictionary(grouping: picks) { $0 }.mapValues { Double($0.count) / Double(picks.count) }
    }

    @Test func `round robin goes round, from where the worker's offset says`() {
        let specs = [makeSpec(1), makeSpec(2), makeSpec(3)]
        #expect(picks(specs, .roundRobin, count: 5) == [1, 2, 3, 1, 2])
        #expect(picks(specs, .roundRobin, count: 5, offset: 4) == [2, 3, 1, 2, 3])
    }

    @Test func `weighted round robin keeps the weights exactly and spreads the turns`() {
        let specs = [makeSpec(1, weight: 1), makeSpec(2, weight: 3)]
        let result = picks(specs, .roundRobin, count: 400)
        #expect(result.count { $0 == 2 } == 300)
        // Never more than the ratio in a row, give or take the turn at the edge.
        #expect(!result.split(separator: 1).contains { $0.count > 4 })
    }

    @Test func `random follows the weights`() {
        let even = shares(picks([makeSpec(1), makeSpec(2)], .random, count: 10_000))
        #expect(abs((even[1] ?? 0) - 0.5) < 0.03)
        let uneven = shares(
            picks([makeSpec(1, weight: 1), makeSpec(2, weight: 9)], .random, count: 10_000)
        )
        #expect(abs((uneven[2] ?? 0) - 0.9) < 0.03)
    }

    @Test func `least request avoids the loaded endpoint`() {
        let specs = [makeSpec(1), makeSpec(2), makeSpec(3)]
        specs[0].vitals.add(100, to: .requestsActive, worker: 0)
        let result = shares(picks(specs, .leastRequest(), count: 9_000))
        // Both choices must fall on it: one time in nine.
        #expect(abs((result[1] ?? 0) - 1.0 / 9) < 0.02)
        let three = shares(picks(specs, .leastRequest(choices: 8), count: 9_000))
        #expect((three[1] ?? 0) < 0.01)
    }

    @Test func `weighted least request divides the weight by the load`() {
        let specs = [makeSpec(1, weight: 4), makeSpec(2, weight: 1)]
        specs[0].vitals.add(3, to: .requestsActive, worker: 0)
        // 4 / (3 + 1) against 1 / (0 + 1).
        let result = shares(picks(specs, .leastRequest(), count: 4_000))
        #expect(abs((result[1] ?? 0) - 0.5) < 0.01)
        let blind = shares(
            picks(specs, .leastRequest(activeRequestBias: 0), count: 4_000)
        )
        #expect(abs((blind[1] ?? 0) - 0.8) < 0.01)
    }

    @Test(arguments: [EndpointHealth.unhealthy, .draining, .timeout])
    func `unfit endpoints get nothing while enough others are fit`(health: EndpointHealth) {
        let specs = [makeSpec(1, health: health), makeSpec(2), makeSpec(3)]
        #expect(Set(picks(specs, .roundRobin, count: 30)) == [2, 3])
    }

    @Test func `below the panic threshold health is ignored`() {
        let specs = [
            makeSpec(1, health: .unhealthy), makeSpec(2, health: .unhealthy), makeSpec(3),
        ]
        #expect(Set(picks(specs, .roundRobin, count: 30)) == [1, 2, 3])
        #expect(
            Set(picks(specs, .roundRobin, count: 30, options: { $0.panicThreshold = 20 })) == [3]
        )
        #expect(
            picks(specs, .roundRobin, count: 30, options: { $0.failsTrafficOnPanic = true }).isEmpty
        )
    }

    @Test func `draining endpoints are not held against the others`() {
        let gone = [makeSpec(1, health: .draining), makeSpec(2, health: .draining), makeSpec(3)]
        #expect(Set(picks(gone, .roundRobin, count: 30)) == [3])
    }

    @Test func `without panic an all-unfit cluster has nobody`() {
        let specs = [makeSpec(1, health: .unhealthy)]
        #expect(picks(specs, .roundRobin, count: 3, options: { $0.panicThreshold = 0 }).isEmpty)
        #expect(picks(specs, .roundRobin, count: 3) == [1, 1, 1])
        #expect(picks([], .roundRobin, count: 3).isEmpty)
    }

    @Test func `the second priority takes what the first cannot carry`() {
        let specs = [
            makeSpec(1), makeSpec(2, health: .unhealthy), makeSpec(11, priority: 1),
            makeSpec(12, priority: 1),
        ]
        // One of two fit, trusted with 140 %: 70 of 100.
        let result = shares(picks(specs, .roundRobin, count: 10_000))
        #expect(abs((result[1] ?? 0) - 0.7) < 0.02)
        #expect(result[2] == nil)
    }

    @Test func `degraded endpoints get what healthy ones cannot carry`() {
        let specs = [makeSpec(1), makeSpec(2, health: .degraded), makeSpec(3, health: .degraded)]
        // Healthy: 140 * 1/3 = 46 %; degraded 93 %; together capped at 100.
        let result = shares(picks(specs, .random, count: 10_000))
        #expect(abs((result[1] ?? 0) - 0.46) < 0.02)
    }

    @Test func `deadlines keep the proportion for odd weights`() {
        let weights = [5.0, 3.0, 1.0]
        var schedule = WeightedSchedule(weights: weights)
        var counts = [0, 0, 0]
        for _ in 0..<900 {
            if let item = schedule.pick(weight: { weights[$0] }) { counts[item] += 1 }
        }
        #expect(counts == [500, 300, 100])
    }
}

@Suite struct PrioritySpreadTests {
    struct Case: Sendable {
        let levels: [(total: Int, healthy: Int, degraded: Int)]
        let healthy: [Int]
        let degraded: [Int]
        let panic: [Bool]
    }

    // The tables of Envoy's documentation on priority levels and panic.
    static let cases: [Case] = [
        Case(
            levels: [(100, 100, 0), (100, 100, 0)],
            healthy: [100, 0],
            degraded: [0, 0],
            panic: [false, false]
        ),
        Case(
            levels: [(100, 72, 0), (100, 72, 0)],
            healthy: [100, 0],
            degraded: [0, 0],
            panic: [false, false]
        ),
        Case(
            levels: [(100, 71, 0), (100, 71, 0)],
            healthy: [99, 1],
            degraded: [0, 0],
            panic: [false, false]
        ),
        Case(
            levels: [(100, 50, 0), (100, 50, 0)],
            healthy: [70, 30],
            degraded: [0, 0],
            panic: [false, false]
        ),
        Case(
            levels: [(100, 25, 0), (100, 100, 0)],
            healthy: [35, 65],
            degraded: [0, 0],
            panic: [false, false]
        ),
        Case(
            levels: [(100, 0, 0), (100, 100, 0)],
            healthy: [0, 100],
            degraded: [0, 0],
            panic: [false, false]
        ),
        Case(
            levels: [(100, 25, 0), (100, 25, 0)],
            healthy: [50, 50],
            degraded: [0, 0],
            panic: [true, true]
        ),
        Case(
            levels: [(10, 0, 0), (30, 0, 0)],
            healthy: [25, 75],
            degraded: [0, 0],
            panic: [true, true]
        ),
        Case(levels: [(4, 0, 4)], healthy: [0], degraded: [100], panic: [false]),
        Case(levels: [(0, 0, 0)], healthy: [100], degraded: [0], panic: [true]),
    ]

    @Test(arguments: cases.indices)
    func `loads and panic are as documented`(index: Int) {
        let expected = Self.cases[index]
        let spread = PrioritySpread(
            levels: expected.levels.map {
                PrioritySpread.Level(total: $0.total, healthy: $0.healthy, degraded: $0.degraded)
            },
            panicThreshold: 50,
            overprovisioning: 140
        )
        #expect(spread.healthyLoad == expected.healthy)
        #expect(spread.degradedLoad == expected.degraded)
        #expect(spread.isPanicking == expected.panic)
    }
}
