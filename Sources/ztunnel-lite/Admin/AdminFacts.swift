import MeshConfig
import MeshNet
import MeshRuntime

/// What the ports for people and scrapers know of the agent, and what they may do to it. All of it belongs
/// to the control thread.
package struct AdminFacts {
    package var version: String
    /// Everything that was asked of the process, under ztunnel's names, as `/config_dump` gives it.
    package var options: [(name: String, value: ConfigValue)] = []
    package var logSettings: LogSettings
    package var metrics: TrafficMetrics

    /// The file that is in force, and what became of it.
    package var config: () -> ZtunnelConfig = { ZtunnelConfig() }
    package var state: () -> MeshState = { .empty }
    /// Why the file as it is now is not in force; empty: it is.
    package var refusal: () -> [String] = { [] }
    package var identities: () -> IdentitySnapshot = { IdentitySnapshot() }
    /// Why wanted identities have no good certificate.
    package var identityProblems: () -> [String] = { [] }
    /// What must be done before the agent is ready.
    package var pending: () -> [String] = { [] }
    package var now: () -> Instant = { Instant(nanoseconds: 0) }
    /// Lines of workers' logs that were dropped.
    package var droppedLogLines: () -> UInt64 = { 0 }
    /// Asks all workers for what they have open; each answer comes once, on the control thread.
    package var connections: (_ answer: @escaping (WorkerConnections) -> Void) -> Void = { _ in }
    /// How many answers there will be.
    package var workers = 0
    /// Where peers take HBONE.
    package var hbonePort: UInt16 = 15008
    /// Ports nobody may be sent to through us.
    package var ownPorts: [UInt16] = []
    /// The one workload of dedicated mode, to which clients on the loopback address belong.
    package var ownWorkload: () -> Workload? = { nil }
    /// Stops the process in order.
    package var quit: () -> Void = {}

    package init(version: String, logSettings: LogSettings, metrics: TrafficMetrics) {
        self.version = version
        self.logSettings = logSettings
        self.metrics = metrics
    }
}

/// One worker's open connections, as many as it tells.
package struct WorkerConnections: Sendable {
    package let shown: [OpenConnection]
    package let total: Int

    /// Told by each worker at once: some 100 µs of its time.
    package static let shownMax = 1000

    /// Worker's thread.
    package init(_ records: [ConnectionRecord]) {
        shown = records.prefix(Self.shownMax).map { OpenConnection($0) }
        total = records.count
    }
}

/// A connection at one moment.
package struct OpenConnection: Sendable {
    let direction: ConnectionRecord.Direction
    let source: SocketAddress
    let destination: SocketAddress
    let start: Instant
    let sourceWorkload: Workload?
    let sourceIdentity: SPIFFEID?
    let destinationWorkload: Workload?
    let destinationIdentity: SPIFFEID?
    let service: Service?
    let hboneAddress: String?
    let isMutualTLS: Bool
    let bytesSent: UInt64
    let bytesReceived: UInt64

    init(_ record: ConnectionRecord) {
        direction = record.direction
        source = record.source
        destination = record.destination
        start = record.start
        sourceWorkload = record.sourceWorkload
        sourceIdentity = record.sourceIdentity
        destinationWorkload = record.destinationWorkload
        destinationIdentity = record.destinationIdentity
        service = record.service
        hboneAddress = record.hboneAddress
        isMutualTLS = record.isMutualTLS
        bytesSent = record.bytesSent
        bytesReceived = record.bytesReceived
    }
}
