import MeshHTTP
import MeshNet

/// A connection that speaks HTTP/1 or HTTP/2, with the proxy's own client codecs.
final class HTTPLane: LoadLane, ClientCodecDelegate {
    private(set) var codec: (any ClientCodec)?
    private var isDelivering = false
    private let isMultiplexed: Bool

    override init(_ generator: LoadGenerator, index: Int) {
        isMultiplexed = generator.plan.traffic.isHTTP2
        super.init(generator, index: index)
        slots = (0..<generator.plan.streamsPerConnection).map { _ in makeCall() }
    }

    private func makeCall() -> HTTPCall {
        switch generator.plan.traffic {
        case .grpcUnary: GRPCUnaryCall(http: self)
        case .grpcStream, .idleStreams: GRPCStreamCall(http: self)
        default: HTTPCall(http: self)
        }
    }

    // MARK: LoadLane

    override func established(_ connection: Connection) {
        if isMultiplexed {
            guard connection.tls.map({ $0.alpn == "h2" }) ?? true else {
                generator.count(.noHTTP2)
                return connection.close()
            }
            var settings = HTTP2Settings()
            settings.maxConcurrentStreams = UInt32(max(slots.count, 1024))
            codec = HTTP2ClientCodec(
                sink: connection,
                delegate: self,
                settings: settings,
                pool: generator.maps
            )
        } else {
            codec = HTTP1ClientCodec(
                sink: connection,
                delegate: self,
                settings: HTTP1Settings(),
                pool: generator.maps
            )
        }
        if !generator.isChurn { offerRoom() }
    }

    override func received(_ bytes: Bytes) -> Int {
        guard let codec else { return bytes.count }
        isDelivering = true
        let count = codec.received(bytes)
        isDelivering = false
        settle()
        return count
    }

    override func receivedEnd() {
        codec?.receivedEnd()
        connection?.close()
    }

    override func outputBlocked() { codec?.outputBlocked() }
    override func outputUnblocked() { codec?.outputUnblocked() }

    override func lost(_ fault: LoadFault) {
        let codec = codec
        self.codec = nil
        super.lost(fault)
        codec?.connectionClosed(.connectionTermination)
    }

    // MARK: Room

    /// After an exchange: the next one, or the end of a connection that was for one only.
    private func settle() {
        guard isOpen else { return }
        if generator.isChurn {
            if slots.contains(where: { !$0.isUnderWay }) { endExchange() }
        } else {
            offerRoom()
        }
    }

    /// Offers as many slots as the peer has room for.
    private func offerRoom() {
        guard isOpen, let codec else { return }
        var room = codec.streamsAvailable
        for slot in slots where !slot.isUnderWay {
            if !slot.holdsRoom {
                guard room > 0 else { continue }
                room -= 1
            }
            generator.offer(slot)
        }
    }

    // MARK: ClientCodecDelegate

    func streamEnded(reusable: Bool) {
        if !isDelivering { settle() }
    }

    func streamsAvailableChanged() {
        if !isDelivering { settle() }
    }

    /// The codec is done with it. Where nobody waits for anything, RST leaves no port in TIME_WAIT behind.
    func closeAfterFlush() {
        if slots.contains(where: \.isUnderWay) {
            connection?.closeAfterFlush()
        } else {
            connection?.abort()
        }
    }

    func closeNow() { connection?.close() }
    func abort() { connection?.abort() }
}
