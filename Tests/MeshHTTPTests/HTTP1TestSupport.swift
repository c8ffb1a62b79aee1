import MeshHTTP
import MeshNet

/// Text as bytes; Latin-1, so that every byte can be written.
func bytes(_ text: String) -> [UInt8] {
    text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
}

func text(_ bytes: some Sequence<UInt8>) -> String {
    String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
}

/// A head in few words: `GET /path host | name: value | …`.
func describe(_ head: HeaderMap) -> String {
    var fields: [String] = []
    head.forEach { name, value in fields.append("\(text(name)): \(text(value))") }
    return fields.joined(separator: " | ")
}

func headerMap(_ fields: KeyValuePairs<String, String>) -> HeaderMap {
    let map = HeaderMap()
    for (name, value) in fields { map.append(HeaderName(name), value) }
    return map
}

/// What a stream's delegate heard, data run together.
enum Event: Equatable, CustomStringConvertible {
    case head(String, end: Bool)
    case informational(String)
    case data(String)
    case end
    case trailers(String)
    case invalid(status: Int, details: String)
    case reset(StreamResetReason)
    case sent

    var description: String {
        switch self {
        case .head(let head, let end): "head(\(head)\(end ? "; end" : ""))"
        case .informational(let head): "informational(\(head))"
        case .data(let data): "data(\(data))"
        case .end: "end"
        case .trailers(let trailers): "trailers(\(trailers))"
        case .invalid(let status, let details): "invalid(\(status) \(details))"
        case .reset(let reason): "reset(\(reason))"
        case .sent: "sent"
        }
    }
}

final class EventLog {
    private(set) var events: [Event] = []

    func add(_ event: Event) {
        if case .data(let more) = event {
            if more.isEmpty { return }
            if case .data(let before) = events.last {
                events[events.count - 1] = .data(before + more)
                return
            }
        }
        events.append(event)
    }
}

/// A connection's stand-in: keeps what is not consumed, honours pauses, records the output.
final class TestSink {
    let sink = ByteSink()
    private var input: [UInt8] = []

    var written: String { text(sink.output.bytes) }

    func takeOutput() -> String {
        let result = written
        sink.output.clear()
        return result
    }

    var unconsumed: Int { input.count }

    /// Delivers bytes as a connection would, keeping the rest.
    func deliver(_ bytes: [UInt8], to receive: (Bytes) -> Int) {
        input += bytes
        precondition(sink.readPauses >= 0, "resumed more often than paused")
        guard !input.isEmpty, sink.readPauses == 0 else { return }
        // A copy of exactly this size lets a sanitizer see every read beyond the end.
        let offered = Array(input)
        let consumed = offered.withUnsafeBytes { receive($0) }
        precondition(consumed >= 0 && consumed <= input.count, "consumed more than there was")
        input.removeFirst(consumed)
    }
}

/// Serves streams of a server codec by a script.
final class TestServer: ServerCodecDelegate, ServerStreamDelegate {
    let sink = TestSink()
    private(set) lazy var codec = HTTP1ServerCodec(
        sink: sink.sink,
        delegate: self,
        settings: settings
    )
    private let settings: HTTP1Settings
    let log = EventLog()
    var stream: (any ServerStream)?
    private(set) var opened = 0
    private(set) var closes = 0
    private(set) var aborts = 0

    /// Called after the event was recorded; may answer.
    var onHead: (TestServer, HeaderMap, Bool) -> Void = { _, _, _ in }
    var onData: (TestServer, Bytes, Bool) -> Void = { _, _, _ in }
    var onInvalid: (TestServer, CodecError) -> Void = { server, error in
        server.respond(error.status, body: error.body.description)
    }

    init(_ settings: HTTP1Settings = HTTP1Settings()) { self.settings = settings }

    var events: [Event] { log.events }
    var output: String { sink.written }
    var isClosing: Bool { closes > 0 }

    func receive(_ text: String) { receive(bytes(text)) }
    func receive(_ bytes: [UInt8]) { sink.deliver(bytes) { codec.received($0) } }
    /// Offers again what was not consumed, as a connection does after a pause.
    func reoffer() { sink.deliver([]) { codec.received($0) } }

