import MeshNet

/// HTTP/1 as spoken to a client: one connection's bytes become one stream after the other.
///
/// Strict: what two parties might read differently is refused (RFC 9112 §11.2). Requests that follow
/// each other without waiting (pipelining) are left with the connection until the response to the one
/// before is complete, so what is held here is bounded by one head. The codec is its own stream: a
/// connection carries one at a time, and nothing is allocated for it. ``HTTP1ServerCodec`` owns
/// request framing and the fate of the connection; the response half is in
/// `HTTP1ServerCodec+Response.swift`.
package final class HTTP1ServerCodec: ServerCodec, ServerStream {
    enum RequestPhase: Equatable {
        /// Before or within a head.
        case head
        case body(remaining: UInt64)
        case chunkedBody
        case trailers
        /// All of it was delivered; the response is awaited.
        case complete
        /// Upgrade or CONNECT: what follows is held back until the response says what it is.
        case held
        case tunnel
        /// The tunnel's request direction has ended.
        case tunnelEnded
        /// No further byte of this connection means anything.
        case dead
    }

    enum ResponsePhase: Equatable {
        case awaiting
        case body(HTTP1Framing)
        case complete
    }

    let sink: ByteSink
    // Unchecked: it outlives us, and it is asked once per request.
    private unowned(unsafe) let owner: any ServerCodecDelegate
    let settings: HTTP1Settings
    let encoder: HTTP1Encoder
    private let pool: HeaderMapPool

    var application: (any ServerStreamDelegate)?
    private(set) var request = RequestPhase.head
    var response = ResponsePhase.awaiting

    private var parser: HTTP1Parser
    private var chunks = HTTP1ChunkedDecoder()
    // Taken from the pool.
    private var head: Unmanaged<HeaderMap>?
    private var trailers: Unmanaged<HeaderMap>?
    private var isEmptyLineSkipped = false

    private(set) var method = HTTP1Method.other
    /// The request asks for an upgrade, and for nothing else that would forbid it.
    private(set) var isUpgrade = false
    private(set) var clientKeepsAlive = false
    /// The connection ends with this exchange.
    var closesAfterResponse = false
    private var isDraining = false

    /// We stopped the connection's reading because bytes wait for an exchange to end.
    private var isHolding = false
    /// Pauses the application asked for.
    private var pauses = 0
    private var isOutputBlocked = false
    private var isReceiving = false
    private var hasUnconsumed = false
    private var peerEnded = false

    package private(set) var version = HTTPVersion.http11
    package private(set) var bytesReceived: UInt64 = 0
    package internal(set) var bytesSent: UInt64 = 0

    /// - Parameters:
    ///   - delegate: outlives the codec.
    ///   - pool: the worker's; maps return to it between requests.
    package init(
        sink: ByteSink,
        delegate: any ServerCodecDelegate,
        settings: HTTP1Settings,
        pool: HeaderMapPool = HeaderMapPool()
    ) {
        self.sink = sink
        owner = delegate
        self.settings = settings
        self.pool = pool
        encoder = HTTP1Encoder(format: settings.headerKeyFormat)
        parser = HTTP1Parser(.request, settings: settings)
    }

    deinit {
        head?.release()
        trailers?.release()
    }

    // MARK: The connection's side

    package var isIdle: Bool { request == .head && application == nil }

    package func startDrain() { isDraining = true }

    package func received(_ bytes: Bytes) -> Int {
        isReceiving = true
        var at = 0
        advance: while true {
            switch request {
            case .head:
                guard at < bytes.count else { break advance }
                if application == nil, isOutputBlocked {
                    hold()
                    break advance
                }
                guard readHead(bytes, &at) else { break advance }
            case .body(let remaining):
                guard at < bytes.count, pauses == 0 else { break advance }
                let count = Int(min(remaining, UInt64(bytes.count - at)))
                let data = Bytes(rebasing: bytes[at..<at + count])
                at += count
                let rest = remaining - UInt64(count)
                request = rest == 0 ? .complete : .body(remaining: rest)
                deliver(data, endStream: rest == 0)
            case .chunkedBody:
                guard at < bytes.count, pauses == 0 else { break advance }
                readChunk(bytes, &at)
            case .trailers:
                guard at < bytes.count, pauses == 0 else { break advance }
                guard readTrailers(bytes, &at) else { break advance }
            case .tunnel:
                guard at < bytes.count, pauses == 0 else { break advance }
                let data = Bytes(rebasing: bytes[at...])
                at = bytes.count
                deliver(data, endStream: false)
            case .complete, .held:
                if at < bytes.count { hold() }
                break advance
            case .tunnelEnded, .dead:
                at = bytes.count
                break advance
            }
        }
        isReceiving = false
        if isIdle { releaseMaps() }
        hasUnconsumed = at < bytes.count
        if peerEnded, pauses == 0, !isHolding { inputEnded() }
        return at
    }

    package func receivedEnd() {
        peerEnded = true
        // Bytes that are still held are offered again first.
        if hasUnconsumed, pauses > 0 || isHolding { return }
        inputEnded()
    }

    package func connectionClosed(_ reason: StreamResetReason) {
        // Whoever has given the stream up may still log its head.
        guard let application else { return die() }
        die()
        application.requestReset(reason)
        if !isReceiving { releaseMaps() }
    }

    package func outputBlocked() {
        isOutputBlocked = true
        if response != .complete { application?.responseBlocked() }
    }

    package func outputUnblocked() {
        isOutputBlocked = false
        if let application {
            if response != .complete { application.responseUnblocked() }
        } else {
            release()
        }
    }

    /// The peer's last byte was read.
    private func inputEnded() {
        switch request {
        case .head where application == nil:
            die()
            owner.closeAfterFlush()
        case .head, .body, .chunkedBody, .trailers:
            let application = application
            die()
            application?.requestReset(.connectionTermination)
            owner.closeAfterFlush()
        case .tunnel:
            request = .tunnelEnded
            application?.requestData(Bytes(start: nil, count: 0), endStream: true)
            if application != nil, response == .complete { exchangeEnded() }
        case .complete, .held:
            // A client may close its sending side and still wait for the response.
            closesAfterResponse = true
        case .tunnelEnded, .dead:
            break
        }
    }

    // MARK: Heads

    /// Returns false where more bytes are needed.
    private func readHead(_ bytes: Bytes, _ at: inout Int) -> Bool {
        if application == nil {
            // One empty line before a request is tolerated (RFC 9112 §2.2).
            let allowsMore = settings.leniency.contains(.leadingEmptyLines)
            if allowsMore, bytes[at] == 0x0A {
                at += 1
                return true
            }
            if !isEmptyLineSkipped || allowsMore, bytes[at] == 0x0D {
                guard at + 1 < bytes.count else { return false }
                if bytes[at + 1] == 0x0A {
                    at += 2
                    isEmptyLineSkipped = true
                    return true
                }
            }
            beginRequest()
            guard request == .head else { return true }
        }
        let held = head ?? pool.take()
        head = held
        let map = held.takeUnretainedValue()
        let before = at
        let progress = parser.read(bytes, &at, into: map)
        bytesReceived &+= UInt64(at &- before)
        switch progress {
        case .needsMore: return false
        case .failed(let fault): fail(fault)
        case .complete: headComplete(map)
        }
        return true
    }

    private func beginRequest() {
        head?.takeUnretainedValue().removeAll()
        parser.restart(as: .request)
        bytesReceived = 0
        bytesSent = 0
        version = .http11
        method = .other
        isUpgrade = false
        response = .awaiting
        let opened = owner.openStream(self)
        if request == .head { application = opened }
    }

    private func headComplete(_ map: HeaderMap) {
        version = parser.version
        method = parser.method
        do throws(HTTP1Fault) {
            let head = try HTTP1RequestHead.read(parser, map, settings: settings)
            isUpgrade = head.isUpgrade
            clientKeepsAlive = head.keepsAlive
            if !head.keepsAlive { closesAfterResponse = true }
            switch head.framing {
            case .length(let length): request = .body(remaining: length)
            case .chunked:
                chunks = HTTP1ChunkedDecoder(settings.leniency)
                request = .chunkedBody
            case .tunnel: request = .held
            case .none, .untilClose: request = .complete
            }
        } catch {
            return fail(error)
        }
        application?.requestHead(map, endStream: request == .complete)
    }

    // MARK: Bodies

    private func deliver(_ data: Bytes, endStream: Bool) {
        bytesReceived &+= UInt64(data.count)
        application?.requestData(data, endStream: endStream)
    }

    private func readChunk(_ bytes: Bytes, _ at: inout Int) {
        let before = at
        let step = chunks.next(bytes, &at)
        guard case .data(let count) = step else {
            bytesReceived &+= UInt64(at - before)
            switch step {
            case .last:
                parser.restart(as: .trailers)
                request = .trailers
            case .failed(let fault): fail(fault)
            case .needsMore, .data: break
            }
            return
        }
        let data = Bytes(rebasing: bytes[at - count..<at])
        bytesReceived &+= UInt64(at - before - count)
        // Most bodies end right behind their last chunk: say so with its data.
        let isLast = chunks.endsPlainly(bytes, at: at)
        if isLast {
            at += 7
            bytesReceived &+= 7
            request = .complete
        }
        deliver(data, endStream: isLast)
    }

    /// Returns false where more bytes are needed.
    private func readTrailers(_ bytes: Bytes, _ at: inout Int) -> Bool {
        let held = trailers ?? pool.take()
        trailers = held
        let map = held.takeUnretainedValue()
        if parser.byteCount == 0 { map.removeAll() }
        let before = at
        let progress = parser.read(bytes, &at, into: map)
        bytesReceived &+= UInt64(at - before)
        switch progress {
        case .needsMore: return false
        case .failed(let fault): fail(fault)
        case .complete:
            request = .complete
            if HTTP1Trailers.reduce(map), settings.enableTrailers {
                application?.requestTrailers(map)
            } else {
                deliver(Bytes(start: nil, count: 0), endStream: true)
            }
        }
        return true
    }

    /// The request cannot be served: nothing after it can be trusted.
    private func fail(_ fault: HTTP1Fault) {
        request = .dead
        closesAfterResponse = true
        application?.requestInvalid(fault.codecError)
    }

    // MARK: The exchange's end

    /// A response that closes the connection says so.
    var mustSayClose: Bool {
        closesAfterResponse || isDraining || isRequestUnfinished
    }

    /// As in Envoy, a response that begins before its request is complete ends the connection: the
    /// rest of the request may never come, or be more than we want.
    var isRequestUnfinished: Bool {
        switch request {
        case .complete: false
        case .head, .body, .chunkedBody, .trailers, .held, .tunnel, .tunnelEnded, .dead: true
        }
    }

    /// The response switches protocols: what was held back flows.
    func beginTunnel() {
        guard request == .held else { return }
        request = .tunnel
        if peerEnded, !hasUnconsumed, !isReceiving { inputEnded() }
        release()
    }

    /// The response is complete; if the request is too, and nobody wants the connection closed, the
    /// next may begin.
    func exchangeEnded() {
        let application = application
        self.application = nil
        // The request's map is still the stream's: it may be logged now.
        application?.responseSent()
        guard request == .complete, !closesAfterResponse, !isDraining else {
            die()
            return owner.closeAfterFlush()
        }
        request = .head
        isEmptyLineSkipped = false
        releasePauses()
        if !isReceiving { releaseMaps() }
        if !isOutputBlocked { release() }
    }

    package func reset(_ reason: StreamResetReason) {
        guard request != .dead || application != nil else { return }
        let isTunnel = response == .body(.tunnel)
        die()
        // FIN would tell a tunnel's client that all has come.
        if isTunnel { owner.abort() } else { owner.closeAfterFlush() }
    }

    /// Nothing more is read or written here, and nobody is told. The request's head stays: whoever
    /// gave the stream up may still log it.
    private func die() {
        request = .dead
        response = .complete
        application = nil
        releasePauses()
        release()
    }

    package func closeAfterResponse() { closesAfterResponse = true }

    // MARK: Flow control and storage

    package func pauseReading() {
        pauses += 1
        sink.pauseReading()
    }

    package func resumeReading() {
        guard pauses > 0 else { return }
        pauses -= 1
        sink.resumeReading()
    }

    private func releasePauses() {
        while pauses > 0 { resumeReading() }
    }

    private func hold() {
        guard !isHolding else { return }
        isHolding = true
        sink.pauseReading()
    }

    private func release() {
        guard isHolding else { return }
        isHolding = false
        sink.resumeReading()
    }

    /// An idle connection holds no header map. Not called while one may be borrowed further up.
    private func releaseMaps() {
        if let head { pool.give(head) }
        head = nil
        if let trailers { pool.give(trailers) }
        trailers = nil
    }
}
