import MeshHTTP
import MeshNet

/// The client side of the second codec.
package final class FramedClientCodec: ClientCodec {
    private let sink: ByteSink
    private unowned let owner: any ClientCodecDelegate
    private var streams: [FramedClientStream] = []
    private var lastNumber: UInt32 = 0
    private var isDead = false

    /// As many as HTTP/2 servers usually allow.
    package static let streamsMax = 100

    package init(sink: ByteSink, delegate: any ClientCodecDelegate) {
        self.sink = sink
        owner = delegate
    }

    package var streamsAvailable: Int { isDead ? 0 : Self.streamsMax - streams.count }

    package func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream {
        precondition(streamsAvailable > 0, "no stream is available")
        lastNumber += 1
        let stream = FramedClientStream(number: lastNumber, codec: self, router: delegate)
        streams.append(stream)
        return stream
    }

    package func received(_ bytes: Bytes) -> Int {
        var at = 0
        while !isDead, sink.readPauses == 0 {
            switch Frame.parse(Bytes(rebasing: bytes[at...])) {
            case .needsMore: return at
            case .broken:
                end(.protocolError, "framed.broken")
                owner.closeAfterFlush()
                return bytes.count
            case .frame(let frame, let count):
                at += count
                dispatch(frame)
            }
        }
        return isDead ? bytes.count : at
    }

    private func dispatch(_ frame: Frame) {
        // Frames of a stream that was reset are still under way; they are nobody's.
        guard let stream = streams.first(where: { $0.number == frame.stream }) else { return }
        let router = stream.router
        switch frame.kind {
        case .informational:
            frame.fields(into: stream.map)
            router?.responseInformational(stream.map)
        case .head:
            frame.fields(into: stream.map)
            if frame.endStream { forget(stream) }
            router?.responseHead(stream.map, endStream: frame.endStream)
            if frame.endStream { owner.streamEnded(reusable: true) }
        case .data:
            if frame.endStream { forget(stream) }
            router?.responseData(frame.payload, endStream: frame.endStream)
            if frame.endStream { owner.streamEnded(reusable: true) }
        case .trailers:
            frame.fields(into: stream.map)
            forget(stream)
            router?.responseTrailers(stream.map)
            owner.streamEnded(reusable: true)
        case .reset:
            forget(stream)
            router?.responseReset(.remoteReset, detail: "framed.reset")
            owner.streamEnded(reusable: true)
        }
    }

    package func receivedEnd() {
        end(.connectionTermination, "framed.connection_closed")
        owner.closeAfterFlush()
    }

    package func connectionClosed(_ reason: StreamResetReason) {
        end(reason, "framed.connection_closed")
    }

    package func outputBlocked() { for stream in streams { stream.router?.requestBlocked() } }
    package func outputUnblocked() { for stream in streams { stream.router?.requestUnblocked() } }

    private func end(_ reason: StreamResetReason, _ detail: StaticString) {
        guard !isDead else { return }
        isDead = true
        let open = streams
        for stream in open {
            let router = stream.router
            forget(stream)
            router?.responseReset(reason, detail: detail)
            owner.streamEnded(reusable: false)
        }
    }

    fileprivate func write(_ append: (inout ByteBuffer) -> Void) {
        guard !isDead else { return }
        append(&sink.output)
        sink.outputGrew()
    }

    fileprivate func forget(_ stream: FramedClientStream) {
        stream.releasePauses()
        stream.close()
        streams.removeAll { $0 === stream }
    }

    fileprivate func resetByUs(_ stream: FramedClientStream, wasOpened: Bool) {
        if wasOpened {
            let empty = Bytes(start: nil, count: 0)
            write { Frame.append(.reset, stream: stream.number, endStream: true, empty, to: &$0) }
        }
        forget(stream)
        owner.streamEnded(reusable: !isDead)
    }

    fileprivate func pause() { sink.pauseReading() }
    fileprivate func resume() { sink.resumeReading() }
}

/// One stream of a ``FramedClientCodec``.
final class FramedClientStream: ClientStream {
    let number: UInt32
    let map = HeaderMap()
    private unowned let codec: FramedClientCodec
    private(set) var router: (any ClientStreamDelegate)?
    private var hasSentHead = false
    private var pauses = 0
    private(set) var bytesReceived: UInt64 = 0
    private(set) var bytesSent: UInt64 = 0

    init(number: UInt32, codec: FramedClientCodec, router: any ClientStreamDelegate) {
        self.number = number
        self.codec = codec
        self.router = router
    }

    func close() { router = nil }

    func sendHead(_ head: HeaderMap, endStream: Bool) {
        hasSentHead = true
        codec.write { Frame.append(.head, stream: number, endStream: endStream, head, to: &$0) }
    }

    func sendData(_ bytes: Bytes, endStream: Bool) {
        bytesSent += UInt64(bytes.count)
        codec.write { Frame.append(.data, stream: number, endStream: endStream, bytes, to: &$0) }
    }

    func sendTrailers(_ trailers: HeaderMap) {
        codec.write { Frame.append(.trailers, stream: number, endStream: true, trailers, to: &$0) }
    }

    func reset(_ reason: StreamResetReason) {
        guard router != nil else { return }
        codec.resetByUs(self, wasOpened: hasSentHead)
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
}
