/// Who uses a connection: a codec's owner, a relay, a pool.
package protocol ConnectionDelegate: AnyObject {
    /// The connection can carry application bytes: TCP is connected and TLS, where used, established.
    /// Called once, also for accepted connections, from ``Connection/start()`` or later.
    func connectionEstablished(_ connection: Connection)
    /// Received bytes; returns how many were consumed. The rest is offered again with what follows.
    func connection(_ connection: Connection, received bytes: Bytes) -> Int
    /// The peer will send no more (FIN, or close_notify). Writing may go on.
    func connectionReadEnded(_ connection: Connection)
    /// Buffered output crossed the high watermark, or fell under the low one again.
    func connectionOutputBlocked(_ connection: Connection)
    func connectionOutputUnblocked(_ connection: Connection)
    /// The kernel has taken more of the output. Only where ``Connection/tellsFlushes``.
    func connectionFlushed(_ connection: Connection)
    /// The connection is gone, whoever ended it. Called once, last.
    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason)
}

extension ConnectionDelegate {
    package func connectionFlushed(_ connection: Connection) {}
}

package enum ConnectionCloseReason: Sendable {
    /// We closed it.
    case local
    /// The peer closed both directions, or its FIN was not to be survived.
    case remote
    case reset(SystemError)
    case connectFailed(SystemError)
    case connectTimeout
    /// ``Connection/transportFailureReason`` has the words.
    case tlsFailed
}

