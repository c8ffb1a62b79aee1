import CBench
import Foundation

/// A network namespace of our own, in which the kernel leads connections to an address of the mesh to the client's
/// hop, as on a node. It lasts as long as the object; what is started meanwhile is in it.
final class CaptureNamespace {
    /// What clients call: where it is captured, no process needs to have the address.
    static let service = "10.9.0.1:8080"
    /// Tens of thousands of connections a minute find ports, and the kernel's table room for them.
    private static let limits = [
        "ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": "1",
        "netfilter/nf_conntrack_tcp_timeout_time_wait": "1",
    ]

    private let before: Int32

    /// Moves the calling thread there. It needs root, `ip` and `nft`; the error says which is missing.
    init() throws {
        for tool in ["ip", "nft"] where ProgramFinder.inPath(tool) == nil {
            throw BenchError("there is no \(tool)")
        }
        before = cbench_enter_new_network()
        guard before >= 0 else {
            throw BenchError("no network namespace: \(String(cString: strerror(errno)))")
        }
        try Self.run("ip", "link", "set", "lo", "up")
        try Self.run("ip", "address", "add", "10.9.0.1/32", "dev", "lo")
        try Self.run(
            "nft",
            "add table ip bench; add chain ip bench out { type nat hook output priority -100; }"
        )
        for (name, text) in Self.limits {
            try? text.write(toFile: "/proc/sys/net/\(name)", atomically: false, encoding: .utf8)
        }
    }

    deinit {
        cbench_enter_network(before)
    }

    /// Connections to ``service`` go to this port of 127.0.0.1 from now on.
    func redirect(to port: String) throws {
        try Self.run("nft", "flush chain ip bench out")
        let rule = "ip daddr 10.9.0.1 tcp dport 8080 redirect to :\(port)"
        try Self.run("nft", "add rule ip bench out \(rule)")
    }

    private static func run(_ words: String...) throws {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: ProgramFinder.inPath(words[0]) ?? words[0])
        process.arguments = Array(words.dropFirst())
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = pipe
        try process.run()
        let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchError("\(words[0]) failed: \(said.prefix(200))")
        }
    }
}
