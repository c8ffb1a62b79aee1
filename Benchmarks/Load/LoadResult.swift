/// What a run of the generator saw; `mesh-bench load --json` writes it. Latencies are nanoseconds.
package struct LoadResult: Codable, Sendable {
    package var plan: LoadPlan
    /// Length of the window that was counted; shorter than planned when interrupted.
    package var seconds: Double
    /// Within the window.
    package var requests: Int
    package var bytesReceived: Int
    package var bytesSent: Int
    /// In the whole run, as are the next two.
    package var connectionsOpened: Int
    /// How many of these resumed a TLS session.
    package var sessionsResumed: Int
    /// What went wrong, and how often: `connect: refused`, `status 503`, `reset`, …
    package var errors: [String: Int]
    /// From when a request was due (open loop) or sent (closed loop) to the last byte of its answer.
    package var latency: LatencySummary?
    /// From when it was really sent. The difference is what a stall hides from a closed loop.
    package var serviceTime: LatencySummary?
    /// How late the generator itself sent what was due although a connection was free: its own noise.
    package var lateness: LatencySummary?
    package var processes: [ProcessUsage]
    package var cpus: [CPUUsage]
    /// Ctrl-C ended it early.
    package var isPartial: Bool

    package init(
        plan: LoadPlan,
        seconds: Double,
        requests: Int,
        bytesReceived: Int,
        bytesSent: Int,
        connectionsOpened: Int,
        sessionsResumed: Int = 0,
        errors: [String: Int],
        latency: LatencySummary?,
        serviceTime: LatencySummary?,
        lateness: LatencySummary?,
        processes: [ProcessUsage],
        cpus: [CPUUsage],
        isPartial: Bool
    ) {
        self.plan = plan
        self.seconds = seconds
        self.requests = requests
        self.bytesReceived = bytesReceived
        self.bytesSent = bytesSent
        self.connectionsOpened = connectionsOpened
        self.sessionsResumed = sessionsResumed
        self.errors = errors
        self.latency = latency
        self.serviceTime = serviceTime
        self.lateness = lateness
        self.processes = processes
        self.cpus = cpus
        self.isPartial = isPartial
    }
}

/// A distribution, as far as it can be plotted and compared. Nanoseconds.
package struct LatencySummary: Codable, Sendable, Equatable {
    package struct Point: Codable, Sendable, Equatable {
        /// 0 to 100.
        package var percentile: Double
        package var nanoseconds: UInt64

        package init(percentile: Double, nanoseconds: UInt64) {
            self.percentile = percentile
            self.nanoseconds = nanoseconds
        }
    }

    package var count: Int
    package var mean: Double
    package var min: UInt64
    package var max: UInt64
    /// 50, 75, 90, 95, 99, 99.9, 99.99.
    package var percentiles: [Point]
    /// The whole curve, denser towards 100, for plots.
    package var curve: [Point]

    package init(
        count: Int,
        mean: Double,
        min: UInt64,
        max: UInt64,
        percentiles: [Point],
        curve: [Point]
    ) {
        self.count = count
        self.mean = mean
        self.min = min
        self.max = max
        self.percentiles = percentiles
        self.curve = curve
    }
}

/// What a watched process (with its children and all threads) used within the window.
package struct ProcessUsage: Codable, Sendable {
    package var name: String
    package var pid: Int32
    /// Time on a CPU, from `/proc/PID/task/*/schedstat`.
    package var cpuNanoseconds: UInt64
    /// Its share in user mode, 0 to 1, from the clock ticks of `/proc/PID/stat`; nil in windows of few ticks.
    package var userShare: Double?
    package var voluntarySwitches: Int
    package var involuntarySwitches: Int
    /// At the end of the window.
    package var residentKiB: Int
    /// Its share of what is shared, from `smaps_rollup`; nil where the system does not tell.
    package var proportionalKiB: Int?

    package init(
        name: String,
        pid: Int32,
        cpuNanoseconds: UInt64,
        userShare: Double?,
        voluntarySwitches: Int,
        involuntarySwitches: Int,
        residentKiB: Int,
        proportionalKiB: Int?
    ) {
        self.name = name
        self.pid = pid
        self.cpuNanoseconds = cpuNanoseconds
        self.userShare = userShare
        self.voluntarySwitches = voluntarySwitches
        self.involuntarySwitches = involuntarySwitches
        self.residentKiB = residentKiB
        self.proportionalKiB = proportionalKiB
    }
}

/// One CPU within the window, from `/proc/stat`. Seconds.
package struct CPUUsage: Codable, Sendable {
    package var cpu: Int
    package var busy: Double
    package var idle: Double
    /// Taken by the hypervisor for others.
    package var stolen: Double

    package init(cpu: Int, busy: Double, idle: Double, stolen: Double) {
        self.cpu = cpu
        self.busy = busy
        self.idle = idle
        self.stolen = stolen
    }
}
