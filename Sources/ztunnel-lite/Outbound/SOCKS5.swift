import MeshNet

/// Answers a SOCKS5 client's request, once (RFC 1928 §6).
final class SOCKS5Reply {
    enum Code: UInt8 {
        case succeeded = 0
        case generalFailure = 1
        case notAllowed = 2
        case hostUnreachable = 4
        case connectionRefused = 5
        case commandNotSupported = 7
        case addressTypeNotSupported = 8
    }

    private let connection: Connection

    init(_ connection: Connection) { self.connection = connection }

    func answer(_ code: Code) { Self.write(code, to: connection) }

    static func write(_ code: Code, to connection: Connection) {
        // The address that follows is of no use to anybody: 0.0.0.0:0.
        let reply: [UInt8] = [5, code.rawValue, 0, 1, 0, 0, 0, 0, 0, 0]
        reply.withUnsafeBytes { connection.write($0) }
    }
}

/// The first words with a SOCKS5 client (RFC 1928), without authentication: the port is for clients on this
/// machine whose connections are not captured. Then an ``OutboundConnection`` takes over.
final class SOCKS5Handshake: ConnectionDelegate, TimerTarget {
    private enum Phase { case greeting, request, done }

    private unowned let worker: ZtunnelWorker
    private let source: SocketAddress
    private var connection: Connection?
    private var phase = Phase.greeting
    private var timer = TimerID.none

    init(_ worker: ZtunnelWorker, from source: SocketAddress) {
        self.worker = worker
        self.source = source
    }

    func connectionEstablished(_ connection: Connection) {
        self.connection = connection
        timer = worker.loop.arm(self, after: ZtunnelWorker.handshakeTimeout)
    }

    func timerFired(_ kind: UInt8) {
        timer = .none
        connection?.close()
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        switch phase {
        case .greeting: greeting(bytes, connection)
        case .request: request(bytes, connection)
        case .done: bytes.count
        }
    }

    /// Version, how many methods, the methods.
    private func greeting(_ bytes: Bytes, _ connection: Connection) -> Int {
        guard bytes.count >= 2 else { return 0 }
        guard bytes[0] == 5 else { return drop("not SOCKS version 5", bytes, connection) }
        let length = 2 + Int(bytes[1])
        guard bytes.count >= length else { return 0 }
        let isWelcome = bytes[2..<length].contains(0)
        let answer: [UInt8] = [5, isWelcome ? 0 : 0xFF]
        answer.withUnsafeBytes { connection.write($0) }
        guard isWelcome else {
            return drop("the client insists on authentication", bytes, connection)
        }
        phase = .request
        guard bytes.count > length else { return length }
        return length + request(Bytes(rebasing: bytes[length...]), connection)
    }

    /// Version, command, reserved, address type, address, port.
    private func request(_ bytes: Bytes, _ connection: Connection) -> Int {
        guard bytes.count >= 5 else { return 0 }
        let addressBytes: Int
        switch bytes[3] {
        case 1: addressBytes = 4
        case 3: addressBytes = 1 + Int(bytes[4])
        case 4: addressBytes = 16
        default: return refuse(.addressTypeNotSupported, "unknown address type", bytes, connection)
        }
        let length = 4 + addressBytes + 2
        guard bytes.count >= length else { return 0 }
        guard bytes[0] == 5, bytes[1] == 1 else {
            return refuse(.commandNotSupported, "only CONNECT is served", bytes, connection)
        }
        let port = UInt16(bytes[length - 2]) << 8 | UInt16(bytes[length - 1])
        let field = Bytes(rebasing: bytes[4..<(4 + addressBytes)])
        guard let address = address(field, type: bytes[3]) else {
            return refuse(.hostUnreachable, "no service of that name", bytes, connection)
        }
        phase = .done
        worker.loop.cancel(&timer)
        self.connection = nil
        let session = OutboundConnection(worker, from: source, to: .ip(address, port: port))
        session.adopt(connection, SOCKS5Reply(connection))
        return length
    }

    private func address(_ field: Bytes, type: UInt8) -> IPAddress? {
        func number(_ bytes: Slice<Bytes>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch type {
        case 1: return IPAddress(ipv4: UInt32(truncatingIfNeeded: number(field[...])))
        case 4: return IPAddress(ipv6High: number(field[..<8]), low: number(field[8...]))
        default:
            // Only names of the mesh are known here.
            let name = String(bytes: Bytes(rebasing: field[1...]))
            return IPAddress(name) ?? worker.address(ofHost: name)
        }
    }

    private func refuse(
        _ code: SOCKS5Reply.Code,
        _ reason: String,
        _ bytes: Bytes,
        _ connection: Connection
    ) -> Int {
        SOCKS5Reply.write(code, to: connection)
        return drop(reason, bytes, connection)
    }

    private func drop(_ reason: String, _ bytes: Bytes, _ connection: Connection) -> Int {
        phase = .done
        worker.observer.refusedEarly(
            source: source,
            destination: worker.options.socks5Address,
            direction: .outbound,
            error: "SOCKS5: \(reason)"
        )
        connection.closeAfterFlush()
        return bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { connection.close() }
    func connectionOutputBlocked(_ connection: Connection) {}
    func connectionOutputUnblocked(_ connection: Connection) {}

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        worker.observer.socketClosed(.outbound)
        worker.loop.cancel(&timer)
        self.connection = nil
    }
}
