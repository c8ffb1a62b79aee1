import Glibc

/// How an endpoint is chosen (envoy: cluster.v3.Cluster.LbPolicy).
package enum LoadBalancingPolicy: Hashable, Sendable {
    case roundRobin
    /// The least loaded of `choices` random ones; with weights, by weight over load to the power of
    /// `activeRequestBias`.
    /// All are looked at where `choices` is nil.
    case leastRequest(choices: Int? = 2, activeRequestBias: Double = 1)
    case random
}

/// What balancing does when endpoints are unfit (envoy: cluster.v3.Cluster.CommonLbConfig).
package struct BalancingOptions: Hashable, Sendable {
    package var policy = LoadBalancingPolicy.roundRobin
    /// Percent of fit endpoints below which health is ignored (envoy: healthy_panic_threshold).
    package var panicThreshold = 50
    /// Percent (envoy: ClusterLoadAssignment.Policy.overprovisioning_factor).
    package var overprovisioning = 140
    /// Fail instead of ignoring health (envoy: zone_aware_lb_config.fail_traffic_on_panic).
    package var failsTrafficOnPanic = false

    package init() {}
}

/// What one choice came to.
package enum EndpointChoice {
    case endpoint(Endpoint, inPanic: Bool)
    /// Nobody is there, or nobody is fit.
    case none
}

/// Chooses among the endpoints of a cluster, or of one subset of it, for one worker.
///
/// Tables are rebuilt when endpoints or health change; a choice allocates nothing. Randomness is the
/// caller's.
final class LoadBalancer {
    private let options: BalancingOptions
    private var levels: [Level]
    private let spread: PrioritySpread

    /// Endpoints of one priority, by fitness.
    private struct Level {
        var all: Rotation
        var healthy: Rotation
        var degraded: Rotation
        /// Draining: unfit, but not to be held against the others.
        var excluded: Int
    }

    /// - Parameter offset: where round robin starts, so that workers do not march in step.
    init(_ endpoints: [Endpoint], options: BalancingOptions, offset: UInt64) {
        self.options = options
        let count = (endpoints.map(\.spec.priority).max() ?? -1) + 1
        levels = (0..<count).map { priority in
            let all = endpoints.filter { $0.spec.priority == priority }
            let healthy = all.filter { $0.vitals.health.availability == .healthy }
            let degraded = all.filter { $0.vitals.health.availability == .degraded }
            return Level(
                all: Rotation(all, options.policy, offset: offset),
                healthy: Rotation(healthy, options.policy, offset: offset),
                degraded: Rotation(degraded, options.policy, offset: offset),
                excluded: all.count { $0.vitals.health == .draining }
            )
        }
        spread = PrioritySpread(
            levels: levels.map {
                PrioritySpread.Level(
                    total: $0.all.count - $0.excluded,
                    healthy: $0.healthy.count,
                    degraded: $0.degraded.count
                )
            },
            panicThreshold: options.panicThreshold,
            overprovisioning: options.overprovisioning
        )
    }

    func choose(_ random: inout FastRandom) -> EndpointChoice {
        guard !levels.isEmpty else { return .none }
        let (priority, source) = spread.choose(random.next())
        let chosen: Endpoint?
        switch source {
        case .healthy: chosen = levels[priority].healthy.next(&random)
        case .degraded: chosen = levels[priority].degraded.next(&random)
        case .all:
            if options.failsTrafficOnPanic { return .none }
            chosen = levels[priority].all.next(&random)
        }
        guard let chosen else { return .none }
        return .endpoint(chosen, inPanic: source == .all)
    }
}

/// Equally fit endpoints of one priority and whose turn it is.
private struct Rotation {
    private let endpoints: [Endpoint]
    private let policy: LoadBalancingPolicy
    /// Present where weights differ and the policy goes by weights in turn.
    private var schedule: WeightedSchedule?
    /// Sums of weights up to each endpoint; empty where weights are equal.
    private var weightSums: [Int] = []
    private var turn: Int

    var count: Int { endpoints.count }

    init(_ endpoints: [Endpoint], _ policy: LoadBalancingPolicy, offset: UInt64) {
        self.endpoints = endpoints
        self.policy = policy
        turn = endpoints.isEmpty ? 0 : Int(offset % UInt64(endpoints.count))
        guard let first = endpoints.first,
            endpoints.contains(where: { $0.spec.weight != first.spec.weight })
        else { return }
        if case .random = policy {
            var sum = 0
            weightSums = endpoints.map {
                sum += $0.spec.weight
                return sum
            }
            return
        }
        let weights = endpoints.map { Self.weight(of: $0, policy) }
        var schedule = WeightedSchedule(weights: weights)
        for _ in 0..<turn { _ = schedule.pick { weights[$0] } }
        self.schedule = schedule
    }

    mutating func next(_ random: inout FastRandom) -> Endpoint? {
        guard !endpoints.isEmpty else { return nil }
        if schedule != nil {
            let index = schedule?.pick { Self.weight(of: endpoints[$0], policy) }
            return index.map { endpoints[$0] }
        }
        switch policy {
        case .roundRobin:
            let endpoint = endpoints[turn]
            turn += 1
            if turn == endpoints.count { turn = 0 }
            return endpoint
        case .leastRequest(nil, _):
            return leastLoaded(from: random.next(below: endpoints.count))
        case .leastRequest(let choices?, _):
            var best = endpoints[random.next(below: endpoints.count)]
            var load = best.vitals.activeRequests
            for _ in 1..<max(1, choices) {
                let candidate = endpoints[random.next(below: endpoints.count)]
                let candidateLoad = candidate.vitals.activeRequests
                if candidateLoad < load {
                    best = candidate
                    load = candidateLoad
                }
            }
            return best
        case .random:
            guard let sum = weightSums.last else {
                return endpoints[random.next(below: endpoints.count)]
            }
            let mark = random.next(below: sum)
            var low = 0
            var high = weightSums.count - 1
            while low < high {
                let middle = (low + high) / 2
                if weightSums[middle] > mark { high = middle } else { low = middle + 1 }
            }
            return endpoints[low]
        }
    }

    /// Looks at all, from a random one on, so that equal loads do not favour the first.
    private func leastLoaded(from start: Int) -> Endpoint {
        var best = endpoints[start]
        var load = best.vitals.activeRequests
        for step in 1..<max(2, endpoints.count) {
            let candidate = endpoints[(start + step) % endpoints.count]
            let candidateLoad = candidate.vitals.activeRequests
            if candidateLoad < load {
                best = candidate
                load = candidateLoad
            }
        }
        return best
    }

    private static func weight(of endpoint: Endpoint, _ policy: LoadBalancingPolicy) -> Double {
        let weight = Double(endpoint.spec.weight)
        guard case .leastRequest(_, let bias) = policy, bias > 0 else { return weight }
        let load = Double(endpoint.vitals.activeRequests + 1)
        return weight / (bias == 1 ? load : pow(load, bias))
    }
}
