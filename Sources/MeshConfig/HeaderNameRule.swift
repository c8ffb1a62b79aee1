/// Which header names a configuration may use, and which it may change.
package enum HeaderNameRule {
    /// Why the name is no header name, or nil. Pseudo-headers are names too (RFC 9110 §5.1,
    /// RFC 9113 §8.3).
    package static func problem(_ name: String) -> String? {
        if name.isEmpty { return "a header name must not be empty" }
        let rest = name.utf8.first == UInt8(ascii: ":") ? name.utf8.dropFirst() : name.utf8[...]
        if rest.isEmpty || !rest.allSatisfy(isTokenByte) {
            return "\"\(name)\" is not a valid header name"
        }
        return nil
    }

    /// As ``problem(_:)``, and pseudo-headers and Host are out of bounds: routing decides on them, so
    /// they change by rewrites only.
    package static func problem(mutating name: String) -> String? {
        if let problem = problem(name) { return problem }
        if name.utf8.first == UInt8(ascii: ":") || name.lowercased() == "host" {
            return "pseudo-headers and Host cannot be changed here; use the route's rewrite fields"
        }
        return nil
    }

    /// RFC 9110 §5.6.2: tchar.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
