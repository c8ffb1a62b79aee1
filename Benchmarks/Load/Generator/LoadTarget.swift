import MeshHTTP
import MeshNet

/// Where the requests of a plan go and what they look like, made once.
final class LoadTarget {
    let address: SocketAddress
    /// What a SOCKS5 proxy at ``address`` shall connect to.
    private let behindProxy: SocketAddress?
    private let tls: TLSContext?
    private let serverName: String?
    let request: RequestShape
    private let spreadsSources: Bool

    /// Connections from one source address to one target, of the 28,232 ports that Linux usually has.
    static let connectionsPerSource = 20_000

    init(_ plan: LoadPlan) throws(LoadError) {
        address = try SocketAddress(parsing: plan.target)
        behindProxy = try plan.throughSOCKS5.map { text throws(LoadError) in
            try SocketAddress(parsing: text)
        }
        let alpn = plan.traffic.isHTTP2 ? ["h2"] : plan.traffic.isHTTP ? ["http/1.1"] : []
        tls = try plan.tls.map { files throws(LoadError) in
            try LoadTLS.client(files, alpn: alpn, sessions: plan.connections)
        }
        serverName = plan.tls?.serverName
        request = try RequestShape(plan)
        spreadsSources = plan.connections > Self.connectionsPerSource
        if spreadsSources, address.ip.map({ !$0.isLoopback || $0.isIPv6 }) ?? true {
            throw LoadError(
                "load: \(plan.target): \(plan.connections) connections: one source address has ports for "
                    + "\(Self.connectionsPerSource); more are spread over 127.0.0.x only: use a target in "
                    + "127.0.0.0/8, or several generators"
            )
        }
    }

    /// Connections beyond what one source address has ports for come from the next one.
    func options(lane: Int) -> SocketOptions {
        var options = SocketOptions()
        if spreadsSources {
            let host = UInt32(1 + lane / Self.connectionsPerSource)
            options.source = .ip(IPAddress(ipv4: 0x7F00_0000 + host), port: 0)
        }
        return options
    }

    func makeTransport() -> (any SecureTransport)? {
        let session = tls.map { TLSSession(client: $0, serverName: serverName) }
        guard let behindProxy else { return session }
        return SOCKS5Transport(to: behindProxy, inner: session)
    }
}

/// The request, in the form that costs least to send again and again.
final class RequestShape {
    let head = HeaderMap()
    /// Follows the head; for streams and raw connections, the message.
    let body: Bytes
    private let storage: UnsafeMutableRawBufferPointer

    /// Of every message of gRPC: not compressed, and four bytes of length.
    static let messagePrefixBytes = 5

    init(_ plan: LoadPlan) throws(LoadError) {
        let isGRPC = plan.traffic.isGRPC
        let count =
            isGRPC
            ? plan.messageBytes + Self.messagePrefixBytes
            : plan.traffic.isHTTP ? plan.bodyBytes : plan.messageBytes
        storage = .allocate(byteCount: max(count, 1), alignment: 8)
        storage.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "x"))
        body = Bytes(rebasing: Bytes(storage)[..<count])
        if isGRPC {
            storage[0] = 0
            storage.storeBytes(
                of: UInt32(plan.messageBytes).bigEndian,
                toByteOffset: 1,
                as: UInt32.self
            )
        }
        head.append(.method, isGRPC ? "POST" : plan.method)
        head.append(.scheme, plan.tls == nil ? "http" : "https")
        head.append(.authority, plan.authority)
        head.append(.path, plan.path)
        if isGRPC {
            head.append(.contentType, "application/grpc")
            head.append(.te, "trailers")
        } else if count > 0 {
            head.append(.contentLength, "\(count)")
        }
        for line in plan.headers {
            let (name, value) = try LoadPlan.field(line)
            head.append(HeaderName(name), value)
        }
    }

    deinit { storage.deallocate() }
}
