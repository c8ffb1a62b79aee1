import MeshHTTP
import MeshNet

// Feeds a connection's bytes to the server codec in pieces cut where the input's first bytes say, while
// its delegate answers, pauses and resets as they say. Whatever comes, every stream hears its end once,
// what is written is whole frames, and nothing is left behind. What was accepted is sent on by a client
// codec and must be understood by a second server codec in the same way.

private func appendText(_ log: inout [UInt8], _ head: HeaderMap) {
    head.forEach { name, value in
        log.append(0x7C)
        log += name
        log.append(0x3A)
        log += value
    }
}

private final class Request: ServerStreamDelegate {
    let stream: any ServerStream
    private unowned let server: Server
    var isOver = false
    private var isPaused = false

    init(_ stream: any ServerStream, _ server: Server) {
        self.stream = stream
        self.server = server
    }

    func act(_ event: UInt8, head: HeaderMap? = nil) {
        precondition(!isOver, "a stream that is over hears more")
        guard server.script & event != 0 else { return }
        switch server.script >> 5 {
        case 0, 1: respond(200, body: 0, trailers: false)
        case 2: respond(200, body: 70_000, trailers: false)
        case 3: respond(200, body: 5, trailers: true)
        case 4:
            isPaused.toggle()
            if isPaused { stream.pauseReading() } else { stream.resumeReading() }
        case 5:
            isOver = true
            stream.reset(.localReset)
        case 6:
            stream.closeAfterResponse()
            respond(503, body: 1, trailers: false)
        default:
            if let head, head.contains(.upgrade) {
                respond(101, body: 0, trailers: false)
            } else {
                respond(404, body: 1, trailers: false)
            }
        }
    }

    func respond(_ status: Int, body: Int, trailers: Bool) {
        let head = HeaderMap()
        head.append(.status, "103")
        stream.sendInformational(head)
        head.set(.status, decimal: status)
        stream.sendHead(head, endStream: body == 0)
        guard body > 0, !isOver else { return }
        Array(repeating: UInt8(0x61), count: body).withUnsafeBytes {
            stream.sendData($0, endStream: !trailers)
        }
        guard trailers, !isOver else { return }
        let map = HeaderMap()
        map.append(.grpcStatus, "0")
        stream.sendTrailers(map)
    }

    func resume() {
        guard !isOver, isPaused else { return }
        isPaused = false
        stream.resumeReading()
    }

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        server.accepted(head)
        act(1, head: head)
        if endStream, !isOver { act(4) }
    }
    func requestData(_ bytes: Bytes, endStream: Bool) {
        precondition(bytes.reduce(0) { $0 &+ Int($1) } >= 0)
        act(2)
        if endStream, !isOver { act(4) }
    }
    func requestTrailers(_ trailers: HeaderMap) {
        precondition(trailers.count > 0 && !trailers.contains(.path))
        act(4)
    }
    func requestInvalid(_ error: CodecError) { preconditionFailure("HTTP/2 answers nothing") }
    func requestRefused(_ error: CodecError) { end() }
    func requestReset(_ reason: StreamResetReason) { end() }
    func responseSent() { end() }
    func responseBlocked() { precondition(!isOver) }
    func responseUnblocked() { precondition(!isOver) }
    private func end() {
        precondition(!isOver, "a stream hears its end twice")
        isOver = true
    }
}

private final class Server: ServerCodecDelegate {
    let sink = ByteSink()
    let script: UInt8
    private var requests: [Request] = []
    private let onward = Onward()
    private var isClosing = false
    private lazy var codec = HTTP2ServerCodec(sink: sink, delegate: self, settings: settings)
    private let settings: HTTP2Settings

    init(_ settings: HTTP2Settings, script: UInt8) {
        self.settings = settings
        self.script = script
    }

    func receive(_ bytes: some Collection<UInt8>) {
        // An allocation of its own lets the sanitizer see reads beyond the end.
        let offered = Array(bytes)
        let consumed = offered.withUnsafeBytes { codec.received($0) }
        precondition(consumed == offered.count, "HTTP/2 leaves nothing unconsumed")
        codec.takeTurn()
        drain()
    }

    func blockOutput(_ isBlocked: Bool) {
        if isBlocked { codec.outputBlocked() } else { codec.outputUnblocked() }
    }

    func startDrain() { codec.startDrain() }

    func end() {
        for request in requests { request.resume() }
        codec.takeTurn()
        codec.receivedEnd()
        codec.connectionClosed(.connectionTermination)
        onward.end()
        precondition(requests.allSatisfy { $0.isOver }, "a stream never heard its end")
        precondition(sink.readPauses == 0)
        drain()
    }

    /// What was written are whole frames.
    private func drain() {
        let output = Array(sink.output.bytes)
        sink.output.clear()
        var at = 0
        while at < output.count {
            precondition(at + 9 <= output.count)
            at += 9 + Int(output[at]) << 16 + Int(output[at + 1]) << 8 + Int(output[at + 2])
        }
        precondition(at == output.count, "a frame is not whole")
    }

