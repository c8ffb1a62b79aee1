import MeshNet

/// No HTTP at all: what a CONNECT carries, as the bytes of one upstream connection (envoy: TcpUpstream).
///
/// The tunnel ends here: nothing of the request's head is written, and the answer, 200, is our own. From
/// then on bodies are bytes, and the end of each direction is a FIN, which the other survives. The codec
/// is its own stream, the only one of its connection.
package final class RawClientCodec: ClientCodec, ClientStream {
    private enum Phase { case unused, open, ended }

    private let sink: ByteSink
    // Unchecked: it outlives us.
    private unowned(unsafe) let owner: any ClientCodecDelegate
    private let pool: HeaderMapPool
    private var router: (any ClientStreamDelegate)?
    private var phase = Phase.unused
    private var hasSentEnd = false
    private var hasPeerEnded = false
    private var pauses = 0

    package private(set) var bytesReceived: UInt64 = 0
    package private(set) var bytesSent: UInt64 = 0

    /// - Parameters:
    ///   - delegate: outlives the codec.
    ///   - pool: the worker's; the answer is borrowed from it.
    package init(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        pool: HeaderMapPool = HeaderMapPool()
    ) {
        self.sink = sink
        owner = delegate
        self.pool = pool
    }

    // MARK: The connection's side

    package var streamsAvailable: Int { phase == .unused && router == nil ? 1 : 0 }

    package func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream {
        precondition(streamsAvailable > 0, "a raw connection carries one stream")
        router = delegate
        return self
    }

    package func received(_ bytes: Bytes) -> Int {
        bytesReceived &+= UInt64(bytes.count)
        router?.responseData(bytes, endStream: false)
        return bytes.count
    }

    package func receivedEnd() {
        guard let router, phase == .open, !hasPeerEnded else { return }
        hasPeerEnded = true
        router.responseData(Bytes(start: nil, count: 0), endStream: true)
        endIfBothHave()
    }

    package func connectionClosed(_ reason: StreamResetReason) {
        let router = router
        die()
        router?.responseReset(reason, detail: "raw.connection_closed")
    }

    package func outputBlocked() {
        if !hasSentEnd { router?.requestBlocked() }
    }

    package func outputUnblocked() {
        if !hasSentEnd { router?.requestUnblocked() }
    }

    // MARK: The stream's side

    package func sendHead(_ head: HeaderMap, endStream: Bool) {
        guard let router, phase == .unused else { return }
        phase = .open
        if endStream {
            hasSentEnd = true
            sink.shutdownSending()
        }
        let taken = pool.take()
        let answer = taken.takeUnretainedValue()
        answer.append(.status, "200")
        router.responseHead(answer, endStream: false)
        pool.give(taken)
    }

    package func sendData(_ bytes: Bytes, endStream: Bool) {
        guard router != nil, phase == .open, !hasSentEnd else { return }
        if !bytes.isEmpty {
            bytesSent &+= UInt64(bytes.count)
            sink.write(bytes)
        }
        guard endStream else { return }
        hasSentEnd = true
        sink.shutdownSending()
        endIfBothHave()
    }

    /// TCP has none: they end the request.
    package func sendTrailers(_ trailers: HeaderMap) {
        sendData(Bytes(start: nil, count: 0), endStream: true)
    }

    /// The peer is to know that something is missing: the connection ends with RST.
    package func reset(_ reason: StreamResetReason) {
        guard router != nil else { return }
        if phase == .unused {
            router = nil
            return owner.streamEnded(reusable: true)
        }
        die()
        owner.connectionSpoiled(.streamLost)
        owner.abort()
    }

    private func endIfBothHave() {
        guard hasSentEnd, hasPeerEnded, router != nil else { return }
        die()
        owner.streamEnded(reusable: false)
        owner.closeAfterFlush()
    }

    private func die() {
        phase = .ended
        router = nil
        while pauses > 0 { resumeReading() }
    }

    package func pauseReading() {
        guard router != nil else { return }
        pauses += 1
        sink.pauseReading()
    }

    package func resumeReading() {
        guard pauses > 0 else { return }
        pauses -= 1
        sink.resumeReading()
    }
}
