/// Everything that can be wrong with an HTTP/1 message on the wire.
enum HTTP1Fault: UInt8, Error, CaseIterable {
    case startLine, method, target, url, scheme, version, lowVersion, status
    case fieldName, fieldValue, bareLineFeed, bareCarriageReturn, foldedLine
    case headTooLarge, tooManyFields, trailersTooLarge, tooManyTrailers
    case lengthAndTransferCoding, contentLength, repeatedContentLength
    case transferCoding, transferCodingInHTTP10, transferCodingNotAllowed, contentLengthNotAllowed
    case repeatedHost, authority, connectBody, connection
    case chunk, chunkExtension, unrequestedSwitch

    /// One sentence for logs; never sent to a peer.
    var reason: StaticString {
        switch self {
        case .startLine: "the start line is malformed"
        case .method: "the method is not a known one"
        case .target: "the request target is malformed"
        case .url: "the request target has not the form its method wants"
        case .scheme: "the scheme of the request target is neither http nor https"
        case .version: "the protocol version is malformed or not supported"
        case .lowVersion: "the protocol version is not accepted; see accept_http_10"
        case .status: "the status code is malformed"
        case .fieldName: "a field name is not a token directly followed by a colon"
        case .fieldValue: "there is a control character"
        case .bareLineFeed: "a line ends with LF without CR"
        case .bareCarriageReturn: "a CR is not followed by LF"
        case .foldedLine: "a field continues on a second line (obs-fold)"
        case .headTooLarge: "the header section is larger than its limit"
        case .tooManyFields: "the header section has more fields than its limit"
        case .trailersTooLarge: "the trailer section is larger than its limit"
        case .tooManyTrailers: "the trailer section has more fields than its limit"
        case .lengthAndTransferCoding: "both Content-Length and Transfer-Encoding are present"
        case .contentLength: "the Content-Length is not a plain decimal number"
        case .repeatedContentLength: "there is more than one Content-Length"
        case .transferCoding: "the Transfer-Encoding is not exactly chunked"
        case .transferCodingInHTTP10: "an HTTP/1.0 message has a Transfer-Encoding"
        case .transferCodingNotAllowed: "this message may not have a Transfer-Encoding"
        case .contentLengthNotAllowed: "this message may not have a Content-Length"
        case .repeatedHost: "there is more than one Host"
        case .authority: "the Host or target authority has an invalid character"
        case .connectBody: "a CONNECT request has a body"
        case .connection: "the Connection field names a field that must not be removed"
        case .chunk: "a chunk is malformed"
        case .chunkExtension: "a chunk extension is malformed or too long"
        case .unrequestedSwitch: "101 Switching Protocols without such a request"
        }
    }

    /// Envoy's `%RESPONSE_CODE_DETAILS%` word.
    var details: StaticString {
        switch self {
        case .fieldValue: "http1.invalid_characters"
        case .url: "http1.invalid_url"
        case .scheme: "http1.invalid_scheme"
        case .lowVersion: "low_version"
        case .headTooLarge: "http1.headers_too_large"
        case .trailersTooLarge: "http1.trailers_too_large"
        case .tooManyFields: "http1.too_many_headers"
        case .tooManyTrailers: "http1.too_many_trailers"
        case .lengthAndTransferCoding: "http1.content_length_and_chunked_not_allowed"
        case .transferCoding: "http1.invalid_transfer_encoding"
        case .transferCodingNotAllowed: "http1.transfer_encoding_not_allowed"
        case .contentLengthNotAllowed: "http1.content_length_not_allowed"
        case .authority: "http.invalid_authority"
        case .connectBody: "http1.body_disallowed"
        case .connection: "http1.connection_header_rejected"
        case .unrequestedSwitch: "http1.invalid_upgrade"
        case .status: "http1.invalid_status"
        default: "http1.codec_error"
        }
    }

    /// How a server answers.
    var codecError: CodecError {
        switch self {
        case .headTooLarge, .tooManyFields, .trailersTooLarge, .tooManyTrailers:
            CodecError(
                status: 431,
                details: details,
                body: "Request Header Fields Too Large",
                reason: reason
            )
        case .transferCoding:
            CodecError(status: 501, details: details, body: "Not Implemented", reason: reason)
        case .lowVersion:
            CodecError(status: 426, details: details, body: "Upgrade Required", reason: reason)
        default:
            CodecError(status: 400, details: details, body: "Bad Request", reason: reason)
        }
    }
}
