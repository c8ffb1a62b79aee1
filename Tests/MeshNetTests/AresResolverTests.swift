import CLinux
import Glibc
import MeshNet
import Synchronization
import Testing

/// A DNS server on loopback that the test itself plays, one datagram at a time.
private final class DNSServer {
    let address: SocketAddress
    private let socket: Int32

    init() throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            socket,
            SOL_SOCKET,
            SO_RCVTIMEO,
            &patience,
            socklen_t(MemoryLayout<timeval>.size)
        )
        let wanted = SocketAddress.ip(IPAddress(ipv4: 0x7F00_0001), port: 0)
        let socket = socket
        #expect(wanted.withSockaddr { bind(socket, $0, $1) } == 0)
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        _ = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(socket, $0, &length)
            }
        }
        address = try #require(SocketAddress(storage))
    }

    deinit { close(socket) }

    enum Reply {
        case addresses([String], ttl: UInt32)
        /// A response code of RFC 1035 §4.1.1: 2 server failure, 3 no such name.
        case code(UInt8)
    }

    /// Answers the next question; returns its name and type.
    func answer(_ reply: (_ name: String, _ type: UInt16) -> Reply) -> (name: String, type: UInt16)?
    {
        var packet = [UInt8](repeating: 0, count: 512)
        var peer = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let count = withUnsafeMutablePointer(to: &peer) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(socket, &packet, packet.count, 0, $0, &length)
            }
        }
        guard count > 12 else { return nil }
        var labels: [String] = []
        var at = 12
        while packet[at] != 0 {
            let size = Int(packet[at])
            labels.append(String(decoding: packet[at + 1...at + size], as: UTF8.self))
            at += size + 1
        }
        let type = UInt16(packet[at + 1]) << 8 | UInt16(packet[at + 2])
        let name = labels.joined(separator: ".")
        // The question as it came, without what follows it.
        var answer = Array(packet[..<(at + 5)])
        answer[2] = 0x81
        answer[8...11] = [0, 0, 0, 0]
        switch reply(name, type) {
        case .code(let code):
            answer[3] = 0x80 | code
        case .addresses(let texts, let ttl):
            answer[3] = 0x80
            answer[7] = UInt8(texts.count)
            for text in texts {
                answer += [0xC0, 0x0C, UInt8(type >> 8), UInt8(type & 255), 0, 1]
                answer += [UInt8(ttl >> 24), UInt8(ttl >> 16 & 255), UInt8(ttl >> 8 & 255)]
                answer += [UInt8(ttl & 255)]
                var raw = [UInt8](repeating: 0, count: 16)
                let family = type == 28 ? AF_INET6 : AF_INET
                inet_pton(family, text, &raw)
                let size = type == 28 ? 16 : 4
                answer += [0, UInt8(size)] + raw.prefix(size)
            }
        }
        withUnsafePointer(to: &peer) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(socket, answer, answer.count, 0, $0, length)
            }
        }
        return (name, type)
    }
}

/// Waits for one answer without sleeping.
private final class Pending: Sendable {
    private let result = Mutex<NameAnswer?>(nil)
    private let pipe: (Int32, Int32)

    init() {
        var ends: [Int32] = [0, 0]
        Glibc.pipe(&ends)
        pipe = (ends[0], ends[1])
    }

    deinit {
        close(pipe.0)
        close(pipe.1)
    }

    func complete(_ answer: NameAnswer) {
        result.withLock { $0 = answer }
        var byte: UInt8 = 1
        write(pipe.1, &byte, 1)
    }

    func wait() -> NameAnswer? {
        var byte: UInt8 = 0
        read(pipe.0, &byte, 1)
        return result.withLock { $0 }
    }
}

@Suite struct AresResolverTests {
    private let server: DNSServer
    private let resolver: AresResolver

    init() throws {
        server = try DNSServer()
        var options = ResolverOptions()
        options.servers = [server.address]
        options.ignoresSearchDomains = true
        options.tries = 1
        resolver = try AresResolver(options)
    }

    private func ask(_ name: String, _ lookup: NameLookup) -> Pending {
        let pending = Pending()
        resolver.resolve(name, lookup) { pending.complete($0) }
        return pending
    }

    private func address(_ text: String, ttl: Int = 0) -> ResolvedAddress {
        ResolvedAddress(IPAddress(text) ?? IPAddress(ipv4: 0), ttlSeconds: ttl)
    }

    @Test func `localhost needs no network`() {
        defer { resolver.stop() }
        #expect(ask("localhost", .ipv4Only).wait() == .addresses([address("127.0.0.1")]))
    }

    @Test func `an address is its own answer`() {
        defer { resolver.stop() }
        #expect(ask("192.0.2.7", .ipv4Only).wait() == .addresses([address("192.0.2.7")]))
        #expect(ask("192.0.2.7", .ipv6First).wait() == .addresses([address("192.0.2.7")]))
        #expect(ask("192.0.2.7", .ipv6Only).wait() == .addresses([]))
        #expect(ask("::1", .ipv6Only).wait() == .addresses([address("::1")]))
    }

    @Test func `all addresses come with their time to live`() {
        defer { resolver.stop() }
        let pending = ask("app.mesh.test", .ipv4Only)
        let question = server.answer { _, _ in .addresses(["192.0.2.1", "192.0.2.2"], ttl: 30) }
        #expect(question?.name == "app.mesh.test")
        #expect(question?.type == 1)
        let expected = [address("192.0.2.1", ttl: 30), address("192.0.2.2", ttl: 30)]
        #expect(pending.wait() == .addresses(expected))
    }

    @Test func `the second family is asked for where the first has nothing`() {
        defer { resolver.stop() }
        let pending = ask("app.mesh.test", .ipv6First)
        #expect(server.answer { _, _ in .addresses([], ttl: 0) }?.type == 28)
        #expect(server.answer { _, _ in .addresses(["192.0.2.1"], ttl: 5) }?.type == 1)
        #expect(pending.wait() == .addresses([address("192.0.2.1", ttl: 5)]))
    }

    @Test func `the second family is not asked for where the first has an answer`() {
        defer { resolver.stop() }
        let pending = ask("app.mesh.test", .ipv4First)
        #expect(server.answer { _, _ in .addresses(["192.0.2.1"], ttl: 5) }?.type == 1)
        #expect(pending.wait() == .addresses([address("192.0.2.1", ttl: 5)]))
    }

    @Test func `a name that does not exist has no addresses`() {
        defer { resolver.stop() }
        let pending = ask("gone.mesh.test", .ipv4Only)
        _ = server.answer { _, _ in .code(3) }
        #expect(pending.wait() == .addresses([]))
    }

    @Test func `a server's failure is a failure, not an absence`() {
        defer { resolver.stop() }
        let pending = ask("app.mesh.test", .ipv4Only)
        _ = server.answer { _, _ in .code(2) }
        guard case .failed(let reason) = pending.wait() else {
            Issue.record("no failure")
            return
        }
        #expect(!reason.isEmpty)
    }

    @Test func `stopping fails what is under way`() {
        let pending = ask("app.mesh.test", .ipv4Only)
        // The question has been sent, hence the thread has it.
        resolver.stop()
        guard case .failed = pending.wait() else {
            Issue.record("no failure")
            return
        }
    }
}
