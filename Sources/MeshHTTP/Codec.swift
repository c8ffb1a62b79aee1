import MeshNet

// The protocol-neutral stream: what filters and the router see of HTTP. A codec turns one connection's
// bytes into streams and back; nothing above this file knows which wire it was.
//
//     downstream                                                       upstream
//     ServerCodec ── opens ──▶ ServerStream                 ClientStream ◀── opened by ── ClientCodec
//        bytes in ──▶ ServerStreamDelegate           ClientStreamDelegate ◀── bytes in
//
// Calls into a delegate are synchronous and borrow their bytes. A delegate may answer from inside the
// call (a local reply on `requestHead`), pause, or reset; codecs are written to survive that.

/// HTTP version of one message (RFC 9110 §2.5).
package enum HTTPVersion: UInt8, Sendable {
    case http10, http11, http2

    /// As `%PROTOCOL%` prints it.
    package var text: StaticString {
        switch self {
        case .http10: "HTTP/1.0"
        case .http11: "HTTP/1.1"
        case .http2: "HTTP/2"
        }
    }
}

/// Why a stream ended without its last byte (envoy: Http::StreamResetReason).
package enum StreamResetReason: UInt8, Sendable {
    /// We gave it up.
    case localReset
    /// We refused it before doing any work (RFC 9113 §8.7).
    case localRefused
    /// The peer gave it up.
    case remoteReset
    /// The peer refused it unprocessed: safe to try again.
    case remoteRefused
    /// The connection could not be made, here.
    case localConnectionFailure
    /// The connection could not be made, there.
    case remoteConnectionFailure
    /// The connection could not be made in time.
    case connectionTimeout
    /// The connection ended under the stream.
    case connectionTermination
    /// A limit left no room.
    case overflow
    /// The peer broke the protocol.
    case protocolError
    /// CONNECT failed.
    case connectError

    /// As Envoy words it in bodies of local replies, e.g. `remote connection failure`.
    package var text: StaticString {
        switch self {
        case .localReset: "local reset"
        case .localRefused: "local refused stream reset"
        case .remoteReset: "remote reset"
        case .remoteRefused: "remote refused stream reset"
        case .localConnectionFailure: "local connection failure"
        case .remoteConnectionFailure: "remote connection failure"
        case .connectionTimeout: "connection timeout"
        case .connectionTermination: "connection termination"
        case .overflow: "overflow"
        case .protocolError: "protocol error"
        case .connectError: "remote error with CONNECT request"
        }
    }
}

/// A request that must not be served: how to answer it and how to log it.
package struct CodecError: Error, Hashable, Sendable {
    /// Status of the local reply, e.g. 400.
    package let status: Int
    /// `%RESPONSE_CODE_DETAILS%`, e.g. `http1.codec_error`.
    package let details: StaticString
    /// Whether the response flag DPE (downstream protocol error) is set.
    package let isProtocolError: Bool
    /// Body of the local reply, e.g. `Bad Request`.
    package let body: StaticString
    /// One sentence for the operator: what was wrong. Never sent to the peer.
    package let reason: StaticString

    package init(
        status: Int,
        details: StaticString,
        isProtocolError: Bool = true,
        body: StaticString,
        reason: StaticString
    ) {
        self.status = status
        self.details = details
        self.isProtocolError = isProtocolError
        self.body = body
        self.reason = reason
    }

    package static func == (left: CodecError, right: CodecError) -> Bool {
        left.status == right.status && left.details.description == right.details.description
            && left.reason.description == right.reason.description
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(status)
        hasher.combine(details.description)
    }
}

// MARK: - Downstream

