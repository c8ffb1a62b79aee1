import MeshHTTP
import MeshNet

/// The server side of the second codec: many streams at once, in any order.
package final class FramedServerCodec: ServerCodec {
    private let sink: ByteSink
    private unowned let owner: any ServerCodecDelegate
    private var streams: [FramedServerStream] = []
    private var isDraining = false
    private var isDead = false

    package init(sink: ByteSink, delegate: any ServerCodecDelegate) {
        self.sink = sink
        owner = delegate
    }

    package var isIdle: Bool { streams.isEmpty }

    package func received(_ bytes: Bytes) -> Int {
        var at = 0
        while !isDead, sink.readPauses == 0 {
            switch Frame.parse(Bytes(rebasing: bytes[at...])) {
            case .needsMore: return at
            case .broken:
                fail()
                return bytes.count
            case .frame(let frame, let count):
                at += count
                dispatch(frame)
            }
        }
        return isDead ? bytes.count : at
    }

    private func dispatch(_ frame: Frame) {
        let known = streams.first { $0.number == frame.stream }
        switch frame.kind {
        case .head:
            guard known == nil, !isDraining else { return }
            let stream = FramedServerStream(number: frame.stream, codec: self)
            streams.append(stream)
            let application = owner.openStream(stream)
            stream.open(application)
            frame.fields(into: stream.map)
            stream.hasRequestEnded = frame.endStream
            application.requestHead(stream.map, endStream: frame.endStream)
        case .data:
            guard let known, !known.hasRequestEnded else { return }
            known.hasRequestEnded = frame.endStream
            known.application?.requestData(frame.payload, endStream: frame.endStream)
        case .trailers:
            guard let known, !known.hasRequestEnded else { return }
            known.hasRequestEnded = true
            frame.fields(into: known.map)
            known.application?.requestTrailers(known.map)
        case .reset:
            guard let known else { return }
            let application = known.application
            forget(known)
            application?.requestReset(.remoteReset)
        case .informational:
            fail()
        }
        known?.finishIfDone()
    }

    package func receivedEnd() {
        resetAll(.connectionTermination)
        owner.closeAfterFlush()
    }

    package func connectionClosed(_ reason: StreamResetReason) { resetAll(reason) }

    package func outputBlocked() { for stream in streams { stream.application?.responseBlocked() } }

    package func outputUnblocked() {
        for stream in streams { stream.application?.responseUnblocked() }
    }

    package func startDrain() {
        isDraining = true
        closeIfDrained()
    }

    private func fail() {
        resetAll(.protocolError)
        owner.closeAfterFlush()
    }

    private func resetAll(_ reason: StreamResetReason) {
        isDead = true
        let open = streams
        for stream in open {
            let application = stream.application
            forget(stream)
            application?.requestReset(reason)
        }
    }

    fileprivate func write(_ append: (inout ByteBuffer) -> Void) {
        guard !isDead else { return }
        append(&sink.output)
        sink.outputGrew()
    }

    fileprivate func forget(_ stream: FramedServerStream) {
        stream.releasePauses()
        stream.close()
        streams.removeAll { $0 === stream }
        closeIfDrained()
    }

    fileprivate func drainAfterResponse() { isDraining = true }

    private func closeIfDrained() {
        if isDraining, streams.isEmpty, !isDead {
            isDead = true
            owner.closeAfterFlush()
        }
    }

    fileprivate func pause() { sink.pauseReading() }
    fileprivate func resume() { sink.resumeReading() }
}

/// One stream of a ``FramedServerCodec``.
final class FramedServerStream: ServerStream {
    let number: UInt32
    let map = HeaderMap()
    private unowned let codec: FramedServerCodec
    private(set) var application: (any ServerStreamDelegate)?
    var hasRequestEnded = false
    private var hasResponseEnded = false
    private var pauses = 0
    private(set) var bytesReceived: UInt64 = 0
    private(set) var bytesSent: UInt64 = 0

    /// What this wire counts as is nobody's business; the closest name is given.
    let version = HTTPVersion.http2

    init(number: UInt32, codec: FramedServerCodec) {
        self.number = number
        self.codec = codec
    }

    func open(_ application: any ServerStreamDelegate) { self.application = application }
    func close() { application = nil }

    func sendInformational(_ head: HeaderMap) { send(.informational, head, endStream: false) }
    func sendHead(_ head: HeaderMap, endStream: Bool) { send(.head, head, endStream: endStream) }
    func sendTrailers(_ trailers: HeaderMap) { send(.trailers, trailers, endStream: true) }

    func sendData(_ bytes: Bytes, endStream: Bool) {
        guard !hasResponseEnded else { return }
        codec.write { Frame.append(.data, stream: number, endStream: endStream, bytes, to: &$0) }
        bytesSent += UInt64(bytes.count)
        if endStream { responseEnded() }
    }

    private func send(_ kind: Frame.Kind, _ fields: HeaderMap, endStream: Bool) {
        guard !hasResponseEnded else { return }
        codec.write { Frame.append(kind, stream: number, endStream: endStream, fields, to: &$0) }
        if endStream { responseEnded() }
    }

    private func responseEnded() {
        hasResponseEnded = true
        let application = application
        // A response that ends before its request makes the rest of the request unwanted.
        let wasEarly = !hasRequestEnded
        codec.forget(self)
        application?.responseSent()
        if wasEarly { sendReset() }
    }

    func finishIfDone() {
        if hasRequestEnded, hasResponseEnded { codec.forget(self) }
    }

    private func sendReset() {
        let empty = Bytes(start: nil, count: 0)
        codec.write { Frame.append(.reset, stream: number, endStream: true, empty, to: &$0) }
    }

    func reset(_ reason: StreamResetReason) {
        guard application != nil else { return }
        sendReset()
        codec.forget(self)
    }

    func pauseReading() {
        pauses += 1
        codec.pause()
    }

    func resumeReading() {
        guard pauses > 0 else { return }
        pauses -= 1
        codec.resume()
    }

    func releasePauses() { while pauses > 0 { resumeReading() } }

    func closeAfterResponse() { codec.drainAfterResponse() }
}
