import MeshConfig
import MeshNet

/// What the administration server reads and commands: the control thread fills it in once.
/// Everything is called on the control thread.
package struct AdminState {
    package enum ServerState: String, Sendable {
        case live = "LIVE"
        case draining = "DRAINING"
        case preInitializing = "PRE_INITIALIZING"
        case initializing = "INITIALIZING"
    }

    /// A certificate in use and where it came from.
    package struct Certificate {
        /// A path, or `<inline>`.
        package let path: String
        package let info: CertificateInfo

        package init(path: String, info: CertificateInfo) {
            self.path = path
            self.info = info
        }
    }

    /// One TLS context: whom it trusts and what it presents.
    package struct CertificateSet {
        package let authorities: [Certificate]
        package let chain: [Certificate]

        package init(authorities: [Certificate], chain: [Certificate]) {
            self.authorities = authorities
            self.chain = chain
        }
    }

    package struct Memory {
        /// Bytes in use by the program.
        package let allocated: UInt64
        /// Bytes the allocator holds.
        package let heap: UInt64
        /// Resident set.
        package let physical: UInt64

        package init(allocated: UInt64, heap: UInt64, physical: UInt64) {
            self.allocated = allocated
            self.heap = heap
            self.physical = physical
        }
    }

    package struct Drain {
        /// Connections are asked to close over the drain time before listeners stop.
        package let isGraceful: Bool
        /// Connections are drained, listeners stay.
        package let skipsExit: Bool
        package let isInboundOnly: Bool
    }

    /// Values set by POST /runtime_modify, in the order they were set.
    package struct Runtime {
        package let config: RuntimeConfig
        package let overrides: [(key: String, value: String)]

        package init(config: RuntimeConfig, overrides: [(key: String, value: String)] = []) {
            self.config = config
            self.overrides = overrides
        }
    }

    // Facts.
    package let stats: StatsRegistry
    /// As `/server_info` gives it.
    package let version: String
    /// The file as it was read; secrets are taken out on the way out.
    package let configuration: ConfigValue
    package let loadedAt: WallTime
    /// As `/server_info` lists them.
    package let options: [(name: String, value: ConfigValue)]
    /// Paths that are served; empty: all.
    package let allowedPaths: [StringMatch]
    package let log: Log

    package var wallClock: () -> WallTime = { WallTime(nanoseconds: 0) }
    package var uptime: () -> Nanoseconds = { .zero }
    package var serverState: () -> ServerState = { .live }
    package var clusters: () -> [ClusterView] = { [] }
    package var listeners: () -> [(name: String, address: SocketAddress)] = { [] }
    package var certificates: () -> [CertificateSet] = { [] }
    package var memory: () -> Memory = { Memory(allocated: 0, heap: 0, physical: 0) }
    package var runtime: () -> Runtime = { Runtime(config: RuntimeConfig()) }

    // Commands.
    package var failHealthChecks: () -> Void = {}
    package var passHealthChecks: () -> Void = {}
    package var drainListeners: (Drain) -> Void = { _ in }
    package var reopenLogs: () -> Void = {}
    package var quit: () -> Void = {}
    /// An empty value takes an override back. Returns why nothing was changed, or nil.
    package var modifyRuntime: ([(key: String, value: String)]) -> String? = { _ in
        "No admin layer specified"
    }
    /// Answers POST /explain.
    package var explain: ((AdminRequest) -> AdminResponse)?

    package init(
        stats: StatsRegistry,
        version: String,
        configuration: ConfigValue,
        loadedAt: WallTime,
        options: [(name: String, value: ConfigValue)] = [],
        allowedPaths: [StringMatch] = [],
        log: Log = .shared
    ) {
        self.stats = stats
        self.version = version
        self.configuration = configuration
        self.loadedAt = loadedAt
        self.options = options
        self.allowedPaths = allowedPaths
        self.log = log
    }
}
