import MeshHTTP
import MeshNet

// Feeds a connection's bytes to the client codec twice, whole and in pieces cut where the input's
// first bytes say, and wants the same events and the same verdict on the connection's further use.

private final class Client: ClientCodecDelegate, ClientStreamDelegate {
    private let sink = ByteSink()
    private lazy var codec = HTTP1ClientCodec(sink: sink, delegate: self, settings: settings)
    private let settings: HTTP1Settings
    private let head: HeaderMap
    private var input: [UInt8] = []
    var log: [UInt8] = []
    private var ends = 0
    private var isOpen = false

    init(_ settings: HTTP1Settings, _ head: HeaderMap) {
        self.settings = settings
        self.head = head
    }

    func open() {
        isOpen = true
        let isTunnel = head.contains(.upgrade) || head[.method]?.equals("CONNECT") == true
        codec.openStream(self).sendHead(head, endStream: !isTunnel)
    }

    func receive(_ bytes: some Collection<UInt8>) {
        input += bytes
        while !input.isEmpty {
            let offered = Array(input)
            let consumed = offered.withUnsafeBytes { codec.received($0) }
            precondition(consumed >= 0 && consumed <= offered.count)
            input.removeFirst(consumed)
            if consumed == 0 { break }
        }
    }

    func end() {
        codec.receivedEnd()
        codec.connectionClosed(.connectionTermination)
        precondition(!isOpen, "a stream never heard its end")
        precondition(ends == 1)
        precondition(codec.streamsAvailable == 0)
        precondition(sink.readPauses == 0)
    }

    private func note(_ text: StaticString, _ bytes: Bytes = Bytes(start: nil, count: 0)) {
        log += UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        log += bytes
    }
    private func note(_ head: HeaderMap) {
        head.forEach { name, value in
            note("|", name)
            note(":", value)
        }
    }
    private func ended() {
        precondition(isOpen)
        isOpen = false
        note("<end>")
    }

    func responseInformational(_ head: HeaderMap) {
        precondition(isOpen)
        note("<informational>")
        note(head)
    }
    func responseHead(_ head: HeaderMap, endStream: Bool) {
        precondition(isOpen)
        note("<head>")
        note(head)
        if endStream { ended() }
    }
    func responseData(_ bytes: Bytes, endStream: Bool) {
        precondition(isOpen)
        note("", bytes)
        if endStream { ended() }
    }
    func responseTrailers(_ trailers: HeaderMap) {
        note("<trailers>")
        note(trailers)
        ended()
    }
    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        note(reason.text)
        note(detail)
        ended()
    }
    func requestBlocked() {}
    func requestUnblocked() {}
    // Whether the connection may be used again is not compared: surplus bytes that come later are
    // found on the idle connection.
    func streamEnded(reusable: Bool) { ends += 1 }
    func closeAfterFlush() {}
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP1Response(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 3 else { return 0 }
    let input = UnsafeBufferPointer(start: start, count: count)
    var settings = HTTP1Settings()
    settings.enableTrailers = input[0] & 1 != 0
    settings.allowChunkedLength = input[0] & 2 != 0
    if input[0] & 4 != 0 { settings.maxHeadersKB = 1 }
    settings.leniency = HTTP1Leniency(rawValue: (input[0] >> 6) * 21)
    let request = HeaderMap()
    switch input[0] >> 3 & 3 {
    case 0: request.append(.method, "HEAD")
    case 1: request.append(.method, "CONNECT")
    case 2:
        request.append(.method, "GET")
        request.append(.upgrade, "websocket")
    default: request.append(.method, "GET")
    }
    request.append(.path, "/")
    request.append(.authority, "a")
    let wire = input.dropFirst(3)

    let whole = Client(settings, request)
    whole.open()
    whole.receive(wire)
    whole.end()
    let pieces = Client(settings, request)
    pieces.open()
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
    return 0
}
