import CLinux
import Glibc

/// This machine's address on its network.
package enum NodeAddress {
    /// The first IPv4 address of an interface that is up and not the loopback; nil where there is
    /// none. As Envoy, which writes it into `x-forwarded-for` for clients on the loopback interface.
    package static func find() -> IPAddress? {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return nil }
        defer { freeifaddrs(list) }
        var next = list
        while let interface = next?.pointee {
            next = interface.ifa_next
            guard let address = interface.ifa_addr, address.pointee.sa_family == AF_INET,
                interface.ifa_flags & UInt32(IFF_UP) != 0,
                interface.ifa_flags & UInt32(IFF_LOOPBACK) == 0
            else { continue }
            var storage = sockaddr_storage()
            memcpy(&storage, address, MemoryLayout<sockaddr_in>.size)
            if let found = SocketAddress(storage)?.ip, !found.isLoopback { return found }
        }
        return nil
    }
}
