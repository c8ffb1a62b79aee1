import CLinux
import Glibc
import MeshNet

/// Signals as events of the control loop.
package final class SignalListener: ReadinessHandler {
    private let descriptor: Int32
    private let deliver: (Int32) -> Void
    private var registration: EventLoop.Registration?

    /// Blocks these signals in the calling thread, which must be done before other threads start, so
    /// that they inherit it.
    package static func block(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        return set
    }

    package init(
        _ signals: sigset_t,
        loop: EventLoop,
        _ deliver: @escaping (Int32) -> Void
    ) throws(SystemError) {
        var signals = signals
        descriptor = signalfd(-1, &signals, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(code: errno, call: "signalfd") }
        self.deliver = deliver
        registration = try loop.register(self, for: Socket(descriptor: descriptor))
    }

    package func becameReady(_ readiness: Readiness) {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while read(descriptor, &info, size) == size { deliver(Int32(info.ssi_signo)) }
    }
}
