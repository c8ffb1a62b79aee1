import MeshHTTP
import MeshNet

/// What all connections of an ``Upstream`` answer with, made once.
final class UpstreamAnswers {
    let head = HeaderMap()
    let grpcHead = HeaderMap()
    let grpcTrailers = HeaderMap()
    let pool = HeaderMapPool()
    let body: UnsafeMutableRawBufferPointer
    /// What a download consists of.
    let flood: UnsafeMutableRawBufferPointer
    private var spareStreams: [UpstreamStream] = []

    /// Enough for one `send` to be dear compared with its call, and for the CPU's cache.
    private static let floodBytes = 65_536

    init(bodyBytes: Int) {
        body = .allocate(byteCount: bodyBytes, alignment: 64)
        flood = .allocate(byteCount: Self.floodBytes, alignment: 64)
        for buffer in [body, flood] {
            for at in buffer.indices { buffer[at] = UInt8(ascii: "a") &+ UInt8(at % 26) }
        }
        head.append(.status, "200")
        head.append(.contentType, "application/octet-stream")
        head.append(.contentLength, String(bodyBytes))
        grpcHead.append(.status, "200")
        grpcHead.append(.contentType, "application/grpc")
        grpcTrailers.append(.grpcStatus, "0")
    }

    deinit {
        body.deallocate()
        flood.deallocate()
    }

    func stream(_ stream: any ServerStream) -> UpstreamStream {
        let served = spareStreams.popLast() ?? UpstreamStream(self)
        served.stream = stream
        return served
    }

    fileprivate func give(_ stream: UpstreamStream) { spareStreams.append(stream) }
}

/// One HTTP connection to an ``Upstream``.
final class UpstreamHTTPConnection: ConnectionDelegate, ServerCodecDelegate {
    private let answers: UpstreamAnswers
    private var connection: Connection?
    private var codec: (any ServerCodec)?

    init(_ answers: UpstreamAnswers) { self.answers = answers }

    func connectionEstablished(_ connection: Connection) { self.connection = connection }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        if let codec { return codec.received(bytes) }
        guard let isHTTP2 = HTTPInspector.speaksHTTP2(bytes) else { return 0 }
        let codec: any ServerCodec =
            isHTTP2
            ? HTTP2ServerCodec(
                sink: connection,
                delegate: self,
                settings: HTTP2Settings(),
                pool: answers.pool
            )
            : HTTP1ServerCodec(
                sink: connection,
                delegate: self,
                settings: HTTP1Settings(),
                pool: answers.pool
            )
        self.codec = codec
        return codec.received(bytes)
    }

    func connectionReadEnded(_ connection: Connection) {
        if let codec { codec.receivedEnd() } else { connection.closeAfterFlush() }
    }

    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        codec?.connectionClosed(.connectionTermination)
        codec = nil
        self.connection = nil
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        answers.stream(stream)
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }
    func closeNow() { connection?.close() }
    func abort() { connection?.abort() }
}

/// One request to an ``Upstream``: a plain one is answered when all of it has come, a gRPC call gets each
/// message back as it comes, and its trailers when the caller has ended.
final class UpstreamStream: ServerStreamDelegate {
    fileprivate var stream: (any ServerStream)?
    // Unchecked: they keep the spare ones, and the connection keeps them.
    private unowned(unsafe) let answers: UpstreamAnswers
    private var isGRPC = false
    private var wantsBody = true
    private var isPaused = false

    fileprivate init(_ answers: UpstreamAnswers) { self.answers = answers }

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        isGRPC = head[.contentType].map(Self.namesGRPC) ?? false
        wantsBody = !(head[.method]?.equals("HEAD") ?? false)
        if isGRPC { stream?.sendHead(answers.grpcHead, endStream: false) }
        if endStream { requestEnded() }
    }

    func requestData(_ bytes: Bytes, endStream: Bool) {
        // A message's prefix is part of its echo.
        if isGRPC, !bytes.isEmpty { stream?.sendData(bytes, endStream: false) }
        if endStream { requestEnded() }
    }

    func requestTrailers(_ trailers: HeaderMap) { requestEnded() }

    private func requestEnded() {
        guard let stream else { return }
        if isGRPC { return stream.sendTrailers(answers.grpcTrailers) }
        let hasBody = wantsBody && !answers.body.isEmpty
        stream.sendHead(answers.head, endStream: !hasBody)
        if hasBody { stream.sendData(Bytes(answers.body), endStream: true) }
    }

    func requestInvalid(_ error: CodecError) {
        let stream = stream
        over()
        stream?.reset(.protocolError)
    }

    func requestReset(_ reason: StreamResetReason) { over() }
    func responseSent() { over() }

    func responseBlocked() {
        guard isGRPC, !isPaused else { return }
        isPaused = true
        stream?.pauseReading()
    }

    func responseUnblocked() {
        guard isPaused else { return }
        isPaused = false
        stream?.resumeReading()
    }

    private func over() {
        guard stream != nil else { return }
        stream = nil
        isPaused = false
        answers.give(self)
    }

    /// `application/grpc`, also with a subtype or parameters (gRPC over HTTP/2, Requests).
    private static func namesGRPC(_ type: Bytes) -> Bool {
        let name: StaticString = "application/grpc"
        let count = name.utf8CodeUnitCount
        guard type.count >= count, Bytes(rebasing: type[..<count]).equals(name) else {
            return false
        }
        return type.count == count || type[count] == UInt8(ascii: "+")
            || type[count] == UInt8(ascii: ";")
    }
}
