import MeshHTTP

@testable import MeshNet

/// Frames made by hand, and read back (RFC 9113 §4.1).
struct H2Frame: Equatable, CustomStringConvertible {
    enum Kind: UInt8 {
        case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate
        case continuation
    }

    var type: UInt8
    var flags: UInt8
    var stream: UInt32
    var payload: [UInt8]

    var kind: Kind? { Kind(rawValue: type) }
    /// The error code of RST_STREAM and GOAWAY.
    var code: UInt32? {
        switch kind {
        case .reset: H2.number(payload[0..<4])
        case .goAway: H2.number(payload[4..<8])
        default: nil
        }
    }

    var description: String {
        let name = kind.map { "\($0)" } ?? "type \(type)"
        return "\(name)(\(stream), \(flags), \(code.map(String.init) ?? "\(payload.count) bytes"))"
    }
}

enum H2 {
    static let end: UInt8 = 1
    static let endHeaders: UInt8 = 4
    static let padded: UInt8 = 8
    static let priorityFlag: UInt8 = 0x20

    static let preface = bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    static func number(_ bytes: some Sequence<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
    }

    static func frame(
        _ type: UInt8,
        flags: UInt8 = 0,
        stream: UInt32 = 0,
        _ payload: [UInt8] = []
    ) -> [UInt8] {
        Array(word(UInt32(payload.count))[1...]) + [type, flags] + word(stream) + payload
    }

    static func frame(
        _ kind: H2Frame.Kind,
        flags: UInt8 = 0,
        stream: UInt32 = 0,
        _ payload: [UInt8] = []
    ) -> [UInt8] { frame(kind.rawValue, flags: flags, stream: stream, payload) }

    /// An HPACK integer (RFC 7541 §5.1).
    static func integer(_ value: Int, prefix bits: Int, first: UInt8 = 0) -> [UInt8] {
        let most = (1 << bits) - 1
        guard value >= most else { return [first | UInt8(value)] }
        var result = [first | UInt8(most)]
        var rest = value - most
        while rest >= 128 {
            result.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return result + [UInt8(rest)]
    }

    /// A field as a literal without indexing, in plain text (RFC 7541 §6.2.2).
    static func literal(_ name: String, _ value: String) -> [UInt8] {
        let (name, value) = (bytes(name), bytes(value))
        return [0] + integer(name.count, prefix: 7) + name + integer(value.count, prefix: 7) + value
    }

    static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { literal($0.0, $0.1) }
    }

    static let get: [(String, String)] = [
        (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"),
    ]
    static let post = changed(get, ":method", "POST")

    static func changed(
        _ fields: [(String, String)],
        _ name: String,
        _ value: String?
    ) -> [(String, String)] {
        fields.compactMap { $0.0 == name ? value.map { (name, $0) } : $0 }
    }

    static func headers(
        _ fields: [(String, String)],
        stream: UInt32 = 1,
        flags: UInt8 = end | endHeaders
    ) -> [UInt8] { frame(.headers, flags: flags, stream: stream, block(fields)) }

    static func data(_ text: String, stream: UInt32 = 1, flags: UInt8 = 0) -> [UInt8] {
        frame(.data, flags: flags, stream: stream, bytes(text))
    }

    static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> [UInt8] {
        frame(.reset, stream: stream, word(code))
    }

    static func settings(_ entries: [(UInt16, UInt32)] = []) -> [UInt8] {
        frame(.settings, entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + word($0.1) })
    }

    static let settingsAck = frame(.settings, flags: 1)

    static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
        frame(.windowUpdate, stream: stream, word(increment))
    }

    static func ping(_ text: String = "12345678", ack: Bool = false) -> [UInt8] {
        frame(.ping, flags: ack ? 1 : 0, bytes(text))
    }

    static func goAway(last: UInt32, _ code: UInt32 = 0) -> [UInt8] {
        frame(.goAway, word(last) + word(code))
    }

    /// Reads frames; what follows the last complete one must be nothing.
    static func parse(_ bytes: [UInt8]) -> [H2Frame] {
        var rest = bytes[...]
        if rest.starts(with: preface) { rest = rest.dropFirst(preface.count) }
        var frames: [H2Frame] = []
        while rest.count >= 9 {
            let at = rest.startIndex
            let length = Int(number(rest[at..<at + 3]))
            precondition(rest.count >= 9 + length, "a frame is not complete")
            frames.append(
                H2Frame(
                    type: rest[at + 3],
                    flags: rest[at + 4],
                    stream: number(rest[at + 5..<at + 9]) & 0x7FFF_FFFF,
                    payload: Array(rest[at + 9..<at + 9 + length])
                )
            )
            rest = rest.dropFirst(9 + length)
        }
        precondition(rest.isEmpty, "bytes that are no frame")
        return frames
    }
}

/// A sink whose time and turns belong to the test.
final class H2Sink: ByteSink {
    var time = Instant(nanoseconds: 1_000_000_000)
    private(set) var isTurnWanted = false
    private(set) var turnTime: Instant?
    /// Bytes the peer has not read although they left ``ByteSink/output``.
    var unread = 0

