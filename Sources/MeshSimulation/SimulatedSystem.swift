import MeshNet
import Synchronization

/// ``System`` of one simulated host: virtual time, seeded entropy, sockets on a ``SimulatedNetwork``.
package final class SimulatedSystem: System {
    package let network: SimulatedNetwork
    /// Where connections opened here come from.
    package let address: IPAddress

    private let flag = WakeFlag()
    private var entropy: SeededGenerator
    /// Descriptors with an unreported edge, oldest first.
    private var edges: [Int32] = []

    package init(network: SimulatedNetwork, address: IPAddress, seed: UInt64) {
        self.network = network
        self.address = address
        entropy = SeededGenerator(seed: seed)
    }

    /// Whether a poll would return at once.
    var isReady: Bool { !edges.isEmpty || flag.isSet }

    func raiseEdge(_ descriptor: Int32) {
        if !edges.contains(descriptor) { edges.append(descriptor) }
    }

    package var waker: any Waker { flag }

    // MARK: Time and entropy

    package func now() -> Instant { network.clock.now }
    package func wallClock() -> WallTime { network.clock.wall }
    package var sharedWallClock: (@Sendable () -> WallTime)? { network.clock.sharedWall }

    package func fill(random buffer: UnsafeMutableRawBufferPointer) {
        for at in buffer.indices { buffer[at] = UInt8.random(in: .min ... .max, using: &entropy) }
    }

    // MARK: Sockets

    package func listen(
        on address: SocketAddress,
        options: ListenOptions
    ) throws(SystemError) -> Socket {
        try network.listen(on: address, backlog: Int(options.backlog), system: self)
    }

    package func accept(from listener: Socket) -> AcceptResult {
        network.accept(listener.descriptor)
    }

    package func connect(
        to address: SocketAddress,
        options: SocketOptions
    ) throws(SystemError) -> Socket {
        network.connect(to: address, from: options.source, system: self)
    }

    package func connectOutcome(of socket: Socket) -> SystemError? {
        network.connectOutcome(socket.descriptor)
    }

    package func localAddress(of socket: Socket) -> SocketAddress? {
        network.localAddress(socket.descriptor)
    }

    package func originalDestination(of socket: Socket) -> SocketAddress? { nil }

    package func apply(_ options: SocketOptions, to socket: Socket) {}

    package func receive(
        from socket: Socket,
        into buffer: UnsafeMutableRawBufferPointer
    ) -> IOResult {
        network.receive(socket.descriptor, into: buffer, taking: true)
    }

    package func peek(_ socket: Socket, into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        network.receive(socket.descriptor, into: buffer, taking: false)
    }

    package func send(_ bytes: Bytes, to socket: Socket) -> IOResult {
        network.send(bytes, on: socket.descriptor)
    }

    package func shutdownSending(_ socket: Socket) { network.shutdownSending(socket.descriptor) }
    package func close(_ socket: Socket) { network.close(socket.descriptor, byReset: false) }
    package func abort(_ socket: Socket) { network.close(socket.descriptor, byReset: true) }

    // MARK: Readiness

    package func watch(_ socket: Socket, token: UInt64) throws(SystemError) {
        network.watch(socket.descriptor, token: token)
    }

    /// Never waits: the simulation moves time, and steps this host only when it has something to do.
    package func poll(
        for timeout: Nanoseconds?,
        into events: UnsafeMutableBufferPointer<ReadyEvent>
    ) -> Int {
        flag.clear()
        let batch = edges.prefix(events.count)
        edges.removeFirst(batch.count)
        var count = 0
        for descriptor in batch {
            guard let event = network.event(for: descriptor) else { continue }
            events[count] = event
            count += 1
        }
        return count
    }
}

private final class WakeFlag: Waker {
    private let raised = Atomic<Bool>(false)

    var isSet: Bool { raised.load(ordering: .acquiring) }
    func wake() { raised.store(true, ordering: .releasing) }
    func clear() { raised.store(false, ordering: .releasing) }
}
