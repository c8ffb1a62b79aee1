/// What each byte may be in an HTTP/1 head (RFC 9110 §5.6.2, RFC 3986).
struct HTTP1Tables: @unchecked Sendable {
    /// The lower-case form of a token byte; 0 for a byte no token may have.
    static let token = HTTP1Tables { byte in
        switch byte {
        case 0x41...0x5A: byte | 0x20
        case 0x61...0x7A, 0x30...0x39: byte
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: byte
        default: 0
        }
    }

    /// Bytes of a host with an optional port and user information, as Envoy takes them: unreserved,
    /// sub-delims, `:`, `@`, `%` and brackets (RFC 3986 §3.2). Others are 0.
    static let authority = HTTP1Tables { byte in
        switch byte {
        case 0x41...0x5A, 0x61...0x7A, 0x30...0x39: byte
        case 0x21, 0x24...0x2E, 0x3A, 0x3B, 0x3D, 0x40, 0x5B, 0x5D, 0x5F, 0x7E: byte
        default: 0
        }
    }

    // Built once, never freed, only read: safe from every thread.
    private let values: UnsafePointer<UInt8>

    private init(_ value: (UInt8) -> UInt8) {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        for byte in 0..<256 { table[byte] = value(UInt8(byte)) }
        values = UnsafePointer(table)
    }

    var base: UnsafePointer<UInt8> { values }

    subscript(_ byte: UInt8) -> UInt8 { values[Int(byte)] }
}

/// Eight bytes at a time in a 64-bit word; no SIMD types.
enum WordScan {
    static let ones: UInt64 = 0x0101_0101_0101_0101
    static let highs: UInt64 = 0x8080_8080_8080_8080

    /// Marks bytes below 0x20 and 0x7F. The lowest mark is exact, higher ones may not be.
    @inline(__always)
    static func controls(_ word: UInt64) -> UInt64 {
        let below = (word &- 0x20 &* ones) & ~word
        let delete = word ^ (0x7F &* ones)
        return (below | ((delete &- ones) & ~delete)) & highs
    }

    /// Marks bytes that are no visible ASCII: up to 0x20, 0x7F and above. The lowest mark is exact.
    @inline(__always)
    static func notVisible(_ word: UInt64) -> UInt64 {
        let below = (word &- 0x21 &* ones) & ~word
        let delete = word ^ (0x7F &* ones)
        return (below | ((delete &- ones) & ~delete) | word) & highs
    }
}
