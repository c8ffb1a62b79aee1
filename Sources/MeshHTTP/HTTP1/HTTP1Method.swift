import MeshNet

/// A request method as far as HTTP/1 framing cares (RFC 9110 §9).
enum HTTP1Method: UInt8 {
    case get, head, post, put, delete, connect, options, trace
    /// One whose requests and responses are framed like any other's.
    case other

    /// Longest method we take; the longest known one has eleven bytes.
    static let lengthMax = 32

    /// The most frequent methods, recognised by the first eight bytes of a request line.
    @inline(__always)
    static func quick(_ word: UInt64) -> (method: HTTP1Method, length: Int)? {
        // "GET " and "POST ", little-endian.
        if word & 0xFFFF_FFFF == 0x2054_4547 { return (.get, 3) }
        if word & 0xFF_FFFF_FFFF == 0x20_5453_4F50 { return (.post, 4) }
        return nil
    }

    /// Methods are those that Envoy knows, unless any token is allowed.
    init?(_ name: Bytes, allowsAny: Bool) {
        switch name.count {
        case 3 where name.equals("GET"): self = .get
        case 3 where name.equals("PUT"): self = .put
        case 4 where name.equals("HEAD"): self = .head
        case 4 where name.equals("POST"): self = .post
        case 5 where name.equals("TRACE"): self = .trace
        case 6 where name.equals("DELETE"): self = .delete
        case 7 where name.equals("CONNECT"): self = .connect
        case 7 where name.equals("OPTIONS"): self = .options
        default:
            let isKnown = allowsAny ? Self.isToken(name) : Self.others.contains { name.equals($0) }
            guard isKnown else { return nil }
            self = .other
        }
    }

    private static func isToken(_ name: Bytes) -> Bool {
        !name.isEmpty && name.allSatisfy { HTTP1Tables.token[$0] != 0 }
    }

    private static let others: [StaticString] = [
        "PATCH", "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL", "MOVE", "MSEARCH", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT",
        "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    ]
}

/// The four forms of a request target (RFC 9112 §3.2), by their first byte.
enum HTTP1Target: UInt8 {
    case origin, asterisk, other

    init(first: UInt8) {
        switch first {
        case 0x2F: self = .origin
        case 0x2A: self = .asterisk
        default: self = .other
        }
    }
}