    override var now: Instant { time }
    override func wantTurn() { isTurnWanted = true }
    override func wantTurn(at time: Instant) { turnTime = time }
    override var bufferedBytes: Int { output.count + unread }

    func giveTurn() {
        isTurnWanted = false
        client?.takeTurn()
    }

    /// Lets time pass, with the turns that were asked for on the way.
    func advance(_ span: Nanoseconds) {
        let end = time + span
        while let next = turnTime, next <= end {
            turnTime = nil
            time = max(time, next)
            giveTurn()
        }
        time = end
    }

    func take() -> [UInt8] {
        defer { output.clear() }
        return Array(output.bytes)
    }
}

final class H2Counts: HTTP2Stats {
    private(set) var counters: [HTTP2Counter: Int] = [:]
    private(set) var gauges: [HTTP2Gauge: Int] = [:]
    subscript(_ counter: HTTP2Counter) -> Int { counters[counter] ?? 0 }
    subscript(_ gauge: HTTP2Gauge) -> Int { gauges[gauge] ?? 0 }
    func count(_ counter: HTTP2Counter) { counters[counter, default: 0] += 1 }
    func change(_ gauge: HTTP2Gauge, by amount: Int) { gauges[gauge, default: 0] += amount }
}

/// One request at an ``H2Server``.
final class H2Request: ServerStreamDelegate {
    let stream: any ServerStream
    let log = EventLog()
    private(set) var refusal: CodecError?
    private(set) var blocks: [Bool] = []
    private unowned let server: H2Server

    init(_ stream: any ServerStream, _ server: H2Server) {
        self.stream = stream
        self.server = server
    }

    var events: [Event] { log.events }

    func respond(_ status: Int = 200, _ body: String = "", end: Bool = true) {
        let head = headerMap([":status": String(status)])
        stream.sendHead(head, endStream: end && body.isEmpty)
        if !body.isEmpty { send(body, end: end) }
    }

    func send(_ text: String, end: Bool = false) { send(bytes(text), end: end) }

    func send(_ bytes: [UInt8], end: Bool = false) {
        bytes.withUnsafeBytes { stream.sendData($0, endStream: end) }
    }

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        log.add(.head(describe(head), end: endStream))
        server.onHead(self, head)
        if endStream { server.onEnd(self) }
    }
    func requestData(_ bytes: Bytes, endStream: Bool) {
        log.add(.data(text(bytes)))
        if endStream { log.add(.end) }
        server.onData(self)
        if endStream { server.onEnd(self) }
    }
    func requestTrailers(_ trailers: HeaderMap) {
        log.add(.trailers(describe(trailers)))
        server.onEnd(self)
    }
    func requestInvalid(_ error: CodecError) {
        log.add(.invalid(status: error.status, details: error.details.description))
    }
    func requestRefused(_ error: CodecError) {
        refusal = error
        log.add(.invalid(status: 0, details: error.details.description))
    }
    func requestReset(_ reason: StreamResetReason) { log.add(.reset(reason)) }
    func responseSent() { log.add(.sent) }
    func responseBlocked() { blocks.append(true) }
    func responseUnblocked() { blocks.append(false) }
}

/// An ``HTTP2ServerCodec`` with everything around it under control.
final class H2Server: ServerCodecDelegate {
    let sink = H2Sink()
    let counts = H2Counts()
    private(set) var requests: [H2Request] = []
    private(set) var closes = 0
    private(set) var hardCloses = 0
    private(set) var refusal: CodecError?
    private(set) var frames: [H2Frame] = []
    private(set) lazy var codec = HTTP2ServerCodec(
        sink: sink,
        delegate: self,
        settings: settings,
        stats: counts
    )
    private let settings: HTTP2Settings

    var onHead: (H2Request, HeaderMap) -> Void = { _, _ in }
    var onData: (H2Request) -> Void = { _ in }
    /// By default a request is answered with 200 as soon as it is complete.
    var onEnd: (H2Request) -> Void = { $0.respond() }

    init(_ settings: HTTP2Settings = HTTP2Settings()) { self.settings = settings }

    var isClosing: Bool { closes + hardCloses > 0 }
    var request: H2Request? { requests.last }

    /// Receives the preface and empty SETTINGS, and takes what is answered off the sink.
    func greet(_ entries: [(UInt16, UInt32)] = []) {
        receive(H2.preface + H2.settings(entries) + H2.settingsAck)
        takeFrames()
        frames.removeAll()
    }

    /// Delivers bytes in pieces of so many, each an allocation of its own.
    func receive(_ bytes: [UInt8], by step: Int = .max) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(step))
            rest = rest.dropFirst(piece.count)
            let consumed = piece.withUnsafeBytes { codec.received($0) }
            precondition(consumed == piece.count, "HTTP/2 leaves nothing unconsumed")
            takeFrames()
        }
    }

    @discardableResult
    func takeFrames() -> [H2Frame] {
        let new = H2.parse(sink.take())
        frames += new
        return new
    }

    /// What was sent but SETTINGS and WINDOW_UPDATE of the connection.
    var answers: [H2Frame] {
        frames.filter { $0.kind != .settings && !($0.kind == .windowUpdate && $0.stream == 0) }
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        let request = H2Request(stream, self)
        requests.append(request)
        return request
    }
    func closeAfterFlush() { closes += 1 }
    func closeNow() { hardCloses += 1 }
    func connectionRefused(_ error: CodecError) { refusal = error }
}

