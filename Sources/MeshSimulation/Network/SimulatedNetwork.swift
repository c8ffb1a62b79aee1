import Glibc
import MeshNet

/// TCP between simulated hosts: ordered bytes, FIN, RST, latency, small segments and small buffers.
///
/// Nothing happens by itself: sends and closes put events into a queue by time, and the simulation
/// takes them out one by one, in an order that depends on the seed alone.
package final class SimulatedNetwork {
    package let clock: VirtualClock
    package var generator: SeededGenerator
    /// How a connection to this address is to behave; drawn when it is opened.
    package var conditions: (SocketAddress, inout SeededGenerator) -> LinkConditions = { _, _ in
        .calm
    }
    /// Fails the next accepts of all hosts, as when descriptors run out.
    package var acceptsExhausted = 0

    private var endpoints: [Int32: SimulatedEndpoint] = [:]
    private var listeners: [Int32: SimulatedListener] = [:]
    private var listenersByAddress: [SocketAddress: [SimulatedListener]] = [:]
    private var events = EventQueue()
    private var nextDescriptor: Int32 = 3
    private var nextPort: UInt16 = 40_000

    package init(clock: VirtualClock, seed: UInt64) {
        self.clock = clock
        generator = SeededGenerator(seed: seed)
    }

    /// Sockets that nobody has closed: a test's leak check.
    package var openSockets: Int { endpoints.count + listeners.count }
    package var openConnections: Int { endpoints.count }

    // MARK: Time

    /// When something next happens on the wire.
    package var nextEvent: Instant? { events.first?.time }

    /// Performs one event that is due. Returns whether there was one.
    package func step() -> Bool {
        guard let event = events.first, event.time <= clock.now else { return false }
        events.removeFirst()
        switch event.kind {
        case .arrival(let source): arrive(from: source)
        case .opened(let endpoint): opened(endpoint)
        case .refused(let endpoint): refuse(endpoint)
        case .edge(let descriptor):
            endpoints[descriptor]?.raiseEdge()
            if let listener = listeners[descriptor], listener.token != nil {
                listener.system.raiseEdge(descriptor)
            }
        }
        return true
    }

    private func schedule(_ kind: NetworkEvent.Kind, after delay: Int64 = 0) {
        events.insert(at: clock.now + Nanoseconds(delay), kind)
    }

    // MARK: Opening

    func listen(
        on address: SocketAddress,
        backlog: Int,
        system: SimulatedSystem
    ) throws(SystemError) -> Socket {
        var address = address
        if case .ip(let ip, 0) = address { address = .ip(ip, port: takePort()) }
        let listener = SimulatedListener(
            descriptor: takeDescriptor(),
            address: address,
            backlog: backlog,
            system: system
        )
        listeners[listener.descriptor] = listener
        listenersByAddress[address, default: []].append(listener)
        return Socket(descriptor: listener.descriptor)
    }

    func connect(to address: SocketAddress, from source: SocketAddress?, system: SimulatedSystem)
        -> Socket
    {
        let drawn = conditions(address, &generator)
        var local = source ?? .ip(system.address, port: 0)
        if case .ip(let ip, 0) = local { local = .ip(ip, port: takePort()) }
        let endpoint = SimulatedEndpoint(
            descriptor: takeDescriptor(),
            local: local,
            remote: address,
            conditions: drawn,
            direction: .toServer,
            system: system
        )
        endpoints[endpoint.descriptor] = endpoint
        switch drawn.opening {
        case .accepted: schedule(.opened(endpoint), after: latency(drawn))
        case .refused: schedule(.refused(endpoint), after: latency(drawn))
        case .blackhole: break
        }
        return Socket(descriptor: endpoint.descriptor)
    }

    private func refuse(_ endpoint: SimulatedEndpoint) {
        guard endpoint.state == .connecting else { return }
        endpoint.failure = SystemError(code: ECONNREFUSED, call: "connect")
        endpoint.raiseEdge()
    }

    private func opened(_ client: SimulatedEndpoint) {
        guard client.state == .connecting else { return }
        let candidates = (listenersByAddress[client.remote] ?? []).filter {
            $0.queue.count < $0.backlog
        }
        guard let listener = candidates.randomElement(using: &generator) else {
            return refuse(client)
        }
        let server = SimulatedEndpoint(
            descriptor: takeDescriptor(),
            local: client.remote,
            remote: client.local,
            conditions: client.conditions,
            direction: .toClient,
            system: listener.system
        )
        endpoints[server.descriptor] = server
        server.state = .established
        server.peer = client
        client.peer = server
        client.state = .established
        client.raiseEdge()
        listener.queue.append(server)
        if listener.token != nil { listener.system.raiseEdge(listener.descriptor) }
    }

    func accept(_ descriptor: Int32) -> AcceptResult {
        guard let listener = listeners[descriptor], !listener.queue.isEmpty else {
            return .wouldBlock
        }
        if acceptsExhausted > 0 {
            acceptsExhausted -= 1
            return .exhausted(SystemError(code: EMFILE, call: "accept4"))
        }
        let endpoint = listener.queue.removeFirst()
        return .accepted(Socket(descriptor: endpoint.descriptor), from: endpoint.remote)
    }

    private func takeDescriptor() -> Int32 {
        defer { nextDescriptor += 1 }
        return nextDescriptor
    }

    private func takePort() -> UInt16 {
        defer { nextPort = nextPort == .max ? 40_000 : nextPort + 1 }
        return nextPort
    }

    private func latency(_ conditions: LinkConditions) -> Int64 {
        Int64.random(in: conditions.latency, using: &generator)
    }

    // MARK: Bytes

    func receive(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, taking: Bool)
        -> IOResult
    {
        guard let endpoint = endpoints[descriptor] else { return .failed(badDescriptor("recv")) }
        if endpoint.received.isEmpty {
            if let failure = endpoint.failure { return .failed(failure) }
            return endpoint.isEnded ? .endOfStream : .wouldBlock
        }
        if taking, generator.chance(perMille: endpoint.conditions.wouldBlockPerMille) {
            // As if the bytes came a moment later: an edge announces them again.
            schedule(.edge(descriptor), after: 1_000)
            return .wouldBlock
        }
        let count = min(buffer.count, endpoint.received.count)
        endpoint.received.withUnsafeBytes { bytes in
            buffer.copyMemory(from: Bytes(rebasing: bytes[..<count]))
        }
        if taking {
            endpoint.received.removeFirst(count)
            if let peer = endpoint.peer, peer.outgoing.isStalled {
                peer.outgoing.isStalled = false
                schedule(.arrival(peer))
            }
        }
        return .bytes(count)
    }

    func send(_ bytes: Bytes, on descriptor: Int32) -> IOResult {
        guard let endpoint = endpoints[descriptor] else { return .failed(badDescriptor("send")) }
        if endpoint.failure != nil || endpoint.isFinSent {
            return .failed(SystemError(code: EPIPE, call: "send"))
        }
        guard endpoint.state == .established else { return .wouldBlock }
        let pipe = endpoint.outgoing
        let room = endpoint.conditions.sendBufferBytes - pipe.queuedBytes
        let isFickle = generator.chance(perMille: endpoint.conditions.wouldBlockPerMille)
        if isFickle, room > 0 {
            schedule(.edge(descriptor), after: 1_000)
            return .wouldBlock
        }
        guard room > 0 else {
            endpoint.wantsWrite = true
            return .wouldBlock
        }
        let count = min(room, bytes.count)
        if count < bytes.count { endpoint.wantsWrite = true }
        var rest = ArraySlice(Array(Bytes(rebasing: bytes[..<count])))
        while !rest.isEmpty {
            let limit = min(rest.count, endpoint.conditions.segmentBytesMax)
            let size = limit == rest.count ? limit : Int.random(in: 1...limit, using: &generator)
            post(.bytes(rest.prefix(size)), from: endpoint)
            rest = rest.dropFirst(size)
        }
        pipe.queuedBytes += count
        return .bytes(count)
    }

    private func post(_ segment: SimulatedPipe.Segment, from endpoint: SimulatedEndpoint) {
        let pipe = endpoint.outgoing
        pipe.segments.append(segment)
        let arrival = max(clock.now + Nanoseconds(latency(endpoint.conditions)), pipe.lastArrival)
        pipe.lastArrival = arrival
        events.insert(at: arrival, .arrival(endpoint))
    }

    private func arrive(from source: SimulatedEndpoint) {
        let pipe = source.outgoing
        guard !pipe.isStalled, let segment = pipe.segments.first else { return }
        guard let target = source.peer, target.state == .established else {
            // Nobody is there any more: RST answers whatever still comes.
            pipe.segments.removeFirst()
            if case .bytes(let bytes) = segment {
                pipe.queuedBytes -= bytes.count
                source.fail(ECONNRESET)
            }
            return
        }
        switch segment {
        case .fin:
            target.isEnded = true
        case .reset:
            target.fail(ECONNRESET)
        case .bytes(let bytes):
            if target.received.count >= target.conditions.receiveBufferBytes {
                pipe.isStalled = true
                return
            }
            deliver(bytes, from: source, to: target)
        }
        pipe.segments.removeFirst()
        target.raiseEdge()
        // Arrivals that waited behind a stall have spent their events.
        if !pipe.segments.isEmpty {
            events.insert(at: max(clock.now, pipe.lastArrival), .arrival(source))
        }
    }

    private func deliver(
        _ bytes: ArraySlice<UInt8>,
        from source: SimulatedEndpoint,
        to target: SimulatedEndpoint
    ) {
        let pipe = source.outgoing
        pipe.queuedBytes -= bytes.count
        var bytes = bytes
        if let limit = source.conditions.resetAfter, limit.direction == pipe.direction,
            pipe.deliveredBytes + bytes.count >= limit.bytes
        {
            bytes = bytes.prefix(max(0, limit.bytes - pipe.deliveredBytes))
            target.received += bytes
            pipe.deliveredBytes += bytes.count
            target.fail(ECONNRESET)
            source.fail(ECONNRESET)
            return
        }
        target.received += bytes
        pipe.deliveredBytes += bytes.count
        if source.wantsWrite, source.isWritable {
            source.wantsWrite = false
            source.raiseEdge()
        }
    }

    // MARK: Ending

    func shutdownSending(_ descriptor: Int32) {
        guard let endpoint = endpoints[descriptor], endpoint.state == .established else { return }
        guard !endpoint.isFinSent else { return }
        endpoint.isFinSent = true
        post(.fin, from: endpoint)
    }

    func close(_ descriptor: Int32, byReset: Bool) {
        if let listener = listeners.removeValue(forKey: descriptor) {
            listenersByAddress[listener.address]?.removeAll { $0 === listener }
            for waiting in listener.queue { close(waiting.descriptor, byReset: true) }
            return
        }
        guard let endpoint = endpoints.removeValue(forKey: descriptor) else { return }
        let wasEstablished = endpoint.state == .established
        endpoint.state = .closed
        endpoint.token = nil
        guard wasEstablished, endpoint.failure == nil else { return }
        // Unread bytes turn the close into a reset, as in Linux.
        if byReset || !endpoint.received.isEmpty {
            endpoint.outgoing.segments.removeAll { if case .reset = $0 { false } else { byReset } }
            post(.reset, from: endpoint)
        } else if !endpoint.isFinSent {
            endpoint.isFinSent = true
            post(.fin, from: endpoint)
        }
    }

    // MARK: Readiness

    func watch(_ descriptor: Int32, token: UInt64) {
        if let endpoint = endpoints[descriptor] {
            endpoint.token = token
            if !endpoint.readiness.isEmpty { endpoint.raiseEdge() }
        } else if let listener = listeners[descriptor] {
            listener.token = token
            if !listener.queue.isEmpty { listener.system.raiseEdge(descriptor) }
        }
    }

    /// The event for a raised edge; nil where the socket is gone or nothing is ready any more.
    func event(for descriptor: Int32) -> ReadyEvent? {
        if let endpoint = endpoints[descriptor], let token = endpoint.token {
            let readiness = endpoint.readiness
            return readiness.isEmpty ? nil : ReadyEvent(token: token, readiness: readiness)
        }
        if let listener = listeners[descriptor], let token = listener.token {
            return listener.queue.isEmpty ? nil : ReadyEvent(token: token, readiness: .read)
        }
        return nil
    }

    func connectOutcome(_ descriptor: Int32) -> SystemError? { endpoints[descriptor]?.failure }

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        endpoints[descriptor]?.local ?? listeners[descriptor]?.address
    }

    private func badDescriptor(_ call: StaticString) -> SystemError {
        SystemError(code: EBADF, call: call)
    }
}
