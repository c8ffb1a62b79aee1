import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// One worker: a loop and everything compiled for it. Made on its own thread and never seen by another;
/// what comes from outside comes as a letter to the loop's mailbox.
package final class Worker {
    package let index: Int
    package let loop: EventLoop
    package let stats: WorkerStats
    package let plan: AgentPlan
    package let clusters: ClusterSet
    package let accessLogs: WorkerAccessLogs
    package let headers = HeaderMapPool()
    /// Of all downstream connections. Named with the first of them, as by Envoy.
    package private(set) lazy var http2Stats = HTTP2CodecStats(stats)
    package var random: FastRandom

    /// Open HTTP connections, so that draining finds them.
    package var connections: Set<HTTPConnectionManager> = []
    /// TCP sessions likewise.
    package var sessions: Set<TCPProxySession> = []
    package private(set) var isDraining = false

    private var listeners: [ActiveListener] = []
    private var runtime: RuntimeConfig
    private var runtimeUsers: [any RuntimeUser] = []
    private var date = DateHeader()
    private var wallOffset: Int64 = 0
    private var wallReadAt = Instant(nanoseconds: 0)
    private var lastConnectionID: UInt64 = 0

    /// Never written to: what a stream shows before its request's head is there.
    package let emptyHeaders = HeaderMap()

    package init(index: Int, loop: EventLoop, plan: AgentPlan) {
        self.index = index
        self.loop = loop
        self.plan = plan
        runtime = plan.runtime
        stats = WorkerStats(plan.process.registry, index: index)
        random = FastRandom(seed: Self.entropy(loop.system))
        let upstream = UpstreamWorker(
            loop: loop,
            stats: stats,
            headers: headers,
            seed: Self.entropy(loop.system)
        )
        clusters = ClusterSet(
            plan.clusters.map { Cluster($0.options, vitals: $0.vitals, worker: upstream) }
        )
        accessLogs = WorkerAccessLogs(
            plan.process.logWriter,
            loop: loop,
            stats: stats,
            environment: plan.process.formats,
            random: FastRandom(seed: Self.entropy(loop.system))
        )
        loop.owner = self
        // They may have changed since the clusters were planned.
        if runtime != plan.bootstrap.runtime { apply(runtime) }
    }

    private static func entropy(_ system: any System) -> UInt64 {
        var seed: UInt64 = 0
        withUnsafeMutableBytes(of: &seed) { system.fill(random: $0) }
        return seed
    }

    // MARK: Runtime

    /// Compiles what `user` holds of the runtime's values, now and after every change. Keeps it: what
    /// is compiled for a worker lives as long.
    func use(_ user: any RuntimeUser) {
        runtimeUsers.append(user)
        user.apply(runtime)
    }

    /// Puts these values in force for what begins from now on.
    package func apply(_ runtime: RuntimeConfig) {
        self.runtime = runtime
        for (config, cluster) in zip(plan.bootstrap.clusters, clusters.clusters) {
            cluster.apply(runtime, config.http)
        }
        for user in runtimeUsers { user.apply(runtime) }
    }

    package var log: Log { plan.process.log }
    package var formats: FormatEnvironment { plan.process.formats }

    /// Unique in the process: the worker's number is in the lowest bits.
    func nextConnectionID() -> UInt64 {
        lastConnectionID += 1
        return lastConnectionID << 10 | UInt64(index)
    }

    /// A connection as format strings see it.
    func context(of info: StreamInfo, _ logType: AccessLogType) -> FormatContext {
        FormatContext(info, now: loop.now, wallNow: wallClock, logType: logType)
    }

    // MARK: Time

    /// Time of day of this iteration. The clock is asked once a second; between, the monotonic clock
    /// tells how much has passed.
    package var wallClock: WallTime {
        if wallOffset == 0 || (loop.now - wallReadAt).count > 1_000_000_000 {
            wallReadAt = loop.now
            wallOffset = loop.system.wallClock().nanoseconds - Int64(loop.now.nanoseconds)
        }
        return WallTime(nanoseconds: Int64(loop.now.nanoseconds) + wallOffset)
    }

    package func withDate<R>(_ body: (Bytes) -> R) -> R { date.withText(at: wallClock, body) }

    // MARK: Listeners and drain

    func add(_ listener: ActiveListener) { listeners.append(listener) }

    /// After the admin's `/healthcheck/fail`, responses carry `connection: close`.
    package var isFailingHealthChecks: Bool { plan.process.isFailingHealthChecks }

    package var openConnections: Int { connections.count + sessions.count }

    /// Stops accepting; idle connections close at once, others after the request under way.
    package func drain() {
        guard !isDraining else { return }
        isDraining = true
        closeListeners()
        for connection in connections { connection.startDrain() }
    }

    /// Connections of listeners are asked to go elsewhere within this time; others may come.
    package func drainListeners(over span: Nanoseconds, inboundOnly: Bool) {
        for listener in listeners where !inboundOnly || listener.config.direction == .inbound {
            listener.begin(ListenerDrain(start: loop.now, span: span))
        }
    }

    package func closeListeners(inboundOnly: Bool = false) {
        let isMeant = { (listener: ActiveListener) in
            // Only connections that are there already lead to internal ones, and need them to the end.
            !listener.config.isInternal && (!inboundOnly || listener.config.direction == .inbound)
        }
        for listener in listeners where isMeant(listener) { listener.close() }
        listeners.removeAll(where: isMeant)
    }

    /// The drain's time is over.
    package func closeEverything() {
        for connection in connections { connection.closeNow() }
        for session in sessions { session.closeNow() }
    }
}
