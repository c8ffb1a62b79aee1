import CNGHTTP2
import MeshNet

/// What both ends of an HTTP/2 connection have in common: libnghttp2's session between the sink and the
/// streams, windows, limits, keepalive, and the connection's end.
///
/// libnghttp2 may not be entered from its own callbacks. So it is given one frame at a time, and what a
/// frame has brought is noted, and told when it has returned: a delegate that answers from inside the
/// call finds its answer on the sink, and borrowed bytes are copied once, into the sink. Likewise what
/// ends while frames are packed is told in ``settle()``. The roles are ``HTTP2ServerCodec`` and
/// ``HTTP2ClientCodec``.
package class HTTP2Codec: SinkClient {
    final let sink: ByteSink
    final let settings: HTTP2Settings
    final let pool: HeaderMapPool
    final let stats: (any HTTP2Stats)?
    final let isServer: Bool
    /// libnghttp2's session.
    final let raw: OpaquePointer

    /// Every stream that libnghttp2 knows or a delegate waits for, in no order.
    final var streams: [HTTP2Stream] = []

    // What is being read.
    private final let context: UnsafeMutablePointer<HTTP2Context>
    final var section: HTTP2FieldSection {
        get { context.pointee.section }
        _modify { yield &context.pointee.section }
    }
    /// Whose header or trailer section it is, and where it goes; nil where nobody wants it.
    /// On the list, whose leaving ends it.
    final var receiving: Uncounted<HTTP2Stream>?
    final var receivingMap: Uncounted<HeaderMap>?
    /// On the list until the frame is told.
    private var chunkStream: Uncounted<HTTP2Stream>?
    private var chunk = Bytes(start: nil, count: 0)
    /// What the frame at hand has brought.
    final var event = HTTP2Event.none
    private var boundary: HTTP2FrameBoundary
    private var connectionConsumed = 0
    /// For paused streams, all together.
    private var heldBytes = 0

    // What came up while libnghttp2 was at work.
    private var news = HTTP2News()
    private var resumed: [HTTP2Stream] = []
    private var early: [HTTP2ServerStream] = []
    /// In libnghttp2, or among the lists above.
    private var isInside = false
    private(set) final var isReceiving = false
    private var needsPump = false

    final var inbound: HTTP2InboundLimits
    final var closedStreams = HTTP2ClosedStreams()
    private var outbound = HTTP2OutboundFrames()
    private final var keepalive: HTTP2Keepalive?
    private var turnTime: Instant?
    /// When the first stream that only waits for its client's window is given up.
    private var flushTime: Instant?

    private(set) final var isOutputBlocked = false
    /// Why the connection must end; acted upon as soon as libnghttp2 has returned.
    final var failure: HTTP2Fault?
    final var isGoAwayWritten = false
    /// Nothing is read or written any more.
    final var isDead = false
    /// The time of the read or turn under way.
    final var now = Instant(nanoseconds: 0)

    /// Marks our keepalive PINGs.
    private static let keepalivePing: UInt64 = 0x6576_696C_4168_654D
    /// Marks the PING that measures the round trip of a graceful GOAWAY.
    static let drainPing: UInt64 = 0x6E69_6172_4468_654D

    init(
        sink: ByteSink,
        settings: HTTP2Settings,
        pool: HeaderMapPool,
        stats: (any HTTP2Stats)?,
        seed: UInt64,
        isServer: Bool
    ) {
        self.sink = sink
        self.settings = settings
        self.pool = pool
        self.stats = stats
        self.isServer = isServer
        context = .allocate(capacity: 1)
        context.initialize(to: HTTP2Context(section: HTTP2FieldSection(settings)))
        raw = HTTP2Session.make(
            settings,
            isServer: isServer,
            context: context,
            memory: pool.http2Memory
        )
        boundary = HTTP2FrameBoundary(behindPreface: isServer)
        inbound = HTTP2InboundLimits(settings)
        now = sink.now
        if let options = settings.keepalive {
            keepalive = HTTP2Keepalive(options, seed: seed, now: now)
        }
        context.pointee.codec = Uncounted(self)
        sink.client = self
        stats?.count(isServer ? .nghttp2DownstreamConnections : .nghttp2UpstreamConnections)
        armTurn()
    }

    /// With no stream left: each has its codec.
    deinit {
        if sink.client === self { sink.client = nil }
        outbound.report(stats, isBlocked: false)
        nghttp2_session_del(raw)
        context.deinitialize(count: 1)
        context.deallocate()
    }

    // MARK: Roles

    /// A header or trailer section begins: sets ``receiving``, ``receivingMap`` and ``section``.
    func sectionBegan(_ id: Int32, _ category: nghttp2_headers_category) {}
    /// The section of ``receiving`` is complete.
    func sectionComplete(
        _ stream: HTTP2Stream,
        _ map: Uncounted<HeaderMap>,
        endStream: Bool
    ) {}
    /// A message is not to be had: its stream ends, or the connection.
    func refuse(_ stream: HTTP2Stream, _ fault: HTTP2Fault) {}
    func goAwayReceived() {}
    /// One without an error.
    func goAwaySent() {}
    func settingsReceived() {}
    func drainPingAcknowledged() {}
    /// The stream is off the list.
    func streamRemoved(_ stream: HTTP2Stream) {}
    /// The connection ends over a fault of the peer: tell the owner and the streams, then close.
    func connectionFailed(_ fault: HTTP2Fault, _ streams: [HTTP2Stream], closesNow: Bool) {}
    /// Whether, with no stream left, the connection is to be closed; the owner was asked to.
    func closesWhenEmpty() -> Bool { false }

    // MARK: The connection's side

    package final func received(_ bytes: Bytes) -> Int {
        guard !isDead, let base = bytes.baseAddress, bytes.count > 0 else { return bytes.count }
        guard !isInside, !isReceiving else { return 0 }
        isReceiving = true
        now = sink.now
        keepalive?.received(now)
        let start = base.assumingMemoryBound(to: UInt8.self)
        var at = 0
        while at < bytes.count, isAlive {
            let end = boundary.next(bytes, at)
            isInside = true
            let result = nghttp2_session_mem_recv(raw, start + at, end - at)
            if result < 0, isAlive { failure = Self.fault(result) }
            at = end
            isInside = false
            tell()
            guard isAlive else { break }
            isInside = true
            settle()
            isInside = false
        }
        isReceiving = false
        guard !isDead else { return bytes.count }
        if !early.isEmpty {
            let streams = early
            early.removeAll(keepingCapacity: true)
            for stream in streams { stream.resetRest() }
        }
        pump()
        return bytes.count
    }

    /// Gives the peer the connection's window back, unless too much is held already.
    private func consumeConnection() {
        guard connectionConsumed > 0, heldBytes <= settings.heldBytesMax else { return }
        nghttp2_session_consume_connection(raw, connectionConsumed)
        connectionConsumed = 0
    }

    /// A paused stream holds so much more, or less.
    final func held(_ change: Int) {
        let wasFull = heldBytes > settings.heldBytesMax
        heldBytes += change
        if wasFull, heldBytes <= settings.heldBytesMax { pump() }
    }

    /// Tells what the frame has brought.
    private func tell() {
        let event = event
        self.event = .none
        guard isAlive else { return chunkStream = nil }
        switch event {
        case .none:
            deliverChunk(endStream: false)
        case .data(let stream, let endStream):
            if chunkStream != nil {
                deliverChunk(endStream: endStream)
            } else if endStream {
                stream.counted.receive(Bytes(start: nil, count: 0), endStream: true)
            }
        case .section(let stream, let endStream):
            if let map = receivingMap {
                sectionComplete(stream.counted, map, endStream: endStream)
            }
            endSection()
        case .goAway: goAwayReceived()
        case .settings: settingsReceived()
        case .pong(let payload):
            if payload == Self.keepalivePing { keepalive?.acknowledged(now) }
            if payload == Self.drainPing { drainPingAcknowledged() }
        }
    }

    private static func fault(_ result: Int) -> HTTP2Fault {
        switch Int32(truncatingIfNeeded: result) {
        case NGHTTP2_ERR_FLOODED.rawValue: .outboundControlFrames
        default: .connection
        }
    }

    package final func connectionClosed(_ reason: StreamResetReason) {
        isDead = true
        let open = streams
        streams.removeAll()
        // A stream has its codec: none may stay on a list of it.
        news.forget()
        resumed.removeAll()
        early.removeAll()
        stats?.change(.streamsActive, by: -open.count)
        for stream in open { stream.connectionEnded(reason) }
    }

    package final func outputBlocked() {
        isOutputBlocked = true
        for stream in streams { stream.updateBlocked() }
    }

    package final func outputUnblocked() {
        isOutputBlocked = false
        for stream in streams {
            stream.resumeData()
            stream.updateBlocked()
        }
        pump()
    }

    package final func takeTurn() {
        guard !isDead, !isInside else { return }
        now = sink.now
        switch keepalive?.advance(to: now) {
        case .ping: ping(Self.keepalivePing)
        case .giveUp: failure = .keepalive
        case .some(.none), nil: break
        }
        if let flushTime, flushTime <= now { expireFlushes() }
        armTurn()
        if !resumed.isEmpty, failure == nil {
            isInside = true
            let waiting = resumed
            resumed.removeAll(keepingCapacity: true)
            for stream in waiting where !isDead { stream.deliverHeld() }
            isInside = false
        }
        pump()
    }

    private func armTurn() {
        let ping = keepalive?.wakeUp(after: now)
        guard let wanted = [ping, flushTime].compactMap({ $0 }).min() else { return }
        if let turnTime, turnTime > now, turnTime <= wanted { return }
        turnTime = wanted
        sink.wantTurn(at: wanted)
    }

    /// Nobody waits for this stream any more but its peer's window (envoy: tx_flush_timeout).
    final func flushes(_ stream: HTTP2Stream) {
        guard settings.flushTimeout > .zero else { return }
        let deadline = sink.now + settings.flushTimeout
        stream.flushDeadline = deadline
        if flushTime.map({ $0 > deadline }) ?? true { flushTime = deadline }
        now = sink.now
        armTurn()
    }

    private func expireFlushes() {
        flushTime = nil
        for stream in streams {
            guard let deadline = stream.flushDeadline, !stream.hasSentEnd else { continue }
            if deadline <= now {
                stats?.count(.txFlushTimeout)
                stream.flushDeadline = nil
                stream.submitReset(.cancel)
            } else {
                flushTime = min(flushTime ?? deadline, deadline)
            }
        }
    }

    /// A stream opens on a connection that may have died unnoticed.
    final func askIfIdle() {
        guard keepalive?.streamOpens(sink.now) == true else { return }
        now = sink.now
        ping(Self.keepalivePing)
        armTurn()
    }

    // MARK: Streams

    final func add(_ stream: HTTP2Stream) {
        stream.position = streams.count
        streams.append(stream)
        inbound.streamOpened()
        stats?.change(.streamsActive, by: 1)
    }

    /// Takes the stream off the list: libnghttp2 has forgotten it and its delegate was told, or will be.
    final func remove(_ stream: HTTP2Stream) {
        let position = stream.position
        guard position < streams.count, streams[position] === stream else { return }
        if receiving?.isSame(as: stream) ?? false { endSection() }
        let last = streams.removeLast()
        if last !== stream {
            last.position = position
            streams[position] = last
        }
        stats?.change(.streamsActive, by: -1)
        if stream.hasPeerEnded || stream.isResetByPeer { closedStreams.endedByPeer(stream.id) }
        stream.part()
        streamRemoved(stream)
    }

    /// A paused stream goes on, and has something to deliver.
    final func wantTurn(for stream: HTTP2Stream) {
        resumed.append(stream)
        sink.wantTurn()
    }

    /// The response has ended before its request, of which more may be among the bytes at hand.
    final func endedEarly(_ stream: HTTP2ServerStream) { early.append(stream) }

    final func relieve(_ stream: HTTP2Stream) { news.relieve(stream) }

    final func streamClosed(_ id: Int32, _ code: UInt32) {
        guard let stream = stream(id) else { return }
        stream.use {
            $0.isClosedOnWire = true
            $0.closeCode = code
        }
        news.close(stream)
    }

    final func stream(_ id: Int32) -> Uncounted<HTTP2Stream>? {
        HTTP2Stream.of(nghttp2_session_get_stream_user_data(raw, id))
    }

    // MARK: Writing

    /// Whether a call that writes is on the sink when ``pump()`` returns, so that it may borrow.
    final var mayPump: Bool { !isInside && !isDead && failure == nil }
    final var isAlive: Bool { !isDead && failure == nil }

    /// Brings what was submitted onto the sink, and tells who is concerned.
    final func pump() {
        guard !isInside else {
            needsPump = true
            return
        }
        guard !isDead else { return }
        isInside = true
        outbound.settle(buffered: sink.bufferedBytes)
        repeat {
            needsPump = false
            consumeConnection()
            send()
            settle()
        } while needsPump && isAlive
        isInside = false
        guard !isDead else { return }
        outbound.report(stats, isBlocked: isOutputBlocked)
        checkOutbound()
        if failure != nil { return fail() }
        if streams.isEmpty, closesWhenEmpty() { isDead = true }
    }

    private func send() {
        guard failure == nil else { return }
        let before = sink.output.count
        while true {
            var start: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(raw, &start)
            guard count > 0, let start else {
                if count < 0, failure == nil { failure = Self.fault(count) }
                break
            }
            if sink.output.isEmpty { sink.willWrite() }
            sink.output.append(Bytes(start: start, count: count))
            outbound.wrote(count, isControl: Self.isControl(start, count))
        }
        if sink.output.count != before { sink.outputGrew() }
    }

    /// Answers to PING and SETTINGS, and RST_STREAM: what a peer can make us send at will.
    private static func isControl(_ frame: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        guard count >= 9 else { return false }
        let type = UInt32(frame[3])
        if type == NGHTTP2_RST_STREAM.rawValue { return true }
        return (type == NGHTTP2_PING.rawValue || type == NGHTTP2_SETTINGS.rawValue)
            && frame[4] & 1 != 0
    }

    /// One DATA frame: its header, then its payload from where the stream has it.
    final func write(_ stream: HTTP2Stream, _ header: UnsafePointer<UInt8>, _ count: Int) {
        sink.output.append(Bytes(start: header, count: 9))
        stream.take(count, into: &sink.output)
        outbound.wroteData(count + 9, isServer: isServer)
        inbound.dataFramesSent &+= 1
    }

    /// Tells what came up while frames were packed. Telling may add to the lists.
    private func settle() {
        guard !news.isEmpty else { return }
        news.begin()
        var at = 0
        while at < news.ended.count, !isDead {
            news.ended[at].sendingEnded()
            at += 1
        }
        if at > 0 { news.endedTold() }
        at = 0
        while at < news.relieved.count, !isDead {
            news.relieved[at].updateBlocked()
            at += 1
        }
        if at > 0 { news.relievedTold() }
        while !isDead, let stream = news.nextClosed() { stream.closedOnWire() }
    }

    private func checkOutbound() {
        guard failure == nil else { return }
        if outbound.frames > settings.maxOutboundFrames {
            failure = .outboundFrames
        } else if outbound.controlFrames > settings.maxOutboundControlFrames {
            failure = .outboundControlFrames
        }
    }

    final func ping(_ payload: UInt64) {
        withUnsafeBytes(of: payload) { bytes in
            _ = nghttp2_submit_ping(
                raw,
                0,
                bytes.assumingMemoryBound(to: UInt8.self).baseAddress
            )
        }
    }

    // MARK: Reading

    /// - Parameter map: the stream's, which is ``receiving``.
    final func begin(_ kind: HTTP2FieldSection.Kind, into map: Uncounted<HeaderMap>) {
        receivingMap = map
        section.begin(kind, into: map)
    }

    final func endSection() {
        section.end()
        receiving = nil
        receivingMap = nil
    }

    /// Bytes of a DATA frame, kept until libnghttp2 returns: the peer's END_STREAM travels with them.
    final func chunkReceived(_ id: Int32, _ bytes: Bytes) {
        connectionConsumed += bytes.count
        chunkStream = stream(id)
        chunk = bytes
    }

    private func deliverChunk(endStream: Bool) {
        guard let stream = chunkStream?.counted else { return }
        chunkStream = nil
        stream.receive(chunk, endStream: endStream)
    }

    final func sendingEnded(of stream: HTTP2Stream) { news.sendingEnded(stream) }
}
