import MeshConfig
import MeshHTTP
import MeshNet

/// The values of operators: each is written into the buffer, or found absent.
enum FormatValues {
    static func append(
        _ field: FormatField,
        _ context: FormatContext,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        let stream = context.stream
        switch field {
        case .proto: return text(stream.httpVersion?.text, &buffer)
        case .upstreamProtocol: return text(stream.upstreamHTTPVersion?.text, &buffer)
        case .responseCode: return number(stream.responseCode, &buffer)
        case .responseCodeDetails: return text(stream.responseCodeDetails, &buffer)
        case .responseFlags: return flags(stream.flags, isLong: false, &buffer)
        case .responseFlagsLong: return flags(stream.flags, isLong: true, &buffer)
        case .connectionTerminationDetails:
            return text(
                stream.connectionTerminationDetails.isEmpty
                    ? stream.connection.terminationDetails : stream.connectionTerminationDetails,
                &buffer
            )
        case .bytesReceived: return number(stream.bytesReceived, &buffer)
        case .bytesSent: return number(stream.bytesSent, &buffer)
        case .upstreamWireBytesReceived: return number(stream.upstreamWireBytesReceived, &buffer)
        case .upstreamWireBytesSent: return number(stream.upstreamWireBytesSent, &buffer)
        case .downstreamWireBytesReceived: return number(stream.wireBytesReceived, &buffer)
        case .downstreamWireBytesSent: return number(stream.wireBytesSent, &buffer)
        case .requestHeadersBytes: return number(context.requestHead?.byteSize ?? 0, &buffer)
        case .responseHeadersBytes: return number(context.responseHead?.byteSize ?? 0, &buffer)
        case .responseTrailersBytes:
            return number(context.responseTrailers?.byteSize ?? 0, &buffer)
        case .duration: return milliseconds(stream.start, stream.end ?? context.now, &buffer)
        case .requestDuration:
            return milliseconds(stream.start, stream.lastDownstreamByteReceived, &buffer)
        case .requestTxDuration:
            return milliseconds(stream.start, stream.lastUpstreamByteSent, &buffer)
        case .responseDuration:
            return milliseconds(stream.start, stream.firstUpstreamByteReceived, &buffer)
        case .responseTxDuration:
            return milliseconds(
                stream.firstUpstreamByteReceived,
                stream.lastDownstreamByteSent,
                &buffer
            )
        case .downstreamHandshakeDuration:
            return milliseconds(stream.connection.start, stream.connection.handshakeEnd, &buffer)
        case .upstreamHost:
            return address(stream.upstreamHost, .whole, &buffer)
        case .upstreamRemoteAddress:
            return address(stream.upstreamRemoteAddress, .whole, &buffer)
        case .upstreamHostName, .upstreamHostNameWithoutPort:
            let isWithoutPort = field == .upstreamHostNameWithoutPort
            guard stream.upstreamHostName.isEmpty else {
                return text(
                    isWithoutPort
                        ? withoutPort(stream.upstreamHostName) : stream.upstreamHostName,
                    &buffer
                )
            }
            return address(
                stream.upstreamHost,
                isWithoutPort ? .withoutPort : .whole,
                &buffer
            )
        case .upstreamCluster:
            return text(
                stream.cluster?.statName ?? "",
                &buffer
            )
        case .upstreamClusterRaw: return text(stream.clusterName, &buffer)
        case .upstreamLocalAddress: return address(stream.upstreamLocalAddress, .whole, &buffer)
        case .upstreamLocalAddressWithoutPort:
            return address(stream.upstreamLocalAddress, .withoutPort, &buffer)
        case .upstreamLocalPort: return address(stream.upstreamLocalAddress, .port, &buffer)
        case .upstreamRemoteAddressWithoutPort:
            return address(stream.upstreamRemoteAddress, .withoutPort, &buffer)
        case .upstreamRemotePort:
            return address(stream.upstreamRemoteAddress, .port, &buffer)
        case .upstreamRequestAttemptCount: return number(stream.attemptCount, &buffer)
        case .upstreamTransportFailureReason:
            return text(stream.upstreamTransportFailureReason, &buffer)
        case .upstreamConnectionID:
            guard stream.upstreamHost != nil else { return .absent }
            return number(stream.upstreamConnectionID, &buffer)
        case .routeName: return text(stream.route?.name ?? "", &buffer)
        case .virtualClusterName: return text(stream.virtualClusterName, &buffer)
        case .connectionID: return number(stream.connection.id, &buffer)
        case .filterChainName: return text(stream.connection.filterChainName, &buffer)
        case .localReplyBody:
            buffer.append(stream.localReplyBody)
            return .text
        case .streamID: return text(context.requestHead?[.requestID], &buffer)
        case .accessLogType: return text(context.logType.text, &buffer)
        case .grpcStatusNumber:
            guard let status = GRPCStatus.of(context) else { return .absent }
            return number(status, &buffer)
        case .queryParameters:
            return text(context.requestHead.flatMap { query($0[.path]) }, &buffer)
        case .hostname, .traceID, .spanID: return .absent
        case .customFlags: return .text
        default: return appendOfConnection(field, stream, &buffer)
        }
    }

