import CLinux
import Foundation
import Glibc

/// The few things that the harness itself asks of the network, on IPv4 of this machine.
package enum Sockets {
    /// A port that nobody listens on now.
    package static func freePort(on address: String = "127.0.0.1") throws -> Int {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var name = Self.name(address, 0)
        let bound = withSockaddr(&name) { bind(socket, $0, $1) }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let told = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(socket, $0, &length)
            }
        }
        guard socket >= 0, bound == 0, told == 0 else {
            throw BenchError("no free port: \(address): \(String(cString: strerror(errno)))")
        }
        return Int(UInt16(bigEndian: name.sin_port))
    }

    /// True where somebody accepts at `ADDRESS:PORT`.
    package static func accepts(_ address: String) -> Bool {
        guard let socket = connect(address) else { return false }
        close(socket)
        return true
    }

    /// The body of `GET path` at `ADDRESS:PORT`, with a connection of its own; nil if there is none.
    package static func get(_ path: String, at address: String) -> String? {
        guard let socket = connect(address) else { return nil }
        defer { close(socket) }
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let request = "GET \(path) HTTP/1.0\r\nhost: mesh-bench\r\nconnection: close\r\n\r\n"
        guard request.withCString({ write(socket, $0, strlen($0)) }) > 0 else { return nil }
        var answer: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(socket, &room, room.count)
            guard count > 0 else { break }
            answer += room[..<count]
        }
        let text = String(decoding: answer, as: UTF8.self)
        guard text.hasPrefix("HTTP/1."), text.prefix(16).contains(" 200"),
            let end = text.range(of: "\r\n\r\n")
        else { return nil }
        return String(text[end.upperBound...])
    }

    private static func connect(_ address: String) -> Int32? {
        let parts = address.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]) else { return nil }
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = Self.name(String(parts[0]), port)
        if withSockaddr(&name, { Glibc.connect(socket, $0, $1) }) == 0 { return socket }
        close(socket)
        return nil
    }

    private static func name(_ address: String, _ port: UInt16) -> sockaddr_in {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        inet_pton(AF_INET, address, &name.sin_addr)
        return name
    }

    private static func withSockaddr(
        _ name: inout sockaddr_in,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
