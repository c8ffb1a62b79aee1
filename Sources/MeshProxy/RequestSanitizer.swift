import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What a request head said of its origin, once it was made trustworthy.
package struct RequestOrigin {
    /// The client: a trusted forwarded address, else the connection's peer.
    package var remoteAddress: SocketAddress
    /// The request comes from inside the mesh (`x-envoy-internal`).
    package var isInternal = false
    /// The request enters the mesh here.
    package var isEdge = false
    /// Not nil: answer with this status and details `rejecting_because_detection_failed`.
    package var rejectStatus: Int?
}

/// Makes a request head trustworthy before anything is decided by it: forwarded addresses, scheme,
/// request id, and the `x-envoy-*` headers that outsiders must not set.
///
/// Follows Envoy 1.40 header by header (envoy: ConnectionManagerUtility::mutateRequestHeaders).
/// Connection-specific fields are the codec's. Immutable; one per connection manager and worker.
package final class RequestSanitizer {
    private let config: HTTPConnectionManagerConfig
    private let nodeID: String
    private let nodeCluster: String
    private let nodeAddress: IPAddress?
    private let internalOnlyHeaders: [HeaderName]
    private let addressHeaders: [HeaderName]

    /// - Parameter nodeAddress: this machine's address on the network; `x-forwarded-for` names it for
    ///   clients on the loopback interface, as in Envoy. Nil: the loopback address is named.
    package init(
        _ config: HTTPConnectionManagerConfig,
        node: NodeConfig,
        nodeAddress: IPAddress? = nil
    ) {
        self.config = config
        nodeID = node.id
        nodeCluster = node.cluster
        self.nodeAddress = nodeAddress
        internalOnlyHeaders = config.routes.internalOnlyHeaders.map { HeaderName($0) }
        addressHeaders = config.originalIPDetection.map { detection in
            if case .header(let name, _, _) = detection { HeaderName(name) } else { HeaderName("") }
        }
    }

    /// - Parameter random: 128 random bits for a request id.
    package func sanitize(
        _ head: HeaderMap,
        from connection: ConnectionInfo,
        random: (UInt64, UInt64)
    ) -> RequestOrigin {
        head.remove(.envoyInternal)
        sanitizeReferer(head)

        var origin = RequestOrigin(remoteAddress: connection.remoteAddress)
        let detected =
            config.usesRemoteAddress
            ? receiveAtEdge(head, connection) : detectForwarded(head, connection)
        if let status = detected.rejectStatus {
            origin.rejectStatus = status
            return origin
        }
        if !head.contains(.forwardedProto) { setForwardedProto(head, connection) }
        if case .overwrite(let scheme) = config.schemeTransformation {
            head.set(.forwardedProto, scheme)
            head.set(.scheme, scheme)
        } else {
            setScheme(head, isSecure: connection.tls != nil)
        }

        origin.isInternal = detected.isTrusted && isInternal(detected.address, connection)
        origin.isEdge = !origin.isInternal && config.usesRemoteAddress
        if let address = detected.address {
            // Envoy keeps no port of a forwarded address.
            if address != connection.remoteAddress.ip {
                origin.remoteAddress = .ip(address, port: 0)
            }
        }

        if origin.isInternal {
            head.set(.envoyInternal, "true")
        } else {
            removeInternalHeaders(head, isEdge: origin.isEdge)
        }
        addIdentity(head)
        if !config.via.isEmpty {
            Self.appendListItem(config.via, to: .via, of: head, separator: ", ")
        }
        if origin.isEdge, let address = origin.remoteAddress.ip {
            head.set(.envoyExternalAddress, address.description)
        }
        setRequestID(head, isEdge: origin.isEdge, random: random)
        ForwardedClientCertificate.apply(config.clientCertificate, to: head, tls: connection.tls)
        return origin
    }

    // MARK: Where it comes from

    /// The peer is the client, or a trusted hop in front of it (envoy: use_remote_address).
    private func receiveAtEdge(_ head: HeaderMap, _ connection: ConnectionInfo) -> DetectedAddress {
        var detected = DetectedAddress(
            address: nil,
            isTrusted: !head.contains(.forwardedFor),
            appendsPeer: true
        )
        if config.trustedHops > 0 {
            detected.address =
                ClientAddress.forwarded(head, skipping: config.trustedHops - 1).address
        }
        if detected.address == nil { detected.address = connection.remoteAddress.ip }
        if !config.skipsForwardedForAppend { appendForwardedFor(head, connection) }
        if config.trustedHops == 0 || !head.contains(.forwardedProto) {
            setForwardedProto(head, connection)
        }
        if config.appendsForwardedPort, config.trustedHops == 0 || !head.contains(.forwardedPort),
            let port = connection.localAddress.port
        {
            head.set(.forwardedPort, decimal: Int(port))
        }
        return detected
    }

    /// Somebody before us knew the client (envoy: original_ip_detection_extensions).
    private func detectForwarded(_ head: HeaderMap, _ connection: ConnectionInfo) -> DetectedAddress
    {
        if config.originalIPDetection.isEmpty {
            return ClientAddress.forwarded(head, skipping: config.trustedHops)
        }
        for (at, detection) in config.originalIPDetection.enumerated() {
            var detected = DetectedAddress()
            switch detection {
            case .forwardedFor(let hops, let skipsAppend):
                detected = ClientAddress.forwarded(head, skipping: hops)
                detected.appendsPeer = !skipsAppend
            case .forwardedForTrusted(let networks, let skipsAppend):
                detected.appendsPeer = true
                if let peer = connection.remoteAddress.ip,
                    networks.contains(where: { $0.contains(peer) })
                {
                    detected = ClientAddress.forwarded(head, trusting: networks)
                    detected.appendsPeer = !skipsAppend
                }
            case .header(_, let isTrusted, let rejectStatus):
                detected.address = ClientAddress.parse(header: addressHeaders[at], of: head)
                detected.isTrusted = isTrusted
                if detected.address == nil { detected.rejectStatus = rejectStatus }
            }
            if detected.rejectStatus != nil { return detected }
            if detected.appendsPeer { appendForwardedFor(head, connection) }
            if detected.address != nil { return detected }
        }
        return DetectedAddress()
    }

    private func isInternal(_ address: IPAddress?, _ connection: ConnectionInfo) -> Bool {
        if let address {
            return config.internalAddresses.networks.contains { $0.contains(address) }
        }
        if case .unix = connection.remoteAddress, config.usesRemoteAddress {
            return config.internalAddresses.includesUnixSockets
        }
        return false
    }

    private func appendForwardedFor(_ head: HeaderMap, _ connection: ConnectionInfo) {
        guard let peer = connection.remoteAddress.ip else { return }
        let address = peer.isLoopback ? nodeAddress ?? peer : peer
        Self.appendListItem(address.description, to: .forwardedFor, of: head, separator: ",")
    }

    private func setForwardedProto(_ head: HeaderMap, _ connection: ConnectionInfo) {
        var isSecure = connection.tls != nil
        if let port = connection.localAddress.port {
            if config.forwardedProto.httpsPorts.contains(port) {
                isSecure = true
            } else if config.forwardedProto.httpPorts.contains(port) {
                isSecure = false
            }
        }
        let scheme: StaticString = isSecure ? "https" : "http"
        head.set(.forwardedProto, scheme)
    }

    /// `:scheme` of HTTP/1 is what `x-forwarded-proto` says, if that is a scheme we know.
    private func setScheme(_ head: HeaderMap, isSecure: Bool) {
        if head.contains(.scheme) { return }
        let forwarded = head[.forwardedProto]
        if forwarded?.equalsIgnoringCase("https") == true {
            head.set(.scheme, "https")
        } else if forwarded?.equalsIgnoringCase("http") == true {
            head.set(.scheme, "http")
        } else {
            head.set(.scheme, isSecure ? "https" : "http")
        }
    }

    // MARK: What it may say

    private func removeInternalHeaders(_ head: HeaderMap, isEdge: Bool) {
        if isEdge {
            head.remove(.envoyDecoratorOperation)
            head.remove(.envoyDownstreamServiceCluster)
            head.remove(.envoyDownstreamServiceNode)
            head.remove(.envoyOriginalPath)
            head.remove(.envoyOriginalHost)
        }
        head.remove(.envoyOriginalURL)
        head.remove(.envoyRetryOn)
        head.remove(.envoyRetryGRPCOn)
        head.remove(.envoyMaxRetries)
        head.remove(.envoyRetriableStatusCodes)
        head.remove(.envoyRetriableHeaderNames)
        head.remove(.envoyUpstreamAltStatName)
        head.remove(.envoyUpstreamRequestTimeout)
        head.remove(.envoyUpstreamRequestPerTryTimeout)
        head.remove(.envoyUpstreamRequestTimeoutAltResponse)
        head.remove(.envoyExpectedRequestTimeout)
        head.remove(.envoyHedgeOnPerTryTimeout)
        head.remove(.envoyForceTrace)
        head.remove(.envoyIPTags)
        for name in internalOnlyHeaders { head.remove(name) }
    }

    /// A referer that is no URL is dropped.
    private func sanitizeReferer(_ head: HeaderMap) {
        guard let referer = head[.referer] else { return }
        if !Self.isPlausibleURL(referer) { head.remove(.referer) }
    }

    /// As lenient as Envoy: relative references pass, an authority must have a host and a port that
    /// is one.
    static func isPlausibleURL(_ url: Bytes) -> Bool {
        if url.isEmpty || url.contains(where: { $0 <= 0x20 || $0 == 0x7F }) { return false }
        var start = 0
        while start < url.count, !"/?:".utf8.contains(url[start]) { start &+= 1 }
        let afterScheme = Bytes(rebasing: url[start...])
        let hasScheme = start > 0 && afterScheme.hasPrefixIgnoringCase("://")
        start = hasScheme ? start + 3 : 0
        var end = start
        while end < url.count, !"/?".utf8.contains(url[end]) { end &+= 1 }
        if hasScheme, end == start { return false }
        let authority = Bytes(rebasing: url[start..<end])
        if authority.contains(UInt8(ascii: "#")) { return false }
        guard let colon = HostHeader.portStart(authority) else { return true }
        let host = Bytes(rebasing: authority[..<colon])
        if !host.contains(UInt8(ascii: "@")), HostHeader.portStart(host) != nil { return false }
        return HostHeader.port(authority, after: colon) != nil
    }

    // MARK: Who handled it

    private func addIdentity(_ head: HeaderMap) {
        guard config.addsUserAgent, !nodeCluster.isEmpty else { return }
        head.set(.envoyDownstreamServiceCluster, nodeCluster)
        if head[.userAgent]?.isEmpty ?? true { head.set(.userAgent, nodeCluster) }
        if !nodeID.isEmpty { head.set(.envoyDownstreamServiceNode, nodeID) }
    }

    /// Puts an item at the end of a comma-separated field; one field remains.
    static func appendListItem(
        _ item: String,
        to name: KnownHeader,
        of head: HeaderMap,
        separator: StaticString
    ) {
        guard let value = head[name], !value.isEmpty else { return head.set(name, item) }
        var joined = ByteBuffer()
        head.forEachValue(name) { value in
            if !joined.isEmpty { joined.append(byte: UInt8(ascii: ",")) }
            joined.append(value)
        }
        joined.append(separator)
        joined.append(item)
        head.set(name, joined.bytes)
    }

    /// An id of the client's is kept inside the mesh; at its edge only where so configured, and then
    /// it loses the sampling decision it may carry.
    private func setRequestID(_ head: HeaderMap, isEdge: Bool, random: (UInt64, UInt64)) {
        guard config.generatesRequestID else { return }
        guard let id = head[.requestID], !id.isEmpty else { return RequestID.set(head, random) }
        guard isEdge else { return }
        guard config.preservesExternalRequestID else { return RequestID.set(head, random) }
        if config.packsTraceReason { RequestID.resetTraceReason(head) }
    }
}

