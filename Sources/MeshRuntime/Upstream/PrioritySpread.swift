/// How traffic divides over the priorities of a cluster, by how many of each one's endpoints are fit.
///
/// A pure table, computed whenever endpoints or their health change: percentages that add up to 100,
/// and whether a priority is in panic, where health is ignored because too little of it is left
/// (envoy: LoadBalancerBase; "Priority levels" and "Panic threshold" of the architecture overview).
struct PrioritySpread {
    /// How many endpoints one priority has.
    struct Level {
        /// Without those that are excluded.
        var total: Int
        var healthy: Int
        var degraded: Int
    }

    /// Which endpoints of a priority a request goes to.
    enum Source { case healthy, degraded, all }

    private(set) var healthyLoad: [Int]
    private(set) var degradedLoad: [Int]
    private(set) var isPanicking: [Bool]

    /// - Parameters:
    ///   - panicThreshold: percent of fit endpoints below which a priority panics; 0 never does.
    ///   - overprovisioning: percent by which fit endpoints are trusted to carry more than their share.
    init(levels: [Level], panicThreshold: Int, overprovisioning: Int) {
        healthyLoad = Array(repeating: 0, count: levels.count)
        degradedLoad = healthyLoad
        isPanicking = Array(repeating: false, count: levels.count)
        guard !levels.isEmpty else { return }

        func availability(_ fit: Int, of total: Int) -> Int {
            total == 0 ? 0 : min(100, overprovisioning * fit / total)
        }
        let healthy = levels.map { availability($0.healthy, of: $0.total) }
        let degraded = levels.map { availability($0.degraded, of: $0.total) }
        let available = min(100, healthy.reduce(0, +) + degraded.reduce(0, +))

        if available > 0 {
            var rest = 100
            Self.distribute(healthy, available, rest: &rest, into: &healthyLoad)
            Self.distribute(degraded, available, rest: &rest, into: &degradedLoad)
            // What rounding left over goes to the first priority that gets anything.
            if rest > 0 {
                if let first = healthy.firstIndex(where: { $0 > 0 }) {
                    healthyLoad[first] += rest
                } else if let first = degraded.firstIndex(where: { $0 > 0 }) {
                    degradedLoad[first] += rest
                }
            }
        }

        guard panicThreshold > 0 else {
            // Nobody is fit and panic is off: all requests go where nobody will be found.
            if available == 0 { healthyLoad[0] = 100 }
            return
        }
        if available < 100 {
            for (index, level) in levels.enumerated() {
                let fit = level.healthy + level.degraded
                let percent = level.total == 0 ? 0 : 100 * Double(fit) / Double(level.total)
                isPanicking[index] = percent < Double(panicThreshold)
            }
        }
        if !isPanicking.contains(false) { spreadByCount(levels) }
    }

    private static func distribute(
        _ availability: [Int],
        _ sum: Int,
        rest: inout Int,
        into loads: inout [Int]
    ) {
        for (index, value) in availability.enumerated() {
            loads[index] = min(rest, value * 100 / sum)
            rest -= loads[index]
        }
    }

    /// Every priority panics: each gets its share of all endpoints, fit or not.
    private mutating func spreadByCount(_ levels: [Level]) {
        let total = levels.reduce(0) { $0 + $1.total }
        degradedLoad = Array(repeating: 0, count: levels.count)
        guard total > 0, let first = levels.firstIndex(where: { $0.total > 0 }) else {
            healthyLoad[0] = 100
            return
        }
        healthyLoad = levels.map { 100 * $0.total / total }
        healthyLoad[first] += 100 - healthyLoad.reduce(0, +)
    }

    /// Where the request with this random number goes. There is at least one level.
    func choose(_ random: UInt64) -> (priority: Int, source: Source) {
        // One healthy priority takes all: the usual case.
        if healthyLoad[0] == 100 { return (0, isPanicking[0] ? .all : .healthy) }
        let mark = Int(random % 100) + 1
        var sum = 0
        for (priority, load) in healthyLoad.enumerated() {
            sum += load
            if mark <= sum { return (priority, isPanicking[priority] ? .all : .healthy) }
        }
        for (priority, load) in degradedLoad.enumerated() {
            sum += load
            if mark <= sum { return (priority, isPanicking[priority] ? .all : .degraded) }
        }
        return (0, isPanicking[0] ? .all : .healthy)
    }
}
