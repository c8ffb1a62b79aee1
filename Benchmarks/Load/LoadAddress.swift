import CLinux
import Glibc
import MeshNet

extension SocketAddress {
    /// `127.0.0.1:8080` or `[::1]:8080`, as ``description`` writes it.
    package init(parsing text: String) throws(LoadError) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { throw Self.malformed(text) }
        var host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        guard let ip = IPAddress(String(host)), ip.isIPv6 == isBracketed else {
            throw Self.malformed(text)
        }
        self = .ip(ip, port: port)
    }

    private static func malformed(_ text: String) -> LoadError {
        LoadError("address: \(text): is not ADDRESS:PORT; write 127.0.0.1:8080 or [::1]:8080")
    }
}

/// The process's limit of open files.
package enum OpenFiles {
    /// Raises the limit as far as the process itself may: a measurement opens more connections than a shell's
    /// usual 1,024.
    package static func raiseLimit() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(resource, &limit)
    }
}