/// `x-request-id`: a random UUID (RFC 9562 §5.4) whose version digit may carry a sampling decision.
enum RequestID {
    private static let size = 36
    /// The digit that tells the version.
    private static let versionAt = 14

    static func set(_ head: HeaderMap, _ random: (UInt64, UInt64)) {
        let high = random.0 & ~0xF000 | 0x4000
        let low = random.1 & ~(0b11 << 62) | 0b10 << 62
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { text in
            text.storeBytes(of: digits(high >> 32), as: UInt64.self)
            store(digits(high), at: 9, of: text)
            store(digits(low >> 32), at: 19, of: text)
            text.storeBytes(of: digits(low), toByteOffset: 28, as: UInt64.self)
            let hyphen = UInt8(ascii: "-")
            text[8] = hyphen
            text[13] = hyphen
            text[18] = hyphen
            text[23] = hyphen
            head.set(.requestID, Bytes(text))
        }
    }

    /// Two groups of four digits, with room for the hyphen between them.
    private static func store(_ digits: UInt64, at: Int, of text: UnsafeMutableRawBufferPointer) {
        let first = UInt32(truncatingIfNeeded: digits)
        text.storeBytes(of: first, toByteOffset: at, as: UInt32.self)
        text.storeBytes(of: UInt32(digits >> 32), toByteOffset: at + 5, as: UInt32.self)
    }

