/// Who takes accepted sockets.
package protocol ListenerDelegate: AnyObject {
    /// Takes the socket.
    func accepted(_ socket: Socket, from address: SocketAddress)
    /// No descriptor was left for a waiting connection; the listener tries again by itself.
    func acceptExhausted(_ error: SystemError)
    /// So many were taken at one go.
    func acceptTurnEnded(accepted: Int)
}

extension ListenerDelegate {
    package func acceptTurnEnded(accepted: Int) {}
}

/// A listening socket on one loop: accepts in bursts, backs off when the process has no descriptor left.
package final class Listener: ReadinessHandler, TimerTarget, DeferredWork {
    private let loop: EventLoop
    private let socket: Socket
    private weak var delegate: (any ListenerDelegate)?
    private var registration: EventLoop.Registration?
    private var retry = TimerID.none

    /// Connections accepted before established ones get their turn.
    private static let acceptsPerTurn = 64
    /// How long to wait for a descriptor to become free.
    private static let exhaustedDelay = Nanoseconds.milliseconds(50)

    /// Takes the socket, which is listening already.
    package init(
        socket: Socket,
        loop: EventLoop,
        delegate: any ListenerDelegate
    ) throws(SystemError) {
        self.socket = socket
        self.loop = loop
        self.delegate = delegate
        registration = try loop.register(self, for: socket)
    }

    /// Stops accepting and closes the socket; connections the kernel has queued are refused.
    package func close() {
        guard let registration else { return }
        self.registration = nil
        loop.cancel(&retry)
        loop.deregister(registration)
        loop.system.close(socket)
    }

    package func becameReady(_ readiness: Readiness) { acceptTurn() }

    package func runDeferred() { acceptTurn() }

    package func timerFired(_ kind: UInt8) {
        retry = .none
        acceptTurn()
    }

    private func acceptTurn() {
        var accepts = 0
        var accepted = 0
        defer { if accepted > 0 { delegate?.acceptTurnEnded(accepted: accepted) } }
        while registration != nil {
            if accepts == Self.acceptsPerTurn { return loop.deferWork(self) }
            accepts += 1
            switch loop.system.accept(from: socket) {
            case .accepted(let socket, let address):
                accepted += 1
                if let delegate {
                    delegate.accepted(socket, from: address)
                } else {
                    loop.system.close(socket)
                }
            case .wouldBlock:
                return
            case .lost:
                continue
            case .exhausted(let error):
                // Edge-triggered: nothing will tell us again, so we ask again ourselves.
                delegate?.acceptExhausted(error)
                if retry.isNone { retry = loop.arm(self, after: Self.exhaustedDelay) }
                return
            }
        }
    }
}
