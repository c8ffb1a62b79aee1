import MeshConfig
import MeshHTTP
import MeshNet

/// One header condition, ready to run (envoy: config.route.v3.HeaderMatcher).
///
/// A repeated field is matched as its values joined by commas, as Envoy does. Nothing is allocated
/// on the heap; a field that occurs once, as nearly all do, is not even copied.
package struct HeaderMatcher: Sendable {
    package let config: HeaderMatchConfig
    private let name: HeaderName

    package init(_ config: HeaderMatchConfig) {
        self.config = config
        name = HeaderName(config.name)
    }

    package func matches(_ headers: HeaderMap) -> Bool {
        withValue(headers) { value in
            guard let value = value ?? missingValue else {
                // A missing field fails, inverted or not; only presence itself can be inverted.
                if case .present(let wanted) = config.specifier {
                    return !wanted != config.isInverted
                }
                return false
            }
            return matches(value) != config.isInverted
        }
    }

    /// What a missing field counts as, where it counts at all.
    private var missingValue: Bytes? {
        config.treatsMissingAsEmpty ? Bytes(start: nil, count: 0) : nil
    }

    private func matches(_ value: Bytes) -> Bool {
        switch config.specifier {
        case .present(let wanted): return wanted
        case .value(let match): return match.matches(value)
        case .range(let range): return Self.integer(value).map { range.contains($0) } ?? false
        }
    }

    /// Calls `body` with the field's value, values of a repeated field joined; nil where it is missing.
    package func withValue<R>(_ headers: HeaderMap, _ body: (Bytes?) -> R) -> R {
        var first: Bytes?
        var count = 0
        var joinedSize = -1
        if let known = name.known, Self.isSingle(known) { return body(headers[known]) }
        headers.forEachValue(name) { value in
            if count == 0 { first = value }
            count &+= 1
            joinedSize &+= value.count &+ 1
        }
        if count <= 1 { return body(first) }
        return withUnsafeTemporaryAllocation(byteCount: joinedSize, alignment: 1) { joined in
            var at = 0
            var isFirst = true
            headers.forEachValue(name) { value in
                if !isFirst {
                    joined[at] = UInt8(ascii: ",")
                    at &+= 1
                }
                isFirst = false
                UnsafeMutableRawBufferPointer(rebasing: joined[at...]).copyMemory(from: value)
                at &+= value.count
            }
            return body(Bytes(rebasing: joined[..<at]))
        }
    }

    /// Fields a codec lets through at most once: no need to look for more.
    private static func isSingle(_ header: KnownHeader) -> Bool {
        switch header {
        case .method, .path, .scheme, .authority, .status: true
        default: false
        }
    }

    /// A decimal number with an optional sign, blanks around it ignored; nil for anything else.
    static func integer(_ text: Bytes) -> Int64? {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        var digits = text[...]
        while let first = digits.first, isBlank(first) { digits = digits.dropFirst() }
        while let last = digits.last, isBlank(last) { digits = digits.dropLast() }
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative || digits.first == UInt8(ascii: "+") { digits = digits.dropFirst() }
        guard !digits.isEmpty else { return nil }
        var value: Int64 = 0
        for byte in digits {
            guard byte &- 0x30 < 10 else { return nil }
            let digit = Int64(byte &- 0x30)
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) =
                isNegative
                ? tens.subtractingReportingOverflow(digit) : tens.addingReportingOverflow(digit)
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }
}

extension HeaderMatcher {
    /// Whether all conditions hold; an empty list holds.
    package static func all(_ matchers: [HeaderMatcher], match headers: HeaderMap) -> Bool {
        for matcher in matchers where !matcher.matches(headers) { return false }
        return true
    }
}