    /// Eight hexadecimal digits of the lower half, the highest at the lowest address; all at once.
    private static func digits(_ value: UInt64) -> UInt64 {
        var spread = UInt64(UInt32(truncatingIfNeeded: value).byteSwapped)
        spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF
        spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF
        let nibbles = spread >> 4 & 0x000F_000F_000F_000F | (spread & 0x000F_000F_000F_000F) << 8
        let isLetter = (nibbles &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ isLetter &* 0x27
    }

    /// Makes the id one that says nothing about sampling.
    static func resetTraceReason(_ head: HeaderMap) {
        guard let id = head[.requestID], id.count == size else { return }
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 1) { copy in
            copy.copyMemory(from: id)
            copy[versionAt] = UInt8(ascii: "4")
            head.set(.requestID, Bytes(copy))
        }
    }
}

extension UnsafeRawBufferPointer {
    /// - Parameter text: in lower case.
    func hasPrefixIgnoringCase(_ text: StaticString) -> Bool {
        guard count >= text.utf8CodeUnitCount else { return false }
        for at in 0..<text.utf8CodeUnitCount {
            let byte = self[at]
            let lower = byte &- 0x41 < 26 ? byte | 0x20 : byte
            if lower != text.utf8Start[at] { return false }
        }
        return true
    }

    /// - Parameter text: in lower case.
    func equalsIgnoringCase(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount && hasPrefixIgnoringCase(text)
    }
}