/// One request and its response, seen from the server side. Owned by its codec; valid until the
/// delegate was told of the reset, or both directions have ended.
package protocol ServerStream: AnyObject {
    /// Version of the request.
    var version: HTTPVersion { get }

    /// 100 Continue, 103 Early Hints or another informational head (RFC 9110 §15.2).
    func sendInformational(_ head: HeaderMap)

    /// The response head; `:status` is required. The codec adds the framing fields and removes those
    /// that belong to another hop. `content-length` is kept where the caller set it.
    func sendHead(_ head: HeaderMap, endStream: Bool)

    func sendData(_ bytes: Bytes, endStream: Bool)

    func sendTrailers(_ trailers: HeaderMap)

    /// Ends the stream without completing it. In HTTP/1 that closes the connection, after what was
    /// written before. The delegate is not called again.
    func reset(_ reason: StreamResetReason)

    /// Request-body flow control; counted.
    func pauseReading()
    func resumeReading()

    /// The request's head is no longer looked at: a tunnel that stays open for long need not keep it. Not
    /// from inside the call that brought it.
    func releaseHead()

    /// The connection closes after this response (`connection: close`); in HTTP/2, GOAWAY.
    func closeAfterResponse()

    /// Bytes of header section and body seen so far on the wire, in each direction, as access logs
    /// count them.
    var bytesReceived: UInt64 { get }
    var bytesSent: UInt64 { get }
}

extension ServerStream {
    package func releaseHead() {}
}

/// The application side of a ``ServerStream``.
package protocol ServerStreamDelegate: AnyObject {
    /// The request head, complete and valid. The map belongs to the codec; copy it or swap what is
    /// needed before returning.
    func requestHead(_ head: HeaderMap, endStream: Bool)
    func requestData(_ bytes: Bytes, endStream: Bool)
    /// Ends the request.
    func requestTrailers(_ trailers: HeaderMap)
    /// The request is invalid: answer with a local reply as the error says. The codec closes the
    /// connection after it. Called instead of, or after, `requestHead`.
    func requestInvalid(_ error: CodecError)
    /// The peer reset the stream or the connection ended. The stream is gone.
    func requestReset(_ reason: StreamResetReason)
    /// The peer broke the protocol and the stream is gone with nobody to answer: log what the error
    /// says. Only where streams share a connection; elsewhere it is ``requestInvalid(_:)``.
    func requestRefused(_ error: CodecError)
    /// The response was taken completely; of a granted CONNECT or upgrade, whose directions end each by
    /// itself, the request was delivered completely too. The request's head is valid until this returns.
    func responseSent()
    /// The connection's output is over its high (under its low) watermark: pause (resume) the source
    /// of the response.
    func responseBlocked()
    func responseUnblocked()
}

extension ServerStreamDelegate {
    package func requestRefused(_ error: CodecError) { requestReset(.protocolError) }
}

/// What a server codec asks of the connection's owner.
package protocol ServerCodecDelegate: AnyObject {
    /// A request begins: who will hear of it? Called with the first byte of the request, so that a
    /// header timeout can be armed.
    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate
    /// Close the connection once its output is on the wire.
    func closeAfterFlush()
    /// Close the connection at once: the peer does not read, so nothing more would reach it.
    func closeNow()
    /// End the connection with RST, so that the peer knows that something is missing.
    func abort()
    /// The peer broke the protocol of the connection as a whole, which ends; open streams hear of it
    /// afterwards, each by itself.
    func connectionRefused(_ error: CodecError)
}

extension ServerCodecDelegate {
    package func closeNow() { closeAfterFlush() }
    package func abort() { closeNow() }
    package func connectionRefused(_ error: CodecError) {}
}

/// Turns the bytes of one downstream connection into streams.
package protocol ServerCodec: AnyObject {
    /// Bytes from the peer. Returns how many were consumed; the rest is offered again together with
    /// what arrives next, or after a pause ended.
    func received(_ bytes: Bytes) -> Int

    /// The peer will send no more (FIN or close_notify).
    func receivedEnd()

    /// The connection is gone; open streams are reset with this reason.
    func connectionClosed(_ reason: StreamResetReason)

    /// The sink's output crossed its high or low watermark.
    func outputBlocked()
    func outputUnblocked()

    /// Take no further request: the response under way, or the next, says so to the peer. Where streams
    /// share the connection the peer is told at once, and has a round trip to hear of it; a second call
    /// waits no longer.
    func startDrain()

    /// No request is under way and none has begun to arrive, or may be on its way to us unwarned.
    var isIdle: Bool { get }
}

