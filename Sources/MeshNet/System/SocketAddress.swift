import CLinux
import Glibc

/// An IPv4 or IPv6 address. IPv4 is kept as such, never as a mapped IPv6 address.
package struct IPAddress: Hashable, Sendable {
    /// Network order read as a big-endian number; IPv4 uses the lowest 32 bits of `low`.
    package let high: UInt64
    package let low: UInt64
    package let isIPv6: Bool

    package init(ipv4: UInt32) {
        self.init(high: 0, low: UInt64(ipv4), isIPv6: false)
    }

    /// An IPv4-mapped address (::ffff:0:0/96) becomes plain IPv4, so that policy sees one form.
    package init(ipv6High: UInt64, low: UInt64) {
        if ipv6High == 0, low >> 32 == 0xFFFF {
            self.init(ipv4: UInt32(truncatingIfNeeded: low))
        } else {
            self.init(high: ipv6High, low: low, isIPv6: true)
        }
    }

    private init(high: UInt64, low: UInt64, isIPv6: Bool) {
        self.high = high
        self.low = low
        self.isIPv6 = isIPv6
    }

    private init(rawIPv6 address: in6_addr) {
        let bytes = withUnsafeBytes(of: address) { Array($0) }
        func word(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        self.init(ipv6High: word(0..<8), low: word(8..<16))
    }

    /// Parses dotted-decimal IPv4 or IPv6 text (RFC 4291 §2.2), without brackets or zone.
    package init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(ipv4: UInt32(bigEndian: four.s_addr))
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            self.init(rawIPv6: six)
        } else {
            return nil
        }
    }

    fileprivate init(_ address: sockaddr_in) {
        self.init(ipv4: UInt32(bigEndian: address.sin_addr.s_addr))
    }

    fileprivate init(_ address: sockaddr_in6) { self.init(rawIPv6: address.sin6_addr) }

    fileprivate var in6: in6_addr {
        var address = in6_addr()
        withUnsafeMutableBytes(of: &address) { bytes in
            bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
            bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return address
    }

    package var isLoopback: Bool {
        isIPv6 ? high == 0 && low == 1 : low >> 24 == 127
    }

    package var bitWidth: Int { isIPv6 ? 128 : 32 }
}

extension IPAddress: CustomStringConvertible {
    package var description: String {
        if !isIPv6 {
            return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)"
        }
        var address = in6
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) {
            text in
            guard let base = text.baseAddress,
                inet_ntop(AF_INET6, &address, base, socklen_t(text.count)) != nil
            else { return "" }
            return String(cString: base)
        }
    }
}

/// A network: an address and how many of its leading bits count (envoy: core.v3.CidrRange).
package struct CIDR: Hashable, Sendable {
    package let address: IPAddress
    package let prefixLength: Int

    /// Nil where the length exceeds the address's width. Host bits are cleared.
    package init?(_ address: IPAddress, prefixLength: Int) {
        guard (0...address.bitWidth).contains(prefixLength) else { return nil }
        self.prefixLength = prefixLength
        if address.isIPv6 {
            self.address = IPAddress(
                ipv6High: address.high & Self.mask(prefixLength),
                low: address.low & Self.mask(prefixLength - 64)
            )
        } else {
            self.address = IPAddress(
                ipv4: UInt32(truncatingIfNeeded: address.low & Self.mask(prefixLength + 32))
            )
        }
    }

    package func contains(_ candidate: IPAddress) -> Bool {
        guard candidate.isIPv6 == address.isIPv6 else { return false }
        if !address.isIPv6 {
            return (candidate.low ^ address.low) & Self.mask(prefixLength + 32) & 0xFFFF_FFFF == 0
        }
        return (candidate.high ^ address.high) & Self.mask(prefixLength) == 0
            && (candidate.low ^ address.low) & Self.mask(prefixLength - 64) == 0
    }

    /// The `bits` highest of 64 bits; clamped.
    private static func mask(_ bits: Int) -> UInt64 {
        bits <= 0 ? 0 : bits >= 64 ? .max : ~(UInt64.max >> UInt64(bits))
    }
}

