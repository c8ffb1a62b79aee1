import MeshHTTP
import MeshNet

// Feeds a connection's bytes to the client codec in pieces cut where the input's first bytes say, while
// calls are under way. Whatever comes, every call hears its end once and the owner hears of each, what
// is written is whole frames, and nothing is left behind.

private final class Call: ClientStreamDelegate {
    private let script: UInt8
    var stream: (any ClientStream)?
    var isOver = false
    private var isPaused = false
    private var hasHead = false

    init(_ script: UInt8) { self.script = script }

    private func act(_ event: UInt8) {
        guard script & event != 0, !isOver else { return }
        if script & 0x40 != 0 {
            isOver = true
            stream?.reset(.localReset)
        } else {
            isPaused.toggle()
            if isPaused { stream?.pauseReading() } else { stream?.resumeReading() }
        }
    }

    func resume() {
        guard !isOver, isPaused else { return }
        isPaused = false
        stream?.resumeReading()
    }

    func responseInformational(_ head: HeaderMap) {
        precondition(!isOver && !hasHead)
        act(1)
    }
    func responseHead(_ head: HeaderMap, endStream: Bool) {
        precondition(!isOver && !hasHead && head.contains(.status))
        hasHead = true
        if endStream { end() } else { act(2) }
    }
    func responseData(_ bytes: Bytes, endStream: Bool) {
        precondition(!isOver && hasHead && bytes.reduce(0) { $0 &+ Int($1) } >= 0)
        if endStream { end() } else { act(4) }
    }
    func responseTrailers(_ trailers: HeaderMap) {
        precondition(hasHead && trailers.count > 0)
        end()
    }
    func responseReset(_ reason: StreamResetReason, detail: StaticString) { end() }
    func requestBlocked() { precondition(!isOver) }
    func requestUnblocked() { precondition(!isOver) }
    private func end() {
        precondition(!isOver, "a call hears its end twice")
        isOver = true
    }
}

private final class Client: ClientCodecDelegate {
    private let sink = ByteSink()
    private let script: UInt8
    private var calls: [Call] = []
    private var ended = 0
    private var isPrefaceSeen = false
    private lazy var codec = HTTP2ClientCodec(sink: sink, delegate: self, settings: settings)
    private let settings: HTTP2Settings

    init(_ settings: HTTP2Settings, script: UInt8) {
        self.settings = settings
        self.script = script
    }

    func call(_ method: StaticString, body: Int, upgrade: Bool = false) {
        guard codec.streamsAvailable > 0 else { return }
        let call = Call(script)
        calls.append(call)
        call.stream = codec.openStream(call)
        let head = HeaderMap()
        head.append(.method, method)
        if !method.description.hasPrefix("CONNECT") { head.append(.path, "/") }
        head.append(.authority, "a:1")
        if upgrade { head.append(.upgrade, "websocket") }
        call.stream?.sendHead(head, endStream: body == 0)
        guard body > 0, !call.isOver else { return }
        Array(repeating: UInt8(0x62), count: body).withUnsafeBytes {
            call.stream?.sendData($0, endStream: script & 8 != 0)
        }
    }

    func receive(_ bytes: some Collection<UInt8>) {
        let offered = Array(bytes)
        let consumed = offered.withUnsafeBytes { codec.received($0) }
        precondition(consumed == offered.count, "HTTP/2 leaves nothing unconsumed")
        codec.takeTurn()
        drain()
    }

    func blockOutput(_ isBlocked: Bool) {
        if isBlocked { codec.outputBlocked() } else { codec.outputUnblocked() }
    }

    func end() {
        for call in calls { call.resume() }
        codec.takeTurn()
        codec.receivedEnd()
        precondition(calls.allSatisfy { $0.isOver }, "a call never heard its end")
        precondition(ended == calls.count, "the owner was not told of each end")
        codec.connectionClosed(.connectionTermination)
        precondition(codec.streamsAvailable == 0 && sink.readPauses == 0)
        drain()
    }

    private func drain() {
        let output = Array(sink.output.bytes)
        sink.output.clear()
        var at = 0
        if !isPrefaceSeen, output.count >= 24 {
            isPrefaceSeen = true
            at = 24
        }
        while at < output.count {
            precondition(at + 9 <= output.count)
            at += 9 + Int(output[at]) << 16 + Int(output[at + 1]) << 8 + Int(output[at + 2])
        }
        precondition(at == output.count, "a frame is not whole")
    }

    func streamEnded(reusable: Bool) { ended += 1 }
    func closeAfterFlush() {}
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP2Response(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 4 else { return 0 }
    let input = UnsafeBufferPointer(start: start, count: count)
    var settings = HTTP2Settings()
    settings.endsOnlyStreamOnInvalidMessage = input[0] & 2 != 0
    if input[0] & 4 != 0 { settings.maxHeadersKB = 1 }
    if input[0] & 8 != 0 { settings.initialStreamWindowBytes = 10 }
    let client = Client(settings, script: input[3])
    client.call("GET", body: 0)
    client.call("HEAD", body: 0)
    client.call("POST", body: 100_000)
    client.call("CONNECT", body: 10)
    client.call("GET", body: 5, upgrade: true)
    client.receive([0, 0, 0, 4, 0, 0, 0, 0, 0])
    let wire = input.dropFirst(4)
    var at = wire.startIndex
    var step = Int(input[1]) + 1
    var pieces = 0
    while at < wire.endIndex {
        let next = min(at + step, wire.endIndex)
        client.receive(wire[at..<next])
        at = next
        step = Int(input[2]) + 1
        pieces += 1
        if input[0] & 32 != 0 { client.blockOutput(pieces % 2 == 1) }
        if input[0] & 64 != 0, pieces % 4 == 0 { client.call("GET", body: 0) }
    }
    client.end()
    return 0
}
