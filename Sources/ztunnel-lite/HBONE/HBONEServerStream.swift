import MeshHTTP
import MeshNet

/// The far half of a tunnel: a CONNECT from another node, whose bodies are the client's bytes.
final class HBONEServerStream: RelayEnd, ServerStreamDelegate {
    private unowned let connection: InboundConnection
    private var stream: (any ServerStream)?
    /// Nil before the request's head, and where the request is refused at once.
    private var session: InboundTunnel?
    private var isOpen = false

    init(_ stream: any ServerStream, on connection: InboundConnection) {
        self.stream = stream
        self.connection = connection
    }

    private func end() {
        session = nil
        stream = nil
    }

    // MARK: Answers

    /// Bytes may flow.
    func accept(_ head: HeaderMap) {
        isOpen = true
        stream?.sendHead(head, endStream: false)
        stream?.releaseHead()
    }

    /// No tunnel: says so, and nothing more.
    func refuse(status: Int) {
        let taken = connection.worker.headers.take()
        let head = taken.takeUnretainedValue()
        head.append(.status, "\(status)")
        let stream = stream
        end()
        stream?.sendHead(head, endStream: true)
        connection.worker.headers.give(taken)
    }

    // MARK: RelayEnd

    func write(_ bytes: Bytes) { stream?.sendData(bytes, endStream: false) }

    func shutdownSending() {
        guard isOpen else { return }
        stream?.sendData(Bytes(start: nil, count: 0), endStream: true)
    }

    func pauseReading() { stream?.pauseReading() }
    func resumeReading() { stream?.resumeReading() }
    func closeAfterFlush() { end() }

    func abort() {
        let stream = stream
        end()
        stream?.reset(isOpen ? .connectionTermination : .localReset)
    }

    // MARK: ServerStreamDelegate

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        guard let stream else { return }
        // Until the workload is there, nothing is read.
        stream.pauseReading()
        guard let session = connection.session(for: head, on: self) else { return }
        self.session = session
        session.begin()
        if endStream { session.nearEnded() }
    }

    func requestData(_ bytes: Bytes, endStream: Bool) {
        if !bytes.isEmpty { session?.nearReceived(bytes) }
        if endStream { session?.nearEnded() }
    }

    /// A tunnel has none.
    func requestTrailers(_ trailers: HeaderMap) { session?.nearEnded() }

    func requestInvalid(_ error: CodecError) {
        stream = nil
        closed("\(error.reason)")
    }

    func requestReset(_ reason: StreamResetReason) { closed("stream reset: \(reason.text)") }

    private func closed(_ reason: String) {
        let session = session
        end()
        session?.nearClosed(isCut: true, reason)
    }

    func responseSent() {}
    func responseBlocked() { session?.nearBlocked() }
    func responseUnblocked() { session?.nearUnblocked() }
}
