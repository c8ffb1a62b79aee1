import MeshNet
import MeshSimulation
import Testing

/// Runs the body once per seed; a failure says how to replay it.
func simulate(seeds: Int = 20, _ body: (Simulation) throws -> Void) {
    for seed in Simulation.seeds(seeds) {
        let simulation = Simulation(seed: seed)
        do {
            try body(simulation)
        } catch {
            Issue.record("\(error); \(simulation.replay)")
        }
    }
}

/// Bytes that show at a glance where something was lost.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
}

/// A connection's user that notes what happens and may echo.
final class RecordingDelegate: ConnectionDelegate {
    var received: [UInt8] = []
    var isEstablished = false
    var isReadEnded = false
    var blocks = 0
    var unblocks = 0
    var closed: ConnectionCloseReason?
    /// Bytes to consume per delivery; the rest must be offered again.
    var appetite = Int.max
    var echoes = false
    var answersEndWithClose = false
    var onEstablished: ((Connection) -> Void)?

    func connectionEstablished(_ connection: Connection) {
        isEstablished = true
        onEstablished?(connection)
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        let count = min(appetite, bytes.count)
        let taken = Bytes(rebasing: bytes[..<count])
        received += taken
        if echoes {
            connection.output.append(taken)
            connection.outputGrew()
        }
        return count
    }

    func connectionReadEnded(_ connection: Connection) {
        isReadEnded = true
        if answersEndWithClose { connection.closeAfterFlush() }
    }

    func connectionOutputBlocked(_ connection: Connection) { blocks += 1 }
    func connectionOutputUnblocked(_ connection: Connection) { unblocks += 1 }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        closed = reason
    }
}

/// A server host: accepts connections, each with a delegate of its own.
final class RecordingServer: ListenerDelegate {
    let loop: EventLoop
    let address: SocketAddress
    var delegates: [RecordingDelegate] = []
    var connections: [Connection] = []
    var exhausted = 0
    var makeDelegate: () -> RecordingDelegate
    private var listener: Listener?

    init(
        in simulation: Simulation,
        port: UInt16 = 80,
        delegate: @escaping () -> RecordingDelegate
    ) throws {
        loop = simulation.makeLoop()
        makeDelegate = delegate
        let any = SocketAddress.ip(IPAddress(ipv4: 0x0A01_0001), port: port)
        let socket = try loop.system.listen(on: any, options: ListenOptions())
        address = any
        listener = try Listener(socket: socket, loop: loop, delegate: self)
    }

    func accepted(_ socket: Socket, from address: SocketAddress) {
        let delegate = makeDelegate()
        let connection = Connection(accepted: socket, loop: loop, secure: nil, delegate: delegate)
        delegates.append(delegate)
        connections.append(connection)
        try? connection.start()
    }

    func acceptExhausted(_ error: SystemError) { exhausted += 1 }

    func stopListening() { listener?.close() }
}

extension ConnectionCloseReason {
    var name: String {
        switch self {
        case .local: "local"
        case .remote: "remote"
        case .reset: "reset"
        case .connectFailed: "connectFailed"
        case .connectTimeout: "connectTimeout"
        case .tlsFailed: "tlsFailed"
        }
    }
}
