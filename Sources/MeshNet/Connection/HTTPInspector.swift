/// Looks at the first bytes of a plaintext connection for HTTP, without consuming any.
///
/// A pure function of the bytes seen so far (envoy: filters.listener.http_inspector).
package struct HTTPInspector: Sendable {
    package enum Result: Equatable, Sendable {
        /// Too few bytes to tell.
        case needMore
        case http10
        case http11
        /// HTTP/2 with prior knowledge (RFC 9113 §3.4).
        case http2
        case notHTTP
    }

    /// A request line longer than this is not looked into.
    package static let requestLineBytesMax = 65_536

    private static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    package init() {}

    package func inspect(_ bytes: Bytes) -> Result {
        if bytes.isEmpty { return .needMore }
        switch Self.compare(bytes, Self.preface) {
        case .whole: return .http2
        // "PR…" may still become PROPFIND.
        case .begun where bytes.count < 3: return .needMore
        case .begun: return bytes.count > 3 ? .needMore : Self.requestLine(bytes)
        case .differs: return Self.requestLine(bytes)
        }
    }

    /// Whether a connection that begins with these bytes speaks HTTP/2 with prior knowledge; nil while
    /// they are too few to tell. No request line of HTTP/1 begins as the preface does.
    package static func speaksHTTP2(_ bytes: Bytes) -> Bool? {
        if bytes.isEmpty { return nil }
        switch compare(bytes, prefaceStart) {
        case .whole: return true
        case .begun: return nil
        case .differs: return false
        }
    }

    private static let prefaceStart: StaticString = "PRI * HTTP/2"

    private enum Comparison { case whole, begun, differs }

    private static func compare(_ bytes: Bytes, _ text: StaticString) -> Comparison {
        let count = min(bytes.count, text.utf8CodeUnitCount)
        let wanted = Bytes(start: text.utf8Start, count: count)
        guard Bytes(rebasing: bytes[..<count]).equals(wanted) else { return .differs }
        return count == text.utf8CodeUnitCount ? .whole : .begun
    }

    /// `method SP target SP HTTP/1.x` up to the line's end.
    private static func requestLine(_ bytes: Bytes) -> Result {
        var spaces = 0
        var version = 0
        for at in 0..<min(bytes.count, requestLineBytesMax) {
            switch bytes[at] {
            case 0x20:
                if at == 0 { return .notHTTP }
                spaces += 1
                if spaces == 2 { version = at + 1 }
                if spaces > 2 { return .notHTTP }
            case 0x0A, 0x0D:
                guard spaces == 2 else { return .notHTTP }
                return self.version(Bytes(rebasing: bytes[version..<at]))
            default:
                if spaces == 0, !isTokenByte(bytes[at]) || at >= methodBytesMax { return .notHTTP }
                if bytes[at] < 0x21 || bytes[at] == 0x7F { return .notHTTP }
            }
        }
        return bytes.count < requestLineBytesMax ? .needMore : .notHTTP
    }

    /// The longest registered method, UPDATEREDIRECTREF, has 17 letters; others are allowed some.
    private static let methodBytesMax = 32

    private static func version(_ bytes: Bytes) -> Result {
        if bytes.equals("HTTP/1.1") { return .http11 }
        return bytes.equals("HTTP/1.0") ? .http10 : .notHTTP
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        case 0x21, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C,
            0x7E:
            true
        default: false
        }
    }
}