/// One call through an ``H2Client``.
final class H2Call: ClientStreamDelegate {
    let log = EventLog()
    var stream: (any ClientStream)?
    private(set) var detail = ""
    private(set) var blocks: [Bool] = []
    var onEvent: (H2Call) -> Void = { _ in }
    var events: [Event] { log.events }

    func send(_ text: String, end: Bool = false) {
        bytes(text).withUnsafeBytes { stream?.sendData($0, endStream: end) }
    }

    private func add(_ event: Event) {
        log.add(event)
        onEvent(self)
    }

    func responseInformational(_ head: HeaderMap) { add(.informational(describe(head))) }
    func responseHead(_ head: HeaderMap, endStream: Bool) {
        add(.head(describe(head), end: endStream))
    }
    func responseData(_ bytes: Bytes, endStream: Bool) {
        add(.data(text(bytes)))
        if endStream { add(.end) }
    }
    func responseTrailers(_ trailers: HeaderMap) { add(.trailers(describe(trailers))) }
    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        self.detail = detail.description
        add(.reset(reason))
    }
    func requestBlocked() { blocks.append(true) }
    func requestUnblocked() { blocks.append(false) }
}

/// An ``HTTP2ClientCodec`` with everything around it under control.
final class H2Client: ClientCodecDelegate {
    let sink = H2Sink()
    let counts = H2Counts()
    private(set) var ended: [Bool] = []
    private(set) var spoilages: [ConnectionSpoilage] = []
    private(set) var changes = 0
    private(set) var closes = 0
    private(set) var hardCloses = 0
    private(set) lazy var codec = HTTP2ClientCodec(
        sink: sink,
        delegate: self,
        settings: settings,
        stats: counts
    )
    private let settings: HTTP2Settings

    init(_ settings: HTTP2Settings = HTTP2Settings()) { self.settings = settings }

    var isClosing: Bool { closes + hardCloses > 0 }

    @discardableResult
    func call(
        _ method: String = "GET",
        fields: KeyValuePairs<String, String> = [:],
        body: String? = nil,
        end: Bool = true
    ) -> H2Call {
        let call = H2Call()
        call.stream = codec.openStream(call)
        let head = HeaderMap()
        head.append(.method, method)
        if method != "CONNECT" { head.append(.path, "/") }
        head.append(.scheme, "http")
        head.append(.authority, "a")
        for (name, value) in fields { head.append(HeaderName(name), value) }
        call.stream?.sendHead(head, endStream: end && body == nil)
        if let body { call.send(body, end: end) }
        return call
    }

    func receive(_ bytes: [UInt8], by step: Int = .max) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(step))
            rest = rest.dropFirst(piece.count)
            let consumed = piece.withUnsafeBytes { codec.received($0) }
            precondition(consumed == piece.count, "HTTP/2 leaves nothing unconsumed")
        }
    }

    /// What was written since the last time; the preface is skipped.
    @discardableResult
    func takeFrames() -> [H2Frame] { H2.parse(sink.take()) }

    func streamEnded(reusable: Bool) { ended.append(reusable) }
    func connectionSpoiled(_ cause: ConnectionSpoilage) { spoilages.append(cause) }
    func streamsAvailableChanged() { changes += 1 }
    func closeAfterFlush() { closes += 1 }
    func closeNow() { hardCloses += 1 }
}

/// A client and a server joined in memory.
final class H2Pair {
    let client: H2Client
    let server: H2Server
    /// Bytes that pass at once.
    var step = Int.max

    init(_ settings: HTTP2Settings = HTTP2Settings(), client: HTTP2Settings? = nil) {
        self.client = H2Client(client ?? settings)
        server = H2Server(settings)
        _ = (self.client.codec, server.codec)
    }

    /// Carries bytes both ways until neither side has more to say.
    func run() {
        while true {
            let toServer = client.sink.take()
            let toClient = server.sink.take()
            if toServer.isEmpty, toClient.isEmpty {
                guard client.sink.isTurnWanted || server.sink.isTurnWanted else { return }
                if client.sink.isTurnWanted { client.sink.giveTurn() }
                if server.sink.isTurnWanted { server.sink.giveTurn() }
                continue
            }
            carry(toServer) { server.codec.received($0) }
            carry(toClient) { client.codec.received($0) }
        }
    }

    private func carry(_ bytes: [UInt8], to receive: (Bytes) -> Int) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(step))
            rest = rest.dropFirst(piece.count)
            let consumed = piece.withUnsafeBytes(receive)
            precondition(consumed == piece.count, "HTTP/2 leaves nothing unconsumed")
        }
    }
}