/// One socket with its transport (plain or TLS) and its buffers, on one loop for life.
///
/// Nobody else touches readiness: writers append to ``ByteSink/output`` and call
/// ``outputGrew()``, and the loop's flush stage writes. While open, the connection and its delegate
/// hold each other; closing parts them. An idle connection owns no buffer.
package final class Connection: ByteSink, ReadinessHandler, TimerTarget, DeferredWork {
    enum State { case connecting, handshaking, open, lingering, closed }

    package let loop: EventLoop
    package let socket: Socket
    /// Whose socket it is: the loop's system's, or the network inside the process's.
    let sockets: any Sockets
    package private(set) var secure: (any SecureTransport)?
    package var delegate: (any ConnectionDelegate)?
    /// Bytes of output at which the source is told to pause; half of it resumes.
    /// (envoy: per_connection_buffer_limit_bytes, 1 MiB)
    package var outputHighWatermark = 1 << 20
    /// How long a closing connection waits for the peer's FIN (envoy: delayed_close_timeout).
    package var lingerTimeout = Nanoseconds.seconds(1)
    /// How long a closing connection's peer may take nothing of what is still to be sent.
    package var closingStallMax = Nanoseconds.seconds(60)
    /// Closing ended because one of these two was over.
    package private(set) var hasTimedOutClosing = false
    /// When an outgoing connection's TCP handshake was over; nil before, and for accepted ones.
    package private(set) var connectedAt: Instant?
    /// Bytes taken from and given to the kernel.
    package private(set) var socketBytesReceived: UInt64 = 0
    package internal(set) var socketBytesSent: UInt64 = 0
    /// Bytes the delegate took and gave, which TLS makes more of on the wire.
    package private(set) var bytesReceived: UInt64 = 0
    package internal(set) var bytesSent: UInt64 = 0
    /// Why TLS failed or the socket broke, in words; empty otherwise.
    package internal(set) var transportFailureReason = ""

    /// The delegate hears of flushes.
    package var tellsFlushes = false

    var state: State
    var registration: EventLoop.Registration?
    /// Received plaintext the delegate did not consume.
    var input = ByteBuffer()
    /// Ciphertext the kernel did not take.
    var ciphertext = ByteBuffer()
    var timer = TimerID.none
    /// Edge-triggered memory: what the last event said and no failed call has since denied.
    var isReadable = false
    var isWritable = false
    var isDirty = false
    private var isDeferred = false
    private var isTurnWanted = false
    private var turnTimer = TimerID.none
    private var isDelivering = false
    var isBlocked = false
    var isClosingAfterFlush = false
    var isAbortingAfterFlush = false
    var isSendingShut = false
    var isCloseNotifySent = false
    var isFinSent = false
    /// A FIN or RST is known to be queued behind the unread bytes: read on until it is reached.
    var isEndQueued = false
    /// A write has failed. What the peer sent before it hung up is still delivered, then we close.
    var brokenBy: SystemError?
    var peerEnded = false
    private var endDelivered = false

    enum Timer { static let establish: UInt8 = 0, linger: UInt8 = 1, turn: UInt8 = 2 }

    /// Reads per event before other connections get their turn.
    private static let readsPerTurn = 4

    /// An accepted connection. Takes the socket. Nothing happens before ``start()``.
    ///
    /// - Parameter sockets: whose socket it is; nil: the loop's system's.
    package init(
        accepted socket: Socket,
        of sockets: (any Sockets)? = nil,
        loop: EventLoop,
        secure: (any SecureTransport)?,
        delegate: any ConnectionDelegate
    ) {
        self.loop = loop
        self.socket = socket
        self.sockets = sockets ?? loop.system
        self.secure = secure
        self.delegate = delegate
        state = secure == nil ? .open : .handshaking
        super.init()
    }

    init(
        connecting socket: Socket,
        of sockets: any Sockets,
        loop: EventLoop,
        secure: (any SecureTransport)?,
        delegate: any ConnectionDelegate
    ) {
        self.loop = loop
        self.socket = socket
        self.sockets = sockets
        self.secure = secure
        self.delegate = delegate
        state = .connecting
        super.init()
    }

    package var localAddress: SocketAddress? { sockets.localAddress(of: socket) }
    package var tls: TLSConnectionInfo? { secure?.info }
    package var isClosed: Bool { state == .closed }
    package var isOpen: Bool { state == .open }
    /// The peer has sent FIN or close_notify, though perhaps not all before it was delivered.
    package var hasPeerEnded: Bool { peerEnded }

    // MARK: ByteSink

    package override var bufferedBytes: Int { output.count + ciphertext.count }

    /// Sends `bytes` behind what is already in ``ByteSink/output``.
    package override func write(_ bytes: Bytes) {
        guard let rest = writtenAtOnce(bytes) else { return }
        output.append(rest, from: &loop.spareBlocks)
        outputGrew()
    }

    package override func willWrite() { output.adoptBlock(of: &loop.spareBlocks) }

    package override func outputGrew() {
        guard brokenBy == nil, state != .closed, state != .lingering else { return output.clear() }
        markDirty()
        if !isBlocked, bufferedBytes > outputHighWatermark {
            isBlocked = true
            delegate?.connectionOutputBlocked(self)
        }
    }

    package override func resumeReading() {
        precondition(readPauses > 0, "connection resumed more often than paused")
        readPauses -= 1
        if readPauses == 0, isReadable || !input.isEmpty || peerEnded { deferTurn() }
    }

    package override var now: Instant { loop.now }

    package override func wantTurn() {
        isTurnWanted = true
        deferTurn()
    }

    package override func wantTurn(at time: Instant) {
        loop.cancel(&turnTimer)
        guard state != .closed else { return }
        turnTimer = loop.arm(self, Timer.turn, after: max(.zero, time - loop.now))
    }

    func markDirty() {
        guard !isDirty, state != .closed else { return }
        isDirty = true
        loop.markDirty(self)
    }

    func deferTurn() {
        guard !isDeferred, state != .closed else { return }
        isDeferred = true
        loop.deferWork(self)
    }

    package func runDeferred() {
        isDeferred = false
        if isTurnWanted {
            isTurnWanted = false
            if state == .open { client?.takeTurn() }
        }
        readTurn()
    }

    // MARK: Closing

    /// Closes at once; unsent output is lost.
    package func close() { finish(.local) }

    /// Closes with RST, so that the peer knows that something is missing.
    package func abort() {
        guard state != .closed else { return }
        finish(.local, byReset: true)
    }

    /// Closes once all output is with the kernel: says FIN, then waits for the peer's FIN for a while,
    /// since closing at once would let unread input turn the last response into an RST (RFC 9112 §9.6).
    /// A peer that takes nothing for ``closingStallMax`` gets an RST: it is to know that something is missing.
    package func closeAfterFlush() {
        guard state != .closed, state != .lingering, !isClosingAfterFlush else { return }
        guard state == .open else { return finish(.local) }
        isClosingAfterFlush = true
        markDirty()
    }

    /// As ``closeAfterFlush()``, but ends with RST, so that the peer knows that something is missing behind
    /// what it gets.
    package func abortAfterFlush() {
        isAbortingAfterFlush = true
        closeAfterFlush()
    }

    /// Sends FIN (and close_notify) after all output, and goes on reading.
    package override func shutdownSending() {
        guard state == .open, !isSendingShut else { return }
        isSendingShut = true
        markDirty()
    }

    func finish(_ reason: ConnectionCloseReason, byReset: Bool = false) {
        guard state != .closed else { return }
        state = .closed
        if let registration { loop.deregister(registration) }
        registration = nil
        loop.cancel(&timer)
        loop.cancel(&turnTimer)
        loop.bury(self)
        if byReset { sockets.abort(socket) } else { sockets.close(socket) }
        output.release()
        ciphertext.release()
        input.clear()
        let delegate = delegate
        self.delegate = nil
        delegate?.connectionClosed(self, reason)
        if let delegate { loop.bury(delegate) }
    }

    package func timerFired(_ kind: UInt8) {
        if kind == Timer.turn {
            turnTimer = .none
            if state == .open { client?.takeTurn() }
            return
        }
        timer = .none
        switch kind {
        case Timer.linger:
            hasTimedOutClosing = true
            finish(.local, byReset: hasUnsent)
        default:
            if transportFailureReason.isEmpty, state == .handshaking {
                transportFailureReason = "TLS handshake timed out"
            }
            finish(.connectTimeout)
        }
    }

    // MARK: Readiness

    package func becameReady(_ readiness: Readiness) {
        if readiness.contains(.write) { isWritable = true }
        if readiness.contains(.read) { isReadable = true }
        if readiness.contains(.peerClosed) || readiness.contains(.error) {
            // Linux still hands out what was received before the FIN or RST; reading on finds both.
            isReadable = true
            isEndQueued = true
        }
        switch state {
        case .connecting: connectBecameReady(readiness)
        case .closed: break
        case .handshaking, .open, .lingering:
            // Reading finds no RST behind a FIN that was read.
            if endDelivered, readiness.contains(.error),
                let error = sockets.connectOutcome(of: socket)
            {
                transportFailureReason = error.reason
                return finish(.reset(error))
            }
            if isReadable { readTurn() }
            if isWritable, hasUnsent { markDirty() }
        }
    }

    var hasUnsent: Bool { !output.isEmpty || !ciphertext.isEmpty }

    private func connectBecameReady(_ readiness: Readiness) {
        guard readiness.contains(.write) || readiness.contains(.error) else { return }
        if let error = sockets.connectOutcome(of: socket) {
            transportFailureReason = error.reason
            return finish(.connectFailed(error))
        }
        connectedAt = loop.now
        if let secure {
            state = .handshaking
            secure.start(output: &ciphertext)
            markDirty()
            if isReadable { readTurn() }
        } else {
            established()
            if isReadable { readTurn() }
        }
    }

    private func established() {
        state = .open
        loop.cancel(&timer)
        delegate?.connectionEstablished(self)
        if !output.isEmpty { markDirty() }
    }

    // MARK: Reading

    /// Delivers what is buffered, then reads until the socket is empty, the delegate pauses, or it is
    /// another connection's turn.
    private func readTurn() {
        guard state != .closed, state != .connecting, !isDelivering else { return }
        if state == .lingering { return discardInput() }
        if !input.isEmpty, state == .open, readPauses == 0 { deliverBuffered() }
        var reads = 0
        while isReadable, readPauses == 0, state == .open || state == .handshaking, !peerEnded {
            if reads == Self.readsPerTurn { return deferTurn() }
            reads += 1
            if secure == nil { readPlain() } else { readSecure() }
        }
        if let brokenBy, state != .closed,
            endDelivered || (readPauses == 0 && (!isReadable || peerEnded))
        {
            return finish(.reset(brokenBy))
        }
        deliverEndIfReached()
    }

    private func readPlain() {
        if input.isEmpty {
            guard let count = receive(into: loop.readWindow) else { return }
            let bytes = Bytes(rebasing: loop.readWindow[..<count])
            let consumed = deliver(bytes)
            if consumed < count, state == .open {
                input.append(Bytes(rebasing: bytes[consumed...]))
            }
        } else {
            // The delegate waits for the rest of a message: it wants it in one piece.
            guard let count = receive(into: input.reserve(EventLoop.readWindowBytes / 4)) else {
                return
            }
            input.commit(count)
            deliverBuffered()
        }
    }

    private func deliverBuffered() {
        let consumed = deliver(input.bytes)
        guard state == .open else { return }
        input.consume(consumed)
        if input.isEmpty { input.release() }
    }

    private func deliver(_ bytes: Bytes) -> Int {
        isDelivering = true
        defer { isDelivering = false }
        let consumed = delegate?.connection(self, received: bytes) ?? bytes.count
        bytesReceived &+= UInt64(consumed)
        // Closing drops interest in the rest.
        return state == .open ? consumed : bytes.count
    }

    /// Reads once; nil where nothing came or the connection ended.
    private func receive(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        switch sockets.receive(from: socket, into: buffer) {
        case .bytes(let count):
            // A short read has emptied the socket: the next arrival raises a new edge.
            if count < buffer.count, !isEndQueued { isReadable = false }
            socketBytesReceived &+= UInt64(count)
            return count
        case .wouldBlock:
            isReadable = false
            return nil
        case .endOfStream:
            isReadable = false
            peerEnded = true
            return nil
        case .failed(let error):
            isReadable = false
            if transportFailureReason.isEmpty { transportFailureReason = error.reason }
            finish(.reset(error))
            return nil
        }
    }

    private func readSecure() {
        guard let count = receive(into: loop.readWindow) else { return }
        receive(ciphertext: Bytes(rebasing: loop.readWindow[..<count]))
    }

    func receive(ciphertext received: Bytes) {
        guard let secure else { return }
        let before = ciphertext.count
        let status: TLSStatus
        // Decrypt next to what is still unconsumed, or into the loop's scratch.
        let isFresh = input.isEmpty
        if isFresh {
            loop.plaintextScratch.clear()
            status = secure.receive(
                received,
                plaintext: &loop.plaintextScratch,
                output: &ciphertext
            )
        } else {
            status = secure.receive(received, plaintext: &input, output: &ciphertext)
        }
        if ciphertext.count > before { markDirty() }
        switch status {
        case .handshaking:
            return
        case .failed:
            transportFailureReason = secure.failureReason
            // Let the alert reach the peer, as far as one write can.
            writeCiphertext()
            return finish(.tlsFailed)
        case .peerClosed:
            peerEnded = true
        case .established:
            break
        }
        if state == .handshaking { established() }
        guard state == .open else { return }
        if isFresh {
            let plaintext = loop.plaintextScratch.bytes
            guard !plaintext.isEmpty else { return }
            let consumed = readPauses == 0 ? deliver(plaintext) : 0
            if consumed < plaintext.count, state == .open {
                input.append(Bytes(rebasing: plaintext[consumed...]))
            }
        } else if readPauses == 0 {
            deliverBuffered()
        }
    }

    private func deliverEndIfReached() {
        guard peerEnded, !endDelivered, readPauses == 0 else { return }
        if state == .handshaking {
            transportFailureReason = "peer closed during the TLS handshake"
            return finish(.remote)
        }
        guard state == .open else { return }
        endDelivered = true
        delegate?.connectionReadEnded(self)
    }

    /// A lingering connection only waits for the peer's FIN.
    func discardInput() {
        var reads = 0
        while isReadable, reads < Self.readsPerTurn {
            guard receive(into: loop.readWindow) != nil else { break }
            reads += 1
        }
        if peerEnded { finish(.local) } else if isReadable { deferTurn() }
    }
}