extension CIDR: CustomStringConvertible {
    package var description: String { "\(address)/\(prefixLength)" }
}

/// An endpoint of a connection: IP address and port, or a Unix-domain path.
package enum SocketAddress: Hashable, Sendable {
    case ip(IPAddress, port: UInt16)
    /// A leading "@" names Linux's abstract space, as in Envoy.
    case unix(path: String)
    /// A listener of this process, reached without a socket (envoy: EnvoyInternalAddress).
    ///
    /// - Parameter endpointID: tells endpoints of one listener apart; empty where there is no need.
    indirect case `internal`(listener: String, endpointID: String)

    /// Of the connecting side of every connection inside the process.
    package static let internalClient = SocketAddress.internal(
        listener: "internal_client_address",
        endpointID: ""
    )

    package var ip: IPAddress? {
        if case .ip(let address, _) = self { address } else { nil }
    }

    package var port: UInt16? {
        if case .ip(_, let port) = self { port } else { nil }
    }

    package init?(_ storage: sockaddr_storage) {
        var storage = storage
        switch Int32(storage.ss_family) {
        case AF_INET:
            let address = withUnsafeBytes(of: &storage) { $0.loadUnaligned(as: sockaddr_in.self) }
            self = .ip(IPAddress(address), port: UInt16(bigEndian: address.sin_port))
        case AF_INET6:
            let address = withUnsafeBytes(of: &storage) { $0.loadUnaligned(as: sockaddr_in6.self) }
            self = .ip(IPAddress(address), port: UInt16(bigEndian: address.sin6_port))
        case AF_UNIX:
            let path = withUnsafeBytes(of: &storage) { bytes in
                String(bytes: Bytes(rebasing: bytes[2...].prefix { $0 != 0 }))
            }
            self = .unix(path: path)
        default:
            return nil
        }
    }

    /// Calls `body` with the kernel's form of this address.
    package func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var storage = sockaddr_storage()
        let length: Int
        switch self {
        case .ip(let address, let port) where address.isIPv6:
            var six = sockaddr_in6()
            six.sin6_family = sa_family_t(AF_INET6)
            six.sin6_port = port.bigEndian
            six.sin6_addr = address.in6
            length = MemoryLayout<sockaddr_in6>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: six, as: sockaddr_in6.self) }
        case .ip(let address, let port):
            var four = sockaddr_in()
            four.sin_family = sa_family_t(AF_INET)
            four.sin_port = port.bigEndian
            four.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
            length = MemoryLayout<sockaddr_in>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: four, as: sockaddr_in.self) }
        case .unix(let path):
            storage.ss_family = sa_family_t(AF_UNIX)
            var name = Array(path.utf8.prefix(107))
            if name.first == UInt8(ascii: "@") { name[0] = 0 } else { name.append(0) }
            length = 2 + name.count
            withUnsafeMutableBytes(of: &storage) { bytes in
                for (at, byte) in name.enumerated() { bytes[2 + at] = byte }
            }
        case .internal:
            // The kernel knows none.
            storage.ss_family = sa_family_t(AF_UNSPEC)
            length = MemoryLayout<sa_family_t>.size
        }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(length))
            }
        }
    }

    package var family: Int32 {
        switch self {
        case .ip(let address, _): address.isIPv6 ? AF_INET6 : AF_INET
        case .unix: AF_UNIX
        case .internal: AF_UNSPEC
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    /// `10.0.0.1:80`, `[::1]:80`, the path, or `envoy://listener/endpoint`.
    package var description: String {
        switch self {
        case .ip(let address, let port):
            address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)"
        case .unix(let path): path
        case .internal(let listener, let endpointID): "envoy://\(listener)/\(endpointID)"
        }
    }
}
