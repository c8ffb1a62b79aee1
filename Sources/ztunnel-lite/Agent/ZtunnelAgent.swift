import CLinux
import Glibc
import MeshConfig
import MeshNet
import MeshRuntime

/// The process: the control thread's loop with the mesh's file, certificates, admin and signals, and the
/// workers.
///
/// Life: ``start(signalSet:)`` → serving → drain on SIGTERM or SIGINT → the end, when the last connection
/// has ended or the drain's time is over.
package final class ZtunnelAgent: TimerTarget {
    let options: ZtunnelOptions
    let loop: EventLoop
    let log: Log
    let metrics: TrafficMetrics
    let workers: ZtunnelWorkers
    let readiness = ZtunnelReadiness()
    private var sockets: ZtunnelSockets
    private(set) var mesh: MeshFile
    private var identities: IdentityStore?
    private(set) var identitySnapshot: IdentitySnapshot
    private var signals: SignalListener?
    private var adminPorts: AdminPorts?
    private var threads: [ThreadBox] = []
    private var logThread: ThreadBox?
    private let registry: StatsRegistry
    private let logWriter: LogWriter
    private let logSettings: LogSettings
    private var drainTimer = TimerID.none
    private var drainDeadline: Instant?
    private let openCounts: OpenConnectionCounts

    /// How often a draining agent looks whether it is done.
    private static let drainPoll = Nanoseconds.milliseconds(20)
    /// The longest that a line of the log waits for company.
    private static let logFlushInterval = Nanoseconds.milliseconds(100)
    private static let descriptorShareKept: Int32 = 8

    /// `WorkerThread` is not copyable; an array wants boxes.
    private final class ThreadBox {
        var thread: WorkerThread?
        init(_ thread: consuming WorkerThread) { self.thread = consume thread }
    }

    package init(
        _ options: ZtunnelOptions,
        mesh: MeshFile,
        loop: EventLoop,
        log: Log,
        logSettings: LogSettings
    ) throws(ZtunnelError) {
        var options = options
        let count = options.workers ?? Self.workersDefault
        workers = ZtunnelWorkers(count: count)
        sockets = try ZtunnelSockets(&options, workers: count, system: loop.system)
        openCounts = OpenConnectionCounts(workers: count)
        self.options = options
        self.mesh = mesh
        self.loop = loop
        self.log = log
        metrics = TrafficMetrics()
        registry = StatsRegistry(workers: count)
        logWriter = LogWriter(SystemLogFiles(), registry, flushInterval: Self.logFlushInterval)
        self.logSettings = logSettings
        identitySnapshot = IdentitySnapshot(credentials: [:], revoked: .none)
    }

    /// A quarter of the processors, two at least: the agent shares its node with those it works for.
    private static var workersDefault: Int {
        max(2, (Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) + 3) / 4)
    }

    // MARK: Starting

    package func start(signalSet: sigset_t) throws(ZtunnelError) {
        do throws(SystemError) {
            signals = try SignalListener(signalSet, loop: loop) { [unowned self] in received($0) }
            try mesh.watch(on: loop) { [unowned self] in meshChanged() }
        } catch {
            throw ZtunnelError("start failed: \(error)")
        }
        try startIdentities()
        try startLogThread()
        logSettings.begin(logWriter)
        try startAdmin()
        for index in 0..<workers.count { try startWorker(index) }
        for (purpose, address) in adminPorts?.addresses ?? [] {
            log.info(.main, "listening: \(purpose) at \(address)")
        }
        for (purpose, address) in sockets.addresses {
            log.info(.main, "listening: \(purpose) at \(address)")
        }
        readiness.done(.mesh)
        ProgramMemory.giveBackStart()
    }

    private func startIdentities() throws(ZtunnelError) {
        var storeOptions = IdentityStore.Options()
        storeOptions.allowsTLS12 = options.allowsTLS12
        do throws(IdentityError) {
            identities = try IdentityStore(
                options.identitySource,
                crlPath: options.revocationListPath,
                options: storeOptions,
                loop: loop,
                log: log
            ) { [unowned self] in identitiesChanged($0) }
        } catch {
            throw ZtunnelError("identities failed: \(error)")
        }
        identities?.want(mesh.localIdentities)
    }

    private func startAdmin() throws(ZtunnelError) {
        let registry = registry
        let facts = adminFacts(
            logSettings: logSettings,
            identityProblems: { [unowned self] in identities?.problems ?? [] },
            droppedLogLines: { registry.view().value("filesystem.write_dropped") ?? 0 }
        )
        do throws(AdminPortError) {
            adminPorts = try AdminPorts(
                facts,
                admin: options.adminAddress,
                stats: options.bindable(options.statsAddress),
                readiness: options.bindable(options.readinessAddress),
                loop: loop
            )
        } catch {
            throw ZtunnelError("\(error)")
        }
    }

    /// The log has a thread of its own: a slow disk stops nobody else.
    private func startLogThread() throws(ZtunnelError) {
        let writer = logWriter
        do throws(SystemError) {
            let thread = try WorkerThread(name: "access_log") {
                do throws(SystemError) { writer.run(on: try LinuxSystem()) } catch {
                    Log.shared.critical(.main, "access log thread failed: \(error)")
                    exit(1)
                }
            }
            logThread = ThreadBox(thread)
        } catch {
            throw ZtunnelError("access log thread failed: \(error)")
        }
    }

    private func startWorker(_ index: Int) throws(ZtunnelError) {
        let options = options
        let workers = workers
        let metrics = metrics
        let log = log
        let sockets = self.sockets.sockets[index]
        let canBorrowSources = self.sockets.canBorrowSources
        let registry = registry
        let writer = logWriter
        let logSettings = logSettings
        let state = mesh.state
        let identities = identitySnapshot
        do throws(SystemError) {
            let thread = try WorkerThread(name: "worker_\(index)") {
                do throws(SystemError) {
                    let system = try LinuxSystem(descriptorShareKept: Self.descriptorShareKept)
                    let loop = EventLoop(system: system)
                    workers.joined(index, loop.mailbox)
                    let traffic = TrafficLog(
                        logSettings,
                        writer: writer,
                        loop: loop,
                        stats: WorkerStats(registry, index: index)
                    )
                    let worker = ZtunnelWorker(
                        index: index,
                        loop: loop,
                        options: options,
                        identities: identities,
                        metrics: metrics,
                        traffic: traffic,
                        log: log,
                        canBorrowSources: canBorrowSources
                    )
                    _ = worker.apply(state)
                    try worker.listen(on: sockets)
                    ProgramMemory.giveBackStart()
                    loop.run()
                    traffic.flush()
                } catch {
                    log.critical(.main, "worker \(index) failed: \(error)")
                    exit(1)
                }
            }
            threads.append(ThreadBox(thread))
        } catch {
            throw ZtunnelError("worker \(index) failed: \(error)")
        }
    }

    /// Serves until drained.
    package func run() {
        loop.run()
        workers.postAll { $0.loop.stop() }
        for box in threads { box.thread.take()?.join() }
        logSettings.end()
        logWriter.stop()
        logThread?.thread.take()?.join(within: LogWriter.endPatience)
        log.info(.main, "exiting")
    }

    // MARK: Changes

    private func meshChanged() {
        let state = mesh.state
        identities?.want(mesh.localIdentities)
        let control = loop.mailbox
        workers.postAll { worker in
            let before = worker.apply(state)
            // Freed here, where nobody waits.
            control.post { _ in withExtendedLifetime(before) {} }
        }
    }

    private func identitiesChanged(_ snapshot: IdentitySnapshot) {
        identitySnapshot = snapshot
        if mesh.localIdentities.isSubset(of: Set(snapshot.credentials.keys)) {
            readiness.done(.certificates)
        }
        workers.postAll { $0.apply(snapshot) }
    }

    // MARK: Ending

    private func received(_ signal: Int32) {
        switch signal {
        case SIGTERM, SIGINT:
            log.warning(.main, "caught signal \(signal): draining")
            drain()
        default:
            log.info(.main, "caught SIGHUP: reading the mesh again")
            mesh.reload()
        }
    }

    /// Stops accepting; returns at once. A second call ends the process now.
    package func drain() {
        guard drainDeadline == nil else { return loop.stop() }
        drainDeadline = loop.now + options.terminationDeadline
        readiness.isDraining = true
        workers.postAll { $0.drain() }
        drainTimer = loop.arm(self, after: Self.drainPoll)
    }

    package func timerFired(_ kind: UInt8) {
        drainTimer = .none
        guard let drainDeadline else { return }
        let counts = openCounts
        workers.postAll { counts.report($0.index, $0.openConnections) }
        if openCounts.total == 0 { return loop.stop() }
        if loop.now >= drainDeadline {
            log.warning(.main, "drain time is over: open connections are closed")
            workers.postAll { $0.closeEverything() }
            return loop.stop()
        }
        drainTimer = loop.arm(self, after: Self.drainPoll)
    }
}
