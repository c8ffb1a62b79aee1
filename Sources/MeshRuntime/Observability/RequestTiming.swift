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
    static let count = 8
}

/// One request's time, phase by phase; there only where somebody asks for it.
///
/// Reads the clock at the ``points`` that are wanted and nowhere else; between, the loop's time does, which
/// is the time at which the kernel said that something had come. Never goes backwards. Lives until the
/// response's last byte is with the kernel, which may be after the stream's end.
package final class RequestTiming {
    package private(set) var points: TimePoints
    private let loop: EventLoop
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
    package init(
        start: Instant,
        points: TimePoints,
        histograms: TimingHistograms?,
        loop: EventLoop
    ) {
        self.points = histograms == nil ? points : points.union(.phases)
        self.histograms = histograms
        self.loop = loop
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
    package func time(at wanted: TimePoints) -> Instant {
        points.isDisjoint(with: wanted) ? time() : read()
    }

    /// What is known of the time without reading it.
    package func time() -> Instant {
        latest = max(latest, loop.now)
        return latest
    }

    private func read() -> Instant {
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
    package func headParsed() {
        let now = time(at: .requestHeadEnd)
        headEnd = now
        enter(.route, at: now)
    }

    /// Filters get the head.
    package func filtersBegin() {
        enter(.authorize, at: time(at: .authorized))
    }

    /// - Parameter hadFilters: whether there were any; if not, no time has passed.
    package func filtersPassed(hadFilters: Bool) {
        let now = hadFilters ? time(at: .authorized) : latest
        authorized = now
        entered |= TimingPhase.authorize.bit
        enter(.route, at: now)
    }

    /// A pool is asked, for the first attempt or another.
    package func poolAsked() {
        attempt &+= 1
        requestFlushed = nil
        let now = time(at: .routed)
        if routed == nil { routed = now }
        enter(.poolWait, at: now)
    }

    /// An attempt has failed, and another will be made.
    package func attemptFailed() { enter(.poolWait, at: time()) }

    /// - Parameters:
    ///   - hasWaited: a connection that idles is there at once, and needs no reading.
    ///   - connect: what it took to make it; nil where it was there before.
    package func poolReady(hasWaited: Bool, connect took: Nanoseconds?) {
        let now = hasWaited ? time(at: .poolReady) : latest
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
    package func responseBegan() {
        entered |= TimingPhase.send.bit | TimingPhase.upstream.bit
        enter(.receive, at: time())
    }

    package func responseBodyBegan() {
        guard responseBodyBegin == nil else { return }
        responseBodyBegin = time(at: .upstreamResponseBodyBegin)
    }

    /// Its last byte was received.
    package func responseEnded() { enter(.flush, at: time()) }

    /// A response goes to the client: where it is none of an upstream's, it is made here.
    package func responseStarts() {
        if phase < .receive { enter(.flush, at: time(at: .phases)) }
    }

    /// A tunnel is open: what flows through it from now on is no part of the request.
    package func tunnelBegan() { enter(.flush, at: time()) }

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
        for at in 0..<TimingPhase.count where entered & (1 << UInt8(at)) != 0 {
            histograms[at].record(spans[at])
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

/// The marks of one connection, in the order in which they are passed. Rarely more than one: the others are
/// apart from it.
package struct FlushMarks {
    private var first: FlushMark?
    private var rest: [FlushMark] = []

    package init() {}

    package mutating func append(_ mark: FlushMark, on connection: Connection) {
        if first == nil { first = mark } else { rest.append(mark) }
        connection.tellsFlushes = true
    }

    /// The next one that the kernel has taken; nil where none.
    package mutating func next(on connection: Connection) -> FlushMark? {
        guard let mark = first, connection.hasFlushed(mark.position) else { return nil }
        advance()
        if first == nil { connection.tellsFlushes = false }
        return mark
    }

    /// The next one, wherever the output is: the connection has ended.
    package mutating func nextLost() -> FlushMark? {
        guard let mark = first else { return nil }
        advance()
        return mark
    }

    private mutating func advance() { first = rest.isEmpty ? nil : rest.removeFirst() }
}
