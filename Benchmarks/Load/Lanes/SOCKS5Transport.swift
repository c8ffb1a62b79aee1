import MeshNet

/// The words with a SOCKS5 proxy that come before all others on a connection (RFC 1928, CONNECT, no
/// authentication), and behind them TLS or plain bytes.
final class SOCKS5Transport: SecureTransport {
    private enum Phase { case greeting, connecting, through, refused }

    private let target: SocketAddress
    private let inner: (any SecureTransport)?
    private var phase = Phase.greeting
    private var reply: [UInt8] = []
    /// What the proxy said against it.
    private(set) var refusal: String?

    private static let version: UInt8 = 5
    private static let addressTypeIPv4: UInt8 = 1
    private static let addressTypeIPv6: UInt8 = 4

    init(to target: SocketAddress, inner: (any SecureTransport)?) {
        self.target = target
        self.inner = inner
    }

    func start(output: inout ByteBuffer) {
        // One method is offered: no authentication.
        for byte in [Self.version, 1, 0] { output.append(byte: byte) }
    }

    func receive(
        _ ciphertext: Bytes,
        plaintext: inout ByteBuffer,
        output: inout ByteBuffer
    ) -> TLSStatus {
        if phase == .through { return pass(ciphertext, &plaintext, &output) }
        var at = 0
        while at < ciphertext.count, phase == .greeting || phase == .connecting {
            reply.append(ciphertext[at])
            at += 1
            advance(&output)
        }
        switch phase {
        case .refused: return .failed
        case .greeting, .connecting: return .handshaking
        case .through:
            inner?.start(output: &output)
            return pass(Bytes(rebasing: ciphertext[at...]), &plaintext, &output)
        }
    }

    func send(_ plaintext: Bytes, output: inout ByteBuffer) -> Bool {
        if let inner { return inner.send(plaintext, output: &output) }
        output.append(plaintext)
        return true
    }

    func shutdown(output: inout ByteBuffer) { inner?.shutdown(output: &output) }

    var info: TLSConnectionInfo? { inner?.info }
    var failureReason: String { refusal ?? inner?.failureReason ?? "" }

    private func pass(
        _ bytes: Bytes,
        _ plaintext: inout ByteBuffer,
        _ output: inout ByteBuffer
    ) -> TLSStatus {
        guard let inner else {
            plaintext.append(bytes)
            return .established
        }
        return bytes.isEmpty
            ? .handshaking : inner.receive(bytes, plaintext: &plaintext, output: &output)
    }

    /// Looks at the reply so far.
    private func advance(_ output: inout ByteBuffer) {
        if reply[0] != Self.version { return refuse("what answers is no SOCKS5 proxy") }
        if phase == .greeting {
            guard reply.count == 2 else { return }
            guard reply[1] == 0 else { return refuse("the proxy wants authentication") }
            reply = []
            phase = .connecting
            return writeConnect(&output)
        }
        guard reply.count >= 2 else { return }
        guard reply[1] == 0 else { return refuse(Self.words(reply[1])) }
        guard reply.count >= 5 else { return }
        // Version, reply, a zero, the bound address with its type, and its port.
        let addressBytes =
            switch reply[3] {
            case Self.addressTypeIPv4: 4
            case Self.addressTypeIPv6: 16
            default: 1 + Int(reply[4])
            }
        if reply.count == 6 + addressBytes { phase = .through }
    }

    private func writeConnect(_ output: inout ByteBuffer) {
        guard let ip = target.ip, let port = target.port else {
            return refuse("only IP addresses can be reached")
        }
        for byte in [Self.version, 1, 0] { output.append(byte: byte) }
        output.append(byte: ip.isIPv6 ? Self.addressTypeIPv6 : Self.addressTypeIPv4)
        withUnsafeBytes(of: ip.high.bigEndian) { if ip.isIPv6 { output.append($0) } }
        withUnsafeBytes(of: ip.low.bigEndian) {
            output.append(ip.isIPv6 ? $0 : Bytes(rebasing: $0[4...]))
        }
        withUnsafeBytes(of: port.bigEndian) { output.append($0) }
    }

    private func refuse(_ reason: String) {
        phase = .refused
        refusal = reason
    }

    /// RFC 1928 §6.
    private static func words(_ code: UInt8) -> String {
        switch code {
        case 1: "general failure"
        case 2: "not allowed by the proxy's rules"
        case 3: "network unreachable"
        case 4: "host unreachable"
        case 5: "connection refused"
        case 6: "time to live expired"
        case 7: "command not supported"
        case 8: "address type not supported"
        default: "code \(code)"
        }
    }
}
