import CLinux
import Glibc
import MeshNet

/// Keeps an open loop's schedule on the real clock, closer than the event loop's timers could: sleeps on
/// a timer of the kernel until shortly before a request is due, and polls without sleeping from then on.
///
/// How shortly is learnt from how late the timer has woken us. Polling is kept short, and gives way: on a
/// small machine the far end shares our CPU, and with a real-time class it would wait for us in vain.
package final class LoadPacer: DeferredWork, ReadinessHandler {
    private let generator: LoadGenerator
    private let loop: EventLoop
    private let timer: Int32
    private var registration: EventLoop.Registration?
    /// What the timer is set to; nil once it has fired.
    private var alarm: Instant?
    private var wakeUp = WakeUpEstimate()

    package init(_ generator: LoadGenerator, loop: EventLoop) throws(SystemError) {
        self.generator = generator
        self.loop = loop
        timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK))
        guard timer >= 0 else { throw SystemError(code: errno, call: "timerfd_create") }
        registration = try loop.register(self, for: Socket(descriptor: timer))
        generator.trafficStarted = { [unowned self] in self.loop.deferWork(self) }
    }

    deinit { close(timer) }

    package func becameReady(_ readiness: Readiness) {
        guard let alarm, loop.now >= alarm else { return }
        self.alarm = nil
        wakeUp.learn(loop.now - alarm)
        loop.deferWork(self)
    }

    /// After the readiness of this iteration and before its flush: what is due now goes out now.
    package func runDeferred() {
        generator.advance()
        guard let due = generator.nextDue else { return }
        guard due - loop.system.now() > wakeUp.margin else {
            // Not before what was just written is flushed.
            if !loop.hasWork { sched_yield() }
            return loop.deferWork(self)
        }
        let at = due.nanoseconds - UInt64(wakeUp.margin.count)
        alarm = Instant(nanoseconds: at)
        var time = itimerspec()
        time.it_value.tv_sec = Int(at / 1_000_000_000)
        time.it_value.tv_nsec = Int(at % 1_000_000_000)
        timerfd_settime(timer, Int32(TFD_TIMER_ABSTIME), &time, nil)
    }
}

/// How long before a request is due the timer is set, so that we are awake when it is.
package struct WakeUpEstimate {
    private var average = maximum.count / 2

    /// Beyond it the machine has too little time for us, and polling would take more of it.
    package static let maximum = Nanoseconds.microseconds(60)
    package static let minimum = Nanoseconds.microseconds(2)

    package init() {}

    /// - Parameter late: how long after the time it was set to the timer woke us.
    package mutating func learn(_ late: Nanoseconds) {
        // One that is far out must not cost much polling afterwards.
        let late = min(late.count, 2 * Self.maximum.count)
        average += (late - average) / 8
    }

    /// Half as much again as the average.
    package var margin: Nanoseconds {
        min(Self.maximum, max(Self.minimum, Nanoseconds(average + average / 2)))
    }
}
