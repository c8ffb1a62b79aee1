import MeshNet
import MeshRuntime
import Synchronization

/// What all threads of the process share. Immutable, or atomic.
package final class ProcessState: Sendable {
    package let registry: StatsRegistry
    package let log: Log
    package let logWriter: LogWriter
    /// What `%HOSTNAME%` and `%ENVIRONMENT%` read.
    package let formats: FormatEnvironment
    package let startWall: WallTime
    /// This machine's address on its network, if it has one.
    package let nodeAddress: IPAddress?

    private let failingHealthChecks = Atomic<Bool>(false)
    private let draining = Atomic<Bool>(false)

    package init(
        registry: StatsRegistry,
        log: Log,
        logWriter: LogWriter,
        formats: FormatEnvironment,
        startWall: WallTime,
        nodeAddress: IPAddress? = nil
    ) {
        self.registry = registry
        self.log = log
        self.logWriter = logWriter
        self.formats = formats
        self.startWall = startWall
        self.nodeAddress = nodeAddress
    }

    /// `/healthcheck/fail` was posted: responses tell clients to go elsewhere.
    package var isFailingHealthChecks: Bool {
        get { failingHealthChecks.load(ordering: .relaxed) }
        set { failingHealthChecks.store(newValue, ordering: .relaxed) }
    }

    private let connections = Atomic<Int>(0)

    /// Downstream connections of all workers.
    package var openConnections: Int { connections.load(ordering: .relaxed) }
    func connectionOpened() { connections.wrappingAdd(1, ordering: .relaxed) }
    func connectionClosed() { connections.wrappingSubtract(1, ordering: .relaxed) }

    /// The process takes no new connections.
    package var isDraining: Bool {
        get { draining.load(ordering: .relaxed) }
        set { draining.store(newValue, ordering: .relaxed) }
    }
}
