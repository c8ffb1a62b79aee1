import MeshNet

/// What a workload's application tunnel begins with: who comes, and whom for (PROXY protocol, version 2).
enum ProxyProtocol {
    /// Istio's type for the client's SPIFFE ID.
    private static let identityType: UInt8 = 0xD0
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    /// The header of a connection (PROXY, STREAM).
    static func header(_ connection: L4Connection, to target: SocketAddress) -> ByteBuffer {
        var body = ByteBuffer()
        let isIPv6 = target.ip?.isIPv6 ?? false
        for address in [connection.source, target] { append(address.ip, isIPv6: isIPv6, to: &body) }
        for address in [connection.source, target] { append(address.port ?? 0, to: &body) }
        if let identity = connection.identity {
            let text = Array(identity.description.utf8)
            body.append(byte: identityType)
            append(UInt16(clamping: text.count), to: &body)
            text.withUnsafeBytes { body.append($0) }
        }
        var header = ByteBuffer()
        signature.withUnsafeBytes { header.append($0) }
        header.append(byte: 0x21)
        header.append(byte: isIPv6 ? 0x21 : 0x11)
        append(UInt16(clamping: body.count), to: &header)
        header.append(body.bytes)
        return header
    }

    private static func append(_ number: UInt16, to buffer: inout ByteBuffer) {
        buffer.append(byte: UInt8(number >> 8))
        buffer.append(byte: UInt8(truncatingIfNeeded: number))
    }

    private static func append(_ address: IPAddress?, isIPv6: Bool, to buffer: inout ByteBuffer) {
        let address = address ?? IPAddress(ipv4: 0)
        guard isIPv6 else { return append(bigEndian: address.low, bytes: 4, to: &buffer) }
        // An IPv4 client of an IPv6 target is mapped (RFC 4291 §2.5.5.2).
        let mapped = 0xFFFF_0000_0000 | address.low
        append(bigEndian: address.high, bytes: 8, to: &buffer)
        append(bigEndian: address.isIPv6 ? address.low : mapped, bytes: 8, to: &buffer)
    }

    private static func append(bigEndian number: UInt64, bytes: Int, to buffer: inout ByteBuffer) {
        for at in (0..<bytes).reversed() {
            buffer.append(byte: UInt8(truncatingIfNeeded: number >> UInt64(8 * at)))
        }
    }
}
