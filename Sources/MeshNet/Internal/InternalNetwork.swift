import Glibc

/// Who takes connections that begin inside the process.
package protocol InternalListenerDelegate: AnyObject {
    /// Takes the socket, which is to be used with `sockets`.
    ///
    /// - Parameters:
    ///   - address: what was connected to.
    ///   - passed: what came with it, see ``Connection/connect(to:options:loop:secure:timeout:passing:delegate:)``.
    func accepted(
        _ socket: Socket,
        of sockets: any Sockets,
        from remote: SocketAddress,
        at address: SocketAddress,
        passed: AnyObject?
    )
}

/// Connections whose both ends are on one loop: pairs of buffers with the manners of TCP sockets.
///
/// It stands where ``System`` stands for others (docs/decisions/0008-internal-connections.md): a
/// ``Connection`` sends, receives, half-closes and waits as it does with a kernel's socket, and hears of
/// readiness by the same edges. Nobody is called from inside a call of his own: what an end is to hear is
/// kept until the loop's flush stage, so that two ends may be each other's source and drain.
package final class InternalNetwork: Sockets {
    private unowned let loop: EventLoop
    private var listeners: [String: Acceptor] = [:]
    /// By descriptor.
    private var ends: [InternalEnd?] = []
    private var freeDescriptors: [Int32] = []
    private var arrivals: [Arrival] = []
    /// Ends that are to hear something.
    private var heralds: [InternalEnd] = []

    /// Bytes that one direction holds until its reader takes them (envoy: InternalListener.buffer_size_kb).
    package var capacity = 1 << 20

    private struct Acceptor { weak var delegate: (any InternalListenerDelegate)? }

    private struct Arrival {
        let end: InternalEnd
        let address: SocketAddress
        let listener: String
        let passed: AnyObject?
    }

    init(loop: EventLoop) { self.loop = loop }

    /// How many ends are open.
    package var openEnds: Int { ends.count - freeDescriptors.count }

    // MARK: Listening and connecting

    /// Takes all connections to this name from now on. Does not keep the delegate.
    package func listen(on name: String, delegate: any InternalListenerDelegate) {
        listeners[name] = Acceptor(delegate: delegate)
    }

    /// Begins to connect, as ``System/connect(to:options:)`` does. The listener is asked later.
    func connect(to address: SocketAddress, passing passed: AnyObject?) throws(SystemError)
        -> Socket
    {
        guard case .internal(let name, _) = address, listeners[name]?.delegate != nil else {
            throw SystemError(code: ECONNREFUSED, call: "connect inside the process")
        }
        let near = make(local: .internalClient)
        let far = make(local: address)
        near.peer = far
        far.peer = near
        near.isConnecting = true
        arrivals.append(Arrival(end: far, address: address, listener: name, passed: passed))
        return Socket(descriptor: near.descriptor)
    }

    private func make(local: SocketAddress) -> InternalEnd {
        let end: InternalEnd
        if let descriptor = freeDescriptors.popLast() {
            end = InternalEnd(descriptor: descriptor, local: local)
            ends[Int(descriptor)] = end
        } else {
            end = InternalEnd(descriptor: Int32(ends.count), local: local)
            ends.append(end)
        }
        return end
    }

    private func arrive(_ arrival: Arrival) {
        let end = arrival.end
        let socket = Socket(descriptor: end.descriptor)
        // Who connected has given up already.
        guard let near = end.peer else { return close(socket) }
        if let delegate = listeners[arrival.listener]?.delegate {
            delegate.accepted(
                socket,
                of: self,
                from: .internalClient,
                at: arrival.address,
                passed: arrival.passed
            )
        } else {
            abort(socket)
        }
        // Who listens may have refused it meanwhile; then its end is closed.
        near.isConnecting = false
        if end.isClosed {
            near.connectError = SystemError(code: EINVAL, call: "connect inside the process")
        }
        tell(near, .write)
    }

    private subscript(socket: Socket) -> InternalEnd {
        guard let end = ends[Int(socket.descriptor)] else {
            preconditionFailure("no such end: \(socket.descriptor)")
        }
        return end
    }

    // MARK: Sockets

    package func connectOutcome(of socket: Socket) -> SystemError? { self[socket].connectError }

    package func localAddress(of socket: Socket) -> SocketAddress? { self[socket].local }

    package func receive(
        from socket: Socket,
        into buffer: UnsafeMutableRawBufferPointer
    ) -> IOResult {
        let end = self[socket]
        let result = end.peek(into: buffer)
        guard case .bytes(let count) = result else { return result }
        end.incoming.consume(count)
        if end.incoming.isEmpty { end.incoming.release() }
        // As kernels do: a writer is woken for more than a few bytes.
        if let peer = end.peer, peer.isStalled, end.incoming.count <= capacity / 2 {
            peer.isStalled = false
            tell(peer, .write)
        }
        return result
    }

    package func peek(_ socket: Socket, into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        self[socket].peek(into: buffer)
    }

    package func send(_ bytes: Bytes, to socket: Socket) -> IOResult {
        let end = self[socket]
        if end.isBroken { return .failed(SystemError(code: ECONNRESET, call: "send")) }
        guard let peer = end.peer, !end.hasSentEnd else {
            return .failed(SystemError(code: EPIPE, call: "send"))
        }
        let count = min(bytes.count, capacity - peer.incoming.count)
        if count < bytes.count { end.isStalled = true }
        if count == 0 { return bytes.isEmpty ? .bytes(0) : .wouldBlock }
        peer.incoming.append(Bytes(rebasing: bytes[..<count]))
        tell(peer, .read)
        return .bytes(count)
    }

    package func shutdownSending(_ socket: Socket) {
        let end = self[socket]
        guard !end.hasSentEnd else { return }
        end.hasSentEnd = true
        guard let peer = end.peer else { return }
        peer.isPeerEnded = true
        tell(peer, [.read, .peerClosed])
    }

    package func close(_ socket: Socket) { part(self[socket], byReset: false) }

    package func abort(_ socket: Socket) { part(self[socket], byReset: true) }

    /// The other end reads what is under way to it, then hears of the end, or of the reset.
    private func part(_ end: InternalEnd, byReset: Bool) {
        end.isClosed = true
        end.token = nil
        end.incoming.release()
        ends[Int(end.descriptor)] = nil
        freeDescriptors.append(end.descriptor)
        guard let peer = end.peer else { return }
        end.peer = nil
        peer.peer = nil
        peer.isPeerEnded = true
        if byReset { peer.isBroken = true }
        tell(peer, byReset ? [.read, .write, .error] : [.read, .write, .peerClosed])
    }

    // MARK: Readiness

    package func watch(_ socket: Socket, token: UInt64) throws(SystemError) {
        let end = self[socket]
        end.token = token
        if end.isConnecting { return }
        var present: Readiness = end.isStalled ? [] : .write
        if !end.incoming.isEmpty { present.insert(.read) }
        if end.isPeerEnded { present.formUnion([.read, .peerClosed]) }
        if end.isBroken { present.formUnion([.read, .error]) }
        tell(end, present)
    }

    private func tell(_ end: InternalEnd, _ readiness: Readiness) {
        guard end.token != nil else { return }
        if end.unheard.isEmpty { heralds.append(end) }
        end.unheard.formUnion(readiness)
    }

    /// Somebody is to hear something.
    var hasNews: Bool { !heralds.isEmpty || !arrivals.isEmpty }

    /// Tells what there is to tell now; what comes of it waits for the next time. The loop's alone to call.
    func deliver() {
        guard hasNews else { return }
        let arrived = arrivals
        arrivals.removeAll(keepingCapacity: true)
        for arrival in arrived { arrive(arrival) }
        let told = heralds
        heralds.removeAll(keepingCapacity: true)
        for end in told {
            let readiness = end.unheard
            end.unheard = []
            guard let token = end.token, !end.isConnecting else { continue }
            loop.dispatch(ReadyEvent(token: token, readiness: readiness))
        }
    }
}

/// One end of a connection inside the process.
private final class InternalEnd {
    let descriptor: Int32
    let local: SocketAddress
    /// Nil once the other end is closed; an end that closes parts both.
    var peer: InternalEnd?
    /// What the other end has sent and this one has not taken.
    var incoming = ByteBuffer()
    var token: UInt64?
    /// What its handler has yet to hear.
    var unheard: Readiness = []
    var isConnecting = false
    var connectError: SystemError?
    var isClosed = false
    var hasSentEnd = false
    /// The other end sends no more than what is in ``incoming``.
    var isPeerEnded = false
    var isBroken = false
    /// A send found no room.
    var isStalled = false

    init(descriptor: Int32, local: SocketAddress) {
        self.descriptor = descriptor
        self.local = local
    }

    func peek(into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        if incoming.isEmpty {
            if isBroken { return .failed(SystemError(code: ECONNRESET, call: "receive")) }
            return isPeerEnded ? .endOfStream : .wouldBlock
        }
        let count = min(buffer.count, incoming.count)
        buffer.copyMemory(from: Bytes(rebasing: incoming.bytes[..<count]))
        return .bytes(count)
    }
}
