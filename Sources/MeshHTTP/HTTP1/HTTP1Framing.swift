import MeshNet

/// How the end of a message body is found (RFC 9112 §6.3).
enum HTTP1Framing: Equatable {
    case none
    case length(UInt64)
    case chunked
    /// Ends with the connection: responses only.
    case untilClose
    /// No longer HTTP: bytes both ways until somebody closes.
    case tunnel

    /// A Content-Length value: decimal digits and nothing else. Nil where it is not, or too large.
    static func length(_ value: Bytes) -> UInt64? {
        // 19 digits cannot overflow; no body has 10^18 bytes.
        guard !value.isEmpty, value.count <= 18 else { return nil }
        var result: UInt64 = 0
        for byte in value {
            let digit = byte &- 0x30
            guard digit < 10 else { return nil }
            result = result &* 10 &+ UInt64(digit)
        }
        return result
    }

    /// Content-Length and Transfer-Encoding as they came; nil where there is neither.
    ///
    /// The transfer coding is taken off the map, and with it a length that `allow_chunked_length`
    /// let pass.
    static func declared(
        _ parser: HTTP1Parser,
        _ head: HeaderMap,
        allowsChunkedLength: Bool
    ) throws(HTTP1Fault) -> HTTP1Framing? {
        if parser.has(.transferEncoding) {
            guard parser.version != .http10 else { throw .transferCodingInHTTP10 }
            guard parser.repeated & HTTP1Parser.bit(.transferEncoding) == 0,
                let coding = head[.transferEncoding], coding.equalsIgnoringCase("chunked")
            else { throw .transferCoding }
            if parser.has(.contentLength) {
                guard allowsChunkedLength else { throw .lengthAndTransferCoding }
                head.remove(.contentLength)
            }
            head.remove(.transferEncoding)
            return .chunked
        }
        guard parser.has(.contentLength), let value = head[.contentLength] else { return nil }
        guard parser.repeated & HTTP1Parser.bit(.contentLength) == 0 else {
            throw .repeatedContentLength
        }
        guard let length = length(value) else { throw .contentLength }
        return .length(length)
    }
}

/// Decodes the chunked transfer coding byte by byte (RFC 9112 §7.1), strictly: CRLF only, no white
/// space around sizes, well-formed and bounded extensions.
struct HTTP1ChunkedDecoder {
    enum Step: Equatable {
        /// Body bytes from the position before the call, so many; then call again.
        case data(Int)
        case needsMore
        /// The last chunk was read; the trailer section follows.
        case last
        case failed(HTTP1Fault)
    }

    private enum State {
        case sizeStart, size, sizeSpace, sizeLineFeed
        case extensionNameStart, extensionName, extensionValueStart, extensionValue
        case quoted, quotedEscape, quotedEnd
        case data, dataReturn, dataLineFeed
    }

    /// Bytes of extensions per chunk; nobody uses them but attackers.
    private static let extensionBytesMax = 1024

    private let allowsSpace: Bool
    private var state = State.sizeStart
    private var remaining: UInt64 = 0
    private var extensionBytes = 0

    init(_ leniency: HTTP1Leniency = []) { allowsSpace = leniency.contains(.chunkSizeSpace) }

    /// Advances `at` over what was decoded. Data is returned as soon as there is some.
    mutating func next(_ bytes: Bytes, _ at: inout Int) -> Step {
        while at < bytes.count {
            if state == .data {
                let count = Int(min(remaining, UInt64(bytes.count - at)))
                remaining -= UInt64(count)
                if remaining == 0 { state = .dataReturn }
                at += count
                return .data(count)
            }
            let byte = bytes[at]
            at += 1
            switch state {
            case .sizeStart, .size:
                if let digit = Self.hexadecimal(byte) {
                    // 15 digits of sixteen: no chunk is larger than 2^60.
                    guard remaining >> 56 == 0 else { return .failed(.chunk) }
                    remaining = remaining << 4 | UInt64(digit)
                    state = .size
                } else if state == .size, allowsSpace, byte == 0x20 || byte == 0x09 {
                    state = .sizeSpace
                } else if state == .size, byte == 0x0D {
                    state = .sizeLineFeed
                } else if state == .size, byte == 0x3B {
                    extensionBytes = 0
                    state = .extensionNameStart
                } else {
                    return .failed(.chunk)
                }
            case .sizeSpace:
                switch byte {
                case 0x20, 0x09: break
                case 0x0D: state = .sizeLineFeed
                case 0x3B:
                    extensionBytes = 0
                    state = .extensionNameStart
                default: return .failed(.chunk)
                }
            case .sizeLineFeed:
                guard byte == 0x0A else { return .failed(.chunk) }
                if remaining == 0 {
                    state = .sizeStart
                    return .last
                }
                state = .data
            case .dataReturn:
                guard byte == 0x0D else { return .failed(.chunk) }
                state = .dataLineFeed
            case .dataLineFeed:
                guard byte == 0x0A else { return .failed(.chunk) }
                state = .sizeStart
            default:
                extensionBytes += 1
                guard extensionBytes <= Self.extensionBytesMax, advanceExtension(byte) else {
                    return .failed(.chunkExtension)
                }
            }
        }
        return .needsMore
    }

    /// Whether what follows is the plain end of the body, `CRLF 0 CRLF CRLF`, directly after data.
    func endsPlainly(_ bytes: Bytes, at: Int) -> Bool {
        guard state == .dataReturn, bytes.count - at >= 7, let base = bytes.baseAddress else {
            return false
        }
        // "\r\n0\r" and "\r\n\r\n" overlap by one byte.
        return base.loadUnaligned(fromByteOffset: at, as: UInt32.self) == 0x0D30_0A0D
            && base.loadUnaligned(fromByteOffset: at + 3, as: UInt32.self) == 0x0A0D_0A0D
    }

    /// `";" name [ "=" ( token / quoted-string ) ]`, repeated (RFC 9112 §7.1.1), without the bad white
    /// space that the grammar tolerates.
    private mutating func advanceExtension(_ byte: UInt8) -> Bool {
        let isToken = HTTP1Tables.token[byte] != 0
        switch (state, byte) {
        case (.extensionNameStart, _) where isToken, (.extensionName, _) where isToken:
            state = .extensionName
        case (.extensionName, 0x3D): state = .extensionValueStart
        case (.extensionValueStart, 0x22): state = .quoted
        case (.extensionValueStart, _) where isToken, (.extensionValue, _) where isToken:
            state = .extensionValue
        case (.quoted, 0x22): state = .quotedEnd
        case (.quoted, 0x5C): state = .quotedEscape
        case (.quoted, _) where byte >= 0x20 && byte != 0x7F || byte == 0x09: break
        case (.quotedEscape, _) where byte >= 0x20 && byte != 0x7F || byte == 0x09: state = .quoted
        case (.extensionName, 0x0D), (.extensionValue, 0x0D), (.quotedEnd, 0x0D):
            state = .sizeLineFeed
        case (.extensionName, 0x3B), (.extensionValue, 0x3B), (.quotedEnd, 0x3B):
            state = .extensionNameStart
        default: return false
        }
        return true
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}
