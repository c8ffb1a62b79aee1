import CLinux
import Glibc
import MeshNet

/// Keeps an open loop's schedule on the real clock, closer than the event loop's timers could: sleeps on
/// a timer of the kernel until shortly before a request is due, and polls without sleeping from then on.
package final class LoadPacer: DeferredWork, ReadinessHandler {
    private let generator: LoadGenerator
    private let loop: EventLoop
    private let timer: Int32
    private var registration: EventLoop.Registration?

    /// A sleeping thread runs again so late at worst, on a machine that is not overloaded.
    private static let wakeUp = Nanoseconds.microseconds(80)

    package init(_ generator: LoadGenerator, loop: EventLoop) throws(SystemError) {
        self.generator = generator
        self.loop = loop
        timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK))
        guard timer >= 0 else { throw SystemError(code: errno, call: "timerfd_create") }
        registration = try loop.register(self, for: Socket(descriptor: timer))
        generator.trafficStarted = { [unowned self] in self.loop.deferWork(self) }
    }

    deinit { close(timer) }

    package func becameReady(_ readiness: Readiness) { loop.deferWork(self) }

    /// After the readiness of this iteration and before its flush: what is due now goes out now.
    package func runDeferred() {
        generator.advance()
        guard let due = generator.nextDue else { return }
        let ahead = due - loop.system.now()
        guard ahead > Self.wakeUp else { return loop.deferWork(self) }
        let at = due.nanoseconds - UInt64(Self.wakeUp.count)
        var time = itimerspec()
        time.it_value.tv_sec = Int(at / 1_000_000_000)
        time.it_value.tv_nsec = Int(at % 1_000_000_000)
        timerfd_settime(timer, Int32(TFD_TIMER_ABSTIME), &time, nil)
    }
}
