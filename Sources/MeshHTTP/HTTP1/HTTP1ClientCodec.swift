import MeshNet

/// HTTP/1 as spoken to a server: streams become requests, one at a time, and bytes become responses.
///
/// Responses are parsed as strictly as requests are. After an exchange the connection is reusable
/// only if both messages ended where they said they would and neither side wants it closed. The codec
/// is its own stream, as on the server side; a stream must not be used once its delegate has heard
/// its end. The request half is in `HTTP1ClientCodec+Request.swift`.
package final class HTTP1ClientCodec: ClientCodec, ClientStream {
    enum ResponsePhase: Equatable {
        /// No stream, or its request has not begun.
        case idle
        /// Before or within a head, informational ones included.
        case head
        case body(remaining: UInt64)
        case chunkedBody
        case trailers
        case untilClose
        case tunnel
        /// The tunnel's response direction has ended.
        case tunnelEnded
        case dead
    }

    enum RequestPhase: Equatable {
        case idle
        case body(HTTP1Framing)
        /// An upgrade or CONNECT waits for its answer: no byte may follow yet.
        case held
        case complete
    }

    let sink: ByteSink
    // Unchecked: it outlives us, and it is asked once per request.
    private unowned(unsafe) let owner: any ClientCodecDelegate
    let settings: HTTP1Settings
    let encoder: HTTP1Encoder
    private let pool: HeaderMapPool

    var router: (any ClientStreamDelegate)?
    private(set) var response = ResponsePhase.idle
    var request = RequestPhase.idle

    private var parser: HTTP1Parser
    private var chunks = HTTP1ChunkedDecoder()
    // Taken from the pool.
    private var head: Unmanaged<HeaderMap>?
    private var trailers: Unmanaged<HeaderMap>?

    var method = HTTP1Method.other
    var isUpgrade = false
    /// Neither message's framing nor either side's wish forbids another request.
    private var isReusable = true
    private var informationalHeads = 0

    private var pauses = 0
    private var isReceiving = false

    package private(set) var bytesReceived: UInt64 = 0
    package internal(set) var bytesSent: UInt64 = 0

    /// A server that never comes to its point is given up.
    private static let informationalHeadsMax = 100

    /// - Parameters:
    ///   - delegate: outlives the codec.
    ///   - pool: the worker's; maps return to it between responses.
    package init(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        settings: HTTP1Settings,
        pool: HeaderMapPool = HeaderMapPool()
    ) {
        self.sink = sink
        owner = delegate
        self.settings = settings
        self.pool = pool
        encoder = HTTP1Encoder(format: settings.headerKeyFormat)
        parser = HTTP1Parser(.response, settings: settings)
    }

    deinit {
        head?.release()
        trailers?.release()
    }

    // MARK: The connection's side

    package var streamsAvailable: Int { response == .idle && router == nil && isReusable ? 1 : 0 }

    package func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream {
        precondition(streamsAvailable > 0, "HTTP/1 connection is busy or not reusable")
        router = delegate
        request = .idle
        method = .other
        isUpgrade = false
        bytesReceived = 0
        bytesSent = 0
        informationalHeads = 0
        parser.restart(as: .response)
        return self
    }

    /// The request head was written: responses may come.
    func responseExpected() { response = .head }

    package func received(_ bytes: Bytes) -> Int {
        isReceiving = true
        var at = 0
        advance: while at < bytes.count {
            if pauses > 0, response != .dead { break }
            switch response {
            case .idle:
                // Bytes nobody asked for: whatever they are, they must not become the answer to the
                // next request (response desynchronisation).
                surplus()
            case .head:
                guard readHead(bytes, &at) else { break advance }
            case .body(let remaining):
                let count = Int(min(remaining, UInt64(bytes.count - at)))
                let data = Bytes(rebasing: bytes[at..<at + count])
                at += count
                let rest = remaining - UInt64(count)
                response = .body(remaining: rest)
                deliver(data, endStream: rest == 0, hasMore: at < bytes.count)
            case .chunkedBody:
                readChunk(bytes, &at)
            case .trailers:
                guard readTrailers(bytes, &at) else { break advance }
            case .untilClose, .tunnel:
                let data = Bytes(rebasing: bytes[at...])
                at = bytes.count
                deliver(data, endStream: false, hasMore: false)
            case .tunnelEnded, .dead:
                at = bytes.count
            }
        }
        isReceiving = false
        if response == .idle || response == .dead { releaseMaps() }
        return at
    }

    package func receivedEnd() {
        switch response {
        case .idle:
            isReusable = false
            if router == nil {
                response = .dead
                owner.closeAfterFlush()
            } else {
                fail(.connectionTermination, "http1.connection_closed")
            }
        case .head where parser.hasBegun:
            fail(.protocolError, "http1.incomplete_head")
        case .head:
            fail(.connectionTermination, "http1.connection_closed")
        case .body, .chunkedBody, .trailers:
            fail(.protocolError, "http1.incomplete_body")
        case .tunnel where request != .complete:
            response = .tunnelEnded
            router?.responseData(Bytes(start: nil, count: 0), endStream: true)
        case .untilClose, .tunnel:
            let router = router
            endExchange()
            router?.responseData(Bytes(start: nil, count: 0), endStream: true)
            report()
        case .tunnelEnded, .dead:
            break
        }
    }

    package func connectionClosed(_ reason: StreamResetReason) {
        let router = router
        let isCut =
            switch response {
            case .body, .chunkedBody, .trailers: true
            case .idle, .head, .untilClose, .tunnel, .tunnelEnded, .dead: false
            }
        die()
        // A body that is cut off is malformed, whatever cut it (RFC 9112 §8).
        if isCut, reason == .connectionTermination {
            router?.responseReset(.protocolError, detail: "http1.incomplete_body")
        } else {
            router?.responseReset(reason, detail: "http1.connection_closed")
        }
    }

    package func outputBlocked() {
        if request != .complete { router?.requestBlocked() }
    }

    package func outputUnblocked() {
        router?.requestUnblocked()
    }

    /// Bytes behind the end of a response, or before any request.
    private func surplus() {
        isReusable = false
        response = .dead
        owner.connectionSpoiled(.surplusBytes)
        if let router {
            self.router = nil
            router.responseReset(.protocolError, detail: "http1.unexpected_bytes")
            owner.streamEnded(reusable: false)
        }
        owner.closeAfterFlush()
    }

    // MARK: Heads

    /// Returns false where more bytes are needed.
    private func readHead(_ bytes: Bytes, _ at: inout Int) -> Bool {
        let held = head ?? pool.take()
        head = held
        let map = held.takeUnretainedValue()
        if parser.byteCount == 0 { map.removeAll() }
        let before = at
        let progress = parser.read(bytes, &at, into: map)
        bytesReceived &+= UInt64(at &- before)
        switch progress {
        case .needsMore: return false
        case .failed(let fault): fail(.protocolError, fault.details)
        case .complete: headComplete(map, hasMore: at < bytes.count)
        }
        return true
    }

    private func headComplete(_ map: HeaderMap, hasMore: Bool) {
        let head: HTTP1ResponseHead
        do throws(HTTP1Fault) {
            head = try HTTP1ResponseHead.read(
                parser,
                map,
                request: method,
                isUpgrade: isUpgrade,
                settings: settings
            )
        } catch {
            return fail(.protocolError, error.details)
        }
        if parser.status < 200, parser.status != 101 {
            informationalHeads += 1
            guard informationalHeads <= Self.informationalHeadsMax else {
                return fail(.protocolError, "http1.too_many_informational_heads")
            }
            parser.restart(as: .response)
            router?.responseInformational(map)
            return
        }
        if !head.keepsAlive {
            isReusable = false
            owner.connectionSpoiled(.closeAnnounced)
        }
        let isEnd: Bool
        switch head.framing {
        case .none:
            isEnd = true
        case .length(let length):
            isEnd = length == 0
            response = .body(remaining: length)
        case .chunked:
            isEnd = false
            chunks = HTTP1ChunkedDecoder(settings.leniency)
            response = .chunkedBody
        case .untilClose:
            isEnd = false
            isReusable = false
            response = .untilClose
        case .tunnel:
            isEnd = false
            isReusable = false
            response = .tunnel
            request = .body(.tunnel)
        }
        let router = router
        if isEnd { endExchange(hasMore: hasMore) }
        router?.responseHead(map, endStream: isEnd)
        if isEnd { report() }
    }

    // MARK: Bodies

    private func deliver(_ data: Bytes, endStream: Bool, hasMore: Bool) {
        bytesReceived &+= UInt64(data.count)
        let router = router
        if endStream { endExchange(hasMore: hasMore) }
        router?.responseData(data, endStream: endStream)
        if endStream { report() }
    }

    private func readChunk(_ bytes: Bytes, _ at: inout Int) {
        let before = at
        let step = chunks.next(bytes, &at)
        guard case .data(let count) = step else {
            bytesReceived &+= UInt64(at - before)
            switch step {
            case .last:
                parser.restart(as: .trailers)
                response = .trailers
            case .failed(let fault): fail(.protocolError, fault.details)
            case .needsMore, .data: break
            }
            return
        }
        let data = Bytes(rebasing: bytes[at - count..<at])
        bytesReceived &+= UInt64(at - before - count)
        let isLast = chunks.endsPlainly(bytes, at: at)
        if isLast {
            at += 7
            bytesReceived &+= 7
        }
        deliver(data, endStream: isLast, hasMore: at < bytes.count)
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
        case .failed(let fault): fail(.protocolError, fault.details)
        case .complete:
            let isWanted = HTTP1Trailers.reduce(map) && settings.enableTrailers
            let router = router
            endExchange(hasMore: at < bytes.count)
            if isWanted {
                router?.responseTrailers(map)
            } else {
                router?.responseData(Bytes(start: nil, count: 0), endStream: true)
            }
            report()
        }
        return true
    }

    // MARK: The exchange's end

    /// The response is complete. The stream is detached before its delegate hears the end, so that
    /// nothing it does then can touch the connection's next exchange.
    func endExchange(hasMore: Bool = false) {
        if request != .complete || hasMore { isReusable = false }
        if hasMore { owner.connectionSpoiled(.surplusBytes) }
        router = nil
        response = isReusable ? .idle : .dead
        releasePauses()
    }

    /// Tells the owner, once the stream's delegate knows.
    func report() {
        let reusable = isReusable
        if !isReceiving { releaseMaps() }
        owner.streamEnded(reusable: reusable)
        if !reusable { owner.closeAfterFlush() }
    }

    func fail(_ reason: StreamResetReason, _ detail: StaticString) {
        let router = router
        die()
        owner.connectionSpoiled(reason == .protocolError ? .protocolError : .streamLost)
        router?.responseReset(reason, detail: detail)
        owner.streamEnded(reusable: false)
        owner.closeAfterFlush()
    }

    package func reset(_ reason: StreamResetReason) {
        guard router != nil else { return }
        let isUntouched = request == .idle && response == .idle
        if isUntouched, isReusable {
            // Not a byte was written: the connection is as it was.
            router = nil
            releasePauses()
            return owner.streamEnded(reusable: true)
        }
        let isTunnel = response == .tunnel || response == .tunnelEnded
        die()
        owner.connectionSpoiled(.streamLost)
        // FIN would tell a tunnel's peer that all has come.
        if isTunnel { owner.abort() }
        owner.streamEnded(reusable: false)
        owner.closeAfterFlush()
    }

    private func die() {
        isReusable = false
        response = .dead
        request = .complete
        router = nil
        releasePauses()
        if !isReceiving { releaseMaps() }
    }

    // MARK: Flow control and storage

    package func pauseReading() {
        guard router != nil else { return }
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

    /// An idle connection holds no header map. Not while one may be borrowed by a call further up.
    private func releaseMaps() {
        if let head { pool.give(head) }
        head = nil
        if let trailers { pool.give(trailers) }
        trailers = nil
    }
}
