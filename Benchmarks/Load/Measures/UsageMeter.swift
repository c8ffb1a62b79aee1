/// Reads what processes and CPUs have used so far.
package protocol UsageMeter {
    /// Without memory.
    func read() -> UsageReading
    /// The memory that the reading's processes use now.
    func addMemory(to reading: inout UsageReading)
}

/// What was used up to one instant; two of them make a window.
package struct UsageReading: Sendable {
    package struct Process: Sendable {
        package var name: String
        package var pid: Int32
        package var cpuNanoseconds: UInt64
        package var userTicks: UInt64
        package var systemTicks: UInt64
        package var voluntarySwitches: Int
        package var involuntarySwitches: Int
        package var residentKiB: Int
        package var proportionalKiB: Int?
    }

    /// Seconds.
    package struct CPU: Sendable {
        package var busy: Double
        package var idle: Double
        package var stolen: Double
    }

    package var processes: [Process] = []
    package var cpus: [Int: CPU] = [:]

    /// Shares of fewer clock ticks (10 ms each) are chance.
    private static let ticksMin: UInt64 = 50

    func processes(since before: UsageReading?) -> [ProcessUsage] {
        processes.map { now in
            let start = before?.processes.first { $0.pid == now.pid }
            let user = now.userTicks &- (start?.userTicks ?? 0)
            let system = now.systemTicks &- (start?.systemTicks ?? 0)
            let cpu = start?.cpuNanoseconds ?? 0
            return ProcessUsage(
                name: now.name,
                pid: now.pid,
                // A thread that has ended takes its time with it.
                cpuNanoseconds: now.cpuNanoseconds > cpu ? now.cpuNanoseconds - cpu : 0,
                userShare: user + system < Self.ticksMin
                    ? nil : Double(user) / Double(user + system),
                voluntarySwitches: max(0, now.voluntarySwitches - (start?.voluntarySwitches ?? 0)),
                involuntarySwitches: max(
                    0,
                    now.involuntarySwitches - (start?.involuntarySwitches ?? 0)
                ),
                residentKiB: now.residentKiB,
                proportionalKiB: now.proportionalKiB
            )
        }
    }

    func cpus(since before: UsageReading?) -> [CPUUsage] {
        cpus.sorted { $0.key < $1.key }.map { cpu, now in
            let start = before?.cpus[cpu]
            return CPUUsage(
                cpu: cpu,
                busy: now.busy - (start?.busy ?? 0),
                idle: now.idle - (start?.idle ?? 0),
                stolen: now.stolen - (start?.stolen ?? 0)
            )
        }
    }
}
