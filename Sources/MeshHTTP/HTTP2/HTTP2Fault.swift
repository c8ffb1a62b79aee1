/// What can be wrong with an HTTP/2 message or connection, beyond what libnghttp2 finds by itself.
enum HTTP2Fault: UInt8, Error, CaseIterable {
    /// A name or value has a byte it may not have, or a field that may not be there.
    case field
    /// Fields that are well-formed make no message: missing, repeated or misplaced (RFC 9113 §8).
    case message
    case tooManyFields, headTooLarge
    case connection
    /// Frames behind the end of a stream, or of a stream that was passed over (RFC 9113 §5.1).
    case streamClosed, streamPassed
    case emptyFrames, priorityFrames, windowUpdateFrames, resetFrames, prematureResets,
        continuations
    case outboundFrames, outboundControlFrames
    case keepalive

    /// One sentence for logs; never sent to a peer.
    var reason: StaticString {
        switch self {
        case .field: "a field is malformed or has no place in HTTP/2"
        case .message: "the message breaks RFC 9113 section 8"
        case .tooManyFields: "the header section has more fields than its limit"
        case .headTooLarge: "the header section is larger than its limit"
        case .connection: "the peer broke the framing of the connection"
        case .streamClosed: "a frame came behind the end of its stream"
        case .streamPassed: "a stream was opened out of order"
        case .emptyFrames: "too many frames without payload in a row"
        case .priorityFrames: "too many PRIORITY frames"
        case .windowUpdateFrames: "too many WINDOW_UPDATE frames"
        case .resetFrames: "more RST_STREAM frames than streams"
        case .prematureResets: "too many requests were reset before they could be answered"
        case .continuations: "too many CONTINUATION frames"
        case .outboundFrames: "too many frames wait for the peer to read"
        case .outboundControlFrames: "too many control frames wait for the peer to read"
        case .keepalive: "a keepalive PING was not answered in time"
        }
    }

    /// Envoy's `%RESPONSE_CODE_DETAILS%` word where it has one.
    var details: StaticString {
        switch self {
        case .field: "http2.invalid.header.field"
        case .message: "http2.violation.of.messaging.rule"
        case .tooManyFields: "http2.too_many_headers"
        case .headTooLarge: "http2.header_list_size_too_large"
        case .connection, .streamClosed, .streamPassed: "http2.protocol_error"
        case .emptyFrames: "http2.inbound_empty_frames_flood"
        case .priorityFrames: "http2.inbound_priority_frames_flood"
        case .windowUpdateFrames: "http2.inbound_window_update_frames_flood"
        case .resetFrames: "http2.inbound_reset_frames_flood"
        case .prematureResets: "too_many_premature_resets"
        case .continuations: "http2.inbound_continuation_frames_flood"
        case .outboundFrames: "http2.outbound_frames_flood"
        case .outboundControlFrames: "http2.outbound_control_frames_flood"
        case .keepalive: "http2.keepalive_timeout"
        }
    }

    var counter: HTTP2Counter {
        switch self {
        case .field, .message: .rxMessagingError
        case .tooManyFields: .headerOverflow
        case .headTooLarge: .headerListSizeTooLarge
        case .connection, .streamClosed, .streamPassed: .protocolError
        case .emptyFrames: .inboundEmptyFramesFlood
        case .priorityFrames: .inboundPriorityFramesFlood
        case .windowUpdateFrames: .inboundWindowUpdateFramesFlood
        case .resetFrames: .inboundResetFramesFlood
        case .prematureResets: .prematureResetsFlood
        case .continuations: .inboundContinuationFramesFlood
        case .outboundFrames: .outboundFlood
        case .outboundControlFrames: .outboundControlFlood
        case .keepalive: .keepaliveTimeout
        }
    }

    /// A message within its rules but not within our limits: the stream is reset, whatever the settings.
    var isLimit: Bool { self == .tooManyFields || self == .headTooLarge }

    /// What the peer is told when the connection ends over it (RFC 9113 §7).
    var errorCode: HTTP2ErrorCode {
        switch self {
        case .field, .message, .connection, .streamPassed: .protocolError
        case .streamClosed: .streamClosed
        case .tooManyFields, .headTooLarge: .internalError
        case .keepalive: .noError
        default: .enhanceYourCalm
        }
    }

    /// How a server logs the streams that it takes with it. The status is nobody's: no answer is sent.
    var codecError: CodecError {
        CodecError(
            status: 0,
            details: details,
            isProtocolError: !isLimit && self != .keepalive,
            body: "",
            reason: reason
        )
    }
}

/// RFC 9113 §7.
enum HTTP2ErrorCode: UInt32 {
    case noError = 0
    case protocolError, internalError, flowControlError, settingsTimeout, streamClosed
    case frameSizeError, refusedStream, cancel, compressionError, connectError, enhanceYourCalm
    case inadequateSecurity, http11Required
}

extension StreamResetReason {
    /// How we reset a stream for this reason.
    ///
    /// Envoy says NO_ERROR for most, which some clients take for a complete response.
    func errorCode(isServer: Bool) -> HTTP2ErrorCode {
        switch self {
        case .localRefused: .refusedStream
        case .protocolError: .protocolError
        case .connectError: .connectError
        default: isServer ? .internalError : .cancel
        }
    }

    /// Why the peer reset a stream.
    init(received code: UInt32) {
        switch HTTP2ErrorCode(rawValue: code) {
        case .refusedStream: self = .remoteRefused
        case .connectError: self = .connectError
        default: self = .remoteReset
        }
    }
}

extension CodecError {
    /// The client reset too many of its requests too early.
    package var isForPrematureResets: Bool { self == HTTP2Fault.prematureResets.codecError }
}
