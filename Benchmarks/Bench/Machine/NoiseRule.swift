import MeshLoad

/// When a repetition is thrown away because the machine did something else meanwhile.
package struct NoiseRule: Sendable, Equatable {
    /// CPUs that others were using, in CPUs.
    package var foreignMost = 0.15
    /// What the hypervisor took, in CPUs.
    package var stolenMost = 0.05
    /// How often a repetition is tried in all.
    package var attempts = 3

    package init() {}

    /// Why a window does not count; nil if it does.
    ///
    /// The kernel counts in ticks of 10 ms: of a short window four of them are allowed in any case.
    package func objection(to result: LoadResult) -> String? {
        let least = 0.04 / max(result.seconds, 1e-9)
        let foreign = Self.foreign(in: result)
        if foreign > max(foreignMost, least) { return "foreign CPU \(Self.text(foreign))" }
        let stolen = result.cpus.reduce(0) { $0 + $1.stolen } / result.seconds
        if stolen > max(stolenMost, least) { return "stolen CPU \(Self.text(stolen))" }
        return nil
    }

    /// What all CPUs did beyond the processes that are watched, in CPUs.
    package static func foreign(in result: LoadResult) -> Double {
        let busy = result.cpus.reduce(0) { $0 + $1.busy }
        let ours = result.processes.reduce(0) { $0 + Double($1.cpuNanoseconds) } / 1e9
        return max(0, busy - ours) / max(result.seconds, 1e-9)
    }

    private static func text(_ share: Double) -> String {
        let hundredths = Int((share * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}
