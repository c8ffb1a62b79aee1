import MeshConfig

/// Where the nanoseconds of a connection manager's requests go: `http.<stat_prefix>.timing.*_ns`. There
/// only where the runtime value `mesh.timing.histograms` is true, since Envoy has nothing like it.
package final class TimingHistograms {
    /// From accept to TLS established, per connection.
    package let downstreamHandshake: Histogram
    /// TCP and TLS of a new upstream connection, counted with the first request that it serves.
    package let connect: Histogram
    /// Plain memory: each request passes by all of them.
    private let phases: UnsafeMutablePointer<Histogram>

    package init(_ stats: WorkerStats, statPrefix: String) {
        let scope = StatsScope(stats, "http.\(statPrefix).timing.")
        downstreamHandshake = scope.histogram("downstream_handshake_ns", unit: .nanoseconds)
        connect = scope.histogram("connect_ns", unit: .nanoseconds)
        phases = .allocate(capacity: TimingPhase.count)
        for phase in TimingPhase.allCases {
            let histogram = scope.histogram("\(phase.name)_ns", unit: .nanoseconds)
            (phases + Int(phase.rawValue)).initialize(to: histogram)
        }
    }

    deinit {
        phases.deinitialize(count: TimingPhase.count)
        phases.deallocate()
    }

    /// Nil where they are off.
    package convenience init?(_ stats: WorkerStats, statPrefix: String, _ runtime: RuntimeConfig) {
        guard runtime[RuntimeKeys.timingHistograms] == .bool(true) else { return nil }
        self.init(stats, statPrefix: statPrefix)
    }

    /// - Parameter at: raw value of a ``TimingPhase``.
    subscript(at: Int) -> Histogram { phases[at] }
}