// MARK: - Upstream

/// One request and its response, seen from the client side.
package protocol ClientStream: AnyObject {
    /// The request head; `:method`, `:path` and (but for HTTP/1.0) `:authority` are required.
    func sendHead(_ head: HeaderMap, endStream: Bool)
    func sendData(_ bytes: Bytes, endStream: Bool)
    func sendTrailers(_ trailers: HeaderMap)

    /// Gives the stream up. In HTTP/1 the connection cannot be used again. The delegate is not called
    /// again.
    func reset(_ reason: StreamResetReason)

    /// Response-body flow control; counted.
    func pauseReading()
    func resumeReading()

    /// The response's head is no longer looked at; as ``ServerStream/releaseHead()``.
    func releaseHead()

    var bytesReceived: UInt64 { get }
    var bytesSent: UInt64 { get }
}

extension ClientStream {
    package func releaseHead() {}
}

/// The router's side of a ``ClientStream``.
package protocol ClientStreamDelegate: AnyObject {
    /// An informational head other than a 101 that switches protocols.
    func responseInformational(_ head: HeaderMap)
    /// The response head; the map belongs to the codec.
    func responseHead(_ head: HeaderMap, endStream: Bool)
    func responseData(_ bytes: Bytes, endStream: Bool)
    func responseTrailers(_ trailers: HeaderMap)
    /// The stream is gone. `detail` is one short phrase for logs, e.g. `http1.invalid_status`.
    func responseReset(_ reason: StreamResetReason, detail: StaticString)
    /// The connection's output is over its high (under its low) watermark: pause (resume) the source
    /// of the request.
    func requestBlocked()
    func requestUnblocked()
}

/// What a client codec asks of the connection's owner, the pool.
package protocol ClientCodecDelegate: AnyObject {
    /// A stream has ended and left the connection `reusable` or not: whether another may be opened now or
    /// later. Where streams share the connection, others may go on either way. Called after the stream's
    /// delegate has heard its end.
    func streamEnded(reusable: Bool)
    /// Why the connection will not carry another stream, where there is something to count. Called
    /// before the end it leads to.
    func connectionSpoiled(_ cause: ConnectionSpoilage)
    /// ``ClientCodec/streamsAvailable`` has changed although no stream was opened or ended.
    func streamsAvailableChanged()
    /// Close the connection once its output is on the wire.
    func closeAfterFlush()
    /// Close the connection at once: the peer does not read, so nothing more would reach it.
    func closeNow()
    /// End the connection with RST, so that the peer knows that something is missing.
    func abort()
}

extension ClientCodecDelegate {
    package func connectionSpoiled(_ cause: ConnectionSpoilage) {}
    package func streamsAvailableChanged() {}
    package func closeNow() { closeAfterFlush() }
    package func abort() { closeNow() }
}

/// What may befall an upstream connection besides its plain end.
package enum ConnectionSpoilage: Sendable {
    /// The response said so (`connection: close`).
    case closeAnnounced
    /// The peer takes no further stream (GOAWAY); those under way go on.
    case goAway
    /// The peer sent more than was asked for.
    case surplusBytes
    /// The peer broke the protocol under an open stream.
    case protocolError
    /// The stream under way was given up, by either side.
    case streamLost
}

/// Turns streams into the bytes of one upstream connection.
package protocol ClientCodec: AnyObject {
    /// How many more streams may be opened now: 0 or 1 in HTTP/1, as many as both sides allow in HTTP/2.
    var streamsAvailable: Int { get }

    func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream

    /// The owner ends the connection, on which nothing is under way: says what the wire has to say.
    func takeLeave()

    func received(_ bytes: Bytes) -> Int
    func receivedEnd()
    func connectionClosed(_ reason: StreamResetReason)
    func outputBlocked()
    func outputUnblocked()
}

extension ClientCodec {
    package func takeLeave() {}
}