    /// Addresses and certificates.
    private static func appendOfConnection(
        _ field: FormatField,
        _ stream: StreamInfo,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        let connection = stream.connection
        switch field {
        case .downstreamRemoteAddress: return address(stream.remoteAddress, .whole, &buffer)
        case .downstreamRemoteAddressWithoutPort:
            return address(stream.remoteAddress, .withoutPort, &buffer)
        case .downstreamRemotePort: return address(stream.remoteAddress, .port, &buffer)
        case .downstreamDirectRemoteAddress:
            return address(connection.directRemoteAddress, .whole, &buffer)
        case .downstreamDirectRemoteAddressWithoutPort:
            return address(connection.directRemoteAddress, .withoutPort, &buffer)
        case .downstreamDirectRemotePort:
            return address(connection.directRemoteAddress, .port, &buffer)
        case .downstreamLocalAddress: return address(connection.localAddress, .whole, &buffer)
        case .downstreamLocalAddressWithoutPort:
            return address(connection.localAddress, .withoutPort, &buffer)
        case .downstreamLocalPort: return address(connection.localAddress, .port, &buffer)
        case .downstreamDirectLocalAddress:
            return address(connection.directLocalAddress, .whole, &buffer)
        case .downstreamDirectLocalAddressWithoutPort:
            return address(connection.directLocalAddress, .withoutPort, &buffer)
        case .downstreamDirectLocalPort:
            return address(connection.directLocalAddress, .port, &buffer)
        case .downstreamTransportFailureReason:
            return text(connection.transportFailureReason, &buffer)
        case .downstreamTLSVersion: return text(connection.tls?.version, &buffer)
        case .downstreamTLSCipher: return text(connection.tls?.cipher, &buffer)
        case .downstreamTLSSessionID: return text(connection.tls?.sessionID, &buffer)
        case .downstreamPeerURISAN: return list(connection.tls?.peer?.uriSANs, &buffer)
        case .downstreamPeerDNSSAN: return list(connection.tls?.peer?.dnsSANs, &buffer)
        case .downstreamPeerIPSAN: return list(connection.tls?.peer?.ipSANs, &buffer)
        case .downstreamPeerEmailSAN: return list(connection.tls?.peer?.emailSANs, &buffer)
        case .downstreamPeerSubject: return text(connection.tls?.peer?.subject, &buffer)
        case .downstreamPeerIssuer: return text(connection.tls?.peer?.issuer, &buffer)
        case .downstreamPeerSerial: return text(connection.tls?.peer?.serial, &buffer)
        case .downstreamPeerFingerprint256: return text(connection.tls?.peer?.sha256, &buffer)
        case .downstreamPeerFingerprint1: return text(connection.tls?.peer?.sha1, &buffer)
        case .downstreamPeerChainSerials: return list(connection.tls?.peer?.chainSerials, &buffer)
        case .downstreamPeerChainFingerprints256:
            return list(connection.tls?.peer?.chainSHA256, &buffer)
        case .downstreamPeerChainFingerprints1:
            return list(connection.tls?.peer?.chainSHA1, &buffer)
        case .downstreamPeerCert: return certificate(connection.tls?.peer, &buffer)
        case .downstreamLocalURISAN: return list(connection.tls?.local?.uriSANs, &buffer)
        case .downstreamLocalDNSSAN: return list(connection.tls?.local?.dnsSANs, &buffer)
        case .downstreamLocalIPSAN: return list(connection.tls?.local?.ipSANs, &buffer)
        case .downstreamLocalEmailSAN: return list(connection.tls?.local?.emailSANs, &buffer)
        case .downstreamLocalSubject: return text(connection.tls?.local?.subject, &buffer)
        case .upstreamServerName: return text(stream.upstreamTLS?.serverName, &buffer)
        case .upstreamTLSVersion: return text(stream.upstreamTLS?.version, &buffer)
        case .upstreamTLSCipher: return text(stream.upstreamTLS?.cipher, &buffer)
        case .upstreamTLSSessionID: return text(stream.upstreamTLS?.sessionID, &buffer)
        case .upstreamPeerSubject: return text(stream.upstreamTLS?.peer?.subject, &buffer)
        case .upstreamPeerIssuer: return text(stream.upstreamTLS?.peer?.issuer, &buffer)
        case .upstreamPeerCert: return certificate(stream.upstreamTLS?.peer, &buffer)
        case .upstreamPeerURISAN: return list(stream.upstreamTLS?.peer?.uriSANs, &buffer)
        case .upstreamPeerDNSSAN: return list(stream.upstreamTLS?.peer?.dnsSANs, &buffer)
        case .upstreamPeerIPSAN: return list(stream.upstreamTLS?.peer?.ipSANs, &buffer)
        case .upstreamLocalURISAN: return list(stream.upstreamTLS?.local?.uriSANs, &buffer)
        case .upstreamLocalDNSSAN: return list(stream.upstreamTLS?.local?.dnsSANs, &buffer)
        case .upstreamLocalIPSAN: return list(stream.upstreamTLS?.local?.ipSANs, &buffer)
        default: return .absent
        }
    }

