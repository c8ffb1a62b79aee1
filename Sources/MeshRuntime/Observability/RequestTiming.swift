import MeshNet

/// What a request does on its way through one hop, in this order. Each phase begins where the one before
/// it ends, so that they sum to the whole.
package enum TimingPhase: UInt8, CaseIterable, Comparable, Sendable {
    /// From the first byte to the head's last, and to its fields.
    case parse
    /// In the filters before the router.
    case authorize
    /// Normalization, the route table, and the router until it asks for a connection.
    case route
    /// For a connection, and between two attempts.
    case poolWait
    /// To the request's last byte in the kernel.
    case send
    /// For the response.
    case upstream
    /// To the response's last byte.
    case receive
    /// To its last byte in the kernel.
    case flush

    package var name: StaticString {
        switch self {
        case .parse: "parse"
        case .authorize: "authorize"
        case .route: "route"
        case .poolWait: "pool_wait"
        case .send: "send"
        case .upstream: "upstream"
        case .receive: "receive"
        case .flush: "flush"
        }
    }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    fileprivate var bit: UInt8 { 1 << rawValue }
}

/// One request's time, phase by phase; there only where somebody asks for it.
///
/// Reads the clock at the ``points`` that are wanted and nowhere else; between, the loop's time does, which
/// is the time at which the kernel said that something had come. Never goes backwards. Lives until the
/// response's last byte is with the kernel, which may be after the stream's end.
package final class RequestTiming {
    package private(set) var points: TimePoints
    /// Nil where only formats or the client want to know.
    private let histograms: TimingHistograms?
    /// The client is told, in `server-timing`.
    package private(set) var isShown = false
    package private(set) var phase = TimingPhase.parse
    private var entered = TimingPhase.parse.bit
    private var spans = SIMD8<UInt64>()
    private var phaseBegin: Instant
    private var latest: Instant
    private var isOver = false
    /// Which of the request's attempts is under way.
    private var attempt: UInt32 = 0
    /// What the connection took that was made for this request; nil where it was there before.
    package private(set) var connect: Nanoseconds?

    package private(set) var headEnd: Instant?
    package private(set) var authorized: Instant?
    package private(set) var routed: Instant?
    package private(set) var poolReady: Instant?
    package private(set) var requestFlushed: Instant?
    package private(set) var responseBodyBegin: Instant?

    /// - Parameter start: the request's first byte.
    package init(start: Instant, points: TimePoints, histograms: TimingHistograms?) {
        self.points = histograms == nil ? points : points.union(.phases)
        self.histograms = histograms
        phaseBegin = start
        latest = start
    }

    /// The client asks to be told.
    package func show() {
        isShown = true
        points.formUnion(.phases)
    }

    // MARK: The clock

    /// Reads it where one of these points is wanted.
    package func time(at wanted: TimePoints, _ loop: EventLoop) -> Instant {
        points.isDisjoint(with: wanted) ? time(loop) : read(loop)
    }

    /// What is known of the time without reading it.
    package func time(_ loop: EventLoop) -> Instant {
        latest = max(latest, loop.now)
        return latest
    }

    private func read(_ loop: EventLoop) -> Instant {
        latest = max(latest, loop.system.now())
        return latest
    }

    // MARK: Phases

    private func enter(_ next: TimingPhase, at time: Instant) {
        guard !isOver else { return }
        spans[Int(phase.rawValue)] &+= time.nanoseconds &- phaseBegin.nanoseconds
        phaseBegin = time
        phase = next
        entered |= next.bit
    }

    /// The request's head is there.
    package func headParsed(_ loop: EventLoop) {
        let now = time(at: .requestHeadEnd, loop)
        headEnd = now
        enter(.route, at: now)
    }

    /// Filters get the head.
    package func filtersBegin(_ loop: EventLoop) {
        enter(.authorize, at: time(at: .authorized, loop))
    }

    /// - Parameter hadFilters: whether there were any; if not, no time has passed.
    package func filtersPassed(_ loop: EventLoop, hadFilters: Bool) {
        let now = hadFilters ? time(at: .authorized, loop) : latest
        authorized = now
        entered |= TimingPhase.authorize.bit
        enter(.route, at: now)
    }

    /// A pool is asked, for the first attempt or another.
    package func poolAsked(_ loop: EventLoop) {
        attempt &+= 1
        requestFlushed = nil
        let now = time(at: .routed, loop)
        if routed == nil { routed = now }
        enter(.poolWait, at: now)
    }

    /// An attempt has failed, and another will be made.
    package func attemptFailed(_ loop: EventLoop) { enter(.poolWait, at: time(loop)) }

    /// - Parameters:
    ///   - hasWaited: a connection that idles is there at once, and needs no reading.
    ///   - connect: what it took to make it; nil where it was there before.
    package func poolReady(_ loop: EventLoop, hasWaited: Bool, connect took: Nanoseconds?) {
        let now = hasWaited ? time(at: .poolReady, loop) : latest
        poolReady = now
        enter(.send, at: now)
        guard let took else { return }
        connect = took
        histograms?.connect.record(UInt64(max(0, took.count)))
    }

    /// Where the end of the request now written is to be looked for, if anybody wants to know.
    package func requestMark(on connection: Connection) -> FlushMark? {
        guard points.contains(.requestFlushed) else { return nil }
        return FlushMark(timing: self, position: connection.bytesWritten, attempt: attempt)
    }

    fileprivate func flushedRequest(_ number: UInt32, at now: Instant) {
        guard number == attempt, !isOver else { return }
        latest = max(latest, now)
        requestFlushed = latest
        // A response that has begun already counts for itself.
        if phase == .send { enter(.upstream, at: latest) }
    }

    /// The head of the response, not of an informational one.
    package func responseBegan(_ loop: EventLoop) {
        entered |= TimingPhase.send.bit | TimingPhase.upstream.bit
        enter(.receive, at: time(loop))
    }

    package func responseBodyBegan(_ loop: EventLoop) {
        guard responseBodyBegin == nil else { return }
        responseBodyBegin = time(at: .upstreamResponseBodyBegin, loop)
    }

    /// Its last byte was received.
    package func responseEnded(_ loop: EventLoop) { enter(.flush, at: time(loop)) }

    /// A response goes to the client: where it is none of an upstream's, it is made here.
    package func responseStarts(_ loop: EventLoop) {
        if phase < .receive { enter(.flush, at: time(at: .phases, loop)) }
    }

    /// A tunnel is open: what flows through it from now on is no part of the request.
    package func tunnelBegan(_ loop: EventLoop) { enter(.flush, at: time(loop)) }

    /// The request becomes another one, which goes elsewhere.
    package func forgetUpstream() {
        routed = nil
        poolReady = nil
        requestFlushed = nil
        responseBodyBegin = nil
        enter(.route, at: latest)
    }

    // MARK: End

    /// Where the end of the response now written is to be looked for, if anybody wants to know.
    package func responseMark(on connection: Connection) -> FlushMark? {
        guard histograms != nil, !isOver else { return nil }
        return FlushMark(timing: self, position: connection.bytesWritten, attempt: attempt)
    }

    /// Nothing more happens to the request: counts it. Later calls do nothing.
    package func end(at now: Instant) {
        guard let histograms, !isOver else { return }
        latest = max(latest, now)
        enter(phase, at: latest)
        isOver = true
        for phase in TimingPhase.allCases where entered & phase.bit != 0 {
            histograms[phase].record(spans[Int(phase.rawValue)])
        }
    }

    /// What a phase took so far; nil where the request was not in it.
    package subscript(phase: TimingPhase) -> Nanoseconds? {
        guard entered & phase.bit != 0 else { return nil }
        return Nanoseconds(Int64(clamping: spans[Int(phase.rawValue)]))
    }
}

