import MeshLoad
import MeshNet
import MeshSimulation

/// A generator and a server on the simulated network, in virtual time.
final class LoadFixture {
    let simulation = Simulation(seed: 1)
    let server: BenchServer
    private(set) var generator: LoadGenerator?
    private let loop: EventLoop

    /// - Parameter latency: of the link, one way.
    init(latency: Nanoseconds = .milliseconds(1)) throws {
        server = try BenchServer(in: simulation)
        loop = simulation.makeLoop()
        simulation.network.conditions = { _, _ in
            var conditions = LinkConditions.calm
            conditions.latency = latency.count...latency.count
            return conditions
        }
    }

    var plan: LoadPlan {
        var plan = LoadPlan(target: "\(server.address)", traffic: .http1)
        plan.connections = 10
        plan.duration = 3
        return plan
    }

    func start(_ plan: LoadPlan) throws -> LoadGenerator {
        let generator = try LoadGenerator(plan: plan, loop: loop)
        self.generator = generator
        simulation.keep(generator)
        simulation.add(SimulatedPacer(generator, clock: simulation.clock))
        generator.start()
        return generator
    }

    /// Runs to the plan's end.
    func run(_ plan: LoadPlan) throws -> LoadResult {
        let generator = try start(plan)
        simulation.run(until: { generator.phase == .done }, limit: .seconds(60))
        return generator.result
    }
}

/// Calls the generator exactly when something is due.
private final class SimulatedPacer: SimulationActor {
    private let generator: LoadGenerator
    private let clock: VirtualClock

    init(_ generator: LoadGenerator, clock: VirtualClock) {
        self.generator = generator
        self.clock = clock
    }

    var nextDeadline: Instant? { generator.nextDue }
    var isRunnable: Bool { nextDeadline.map { $0 <= clock.now } ?? false }
    func step() { generator.advance() }
}

/// Answers every HTTP/1 request with the same bytes, at once, but for the time of its stall.
final class BenchServer: ListenerDelegate, TimerTarget {
    let address: SocketAddress = .ip(IPAddress(ipv4: 0x0A01_0001), port: 80)
    var answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    /// Requests that arrive in this time are answered at its end.
    var stall: Range<Instant>?
    var closesAfterAnswer = false
    /// When each request arrived.
    fileprivate(set) var arrivals: [Instant] = []
    fileprivate var held: [Connection] = []
    private(set) var accepted: [BenchServerConnection] = []

    let loop: EventLoop
    private var listener: Listener?

    init(in simulation: Simulation) throws {
        loop = simulation.makeLoop()
        let socket = try loop.system.listen(on: address, options: ListenOptions())
        listener = try Listener(socket: socket, loop: loop, delegate: self)
        simulation.keep(self)
    }

    func stopListening() { listener?.close() }

    func accepted(_ socket: Socket, from address: SocketAddress) {
        let served = BenchServerConnection(self)
        accepted.append(served)
        let connection = Connection(accepted: socket, loop: loop, secure: nil, delegate: served)
        try? connection.start()
    }

    func acceptExhausted(_ error: SystemError) {}

    fileprivate func requested(_ connection: Connection) {
        arrivals.append(loop.now)
        guard let stall, stall.contains(loop.now) else { return write(connection) }
        if held.isEmpty { _ = loop.arm(self, after: stall.upperBound - loop.now) }
        held.append(connection)
    }

    func timerFired(_ kind: UInt8) {
        for connection in held { write(connection) }
        held = []
    }

    private func write(_ connection: Connection) {
        Array(answer.utf8).withUnsafeBytes { connection.write($0) }
        if closesAfterAnswer { connection.closeAfterFlush() }
    }
}

final class BenchServerConnection: ConnectionDelegate {
    private let server: BenchServer
    private(set) var connection: Connection?

    fileprivate init(_ server: BenchServer) { self.server = server }

    func connectionEstablished(_ connection: Connection) { self.connection = connection }

    /// One request comes in one piece: the links are calm.
    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        server.requested(connection)
        return bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { connection.close() }
    func connectionOutputBlocked(_ connection: Connection) {}
    func connectionOutputUnblocked(_ connection: Connection) {}
    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        self.connection = nil
    }
}