    // MARK: Kinds of values

    private static func text(_ value: String?, _ buffer: inout ByteBuffer) -> FormatValueKind {
        guard let value, !value.isEmpty else { return .absent }
        buffer.append(value)
        return .text
    }

    private static func text(
        _ value: StaticString?,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        guard let value else { return .absent }
        buffer.append(value)
        return .text
    }

    private static func text(_ value: Bytes?, _ buffer: inout ByteBuffer) -> FormatValueKind {
        guard let value else { return .absent }
        buffer.append(value)
        return .text
    }

    private static func number(_ value: Int, _ buffer: inout ByteBuffer) -> FormatValueKind {
        buffer.append(decimal: value)
        return .json
    }

    private static func number(_ value: UInt64, _ buffer: inout ByteBuffer) -> FormatValueKind {
        number(Int(clamping: value), &buffer)
    }

    private static func list(_ values: [String]?, _ buffer: inout ByteBuffer) -> FormatValueKind {
        guard let values, let first = values.first else { return .absent }
        buffer.append(first)
        for value in values.dropFirst() {
            buffer.append(byte: UInt8(ascii: ","))
            buffer.append(value)
        }
        return .text
    }

    private static func milliseconds(
        _ from: Instant?,
        _ to: Instant?,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        guard let from, let to else { return .absent }
        return number(Int(max(0, (to - from).milliseconds)), &buffer)
    }

    private static func flags(
        _ flags: ResponseFlags,
        isLong: Bool,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        // Without flags Envoy prints the dash also in JSON, and also where empty values are left out.
        guard !flags.isEmpty else {
            buffer.append(byte: UInt8(ascii: "-"))
            return .text
        }
        var isFirst = true
        for (flag, short, long) in ResponseFlags.names where flags.contains(flag) {
            if !isFirst { buffer.append(byte: UInt8(ascii: ",")) }
            isFirst = false
            buffer.append(isLong ? long : short)
        }
        return .text
    }

    private enum AddressPart { case whole, withoutPort, port }

    private static func address(
        _ address: SocketAddress?,
        _ part: AddressPart,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        guard let address else { return .absent }
        guard case .ip(let ip, let port) = address else {
            guard part != .port else { return .absent }
            buffer.append(address.description)
            return .text
        }
        switch part {
        case .port: return number(Int(port), &buffer)
        case .withoutPort:
            append(ip, &buffer)
        case .whole:
            if ip.isIPv6 { buffer.append(byte: UInt8(ascii: "[")) }
            append(ip, &buffer)
            if ip.isIPv6 { buffer.append(byte: UInt8(ascii: "]")) }
            buffer.append(byte: UInt8(ascii: ":"))
            buffer.append(decimal: Int(port))
        }
        return .text
    }