/// A place in a connection's output that is to be told apart: the end of a request or response.
package struct FlushMark {
    fileprivate let timing: RequestTiming
    fileprivate let position: UInt64
    fileprivate let attempt: UInt32

    /// The kernel has the request's last byte.
    func requestFlushed(at now: Instant) { timing.flushedRequest(attempt, at: now) }
    /// The kernel has the response's last byte, or never will.
    package func responseFlushed(at now: Instant) { timing.end(at: now) }
}

/// The marks of one connection, in the order in which they are passed.
package struct FlushMarks {
    private var marks: [FlushMark] = []
    private var passed = 0

    package init() {}

    package mutating func append(_ mark: FlushMark, on connection: Connection) {
        marks.append(mark)
        connection.tellsFlushes = true
    }

    /// The next one that the kernel has taken; nil where none.
    package mutating func next(on connection: Connection) -> FlushMark? {
        guard passed < marks.count, connection.hasFlushed(marks[passed].position) else {
            return nil
        }
        defer { advance() }
        if passed + 1 == marks.count { connection.tellsFlushes = false }
        return marks[passed]
    }

    /// The next one, wherever the output is: the connection has ended.
    package mutating func nextLost() -> FlushMark? {
        guard passed < marks.count else { return nil }
        defer { advance() }
        return marks[passed]
    }

    private mutating func advance() {
        passed += 1
        guard passed == marks.count else { return }
        marks.removeAll(keepingCapacity: true)
        passed = 0
    }
}
