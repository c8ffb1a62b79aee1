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
        let request = "GET \(path) HTTP/1.1\r\nhost: mesh-bench\r\nconnection: close\r\n\r\n"
        guard request.withCString({ write(socket, $0, strlen($0)) }) > 0 else { return nil }
        var answer: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(socket, &room, room.count)
            guard count > 0 else { break }
            answer += room[..<count]
        }
        return body(of: answer)
    }

    /// The body of an answer with status 200, put together where it is chunked.
    static func body(of answer: [UInt8]) -> String? {
        let mark = Array("\r\n\r\n".utf8)
        guard
            let end = answer.indices.dropLast(3).first(where: { answer[$0...].starts(with: mark) })
        else { return nil }
        let head = String(decoding: answer[..<end], as: UTF8.self).lowercased()
        guard head.hasPrefix("http/1.1 200") else { return nil }
        var rest = answer[(end + 4)...]
        guard head.contains("transfer-encoding: chunked") else {
            return String(decoding: rest, as: UTF8.self)
        }
        var body: [UInt8] = []
        while let line = rest.firstIndex(of: UInt8(ascii: "\r")) {
            let digits = String(decoding: rest[..<line], as: UTF8.self)
            guard let count = Int(digits, radix: 16), count > 0, rest.endIndex - line >= count + 4
            else { break }
            body += rest[(line + 2)..<(line + 2 + count)]
            rest = rest[(line + 4 + count)...]
        }
        return String(decoding: body, as: UTF8.self)
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
