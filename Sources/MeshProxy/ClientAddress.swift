import MeshConfig
import MeshHTTP
import MeshNet

/// The client's address as forwarded headers tell it.
struct DetectedAddress {
    /// Nil where none could be told.
    var address: IPAddress?
    /// Whether this address may make the request an internal one.
    var isTrusted = false
    /// Whether the peer is to be appended to `x-forwarded-for`.
    var appendsPeer = false
    /// Status of the answer where the configuration refuses a request whose client is not known.
    var rejectStatus: Int?
}

/// Reads addresses out of `x-forwarded-for` and headers like it.
enum ClientAddress {
    /// The entry before the last `hops` entries of `x-forwarded-for`. It is trusted where it is the
    /// only one and no hop was to be passed over.
    static func forwarded(_ head: HeaderMap, skipping hops: Int) -> DetectedAddress {
        withForwardedFor(head) { list in
            guard let list else { return DetectedAddress() }
            var end = list.count
            for _ in 0..<hops {
                guard let comma = lastComma(list, before: end) else { return DetectedAddress() }
                end = comma
            }
            let comma = lastComma(list, before: end)
            let entry = trimmed(list, from: comma.map { $0 + 1 } ?? 0, to: end)
            guard let address = parse(entry) else { return DetectedAddress() }
            return DetectedAddress(address: address, isTrusted: comma == nil && hops == 0)
        }
    }

    /// The last entry of `x-forwarded-for` that is in none of the networks; the first if all are. It is
    /// trusted where it is the only one.
    static func forwarded(_ head: HeaderMap, trusting networks: [CIDR]) -> DetectedAddress {
        withForwardedFor(head) { list in
            guard let list else { return DetectedAddress() }
            var end = list.count
            while true {
                let comma = lastComma(list, before: end)
                let entry = trimmed(list, from: comma.map { $0 + 1 } ?? 0, to: end)
                guard let address = parse(entry) else { return DetectedAddress() }
                guard networks.contains(where: { $0.contains(address) }), let comma else {
                    return DetectedAddress(
                        address: address,
                        isTrusted: comma == nil && end == list.count
                    )
                }
                end = comma
            }
        }
    }

    /// The address in a header of its own.
    static func parse(header name: HeaderName, of head: HeaderMap) -> IPAddress? {
        guard let value = head.first(name) else { return nil }
        return parse(trimmed(value, from: 0, to: value.count))
    }

    /// Calls `body` with the whole list, repeated fields joined; nil where there is none.
    private static func withForwardedFor<R>(_ head: HeaderMap, _ body: (Bytes?) -> R) -> R {
        guard let first = head[.forwardedFor] else { return body(nil) }
        if head.occurrences(.forwardedFor) == 1 { return body(first) }
        var joined = ByteBuffer()
        head.forEachValue(.forwardedFor) { value in
            if !joined.isEmpty { joined.append(byte: UInt8(ascii: ",")) }
            joined.append(value)
        }
        return body(joined.bytes)
    }

    private static func lastComma(_ list: Bytes, before end: Int) -> Int? {
        var at = end
        while at > 0 {
            at &-= 1
            if list[at] == UInt8(ascii: ",") { return at }
        }
        return nil
    }

    private static func trimmed(_ text: Bytes, from: Int, to: Int) -> Bytes {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        var from = from
        var to = to
        while from < to, isBlank(text[from]) { from &+= 1 }
        while to > from, isBlank(text[to - 1]) { to &-= 1 }
        return Bytes(rebasing: text[from..<to])
    }

    private static func parse(_ text: Bytes) -> IPAddress? {
        // The longest form of an IPv6 address has 45 characters.
        guard (2...45).contains(text.count), !text.contains(0) else { return nil }
        return IPAddress(String(bytes: text))
    }
}
