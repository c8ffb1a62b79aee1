import CLinux
import Glibc
import MeshConfig
import MeshNet
import MeshRuntime
import Synchronization

/// The process: the control thread's loop with its signals, admin and secrets, and the workers.
///
/// Life: ``start()`` → serving → ``drain()`` on SIGTERM or SIGINT → the loop ends when the last
/// connection has, or when the drain's time is over.
package final class ProxyAgent: TimerTarget {
    let plan: AgentPlan
    let options: Options
    let loop: EventLoop
    let secrets: SecretStore
    let registry: ClusterRegistry
    private let configuration: ConfigValue
    private var threads: [WorkerThreadBox] = []
    private var logThread: WorkerThreadBox?
    var watcher: FileWatcher?
    /// Counts of TLS contexts and secrets.
    let contexts: TLSContextAccounts
    private var signals: SignalListener?
    private var discovery: DNSDiscovery?
    private var admin: ControlServer?
    private(set) var gauges: ServerGauges?
    package private(set) var listening: [ListeningAddress] = []
    private var drainTimer = TimerID.none
    private var drainDeadline: Instant?
    private var ticketTimer = TimerID.none

    /// Of listeners that stop later.
    private var listenerTimers: [TimerID] = []

    private enum Timer {
        static let drain: UInt8 = 0, tickets: UInt8 = 1, listeners: UInt8 = 2
        static let inboundListeners: UInt8 = 3
    }

    /// One in so many of the descriptors that `ulimit -n` allows is not for clients.
    private static let descriptorShareKept: Int32 = 8
    /// In-flight requests get this long after SIGTERM unless `--drain-time-s` says otherwise.
    package static let drainTimeDefault = Nanoseconds.seconds(5)
    /// How long the first answers of name servers are waited for.
    private static let firstResolutionLimit = Nanoseconds.seconds(5)
    /// How often a draining agent looks whether it is done.
    private static let drainPoll = Nanoseconds.milliseconds(20)
    /// Session ticket keys live for two of these: one as the current, one as the previous key.
    private static let ticketKeyLife = Nanoseconds.seconds(8 * 3600)

    /// A listener's bound address, for the admin and for port 0.
    package struct ListeningAddress: Sendable {
        /// Index of the listener in the configuration.
        package let listener: Int
        package let name: String
        package let address: SocketAddress
    }

    /// `WorkerThread` is not copyable; an array wants boxes.
    private final class WorkerThreadBox {
        var thread: WorkerThread?
        init(_ thread: consuming WorkerThread) { self.thread = consume thread }
    }

    package init(
        plan: AgentPlan,
        options: Options,
        loop: EventLoop,
        secrets: SecretStore,
        registry: ClusterRegistry,
        configuration: ConfigValue
    ) {
        self.plan = plan
        self.options = options
        self.loop = loop
        self.secrets = secrets
        self.registry = registry
        self.configuration = configuration
        let stats = plan.process.registry
        contexts = TLSContextAccounts(WorkerStats(stats, index: stats.controlIndex))
    }

    var log: Log { plan.process.log }

    // MARK: Starting

    /// Opens every socket, then starts the workers: what cannot listen starts nothing.
    package func start(signalSet: sigset_t) throws(AgentError) {
        let sockets = try openSockets()
        do throws(SystemError) {
            signals = try SignalListener(signalSet, loop: loop) { [unowned self] in received($0) }
            try startWatching()
        } catch {
            throw AgentError("start failed: \(error)")
        }
        try startAdmin()
        try startDiscovery()
        gauges = ServerGauges(
            plan.process,
            loop: loop,
            workers: plan.workers.workerCount,
            interval: Nanoseconds(plan.bootstrap.statsFlushInterval),
            firstExpiry: { [unowned self] in firstCertificateExpiry }
        )
        try startLogThread()
        for index in 0..<plan.workers.workerCount {
            try startWorker(index, sockets.map { $0[index] })
        }
        ticketTimer = loop.arm(self, Timer.tickets, after: Self.ticketKeyLife)
        accountContexts()
        gauges?.started(
            plan.bootstrap,
            listeners: listening.count,
            now: loop.system.wallClock()
        )
        log.info(.main, "all listeners are started: \(listening.count)")
        ProgramMemory.giveBackStart()
    }

    /// One socket per listener address and worker (SO_REUSEPORT), so that the kernel spreads connections.
    private func openSockets() throws(AgentError) -> [[ListenerSocket]] {
        var result: [[ListenerSocket]] = []
        for (index, listener) in plan.bootstrap.listeners.enumerated() {
            if listener.isInternal {
                listening.append(
                    ListeningAddress(
                        listener: index,
                        name: listener.displayName,
                        address: listener.internalAddress
                    )
                )
            }
            for address in listener.addresses {
                var options = ListenOptions()
                options.transparent = listener.isTransparent
                options.onlyIPv6 = !address.acceptsIPv4
                if let backlog = listener.backlog { options.backlog = Int32(clamping: backlog) }
                var bound = address.address
                var sockets: [ListenerSocket] = []
                for worker in 0..<plan.workers.workerCount {
                    do throws(SystemError) {
                        let socket = try listen(
                            bound,
                            options,
                            worker,
                            first: sockets.first?.socket
                        )
                        bound = loop.system.localAddress(of: socket) ?? bound
                        sockets.append(
                            ListenerSocket(listener: index, address: bound, socket: socket)
                        )
                    } catch {
                        throw AgentError(
                            "listener \"\(listener.displayName)\" failed: \(bound): \(error.reason);"
                                + " is the address in use?"
                        )
                    }
                }
                listening.append(
                    ListeningAddress(listener: index, name: listener.displayName, address: bound)
                )
                result.append(sockets)
            }
        }
        return result
    }

    /// Unix-domain sockets cannot be bound twice: workers share one listening socket.
    private func listen(
        _ address: SocketAddress,
        _ options: ListenOptions,
        _ worker: Int,
        first: Socket?
    ) throws(SystemError) -> Socket {
        if case .unix = address, worker > 0, let first {
            return Socket(descriptor: dup(first.descriptor))
        }
        return try loop.system.listen(on: address, options: options)
    }

    private func startWorker(_ index: Int, _ sockets: [ListenerSocket]) throws(AgentError) {
        let plan = plan
        do throws(SystemError) {
            let thread = try WorkerThread(name: "worker_\(index)") {
                do throws(SystemError) {
                    let system = try LinuxSystem(descriptorShareKept: Self.descriptorShareKept)
                    let loop = EventLoop(system: system)
                    // First the mailbox: what changes from now on is heard after the worker has begun
                    // with what was true.
                    plan.workers.joined(index, loop.mailbox)
                    let worker = Worker(index: index, loop: loop, plan: plan)
                    try worker.listen(on: sockets)
                    ProgramMemory.giveBackStart()
                    loop.run()
                    worker.accessLogs.flush()
                } catch {
                    plan.process.log.critical(.main, "worker \(index) failed: \(error)")
                    exit(1)
                }
            }
            threads.append(WorkerThreadBox(thread))
        } catch {
            throw AgentError("worker \(index) failed: \(error)")
        }
    }

    private func startAdmin() throws(AgentError) {
        guard let config = plan.bootstrap.admin, let address = config.address else { return }
        do throws(SystemError) {
            let stats = WorkerStats(
                plan.process.registry,
                index: plan.process.registry.controlIndex
            )
            admin = try ControlServer(
                address,
                loop: loop,
                responder: Admin(adminState(configuration, config)),
                accounts: AdminServerStats(stats),
                name: "envoy"
            )
        } catch {
            throw AgentError("admin failed: \(address): \(error.reason); is the address in use?")
        }
    }

    /// Names are resolved before the first request, but a name server that is silent holds up nothing
    /// for long: requests are then answered with 503 until it speaks.
    private func startDiscovery() throws(AgentError) {
        var seed: UInt64 = 0
        withUnsafeMutableBytes(of: &seed) { loop.system.fill(random: $0) }
        let discovery = DNSDiscovery(
            loop: loop,
            stats: WorkerStats(plan.process.registry, index: plan.workers.workerCount),
            seed: seed
        )
        do throws(SystemError) {
            try discovery.start(
                zip(plan.bootstrap.clusters, plan.clusters).map { (config: $0, plan: $1) }
            )
        } catch {
            throw AgentError("DNS failed: \(error)")
        }
        discovery.resolveInitially(limit: Self.firstResolutionLimit)
        self.discovery = discovery
    }

    private var firstCertificateExpiry: WallTime? {
        secrets.slots.flatMap { $0.load().chains.joined() }.map(\.notAfter).min()
    }

    /// Logs have a thread of their own: a slow disk stops nobody else.
    private func startLogThread() throws(AgentError) {
        let writer = plan.process.logWriter
        do throws(SystemError) {
            let thread = try WorkerThread(name: "access_log") {
                do throws(SystemError) { writer.run(on: try LinuxSystem()) } catch {
                    Log.shared.critical(.main, "access log thread failed: \(error)")
                    exit(1)
                }
            }
            logThread = WorkerThreadBox(thread)
        } catch {
            throw AgentError("access log thread failed: \(error)")
        }
    }

    /// Serves until drained.
    package func run() {
        loop.run()
        for index in 0..<plan.workers.workerCount {
            plan.workers.post(worker: index) { $0.loop.stop() }
        }
        for box in threads { box.thread.take()?.join() }
        plan.process.logWriter.stop()
        logThread?.thread.take()?.join(within: LogWriter.endPatience)
        log.info(.main, "exiting")
    }

    // MARK: Signals

    private func received(_ signal: Int32) {
        switch signal {
        case SIGTERM, SIGINT:
            log.warning(.main, "caught signal \(signal): draining")
            drain()
        case SIGUSR1:
            log.info(.main, "caught SIGUSR1: reopening access logs")
            reopenLogs()
        default:
            log.warning(.main, "caught SIGHUP: the configuration is read at start only")
        }
    }

    package func reopenLogs() { plan.process.logWriter.reopen() }

    // MARK: Draining

    /// Stops accepting; returns at once. The process ends when nothing is left to serve, at the latest
    /// after the drain's time. A second call ends it now.
    package func drain() {
        guard drainDeadline == nil else { return loop.stop() }
        drainDeadline = loop.now + drainTime
        plan.process.isDraining = true
        plan.workers.postAll { $0.drain() }
        drainTimer = loop.arm(self, Timer.drain, after: Self.drainPoll)
    }

    /// Ends the process at once (admin: /quitquitquit).
    package func quit() {
        log.info(.main, "quit was requested")
        drain()
    }

    private var drainTime: Nanoseconds {
        options.drainTime.map { Nanoseconds($0) } ?? Self.drainTimeDefault
    }

    /// Asks connections to go elsewhere and stops accepting, without ending the process: at once, or when
    /// the drain's time is over (admin: /drain_listeners).
    func drainListeners(_ wanted: AdminState.Drain) {
        let span = drainTime
        let inboundOnly = wanted.isInboundOnly
        plan.workers.postAll { $0.drainListeners(over: span, inboundOnly: inboundOnly) }
        guard wanted.isGraceful else { return stopListeners(inboundOnly: inboundOnly) }
        guard !wanted.skipsExit else { return }
        let kind = inboundOnly ? Timer.inboundListeners : Timer.listeners
        listenerTimers.append(loop.arm(self, kind, after: span))
    }

    private func stopListeners(inboundOnly: Bool) {
        plan.workers.postAll { $0.closeListeners(inboundOnly: inboundOnly) }
        let stopped = plan.bootstrap.listeners.count { !inboundOnly || $0.direction == .inbound }
        gauges?.listenersStopped(stopped)
    }

    package func timerFired(_ kind: UInt8) {
        if kind == Timer.listeners || kind == Timer.inboundListeners {
            return stopListeners(inboundOnly: kind == Timer.inboundListeners)
        }
        if kind == Timer.tickets {
            secrets.rotateTicketKeys()
            ticketTimer = loop.arm(self, Timer.tickets, after: Self.ticketKeyLife)
            return
        }
        drainTimer = .none
        guard let drainDeadline else { return }
        if plan.process.openConnections == 0 { return loop.stop() }
        if loop.now >= drainDeadline {
            log.warning(
                .main,
                "drain time is over: \(plan.process.openConnections) connections are closed"
            )
            plan.workers.postAll { $0.closeEverything() }
            return loop.stop()
        }
        drainTimer = loop.arm(self, Timer.drain, after: Self.drainPoll)
    }
}

/// Why the agent could not start, in one sentence for the operator.
package struct AgentError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
