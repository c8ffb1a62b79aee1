import MeshConfig
import MeshHTTP
import MeshNet

/// One header condition, ready to run (envoy: config.route.v3.HeaderMatcher).
///
/// A repeated field matches if one of its values does, and an inverted condition holds if none does:
/// a second `x-role: admin` line cannot hide behind a first. The fields that Envoy itself joins as it
/// reads them, most standard ones, are joined by commas and matched as one value. Nothing is
/// allocated on the heap. Each worker makes its own.
package final class HeaderMatcher: Sendable {
    package let config: HeaderMatchConfig
    private let name: HeaderName
    private let isJoined: Bool

    package init(_ config: HeaderMatchConfig) {
        self.config = config.workerCopy()
        name = HeaderName(config.name)
        isJoined = Self.isJoined(name)
    }

    package func matches(_ headers: HeaderMap) -> Bool {
        if let known = name.known, Self.isSingle(known) { return matches(headers[known]) }
        if isJoined { return withJoinedValue(headers, separator: ",") { matches($0) } }
        var isMissing = true
        var isMatched = false
        headers.forEachValue(name) { value in
            isMissing = false
            if !isMatched { isMatched = accepts(value) }
        }
        return isMissing ? matches(nil) : isMatched != config.isInverted
    }

    private func matches(_ value: Bytes?) -> Bool {
        if let value = value ?? missingValue { return accepts(value) != config.isInverted }
        // A missing field fails, inverted or not; only presence itself can be inverted.
        if case .present(let wanted) = config.specifier { return !wanted != config.isInverted }
        return false
    }

    /// What a missing field counts as, where it counts at all.
    private var missingValue: Bytes? {
        config.treatsMissingAsEmpty ? Bytes(start: nil, count: 0) : nil
    }

    private func accepts(_ value: Bytes) -> Bool {
        switch config.specifier {
        case .present(let wanted): return wanted
        case .value(let match): return match.matches(value)
        case .range(let range): return Self.integer(value).map { range.contains($0) } ?? false
        }
    }

    /// The values as text, for explanations; nil where the field is missing.
    package func text(_ headers: HeaderMap) -> String? {
        withJoinedValue(headers, separator: isJoined ? "," : " | ") { $0.map { String(bytes: $0) } }
    }

    private func withJoinedValue<R>(
        _ headers: HeaderMap,
        separator: StaticString,
        _ body: (Bytes?) -> R
    ) -> R {
        var first: Bytes?
        var count = 0
        var size = 0
        headers.forEachValue(name) { value in
            if count == 0 { first = value }
            count &+= 1
            size &+= value.count
        }
        if count <= 1 { return body(first) }
        let joint = Bytes(start: separator.utf8Start, count: separator.utf8CodeUnitCount)
        size &+= (count &- 1) &* joint.count
        return withUnsafeTemporaryAllocation(byteCount: size, alignment: 1) { joined in
            var at = 0
            var isFirst = true
            func append(_ bytes: Bytes) {
                UnsafeMutableRawBufferPointer(rebasing: joined[at...]).copyMemory(from: bytes)
                at &+= bytes.count
            }
            headers.forEachValue(name) { value in
                if !isFirst { append(joint) }
                isFirst = false
                append(value)
            }
            return body(Bytes(rebasing: joined[..<at]))
        }
    }

    /// Standard request fields that Envoy 1.40 joins while reading; observed, not documented.
    private static func isJoined(_ name: HeaderName) -> Bool {
        switch name.known {
        case .trailer, .proxyAuthenticate, .http2Settings, .date, .server, .location, .cookie,
            .setCookie,
            .retryAfter, .envoyUpstreamServiceTime, .envoyOverloaded, .envoyUpstreamCanary,
            .envoyRateLimited, .envoyImmediateHealthCheckFail, .envoyUpstreamHealthCheckedCluster,
            .envoyDegraded, .envoyNotForwarded, .traceparent, .tracestate, .b3, .b3TraceID,
            .grpcStatus,
            .grpcMessage, .serverTiming, .meshExplain, .meshTiming, .etag:
            return false
        case .some:
            return true
        case nil:
            return [
                "grpc-accept-encoding", "proxy-status", "if-match", "if-none-match", "if-range",
                "if-modified-since", "if-unmodified-since", "access-control-request-headers",
                "access-control-request-method",
            ].contains(name.text)
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
