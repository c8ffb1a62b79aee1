import MeshConfig
import MeshNet
import MeshRuntime

/// Stats about the process as a whole, kept by the control thread (envoy: `server.*`).
final class ServerGauges: TimerTarget {
    private let stats: ServerStats
    private let registry: StatsRegistry
    private let process: ProcessState
    private let loop: EventLoop
    private let interval: Nanoseconds
    private let firstExpiry: () -> WallTime?
    private let clusterManager: ClusterManagerStats
    private let listenerManager: ListenerManagerStats
    private let runtime: RuntimeStats
    private var timer = TimerID.none

    /// - Parameters:
    ///   - interval: how often histograms begin a new interval (envoy: stats_flush_interval).
    ///   - firstExpiry: when the first certificate in use expires.
    init(
        _ process: ProcessState,
        loop: EventLoop,
        workers: Int,
        interval: Nanoseconds,
        firstExpiry: @escaping () -> WallTime?
    ) {
        self.process = process
        self.loop = loop
        self.interval = interval
        self.firstExpiry = firstExpiry
        registry = process.registry
        stats = ServerStats(WorkerStats(registry, index: workers))
        let control = WorkerStats(registry, index: registry.controlIndex)
        clusterManager = ClusterManagerStats(control)
        listenerManager = ListenerManagerStats(control)
        runtime = RuntimeStats(control)
        _ = HTTP1CodecStats(control)
        stats.concurrency.set(UInt64(workers))
        stats.live.set(1)
        update()
    }

    /// All that the configuration asks for is running.
    func started(_ bootstrap: Bootstrap, listeners: Int, now: WallTime) {
        clusterManager.warmingClusters.set(0)
        listenerManager.listenerAdded.add(UInt64(listeners))
        let perWorker = UInt64(listeners * registry.workers)
        listenerManager.listenerCreateSuccess.add(perWorker)
        listenerManager.totalListenersActive.set(UInt64(listeners))
        listenerManager.totalListenersWarming.set(0)
        listenerManager.workersStarted.set(1)
        // Envoy loads them twice while it starts.
        runtime.loadSuccess.add()
        runtime.overrideDirNotExists.add()
        runtimeChanged(bootstrap.runtime, overrides: 0)
        let spent = (now.nanoseconds - process.startWall.nanoseconds) / 1_000_000
        stats.initializationTimeMs.record(UInt64(max(0, spent)))
    }

    /// Other runtime values are in force.
    func runtimeChanged(_ config: RuntimeConfig, overrides: Int) {
        runtime.loadSuccess.add()
        runtime.overrideDirNotExists.add()
        runtime.adminOverridesActive.set(overrides > 0 ? 1 : 0)
        runtime.numLayers.set(UInt64(config.layers.count))
        runtime.numKeys.set(UInt64(config.keyCount))
    }

    /// So many listeners have stopped, in all workers.
    func listenersStopped(_ count: Int) {
        listenerManager.listenerStopped.add(UInt64(count * registry.workers))
    }

    func timerFired(_ kind: UInt8) {
        registry.endHistogramInterval()
        update()
    }

    private func update() {
        let now = loop.system.wallClock()
        stats.uptime.set(UInt64(max(0, now.seconds - process.startWall.seconds)))
        stats.totalConnections.set(UInt64(max(0, process.openConnections)))
        stats.live.set(process.isDraining ? 0 : 1)
        // ServerInfo.State: LIVE 0, DRAINING 1.
        stats.state.set(process.isDraining || process.isFailingHealthChecks ? 1 : 0)
        let memory = ProcessMemory.read()
        stats.memoryAllocated.set(memory.allocated)
        stats.memoryHeapSize.set(memory.heap)
        stats.memoryPhysicalSize.set(memory.physical)
        if let expiry = firstExpiry() {
            stats.daysUntilFirstCertExpiring.set(
                UInt64(max(0, (expiry.seconds - now.seconds) / 86_400))
            )
        }
        loop.cancel(&timer)
        timer = loop.arm(self, after: interval)
    }
}
