import MeshLoad

/// A whole run of `mesh-bench run`, as its JSON holds it; tables, the page and `capacity` are made of it.
package struct BenchReport: Codable, Sendable {
    /// Raised when a field changes its meaning.
    package static let currentSchema = 1

    package var schema = BenchReport.currentSchema
    /// ISO 8601, UTC.
    package var date: String
    /// As typed, for whoever wants to repeat it.
    package var command: String
    package var machine: Machine
    package var peers: [PeerDescription]
    package var scenarios: [ScenarioReport]
    /// What a reader has to know, a sentence each: peers that were not found, short windows, what this machine
    /// cannot count.
    package var notes: [String] = []
    /// Ctrl-C ended it early.
    package var isPartial: Bool

    package init(
        date: String,
        command: String,
        machine: Machine,
        peers: [PeerDescription],
        scenarios: [ScenarioReport],
        isPartial: Bool
    ) {
        self.date = date
        self.command = command
        self.machine = machine
        self.peers = peers
        self.scenarios = scenarios
        self.isPartial = isPartial
    }

    /// Where it ran, and how the processes were kept apart.
    package struct Machine: Codable, Sendable {
        package var processor: String
        package var cpus: Int
        package var memoryMiB: Int
        package var kernel: String
        package var openSSL: String
        /// `kvm`, …; nil on bare metal or where it is not told.
        package var hypervisor: String?
        /// CPUs of the proxies under test, and of generator and upstream.
        package var proxyCPUs: [Int]
        package var loadCPUs: [Int]
        /// For people: `SCHED_RR 10` or `default`, spinners, and the like.
        package var scheduling: String

        package init(
            processor: String,
            cpus: Int,
            memoryMiB: Int,
            kernel: String,
            openSSL: String,
            hypervisor: String?,
            proxyCPUs: [Int],
            loadCPUs: [Int],
            scheduling: String
        ) {
            self.processor = processor
            self.cpus = cpus
            self.memoryMiB = memoryMiB
            self.kernel = kernel
            self.openSSL = openSSL
            self.hypervisor = hypervisor
            self.proxyCPUs = proxyCPUs
            self.loadCPUs = loadCPUs
            self.scheduling = scheduling
        }
    }

    package struct PeerDescription: Codable, Sendable {
        /// `envoy`, `meshproxy`, …; `direct` is no proxy at all, `floor` the minimal relay.
        package var name: String
        /// First line of what it says of its version; empty for `direct`.
        package var version: String

        package init(name: String, version: String) {
            self.name = name
            self.version = version
        }
    }
}

package struct ScenarioReport: Codable, Sendable {
    /// `hop-h1`, …
    package var id: String
    package var title: String
    /// One or two sentences: what goes where, how large, how many at a time.
    package var explanation: String
    /// What a request is here: `request`, `message`, `connection`, `KiB`.
    package var unit: String
    /// The fixed rate of the latency figures; nil where there are none.
    package var rate: Double?
    package var results: [PeerResult]

    package init(
        id: String,
        title: String,
        explanation: String,
        unit: String,
        rate: Double?,
        results: [PeerResult]
    ) {
        self.id = id
        self.title = title
        self.explanation = explanation
        self.unit = unit
        self.rate = rate
        self.results = results
    }
}

/// What one peer did in one scenario.
package struct PeerResult: Codable, Sendable {
    package var peer: String
    package var figures: [FigureKind: Figure]
    /// Latency at the fixed rate: the repetition whose p99 is the median one.
    package var latency: LatencySummary?
    /// Throughput against p99, from rates that were tried; empty where none were.
    package var loadCurve: [LoadPoint]
    /// Where a hop's time goes, by the proxy's own stamps, in the order of the way; empty for other peers.
    package var phases: [Phase]
    /// Repetitions that were thrown away, and why: `foreign CPU 0.31`.
    package var discarded: [String]
    /// What failed, where it did; there are no figures then.
    package var failure: String?

    package init(peer: String) {
        self.peer = peer
        figures = [:]
        loadCurve = []
        phases = []
        discarded = []
    }

    package struct LoadPoint: Codable, Sendable {
        package var requestsPerSecond: Double
        package var p50Nanoseconds: UInt64
        package var p99Nanoseconds: UInt64

        package init(requestsPerSecond: Double, p50Nanoseconds: UInt64, p99Nanoseconds: UInt64) {
            self.requestsPerSecond = requestsPerSecond
            self.p50Nanoseconds = p50Nanoseconds
            self.p99Nanoseconds = p99Nanoseconds
        }
    }

    package struct Phase: Codable, Sendable {
        /// Of the chain, 0 is the client's.
        package var hop: Int
        /// `parse`, `authorize`, …: the `timing` statistics of docs/timing.md.
        package var name: String
        package var meanNanoseconds: Double

        package init(hop: Int, name: String, meanNanoseconds: Double) {
            self.hop = hop
            self.name = name
            self.meanNanoseconds = meanNanoseconds
        }
    }
}

/// A median with its spread over the repetitions that count.
package struct Figure: Codable, Sendable, Equatable {
    package var median: Double
    package var lowest: Double
    package var highest: Double
    package var repetitions: Int

    package init(median: Double, lowest: Double, highest: Double, repetitions: Int) {
        self.median = median
        self.lowest = lowest
        self.highest = highest
        self.repetitions = repetitions
    }
}

/// Everything that is measured. What is per request is per ``ScenarioReport/unit``; CPU, system calls and
/// memory are those of the proxies under test alone, all hops together.
package enum FigureKind: String, Codable, CodingKeyRepresentable, Sendable, CaseIterable {
    /// At saturation.
    case cpuMicroseconds = "cpu_us"
    case cpuUserMicroseconds = "cpu_user_us"
    case cpuSystemMicroseconds = "cpu_system_us"
    /// Share of their CPUs that they used at saturation, 0 to 1. Much below 1, something else was the limit.
    case busyShare = "busy_share"
    case requestsPerSecond = "requests_per_s"
    case bytesPerSecond = "bytes_per_s"
    case systemCalls = "system_calls"
    case contextSwitches = "context_switches"
    case instructions = "instructions"
    case saturatedP50 = "saturated_p50_us"
    case saturatedP99 = "saturated_p99_us"
    /// At the fixed rate, from when a request was due.
    case p50 = "p50_us"
    case p90 = "p90_us"
    case p99 = "p99_us"
    case p999 = "p999_us"
    case p9999 = "p9999_us"
    /// Beyond the direct path in the same repetition.
    case addedP50 = "added_p50_us"
    case addedP99 = "added_p99_us"
    /// How late the generator itself was at the fixed rate: below this, a latency says nothing.
    case latenessP99 = "lateness_p99_us"
    /// CPU at the fixed rate: everyone also pays for being woken.
    case cpuMicrosecondsAtRate = "cpu_us_at_rate"
    /// Memory.
    case startResidentMiB = "start_rss_mib"
    case startProportionalMiB = "start_pss_mib"
    case loadResidentMiB = "load_rss_mib"
    case connectionKiB = "connection_kib"
    case streamKiB = "stream_kib"
    /// Until it accepts, with this configuration.
    case startMilliseconds = "start_ms"
}
