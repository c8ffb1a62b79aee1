import MeshHTTP
import MeshNet

// Feeds a connection's bytes to the server codec twice, whole and in pieces cut where the input's
// first bytes say, and wants the same events, responses and fate. What was accepted is written again
// by the client codec and must be understood by a second server codec in the same way: a message that
// two readers take differently is what request smuggling is made of.

private final class Server: ServerCodecDelegate, ServerStreamDelegate {
    let sink = ByteSink()
    var log: [UInt8] = []
    var closes = 0
    private var stream: (any ServerStream)?
    private lazy var codec = HTTP1ServerCodec(sink: sink, delegate: self, settings: settings)
    private let settings: HTTP1Settings
    private var input: [UInt8] = []
    let onward = Client()

    init(_ settings: HTTP1Settings) { self.settings = settings }

    func receive(_ bytes: some Collection<UInt8>) {
        input += bytes
        while !input.isEmpty, sink.readPauses == 0 {
            // An allocation of its own lets the sanitizer see reads beyond the end.
            let offered = Array(input)
            let consumed = offered.withUnsafeBytes { codec.received($0) }
            precondition(consumed >= 0 && consumed <= offered.count)
            input.removeFirst(consumed)
            if consumed == 0 { break }
        }
        precondition(sink.readPauses >= 0)
    }

    func end() {
        codec.receivedEnd()
        codec.connectionClosed(.connectionTermination)
        precondition(sink.readPauses == 0)
    }

    private func note(_ text: StaticString, _ bytes: Bytes = Bytes(start: nil, count: 0)) {
        log += UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        log += bytes
    }

    private func respond(_ status: Int) {
        let head = HeaderMap()
        head.set(.status, decimal: status)
        stream?.sendHead(head, endStream: true)
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        self.stream = stream
        note("<open>")
        return self
    }
    func closeAfterFlush() { closes += 1 }
    func requestHead(_ head: HeaderMap, endStream: Bool) {
        note("<head>")
        head.forEach { name, value in
            note("|", name)
            note(":", value)
        }
        let isUpgrade = head.contains(.upgrade)
        if isUpgrade || head[.method]?.equals("CONNECT") == true {
            let answer = HeaderMap()
            answer.set(.status, isUpgrade ? "101" : "200")
            stream?.sendHead(answer, endStream: false)
            return
        }
        onward.send(head, endStream: endStream)
        if endStream {
            note("<end>")
            respond(200)
        }
    }
    func requestData(_ bytes: Bytes, endStream: Bool) {
        note("", bytes)
        onward.data(bytes, endStream: endStream)
        if endStream {
            note("<end>")
            respond(200)
            stream?.sendData(Bytes(start: nil, count: 0), endStream: true)
        }
    }
    func requestTrailers(_ trailers: HeaderMap) {
        note("<trailers>")
        onward.data(Bytes(start: nil, count: 0), endStream: true)
        respond(200)
    }
    func requestInvalid(_ error: CodecError) {
        note("<invalid>")
        onward.abandon()
        respond(error.status)
    }
    func requestReset(_ reason: StreamResetReason) {
        note("<reset>")
        onward.abandon()
    }
    func responseSent() { note("<sent>") }
    func responseBlocked() {}
    func responseUnblocked() {}
}

/// Writes the requests on; a request that was written whole is kept.
private final class Client: ClientCodecDelegate, ClientStreamDelegate {
    private let sink = ByteSink()
    private var codec: HTTP1ClientCodec?
    private var stream: (any ClientStream)?
    var whole: [[UInt8]] = []

    func send(_ head: HeaderMap, endStream: Bool) {
        sink.output.clear()
        let codec = HTTP1ClientCodec(sink: sink, delegate: self, settings: HTTP1Settings())
        self.codec = codec
        stream = codec.openStream(self)
        stream?.sendHead(head, endStream: endStream)
        if endStream { finish() }
    }
    func data(_ bytes: Bytes, endStream: Bool) {
        stream?.sendData(bytes, endStream: endStream)
        if endStream { finish() }
    }
    private func finish() {
        if stream != nil { whole.append(Array(sink.output.bytes)) }
        abandon()
    }
    func abandon() {
        stream = nil
        codec = nil
    }
    func responseInformational(_ head: HeaderMap) {}
    func responseHead(_ head: HeaderMap, endStream: Bool) {}
    func responseData(_ bytes: Bytes, endStream: Bool) {}
    func responseTrailers(_ trailers: HeaderMap) {}
    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        preconditionFailure("an accepted request could not be written on")
    }
    func requestBlocked() {}
    func requestUnblocked() {}
    func streamEnded(reusable: Bool) {}
    func closeAfterFlush() {}
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP1Request(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 3 else { return 0 }
    let input = UnsafeBufferPointer(start: start, count: count)
    var settings = HTTP1Settings()
    settings.acceptHTTP10 = input[0] & 1 != 0
    settings.enableTrailers = input[0] & 2 != 0
    settings.allowChunkedLength = input[0] & 4 != 0
    settings.allowCustomMethods = input[0] & 8 != 0
    if input[0] & 16 != 0 { settings.headerKeyFormat = .preserveCase }
    if input[0] & 32 != 0 { settings.maxHeadersKB = 1 }
    settings.leniency = HTTP1Leniency(rawValue: (input[0] >> 6) * 21)
    let wire = input.dropFirst(3)

    let whole = Server(settings)
    whole.receive(wire)
    whole.end()
    let pieces = Server(settings)
    var at = wire.startIndex
    var step = Int(input[1] % 17) + 1
    while at < wire.endIndex {
        let next = min(at + step, wire.endIndex)
        pieces.receive(wire[at..<next])
        at = next
        step = Int(input[2] % 61) + 1
    }
    pieces.end()
    precondition(whole.log == pieces.log, "the events depend on how the bytes were split")
    precondition(whole.closes > 0 && pieces.closes > 0)
    precondition(Array(whole.sink.output.bytes) == Array(pieces.sink.output.bytes))

    var strict = HTTP1Settings()
    strict.allowCustomMethods = true
    strict.maxHeadersKB = 120
    strict.maxHeadersCount = 200
    for request in whole.onward.whole {
        let second = Server(strict)
        second.receive(request)
        precondition(second.onward.whole.count == 1, "a forwarded request is not one request")
    }
    return 0
}
