import CBench
import Glibc

/// Where processes run, and how the scheduler treats them.
package struct Placement: Sendable, Equatable {
    package enum Scheduling: String, Sendable, CaseIterable {
        /// `SCHED_RR 10`: everything of a run goes before whatever else the machine does.
        case roundRobin = "rr"
        case normal = "default"
    }

    package var cpus: [Int]
    package var scheduling: Scheduling

    package init(cpus: [Int], scheduling: Scheduling) {
        self.cpus = cpus
        self.scheduling = scheduling
    }

    /// True where this process may give its children a real-time class.
    package static func mayUseRoundRobin() -> Bool {
        let before = sched_getscheduler(0)
        var parameters = sched_param(sched_priority: 10)
        guard sched_setscheduler(0, SCHED_RR, &parameters) == 0 else { return false }
        parameters.sched_priority = 0
        sched_setscheduler(0, before, &parameters)
        return true
    }

    /// Runs the body on these CPUs, which a process that it starts inherits.
    func whileThere<Value>(_ body: () throws -> Value) rethrows -> Value {
        let before = Self.available()
        Self.stay(on: cpus)
        defer { Self.stay(on: before) }
        return try body()
    }

    /// Keeps the calling thread to the CPUs.
    package static func stay(on cpus: [Int]) {
        var mask = [UInt8](repeating: 0, count: maskBytes)
        for cpu in cpus where cpu / 8 < mask.count {
            mask[cpu / 8] |= 1 << UInt8(cpu % 8)
        }
        cbench_set_affinity(mask, mask.count)
    }

    /// The CPUs that the calling thread may use.
    package static func available() -> [Int] {
        var mask = [UInt8](repeating: 0, count: maskBytes)
        cbench_affinity(&mask, mask.count)
        return (0..<mask.count * 8).filter { mask[$0 / 8] & (1 << UInt8($0 % 8)) != 0 }
    }

    /// 1,024 CPUs.
    private static let maskBytes = 128
}
