import MeshNet

/// One proxied connection: what arrives at one end leaves at the other.
///
/// The near end is the client's, the far end leads to the server. Each direction ends by itself
/// (half-close); a full end pauses the other's source, so that at most its watermark lies here. What ends
/// out of order at one end ends so at the other: nobody takes a cut stream for a whole one.
///
/// Subclasses decide where the far end is; see ``OutboundConnection``, ``InboundTunnel`` and
/// ``InboundPassthrough``.
class RelaySession: ConnectionDelegate {
    final let worker: ZtunnelWorker
    final let record: ConnectionRecord
    /// Nil before it is there and after it is gone.
    final private(set) var near: (any RelayEnd)?
    final private(set) var far: (any RelayEnd)?
    /// Where the worker's list has it; nil: not on it.
    final var position: Int?

    private final var hasNearEnded = false
    private final var hasFarEnded = false
    private final var isRelaying = false
    /// The observer has heard that it was opened.
    private final var isReported = false
    private(set) final var isFinished = false
    /// The near end, where it is a socket that is counted.
    private final var accepted: ObjectIdentifier?

    init(_ worker: ZtunnelWorker, _ record: ConnectionRecord) {
        self.worker = worker
        self.record = record
    }

    final var loop: EventLoop { worker.loop }

    // MARK: Beginning

    final func attach(near end: any RelayEnd) { near = end }
    final func attach(far end: any RelayEnd) { far = end }

    /// Everything about it is known: it is counted, and listed for changes of policy.
    final func report() {
        guard !isReported else { return }
        isReported = true
        worker.observer.opened(record)
        worker.add(self)
    }

    /// The far end is there: bytes may flow. The near end was paused until now.
    final func startRelaying() {
        isRelaying = true
        if hasNearEnded { far?.shutdownSending() }
        near?.resumeReading()
    }

    /// Begins a TCP connection to the server; the outcome comes to ``farEstablished()`` or ``farFailed(_:)``.
    final func connect(to address: SocketAddress, from source: IPAddress?) {
        do throws(SystemError) {
            far = try Connection.connect(
                to: address,
                options: worker.socketOptions(to: address, from: source),
                loop: loop,
                secure: nil,
                timeout: ZtunnelWorker.connectTimeout,
                delegate: self
            )
        } catch {
            farFailed(error.reason)
        }
    }

    // MARK: Roles

    /// The accepted connection is there.
    func nearEstablished() {}
    /// The server answered.
    func farEstablished() {}
    /// The server cannot be reached.
    func farFailed(_ reason: String) {}

    /// Policy has changed: is it still allowed?
    func review() {}
    /// Whether it came on this connection.
    func belongs(to connection: InboundConnection) -> Bool { false }

    // MARK: Ending

    /// Nothing comes of it, or not any more: the client hears so by a reset.
    func fail(_ error: String, _ flag: FailureFlag) {
        guard !isFinished else { return }
        record.error = error
        record.flags = flag
        let near = near
        let far = far
        finish()
        near?.abort()
        far?.abort()
    }

    /// The end; both ends have been told, or are by the caller.
    final func finish() {
        guard !isFinished else { return }
        isFinished = true
        near = nil
        far = nil
        worker.remove(self)
        finished()
        if isReported {
            worker.observer.finished(record)
        } else {
            worker.observer.refusedEarly(
                source: record.source,
                destination: record.destination,
                direction: record.direction,
                error: record.error
            )
        }
        worker.loop.bury(self)
    }

    /// For what a subclass holds.
    func finished() {}

    // MARK: Relaying

    final func nearReceived(_ bytes: Bytes) {
        worker.observer.carried(record, sent: 0, received: bytes.count)
        far?.write(bytes)
    }

    final func farReceived(_ bytes: Bytes) {
        worker.observer.carried(record, sent: bytes.count, received: 0)
        near?.write(bytes)
    }

    final func nearEnded() {
        hasNearEnded = true
        far?.shutdownSending()
        closeIfBothHaveEnded()
    }

    final func farEnded() {
        hasFarEnded = true
        near?.shutdownSending()
        closeIfBothHaveEnded()
    }

    private final func closeIfBothHaveEnded() {
        guard hasNearEnded, hasFarEnded else { return }
        let near = near
        let far = far
        finish()
        near?.closeAfterFlush()
        far?.closeAfterFlush()
    }

    final func nearBlocked() { far?.pauseReading() }
    final func nearUnblocked() { far?.resumeReading() }
    final func farBlocked() { near?.pauseReading() }
    final func farUnblocked() { near?.resumeReading() }

    /// The client is gone before both directions had ended. `isCut`: not in order.
    final func nearClosed(isCut: Bool, _ reason: String) {
        guard !isFinished else { return }
        near = nil
        let far = far
        if isCut { record.error = reason }
        finish()
        if isCut { far?.abort() } else { far?.closeAfterFlush() }
    }

    final func farClosed(isCut: Bool, _ reason: String) {
        guard !isFinished else { return }
        far = nil
        let near = near
        if isCut { record.error = reason }
        finish()
        if isCut { near?.abort() } else { near?.closeAfterFlush() }
    }

    // MARK: ConnectionDelegate

    final func connectionEstablished(_ connection: Connection) {
        if connection === far {
            farEstablished()
        } else {
            near = connection
            accepted = ObjectIdentifier(connection)
            // Nothing is read before there is somewhere to put it.
            connection.pauseReading()
            nearEstablished()
        }
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        guard !isFinished else { return bytes.count }
        if connection === near { nearReceived(bytes) } else { farReceived(bytes) }
        return bytes.count
    }

    final func connectionReadEnded(_ connection: Connection) {
        guard !isFinished else { return }
        if connection === near { nearEnded() } else { farEnded() }
    }

    final func connectionOutputBlocked(_ connection: Connection) {
        if connection === near { nearBlocked() } else { farBlocked() }
    }

    final func connectionOutputUnblocked(_ connection: Connection) {
        if connection === near { nearUnblocked() } else { farUnblocked() }
    }

    final func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        if accepted == ObjectIdentifier(connection) {
            accepted = nil
            worker.observer.socketClosed(record.direction)
        }
        guard !isFinished else { return }
        if connection === near {
            nearClosed(isCut: reason.isCut, "connection reset by the client")
        } else if connection === far {
            if isRelaying {
                farClosed(isCut: reason.isCut, "connection reset by the server")
            } else {
                far = nil
                farFailed(connection.connectFailure(reason))
            }
        }
    }
}

extension ConnectionCloseReason {
    /// Whether something may be missing.
    fileprivate var isCut: Bool {
        switch self {
        case .local, .remote: false
        case .reset, .connectFailed, .connectTimeout, .tlsFailed: true
        }
    }
}

extension Connection {
    /// Why it never came to be, in words.
    func connectFailure(_ reason: ConnectionCloseReason) -> String {
        switch reason {
        case .connectFailed(let error), .reset(let error): error.reason
        case .connectTimeout: "connection timed out"
        case .tlsFailed: transportFailureReason
        case .local, .remote: "connection closed"
        }
    }
}
