import MeshConfig

/// Where the nanoseconds of a connection manager's requests go: `http.<stat_prefix>.timing.*_ns`. There
/// only where the runtime value `mesh.timing.histograms` is true, since Envoy has nothing like it.
package final class TimingHistograms {
    /// From accept to TLS established, per connection.
    package let downstreamHandshake: Histogram
    /// TCP and TLS of a new upstream connection, counted with the first request that it serves.
    package let connect: Histogram
    private let phases: [Histogram]

    package init(_ stats: WorkerStats, statPrefix: String) {
        let scope = StatsScope(stats, "http.\(statPrefix).timing.")
        downstreamHandshake = scope.histogram("downstream_handshake_ns", unit: .nanoseconds)
        connect = scope.histogram("connect_ns", unit: .nanoseconds)
        phases = TimingPhase.allCases.map { scope.histogram("\($0.name)_ns", unit: .nanoseconds) }
    }

    /// Nil where they are off.
    package convenience init?(_ stats: WorkerStats, statPrefix: String, _ runtime: RuntimeConfig) {
        guard runtime[RuntimeKeys.timingHistograms] == .bool(true) else { return nil }
        self.init(stats, statPrefix: statPrefix)
    }

    subscript(phase: TimingPhase) -> Histogram { phases[Int(phase.rawValue)] }
}
