import Glibc
import MeshConfig
import MeshHTTP
import MeshNet

/// Makes one spelling out of the many that name the same path, before anything is matched on it.
///
/// What differs between the proxy's view of a path and the upstream's is a way round authorization.
/// Envoy 1.40 is the model for every byte, but for two cases in which it leaves a door open: dot
/// segments spelled with escapes *and* followed by path parameters (`/%2e%2e;/x`) are dot segments
/// too, and merging `//` gives `/`.
package struct PathNormalization: Sendable {
    package enum Outcome: Equatable, Sendable {
        /// Go on with what `:path` is now.
        case proceed
        /// 400, details `path_normalization_failed`.
        case reject
        /// 307 to what `:path` is now; 400 for gRPC.
        case redirect
    }

    private let normalizes: Bool
    private let mergesSlashes: Bool
    private let escapedSlashes: HTTPConnectionManagerConfig.EscapedSlashesAction

    package init(
        normalizes: Bool,
        mergesSlashes: Bool,
        escapedSlashes: HTTPConnectionManagerConfig.EscapedSlashesAction
    ) {
        self.normalizes = normalizes
        self.mergesSlashes = mergesSlashes
        self.escapedSlashes =
            escapedSlashes == .implementationSpecificDefault ? .keepUnchanged : escapedSlashes
    }

    package init(_ config: HTTPConnectionManagerConfig) {
        self.init(
            normalizes: config.normalizesPath,
            mergesSlashes: config.mergesSlashes,
            escapedSlashes: config.escapedSlashesAction
        )
    }

    /// Changes `:path` of a request in place.
    package func apply(_ head: HeaderMap) -> Outcome {
        guard let path = head[.path] else { return .proceed }
        if path.contains(UInt8(ascii: "#")) { return .reject }
        let size = Self.querylessSize(path)
        var outcome = Outcome.proceed
        if escapedSlashes != .keepUnchanged, Self.hasEscapedSlash(path, size) {
            if escapedSlashes == .rejectRequest { return .reject }
            if escapedSlashes == .unescapeAndRedirect { outcome = .redirect }
            Self.rewrite(head, Self.unescapeSlashes)
        }
        if normalizes, Self.needsNormalization(head) {
            guard Self.rewrite(head, Self.normalize) else { return .reject }
        }
        if mergesSlashes, Self.hasDoubleSlash(head) { Self.rewrite(head, Self.mergeSlashes) }
        return outcome
    }

    /// How many bytes come before the query.
    static func querylessSize(_ path: Bytes) -> Int {
        guard let start = path.baseAddress,
            let mark = memchr(start, Int32(UInt8(ascii: "?")), path.count)
        else { return path.count }
        return UnsafeRawPointer(mark) - start
    }

    /// Replaces the part of `:path` before its query by what `change` writes; false where that gave up.
    @discardableResult
    private static func rewrite(
        _ head: HeaderMap,
        _ change: (Bytes, UnsafeMutableRawBufferPointer) -> Int?
    ) -> Bool {
        guard let path = head[.path] else { return true }
        let size = querylessSize(path)
        // An escape triples a byte at worst; a leading slash may be added.
        return withUnsafeTemporaryAllocation(byteCount: path.count * 3 + 1, alignment: 1) {
            scratch in
            guard var used = change(Bytes(rebasing: path[..<size]), scratch) else { return false }
            for at in size..<path.count {
                scratch[used] = path[at]
                used &+= 1
            }
            head.set(.path, Bytes(rebasing: scratch[..<used]))
            return true
        }
    }

    // MARK: Escaped slashes

    /// The slash that stands escaped at `at`, if one does.
    private static func escapedSlash(_ path: Bytes, _ at: Int, _ size: Int) -> UInt8? {
        guard path[at] == UInt8(ascii: "%"), at + 2 < size else { return nil }
        switch (path[at + 1], path[at + 2] | 0x20) {
        case (UInt8(ascii: "2"), UInt8(ascii: "f")): return UInt8(ascii: "/")
        case (UInt8(ascii: "5"), UInt8(ascii: "c")): return UInt8(ascii: "\\")
        default: return nil
        }
    }

    private static func hasEscapedSlash(_ path: Bytes, _ size: Int) -> Bool {
        for at in 0..<size where escapedSlash(path, at, size) != nil { return true }
        return false
    }

    private static func unescapeSlashes(_ path: Bytes, _ out: UnsafeMutableRawBufferPointer) -> Int?
    {
        var at = 0
        var used = 0
        while at < path.count {
            if let slash = escapedSlash(path, at, path.count) {
                out[used] = slash
                at &+= 3
            } else {
                out[used] = path[at]
                at &+= 1
            }
            used &+= 1
        }
        return used
    }

    // MARK: Dot segments and escapes

    /// Whether a byte may change at all; most paths have none of these.
    private static func needsNormalization(_ head: HeaderMap) -> Bool {
        guard let path = head[.path] else { return false }
        var previous: UInt8 = 0
        for byte in path {
            switch byte {
            case UInt8(ascii: "?"): return false
            case UInt8(ascii: "%"), UInt8(ascii: "\\"): return true
            case UInt8(ascii: "."): if previous == UInt8(ascii: "/") { return true }
            default: if mustEscape(byte) { return true }
            }
            previous = byte
        }
        return false
    }

    /// Bytes that leave as `%XX` (the WHATWG URL standard's path set, and what Chromium adds).
    private static func mustEscape(_ byte: UInt8) -> Bool {
        switch byte {
        case 0...0x20, UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "^"),
            UInt8(ascii: "`"), UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"), 0x7F...0xFF:
            true
        default: false
        }
    }

    /// RFC 3986 §2.3: their escapes mean the same.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - 0x30
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - 0x57
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - 0x37
        default: nil
        }
    }

    /// The byte that stands escaped at `at`, if a whole escape does.
    private static func escaped(_ path: Bytes, _ at: Int) -> UInt8? {
        guard path[at] == UInt8(ascii: "%"), at + 2 < path.count,
            let high = hexDigit(path[at + 1]), let low = hexDigit(path[at + 2])
        else { return nil }
        return high << 4 | low
    }

    private static func isSlash(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "/") || byte == UInt8(ascii: "\\")
    }

    /// How many bytes the dot at `at` takes: 1 plain, 3 escaped, 0 where there is none.
    private static func dotSize(_ path: Bytes, _ at: Int) -> Int {
        if at < path.count, path[at] == UInt8(ascii: ".") { return 1 }
        return at < path.count && escaped(path, at) == UInt8(ascii: ".") ? 3 : 0
    }

    /// Where a dot segment that ends at `at` has its successor begin; nil where it does not end there.
    /// Its parameters are dropped up to the next slash.
    private static func segmentEnd(_ path: Bytes, _ at: Int) -> Int? {
        guard at < path.count else { return at }
        if isSlash(path[at]) { return at + 1 }
        guard path[at] == UInt8(ascii: ";") else { return nil }
        var end = at
        while end < path.count, path[end] != UInt8(ascii: "/") { end &+= 1 }
        return end < path.count ? end + 1 : end
    }

    /// RFC 3986 §6.2.2 as Chromium does it. Nil for a path that cannot be normalized.
    private static func normalize(_ path: Bytes, _ out: UnsafeMutableRawBufferPointer) -> Int? {
        var used = 0
        var at = 0
        func put(_ byte: UInt8) {
            out[used] = byte
            used &+= 1
        }
        while at < path.count {
            let byte = path[at]
            if used > 0, out[used - 1] == UInt8(ascii: "/") {
                let first = dotSize(path, at)
                if first > 0 {
                    if let next = segmentEnd(path, at + first) {
                        at = next
                        continue
                    }
                    let second = dotSize(path, at + first)
                    if second > 0, let next = segmentEnd(path, at + first + second) {
                        used = parent(out, used)
                        at = next
                        continue
                    }
                }
            }
            if byte == UInt8(ascii: "%") {
                guard let value = escaped(path, at) else {
                    put(byte)
                    at &+= 1
                    continue
                }
                if value == 0 { return nil }
                if isUnreserved(value) {
                    put(value)
                } else {
                    for offset in 0..<3 { put(path[at + offset]) }
                }
                at &+= 3
            } else {
                if isSlash(byte) {
                    put(UInt8(ascii: "/"))
                } else if byte >= 0x80 || byte == 0 {
                    return nil
                } else if mustEscape(byte) {
                    put(UInt8(ascii: "%"))
                    put(upperHex(byte >> 4))
                    put(upperHex(byte & 15))
                } else {
                    put(byte)
                }
                at &+= 1
            }
        }
        return used
    }

    private static func upperHex(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x37 + value
    }

    /// Where the parent segment's slash ends; the root is its own parent.
    private static func parent(_ out: UnsafeMutableRawBufferPointer, _ used: Int) -> Int {
        var at = used - 1
        while at > 0, out[at - 1] != UInt8(ascii: "/") { at &-= 1 }
        return max(at, 1)
    }

    // MARK: Slashes

    private static func hasDoubleSlash(_ head: HeaderMap) -> Bool {
        guard let path = head[.path] else { return false }
        var previous: UInt8 = 0
        for byte in path {
            if byte == UInt8(ascii: "?") { return false }
            if byte == UInt8(ascii: "/"), previous == byte { return true }
            previous = byte
        }
        return false
    }

    private static func mergeSlashes(_ path: Bytes, _ out: UnsafeMutableRawBufferPointer) -> Int? {
        var used = 0
        for byte in path {
            if byte == UInt8(ascii: "/"), used > 0, out[used - 1] == byte { continue }
            out[used] = byte
            used &+= 1
        }
        return used
    }
}
