import MeshHTTP
import MeshNet

/// Who wants a tunnel hears what became of it.
protocol HBONEClientStreamOwner: AnyObject {
    /// The other node has connected: bytes may flow.
    func tunnelOpened()
    /// It answered with another status than 200.
    func tunnelRefused(status: Int)
    /// The stream was lost before the answer. `isUnprocessed`: nobody has looked at it, so it may be tried
    /// again elsewhere.
    func tunnelLost(isUnprocessed: Bool, _ reason: String)
}

/// The near half of a tunnel: a CONNECT to another node, whose bodies are the client's bytes.
final class HBONEClientStream: RelayEnd, ClientStreamDelegate {
    private enum Phase { case asked, open, ended }

    private var owner: (any HBONEClientStreamOwner & RelaySession)?
    private var stream: (any ClientStream)?
    private var phase = Phase.asked
    private var holdsHead = true
    private var hasSentEnd = false
    private var hasPeerEnded = false
    let connection: HBONEConnection

    /// Sends the request. The owner hears the outcome later.
    init(
        on connection: HBONEConnection,
        head: HeaderMap,
        owner: any HBONEClientStreamOwner & RelaySession
    ) {
        self.owner = owner
        self.connection = connection
        let stream = connection.openStream(self)
        self.stream = stream
        stream.sendHead(head, endStream: false)
    }

    private func end() {
        phase = .ended
        owner = nil
        stream = nil
    }

    // MARK: RelayEnd

    func write(_ bytes: Bytes) {
        guard !hasSentEnd else { return }
        stream?.sendData(bytes, endStream: false)
    }

    func shutdownSending() {
        guard phase == .open, !hasSentEnd else { return }
        hasSentEnd = true
        let stream = stream
        if hasPeerEnded { end() }
        stream?.sendData(Bytes(start: nil, count: 0), endStream: true)
    }

    func pauseReading() { stream?.pauseReading() }
    func resumeReading() { stream?.resumeReading() }

    /// Both END_STREAMs are said; what waits for the window is the codec's to send.
    func closeAfterFlush() {
        if hasSentEnd, hasPeerEnded { end() } else { abort() }
    }

    func abort() {
        let stream = stream
        end()
        stream?.reset(.localReset)
    }

    // MARK: ClientStreamDelegate

    func responseInformational(_ head: HeaderMap) {}

    func responseHead(_ head: HeaderMap, endStream: Bool) {
        guard phase == .asked, let owner else { return }
        let status = head.statusCode ?? 0
        guard status == 200 else {
            let stream = stream
            end()
            if !endStream { stream?.reset(.localReset) }
            return owner.tunnelRefused(status: status)
        }
        phase = .open
        owner.tunnelOpened()
        if endStream { peerEnded() }
    }

    func responseData(_ bytes: Bytes, endStream: Bool) {
        guard phase == .open else { return }
        if holdsHead {
            holdsHead = false
            stream?.releaseHead()
        }
        if !bytes.isEmpty { owner?.farReceived(bytes) }
        if endStream { peerEnded() }
    }

    func responseTrailers(_ trailers: HeaderMap) {
        if phase == .open { peerEnded() }
    }

    private func peerEnded() {
        hasPeerEnded = true
        let owner = owner
        if hasSentEnd { end() }
        owner?.farEnded()
    }

    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        let owner = owner
        let wasOpen = phase == .open
        end()
        if let cause = connection.endCause {
            owner?.fail(cause.reason, cause.flag)
            return
        }
        guard wasOpen else {
            let isUnprocessed = reason == .remoteRefused
            owner?.tunnelLost(isUnprocessed: isUnprocessed, "stream reset: \(reason.text)")
            return
        }
        owner?.farClosed(isCut: true, "stream reset: \(reason.text)")
    }

    func requestBlocked() { owner?.farBlocked() }
    func requestUnblocked() { owner?.farUnblocked() }
}
