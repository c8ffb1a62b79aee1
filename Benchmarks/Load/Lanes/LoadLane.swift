import MeshNet

/// A connection's place in a run: opens it, opens it again when it has gone, and speaks one protocol on
/// it, which a subclass adds.
package class LoadLane: ConnectionDelegate, TimerTarget {
    // Unchecked: it owns us.
    final unowned(unsafe) let generator: LoadGenerator
    final let index: Int
    final var slots: [RequestSlot] = []
    final private(set) var connection: Connection?
    final private(set) var isOpen = false
    final var hasBeenUp = false
    final var hasSettled = false
    /// Something was answered on the present connection.
    final var isProductive = false
    /// With a connection for each request: the one that waits for this connection.
    private var opener: RequestSlot?
    private var retry = TimerID.none
    /// Of all connections but the present one, for what was sent.
    private var bytesMoved = LaneBytes()

    /// How long after a failure the next connection is tried.
    private static let retryDelay = Nanoseconds.milliseconds(20)
    private static let connectPatience = Nanoseconds.seconds(5)

    init(_ generator: LoadGenerator, index: Int) {
        self.generator = generator
        self.index = index
    }

    static func make(_ generator: LoadGenerator, index: Int) -> LoadLane {
        switch generator.plan.traffic {
        case .http1, .http2, .grpcUnary, .grpcStream, .connectHTTP1, .idleHTTP1, .idleStreams:
            HTTPLane(generator, index: index)
        case .tcpEcho, .connectTCP, .idleTCP: EchoLane(generator, index: index)
        case .tcpDownload, .tcpUpload: BulkLane(generator, index: index)
        }
    }

    // MARK: For subclasses

    /// The connection can carry requests: offer the slots, where each request has not one of its own.
    func established(_ connection: Connection) {}
    /// Returns how many bytes were taken.
    func received(_ bytes: Bytes) -> Int { bytes.count }
    func receivedEnd() { connection?.close() }
    func outputBlocked() {}
    func outputUnblocked() {}
    /// The connection has gone; `fault` is for requests under way.
    func lost(_ fault: LoadFault) {
        for slot in slots { generator.failed(slot, fault) }
    }

    // MARK: Requests

    /// False where the slot takes no request just now.
    final func begin(_ slot: RequestSlot) -> Bool {
        if isOpen { return slot.send() }
        guard generator.isChurn, connection == nil, retry.isNone else { return false }
        opener = slot
        open()
        return true
    }

    /// A request was answered; what follows is up to the kind of traffic.
    final func answered(_ slot: RequestSlot) {
        isProductive = true
        generator.answered(slot)
    }

    final func offerSlots() {
        for slot in slots { generator.offer(slot) }
    }

    /// The one exchange of this connection is over. RST leaves no port in TIME_WAIT behind.
    final func endExchange() {
        connection?.abort()
    }

    // MARK: The connection

    final func open() {
        guard connection == nil, generator.phase != .done else { return }
        isProductive = false
        do throws(SystemError) {
            connection = try Connection.connect(
                to: generator.target.address,
                options: generator.target.options(lane: index),
                loop: generator.loop,
                secure: generator.target.makeTransport(),
                timeout: Self.connectPatience,
                delegate: self
            )
        } catch {
            openFailed(.connect(error))
        }
    }

    /// The run is over.
    final func close() {
        generator.loop.cancel(&retry)
        connection?.abort()
    }

    final var bytes: LaneBytes {
        var bytes = bytesMoved
        bytes.sent &+= connection?.bytesSent ?? 0
        return bytes
    }

    private func openFailed(_ fault: LoadFault) {
        if let opener {
            self.opener = nil
            generator.failed(opener, fault)
        } else {
            generator.count(fault)
        }
        generator.settled(self)
        retryLater()
    }

    private func retryLater() {
        guard retry.isNone, generator.phase != .done else { return }
        retry = generator.loop.arm(self, after: Self.retryDelay)
    }

    package final func timerFired(_ kind: UInt8) {
        retry = .none
        if generator.isChurn { offerSlots() } else { open() }
    }

    // MARK: ConnectionDelegate

    package final func connectionEstablished(_ connection: Connection) {
        isOpen = true
        generator.opened(self)
        established(connection)
        guard let opener else { return }
        self.opener = nil
        if !opener.send() {
            generator.failed(opener, .closed)
            endExchange()
        }
    }

    package final func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        // Not the connection's own count, which lacks the last bytes where they end it.
        let count = received(bytes)
        bytesMoved.received &+= UInt64(count)
        return count
    }

    package final func connectionReadEnded(_ connection: Connection) { receivedEnd() }
    package final func connectionOutputBlocked(_ connection: Connection) { outputBlocked() }
    package final func connectionOutputUnblocked(_ connection: Connection) { outputUnblocked() }

    package final func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        bytesMoved.sent &+= connection.bytesSent
        self.connection = nil
        let wasOpen = isOpen
        isOpen = false
        for slot in slots { slot.isReady = false }
        guard generator.phase != .done else { return }
        let fault = LoadFault(reason, connection)
        guard wasOpen else { return openFailed(fault) }
        lost(fault)
        if generator.isIdle { fell(fault) }
        if generator.isChurn {
            if isProductive { offerSlots() } else { retryLater() }
        } else if generator.phase != .standing {
            if isProductive { open() } else { retryLater() }
        }
    }

    private func fell(_ fault: LoadFault) {
        if slots.contains(where: \.isStanding) { generator.count(fault) }
        slots.forEach(generator.fell)
    }
}

extension LoadFault {
    init(_ reason: ConnectionCloseReason, _ connection: Connection) {
        switch reason {
        case .local, .remote: self = .closed
        case .reset(let error): self = .reset(error)
        case .connectFailed(let error): self = .connect(error)
        case .connectTimeout: self = .connectTimeout
        case .tlsFailed:
            if let socks = connection.secure as? SOCKS5Transport, let reason = socks.refusal {
                self = .socks5(reason)
            } else {
                self = .tls(connection.transportFailureReason)
            }
        }
    }
}