    func respond(_ status: Int, body: String = "", _ fields: KeyValuePairs<String, String> = [:]) {
        let head = headerMap(fields)
        head.set(.status, String(status))
        if !body.isEmpty { head.set(.contentLength, String(body.utf8.count)) }
        stream?.sendHead(head, endStream: body.isEmpty)
        if !body.isEmpty { bytes(body).withUnsafeBytes { stream?.sendData($0, endStream: true) } }
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        self.stream = stream
        opened += 1
        return self
    }
    func closeAfterFlush() { closes += 1 }
    func abort() { aborts += 1 }

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        log.add(.head(describe(head), end: endStream))
        onHead(self, head, endStream)
    }
    func requestData(_ bytes: Bytes, endStream: Bool) {
        log.add(.data(text(bytes)))
        if endStream { log.add(.end) }
        onData(self, bytes, endStream)
    }
    func requestTrailers(_ trailers: HeaderMap) { log.add(.trailers(describe(trailers))) }
    func requestInvalid(_ error: CodecError) {
        log.add(.invalid(status: error.status, details: error.details.description))
        onInvalid(self, error)
    }
    func requestReset(_ reason: StreamResetReason) { log.add(.reset(reason)) }
    func responseSent() { log.add(.sent) }
    private(set) var blocks: [Bool] = []
    func responseBlocked() { blocks.append(true) }
    func responseUnblocked() { blocks.append(false) }
}

/// Sends requests through a client codec and records the responses.
final class TestClient: ClientCodecDelegate, ClientStreamDelegate {
    let sink = TestSink()
    private(set) lazy var codec = HTTP1ClientCodec(
        sink: sink.sink,
        delegate: self,
        settings: settings
    )
    private let settings: HTTP1Settings
    let log = EventLog()
    private(set) var stream: (any ClientStream)?
    private(set) var ended: [Bool] = []
    private(set) var closes = 0
    private(set) var aborts = 0
    private(set) var detail = ""
    private(set) var blocks: [Bool] = []
    var onHead: (TestClient, HeaderMap, Bool) -> Void = { _, _, _ in }

    init(_ settings: HTTP1Settings = HTTP1Settings()) { self.settings = settings }

    var events: [Event] { log.events }
    var isReusable: Bool { codec.streamsAvailable == 1 }

    func receive(_ text: String) { receive(bytes(text)) }
    func receive(_ bytes: [UInt8]) { sink.deliver(bytes) { codec.received($0) } }
    func reoffer() { sink.deliver([]) { codec.received($0) } }

    func open() { stream = codec.openStream(self) }

    /// Opens a stream and sends a request; returns what went over the wire.
    @discardableResult
    func request(
        _ method: String = "GET",
        _ path: String = "/",
        authority: String = "a",
        fields: KeyValuePairs<String, String> = [:],
        body: String? = nil,
        endStream: Bool = true
    ) -> String {
        open()
        let head = HeaderMap()
        head.append(.method, method)
        if method != "CONNECT" { head.append(.path, path) }
        head.append(.authority, authority)
        for (name, value) in fields { head.append(HeaderName(name), value) }
        stream?.sendHead(head, endStream: endStream && body == nil)
        if let body { send(body, endStream: endStream) }
        return sink.takeOutput()
    }

    func send(_ body: String, endStream: Bool) {
        bytes(body).withUnsafeBytes { stream?.sendData($0, endStream: endStream) }
    }

    func responseInformational(_ head: HeaderMap) { log.add(.informational(describe(head))) }
    func responseHead(_ head: HeaderMap, endStream: Bool) {
        log.add(.head(describe(head), end: endStream))
        onHead(self, head, endStream)
    }
    func responseData(_ bytes: Bytes, endStream: Bool) {
        log.add(.data(text(bytes)))
        if endStream { log.add(.end) }
    }
    func responseTrailers(_ trailers: HeaderMap) { log.add(.trailers(describe(trailers))) }
    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        log.add(.reset(reason))
        self.detail = detail.description
    }
    func requestBlocked() { blocks.append(true) }
    func requestUnblocked() { blocks.append(false) }
    func streamEnded(reusable: Bool) { ended.append(reusable) }
    func closeAfterFlush() { closes += 1 }
    func abort() { aborts += 1 }
}