    func accepted(_ head: HeaderMap) { onward.send(head) }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        precondition(!isClosing, "a stream opens on a connection that closes")
        let request = Request(stream, self)
        requests.append(request)
        return request
    }
    func closeAfterFlush() { isClosing = true }
}

/// A client codec and the second reader behind it.
private final class Onward: ClientCodecDelegate, ClientStreamDelegate, ServerCodecDelegate,
    ServerStreamDelegate
{
    private let clientSink = ByteSink()
    private let serverSink = ByteSink()
    private var expected: [UInt8] = []
    private var heard: [UInt8] = []
    private lazy var client = HTTP2ClientCodec(
        sink: clientSink,
        delegate: self,
        settings: Self.settings
    )
    private lazy var server = HTTP2ServerCodec(
        sink: serverSink,
        delegate: self,
        settings: Self.settings
    )

    private static var settings: HTTP2Settings {
        var settings = HTTP2Settings()
        settings.allowConnect = true
        settings.maxHeadersKB = 8192
        settings.maxHeadersCount = 16_000
        return settings
    }

    func send(_ head: HeaderMap) {
        guard client.streamsAvailable > 0 else { return }
        expected.removeAll()
        heard.removeAll()
        let stream = client.openStream(self)
        stream.sendHead(head, endStream: false)
        let bytes = Array(clientSink.output.bytes)
        clientSink.output.clear()
        _ = bytes.withUnsafeBytes { server.received($0) }
        serverSink.output.clear()
        let sorted = HeaderMap()
        sorted.copy(from: head)
        for pseudo in [KnownHeader.method, .scheme, .path, .authority] {
            guard let value = head.string(pseudo) else { continue }
            let map = HeaderMap()
            map.append(pseudo, value)
            appendText(&expected, map)
            sorted.remove(pseudo)
        }
        sorted.remove(.http2Settings)
        // An upgrade's fields are made anew.
        let isUpgrade = head.contains(.upgrade)
        if isUpgrade {
            sorted.remove(.upgrade)
            sorted.remove(.connection)
        }
        appendText(&expected, sorted)
        if !isUpgrade {
            precondition(heard == expected, "two readers understand a request differently")
        } else {
            precondition(!heard.isEmpty, "an upgrade was not understood")
        }
        stream.reset(.localReset)
        let reset = Array(clientSink.output.bytes)
        clientSink.output.clear()
        _ = reset.withUnsafeBytes { server.received($0) }
    }

    /// Streams have their codec until it hears of the end.
    func end() {
        client.connectionClosed(.connectionTermination)
        server.connectionClosed(.connectionTermination)
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate { self }
    func closeAfterFlush() {}
    func connectionRefused(_ error: CodecError) {
        // Ending streams at once again and again is what a rapid reset is.
        precondition(error.details.description == "too_many_premature_resets")
    }
    func requestHead(_ head: HeaderMap, endStream: Bool) { appendText(&heard, head) }
    func requestData(_ bytes: Bytes, endStream: Bool) {}
    func requestTrailers(_ trailers: HeaderMap) {}
    func requestInvalid(_ error: CodecError) {}
    func requestReset(_ reason: StreamResetReason) {}
    func responseSent() {}
    func responseBlocked() {}
    func responseUnblocked() {}
    func responseInformational(_ head: HeaderMap) {}
    func responseHead(_ head: HeaderMap, endStream: Bool) {}
    func responseData(_ bytes: Bytes, endStream: Bool) {}
    func responseTrailers(_ trailers: HeaderMap) {}
    func responseReset(_ reason: StreamResetReason, detail: StaticString) {}
    func requestBlocked() {}
    func requestUnblocked() {}
    func streamEnded(reusable: Bool) {}
    func closeNow() {}
    func abort() {}
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP2Request(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 4 else { return 0 }
    let input = UnsafeBufferPointer(start: start, count: count)
    var settings = HTTP2Settings()
    settings.allowConnect = input[0] & 1 != 0
    settings.endsOnlyStreamOnInvalidMessage = input[0] & 2 != 0
    if input[0] & 4 != 0 { settings.maxHeadersKB = 1 }
    if input[0] & 8 != 0 { settings.initialStreamWindowBytes = 10 }
    if input[0] & 16 != 0 { settings.maxConcurrentStreams = 2 }
    let server = Server(settings, script: input[3])
    let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    server.receive(UnsafeBufferPointer(start: preface.utf8Start, count: preface.utf8CodeUnitCount))
    server.receive([0, 0, 0, 4, 0, 0, 0, 0, 0])
    let wire = input.dropFirst(4)
    var at = wire.startIndex
    var step = Int(input[1]) + 1
    var pieces = 0
    while at < wire.endIndex {
        let next = min(at + step, wire.endIndex)
        server.receive(wire[at..<next])
        at = next
        step = Int(input[2]) + 1
        pieces += 1
        if input[0] & 32 != 0 { server.blockOutput(pieces % 2 == 1) }
        if input[0] & 64 != 0, pieces == 3 { server.startDrain() }
    }
    server.end()
    return 0
}