    private static func append(_ ip: IPAddress, _ buffer: inout ByteBuffer) {
        // Every line has several IPv4 addresses; they need no string.
        guard !ip.isIPv6 else { return buffer.append(ip.description) }
        for shift: UInt64 in [24, 16, 8, 0] {
            buffer.append(decimal: Int(ip.low >> shift & 255))
            if shift > 0 { buffer.append(byte: UInt8(ascii: ".")) }
        }
    }

    /// PEM with the bytes that would break a line or a field percent-encoded, as Envoy does.
    private static func certificate(
        _ certificate: CertificateInfo?,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        guard let certificate, !certificate.pem.isEmpty else { return .absent }
        for byte in certificate.pem.utf8 {
            switch byte {
            case UInt8(ascii: "\n"): buffer.append("%0A" as StaticString)
            case UInt8(ascii: " "): buffer.append("%20" as StaticString)
            case UInt8(ascii: "+"): buffer.append("%2B" as StaticString)
            case UInt8(ascii: "/"): buffer.append("%2F" as StaticString)
            case UInt8(ascii: "="): buffer.append("%3D" as StaticString)
            default: buffer.append(byte: byte)
            }
        }
        return .text
    }

    private static func withoutPort(_ host: String) -> String {
        guard let colon = host.lastIndex(of: ":"),
            host[host.index(after: colon)...].allSatisfy(\.isNumber)
        else { return host }
        return String(host[..<colon])
    }

    /// What follows `?` in a path, up to a fragment.
    static func query(_ path: Bytes?) -> Bytes? {
        guard let path, let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return nil }
        let end = path.firstIndex(of: UInt8(ascii: "#")) ?? path.count
        return mark + 1 < end ? Bytes(rebasing: path[(mark + 1)..<end]) : nil
    }

    // MARK: Points in time

    static func wallTime(_ time: FormatTime, _ context: FormatContext) -> WallTime? {
        switch time {
        case .start: context.stream.startWall
        case .emit: context.wallNow
        case .downstreamPeerCertStart: context.stream.connection.tls?.peer?.notBefore
        case .downstreamPeerCertEnd: context.stream.connection.tls?.peer?.notAfter
        case .upstreamPeerCertStart: context.stream.upstreamTLS?.peer?.notBefore
        case .upstreamPeerCertEnd: context.stream.upstreamTLS?.peer?.notAfter
        }
    }

    static func instant(_ point: FormatTimePoint, _ context: FormatContext) -> Instant? {
        let stream = context.stream
        return switch point {
        case .downstreamConnectionBegin: stream.connection.start
        case .downstreamConnectionEnd: stream.connection.end
        case .downstreamHandshakeBegin: stream.connection.handshakeStart
        case .downstreamHandshakeEnd: stream.connection.handshakeEnd
        case .requestBegin: stream.start
        case .requestHeadEnd: stream.timing?.counted.headEnd
        case .authorized: stream.timing?.counted.authorized
        case .routed: stream.timing?.counted.routed
        case .poolReady: stream.timing?.counted.poolReady
        case .requestFlushed: stream.timing?.counted.requestFlushed
        case .requestEnd: stream.lastDownstreamByteReceived
        case .upstreamConnectBegin: stream.upstreamConnectStart
        case .upstreamConnectEnd: stream.upstreamConnectEnd
        case .upstreamHandshakeEnd: stream.upstreamHandshakeEnd
        case .upstreamRequestBegin: stream.firstUpstreamByteSent
        case .upstreamRequestEnd: stream.lastUpstreamByteSent
        case .upstreamResponseBegin: stream.firstUpstreamByteReceived
        case .upstreamResponseBodyBegin: stream.timing?.counted.responseBodyBegin
        case .upstreamResponseEnd: stream.lastUpstreamByteReceived
        case .responseBegin: stream.firstDownstreamByteSent
        case .responseEnd: stream.lastDownstreamByteSent
        }
    }
}
