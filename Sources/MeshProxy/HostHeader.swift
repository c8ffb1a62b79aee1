import MeshConfig
import MeshHTTP
import MeshNet

/// The host and port in `:authority`.
package enum HostHeader {
    /// Where the colon before the port stands; nil where there is none. Colons inside the brackets of
    /// an IPv6 address do not count (RFC 3986 §3.2.2).
    package static func portStart(_ host: Bytes) -> Int? {
        var at = host.count
        while at > 0 {
            at &-= 1
            if host[at] == UInt8(ascii: ":") { return at }
            if host[at] == UInt8(ascii: "]") { return nil }
        }
        return nil
    }

    /// The number after the colon, if it is one.
    static func port(_ host: Bytes, after colon: Int) -> UInt16? {
        number(host, after: colon).flatMap { UInt16(exactly: $0) }
    }

    /// As ``port(_:after:)``, also where no port can have that number.
    private static func number(_ host: Bytes, after colon: Int) -> UInt32? {
        guard colon + 1 < host.count else { return nil }
        return DecimalNumber.parse(Bytes(rebasing: host[(colon + 1)...])).flatMap {
            UInt32(exactly: $0)
        }
    }

    /// Takes away what the configuration does not want matched or forwarded
    /// (envoy: strip_trailing_host_dot, strip_any_host_port, strip_matching_host_port).
    ///
    /// - Parameter listenerPort: the port the client connected to.
    package static func normalize(
        _ head: HeaderMap,
        _ config: HTTPConnectionManagerConfig,
        listenerPort: UInt16?
    ) {
        if config.stripsTrailingHostDot { stripTrailingDot(head) }
        switch config.hostPortStripping {
        case .none: break
        case .any: stripPort(head, only: nil)
        case .matching: if let listenerPort { stripPort(head, only: listenerPort) }
        }
    }

    private static func stripPort(_ head: HeaderMap, only wanted: UInt16?) {
        guard let host = head[.authority], let colon = portStart(host),
            let port = number(host, after: colon), wanted.map({ UInt32($0) == port }) ?? true
        else { return }
        head.set(.authority, Bytes(rebasing: host[..<colon]))
    }

    private static func stripTrailingDot(_ head: HeaderMap) {
        guard let host = head[.authority] else { return }
        let end = portStart(host) ?? host.count
        guard end > 0, host[end - 1] == UInt8(ascii: ".") else { return }
        withUnsafeTemporaryAllocation(byteCount: host.count, alignment: 1) { copy in
            copy.copyMemory(from: Bytes(rebasing: host[..<(end - 1)]))
            let rest = Bytes(rebasing: host[end...])
            UnsafeMutableRawBufferPointer(rebasing: copy[(end - 1)...]).copyMemory(from: rest)
            head.set(.authority, Bytes(rebasing: copy[..<(host.count - 1)]))
        }
    }
}
