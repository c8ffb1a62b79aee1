import MeshHTTP
import MeshNet

/// Does what a ``LoadPlan`` says, on one loop, and tells what it saw.
///
/// A run: all connections are established; traffic warms up; the window is counted; the last answers
/// are waited for. What is due is sent by ``advance()``, which somebody must call in time: ``LoadPacer``
/// on the real clock, a simulation in virtual time. A closed loop goes by itself.
package final class LoadGenerator: TimerTarget, DeferredWork {
    package enum Phase { case establishing, warming, counting, draining, standing, done }

    package let plan: LoadPlan
    // What is asked of the plan for every request.
    let isScheduled: Bool
    let isChurn: Bool
    let isIdle: Bool
    package let loop: EventLoop
    let target: LoadTarget
    let maps = HeaderMapPool()
    private let meter: (any UsageMeter)?

    package private(set) var phase = Phase.establishing
    package private(set) var isPartial = false
    /// Requests are being sent from now on.
    package var trafficStarted: () -> Void = {}
    /// So many connections or calls stand in silence; the run goes on until ``release()``.
    package var stands: (Int) -> Void = { _ in }
    /// Once a second.
    package var progressed: ((LoadProgress) -> Void)?
    package var ended: () -> Void = {}

    var lanes: [LoadLane] = []
    var slotCount = 0
    var tally: LoadTally
    var schedule: LoadSchedule?
    var waiting = WaitingRequests()
    var freeSlots = FreeSlots()
    var issued = 0
    var underWay = 0
    var standing = 0
    var lanesOpening = 0
    var lanesStarted = 0
    var lanesUp = 0
    /// When a connection was last established or an answer came.
    var lastNews: Instant
    private(set) var windowStart = Instant(nanoseconds: .max)
    private var windowEnd: Instant?
    /// Of an open loop that ends by time.
    private(set) var scheduledEnd: Instant?
    private var bytesAtStart = LaneBytes()
    private var bytesAtEnd = LaneBytes()
    private var usageAtStart: UsageReading?
    private var usageAtEnd: UsageReading?
    private var isEnding = false

    private enum Timer {
        static let second: UInt8 = 0
        static let start: UInt8 = 1
        static let end: UInt8 = 2
        static let drained: UInt8 = 3
    }

    /// How long connections may all fail before the run begins without them, or ends.
    private static let establishPatience = Nanoseconds.seconds(3)
    /// How long the last answers are waited for.
    private static let drainPatience = Nanoseconds.seconds(5)
    /// Without any answer for so long, a run of a number of requests ends.
    private static let silenceMax = Nanoseconds.seconds(30)

    /// - Parameters:
    ///   - meter: reads the use of CPUs and memory; nil where nobody wants to know.
    ///   - reportsProgress: whether ``progressed`` will be called.
    package init(
        plan: LoadPlan,
        loop: EventLoop,
        meter: (any UsageMeter)? = nil,
        reportsProgress: Bool = false
    ) throws(LoadError) {
        try plan.check()
        self.plan = plan
        isScheduled = plan.rate != nil
        isChurn = plan.traffic.isChurn
        isIdle = plan.traffic.isIdle
        self.loop = loop
        self.meter = meter
        target = try LoadTarget(plan)
        tally = LoadTally(reportsProgress: reportsProgress)
        lastNews = loop.now
        for index in 0..<plan.connections {
            let lane = LoadLane.make(self, index: index)
            slotCount += lane.slots.count
            lanes.append(lane)
        }
    }

    // MARK: Phases

    package func start() {
        lastNews = loop.system.now()
        _ = loop.arm(self, Timer.second, after: .seconds(1))
        if isChurn { startTraffic() } else { openLanes() }
    }

    func startTraffic() {
        guard phase == .establishing else { return }
        let now = loop.system.now()
        if let rate = plan.rate { schedule = LoadSchedule(start: now, rate: rate) }
        phase = .warming
        if plan.requests != nil || plan.warmUp <= 0 {
            openWindow()
        } else {
            _ = loop.arm(self, Timer.start, after: Nanoseconds(seconds: plan.warmUp))
        }
        if isChurn { for lane in lanes { lane.slots.forEach(offer) } }
        if !isScheduled {
            while let slot = freeSlots.take() { _ = begin(slot, due: nil, now: loop.system.now()) }
        }
        trafficStarted()
    }

    private func openWindow() {
        phase = isIdle ? .standing : .counting
        bytesAtStart = laneBytes
        usageAtStart = meter?.read()
        // Only now: reading takes longer than a request.
        windowStart = loop.system.now()
        guard plan.requests == nil, !isIdle else { return }
        let duration = Nanoseconds(seconds: plan.duration)
        // The loop's timers are coarse; what is due in the window is exact.
        if isScheduled { scheduledEnd = windowStart + duration }
        // Timers count from when the iteration began.
        let elapsed = windowStart - loop.now
        _ = loop.arm(self, Timer.end, after: Nanoseconds(elapsed.count + duration.count))
    }

    private func closeWindow() {
        guard windowEnd == nil else { return }
        windowEnd = loop.system.now()
        usageAtEnd = meter?.read()
        bytesAtEnd = laneBytes
    }

    private func drain() {
        guard phase == .counting else { return }
        advance()
        closeWindow()
        if let scheduledEnd { windowEnd = scheduledEnd }
        phase = .draining
        _ = loop.arm(self, Timer.drained, after: Self.drainPatience)
        endIfSettled()
    }

    /// Every request was answered or has failed, and none is to come. The run ends with this iteration,
    /// since the caller may be inside a codec.
    func endIfSettled() {
        guard underWay == 0, waiting.isEmpty, !isEnding else { return }
        guard phase == .draining || plan.requests.map({ issued >= $0 }) ?? false else { return }
        isEnding = true
        loop.deferWork(self)
    }

    package func runDeferred() { finish() }

    func stand() {
        openWindow()
        stands(standing)
    }

    /// Idle connections have stood long enough.
    package func release() {
        if phase == .establishing { isPartial = true }
        finish()
    }

    /// Ends the window at once.
    package func interrupt() {
        guard phase != .done else { return }
        if isIdle { return release() }
        isPartial = true
        finish()
    }

    private func finish() {
        guard phase != .done else { return }
        closeWindow()
        if !isPartial, !plan.traffic.isBulk {
            tally.count(.unanswered, times: underWay + waiting.count)
        }
        if var usage = usageAtEnd {
            // After the last answer, since it takes long, and before memory is given back.
            meter?.addMemory(to: &usage)
            usageAtEnd = usage
        }
        phase = .done
        for lane in lanes { lane.close() }
        ended()
    }

    package func timerFired(_ kind: UInt8) {
        switch kind {
        case Timer.start: if phase == .warming { openWindow() }
        case Timer.end: drain()
        case Timer.drained: finish()
        default: secondPassed()
        }
    }

    private func secondPassed() {
        guard phase != .done else { return }
        _ = loop.arm(self, Timer.second, after: .seconds(1))
        if let progressed {
            let bytes = laneBytes.since(LaneBytes())
            tally.takeProgress(bytes: bytes.received + bytes.sent).map(progressed)
        }
        let silence = loop.system.now() - lastNews
        switch phase {
        case .establishing where silence >= Self.establishPatience:
            if lanesUp > 0, !isIdle { startTraffic() } else { finish() }
        case .counting where plan.requests != nil && silence >= Self.silenceMax: finish()
        default: break
        }
    }

    // MARK: The result

    private var laneBytes: LaneBytes { lanes.reduce(into: LaneBytes()) { $0.add($1.bytes) } }

    package var result: LoadResult {
        let bytes = bytesAtEnd.since(bytesAtStart)
        let isCounted = windowStart.nanoseconds != .max
        let end = windowEnd ?? windowStart
        let requests =
            switch plan.traffic {
            case .tcpDownload: bytes.received / 1024
            case .tcpUpload: bytes.sent / 1024
            default: tally.requests
            }
        return LoadResult(
            plan: plan,
            seconds: isCounted ? Double((end - windowStart).count) / 1e9 : 0,
            requests: isCounted ? requests : 0,
            bytesReceived: isCounted ? bytes.received : 0,
            bytesSent: isCounted ? bytes.sent : 0,
            connectionsOpened: tally.connectionsOpened,
            sessionsResumed: tally.sessionsResumed,
            errors: tally.errors,
            latency: tally.latency.summary,
            serviceTime: tally.serviceTime.summary,
            lateness: tally.lateness.summary,
            processes: usageAtEnd?.processes(since: usageAtStart) ?? [],
            cpus: usageAtEnd?.cpus(since: usageAtStart) ?? [],
            isPartial: isPartial
        )
    }

    /// Why the run has nothing to tell, if so.
    package var failure: LoadError? {
        guard phase == .done, !isPartial else { return nil }
        let cause =
            tally.faults.max { $0.value < $1.value }.map { "\($0.key.text) (\($0.value) times)" }
            ?? "nothing came within the window"
        if isIdle {
            guard standing < slotCount, windowStart.nanoseconds == .max else { return nil }
            return LoadError(
                "load: \(plan.target): only \(standing) of \(slotCount) stand: \(cause); check the limits "
                    + "of the proxy and of the server, and of open files (ulimit -n) of all three"
            )
        }
        guard result.requests == 0 else { return nil }
        return LoadError(
            "load: \(plan.target): no answer: \(cause); check that a server for "
                + "\(plan.traffic.rawValue) listens there"
        )
    }
}

extension Nanoseconds {
    init(seconds: Double) { self.init(Int64(seconds * 1e9)) }
}
