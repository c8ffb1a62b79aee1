import Glibc
import MeshNet

/// One side of a simulated TCP connection: what its kernel would hold.
final class SimulatedEndpoint {
    enum State { case connecting, established, closed }

    let descriptor: Int32
    let local: SocketAddress
    let remote: SocketAddress
    let conditions: LinkConditions
    unowned let system: SimulatedSystem
    /// The other side; nil once it has forgotten the connection.
    var peer: SimulatedEndpoint?
    /// Bytes on their way from here.
    let outgoing: SimulatedPipe

    var state: State
    var received: [UInt8] = []
    /// The peer's FIN has arrived, behind `received`.
    var isEnded = false
    /// RST has arrived or the connect failed.
    var failure: SystemError?
    var isFinSent = false
    /// The last send was cut short: an edge is owed when there is room.
    var wantsWrite = false
    var token: UInt64?

    init(
        descriptor: Int32,
        local: SocketAddress,
        remote: SocketAddress,
        conditions: LinkConditions,
        direction: LinkConditions.Direction,
        system: SimulatedSystem
    ) {
        self.descriptor = descriptor
        self.local = local
        self.remote = remote
        self.conditions = conditions
        self.system = system
        state = .connecting
        outgoing = SimulatedPipe(direction: direction)
    }

    var isWritable: Bool {
        state == .established && outgoing.queuedBytes < conditions.sendBufferBytes
    }

    /// What epoll would report now.
    var readiness: Readiness {
        var readiness = Readiness()
        if !received.isEmpty || isEnded || failure != nil { readiness.insert(.read) }
        if isWritable || failure != nil { readiness.insert(.write) }
        if isEnded || failure != nil { readiness.insert(.peerClosed) }
        if failure != nil { readiness.insert(.error) }
        return readiness
    }

    func raiseEdge() {
        if token != nil { system.raiseEdge(descriptor) }
    }

    func fail(_ code: Int32) {
        guard state != .closed, failure == nil else { return }
        failure = SystemError(code: code, call: "recv")
        raiseEdge()
    }
}

/// One direction: segments in flight, in order.
final class SimulatedPipe {
    enum Segment {
        case bytes(ArraySlice<UInt8>)
        case fin
        case reset
    }

    let direction: LinkConditions.Direction
    var segments: [Segment] = []
    var queuedBytes = 0
    var deliveredBytes = 0
    /// Segments never overtake each other.
    var lastArrival = Instant(nanoseconds: 0)
    /// Arrivals that found the receiver's buffer full.
    var isStalled = false

    init(direction: LinkConditions.Direction) { self.direction = direction }
}

/// A listening socket.
final class SimulatedListener {
    let descriptor: Int32
    let address: SocketAddress
    let backlog: Int
    unowned let system: SimulatedSystem
    var queue: [SimulatedEndpoint] = []
    var token: UInt64?

    init(descriptor: Int32, address: SocketAddress, backlog: Int, system: SimulatedSystem) {
        self.descriptor = descriptor
        self.address = address
        self.backlog = backlog
        self.system = system
    }
}
