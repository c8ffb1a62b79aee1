import CLinux
import Glibc
import MeshNet

/// A run of the generator in this process: real sockets, the real clock, signals.
package struct LoadRun {
    /// How it ended.
    package struct Outcome {
        package var result: LoadResult
        /// Why the result is worth nothing, if so.
        package var failure: LoadError?
    }

    private let plan: LoadPlan
    /// Called once a second; nil costs nothing.
    package var progressed: ((LoadProgress) -> Void)?
    /// So many stand: see ``LoadGenerator/stands``.
    package var stands: (Int) -> Void = { _ in }

    /// Descriptors beside those of connections.
    private static let descriptorsKept = 64

    package init(_ plan: LoadPlan) { self.plan = plan }

    /// Runs to its end, on the calling thread. SIGINT and SIGTERM end the window at once; with `idle-…`
    /// they, or the end of standard input, end the silence.
    package func run() throws -> Outcome {
        let signals = SignalEnd.block()
        try checkDescriptorLimit()
        let meter = ProcUsageMeter(plan.watched)
        try meter.check()
        let loop = EventLoop(system: try LinuxSystem())
        let generator = try LoadGenerator(
            plan: plan,
            loop: loop,
            meter: meter,
            reportsProgress: progressed != nil
        )
        generator.progressed = progressed
        generator.stands = stands
        generator.ended = { loop.stop() }
        let end = try SignalEnd(signals, loop: loop) { generator.interrupt() }
        let pacer = plan.rate == nil ? nil : try LoadPacer(generator, loop: loop)
        if plan.traffic.isIdle {
            loop.owner = generator
            watchInput(loop.mailbox)
        }
        generator.start()
        loop.run()
        withExtendedLifetime((end, pacer)) {}
        return Outcome(result: generator.result, failure: generator.failure)
    }

    private func checkDescriptorLimit() throws(LoadError) {
        OpenFiles.raiseLimit()
        var limit = rlimit()
        let resource = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        guard getrlimit(resource, &limit) == 0 else { return }
        let needed = UInt64(plan.connections + Self.descriptorsKept)
        guard UInt64(limit.rlim_cur) < needed else { return }
        throw LoadError(
            "load: \(plan.connections) connections: this process may open only \(limit.rlim_cur) files; "
                + "raise the hard limit (ulimit -Hn) to \(needed)"
        )
    }

    /// Reads standard input to its end on a thread of its own: it may be a file, a pipe or a terminal.
    private func watchInput(_ mailbox: Mailbox) {
        let box = Unmanaged.passRetained(mailbox)
        var thread = pthread_t()
        let result = pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                let mailbox = Unmanaged<Mailbox>.fromOpaque(context).takeRetainedValue()
                var byte: UInt8 = 0
                while Glibc.read(STDIN_FILENO, &byte, 1) > 0 {}
                mailbox.post { loop in (loop.owner as? LoadGenerator)?.release() }
                return nil
            },
            box.toOpaque()
        )
        if result == 0 { pthread_detach(thread) } else { box.release() }
    }
}

/// SIGINT and SIGTERM as an event of the loop.
private final class SignalEnd: ReadinessHandler {
    private let descriptor: Int32
    private let received: () -> Void
    private var registration: EventLoop.Registration?

    /// Before other threads start, so that they inherit it.
    static func block() -> sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        return signals
    }

    init(_ signals: sigset_t, loop: EventLoop, _ received: @escaping () -> Void) throws(SystemError)
    {
        var signals = signals
        descriptor = signalfd(-1, &signals, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(code: errno, call: "signalfd") }
        self.received = received
        registration = try loop.register(self, for: Socket(descriptor: descriptor))
    }

    deinit { close(descriptor) }

    func becameReady(_ readiness: Readiness) {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while read(descriptor, &info, size) == size { received() }
    }
}
