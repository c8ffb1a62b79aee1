import MeshHTTP
import MeshNet

/// Which wire a simulated service or caller speaks.
package enum Wire: CaseIterable, Sendable {
    case http1, framed, http2

    static var settings: HTTP1Settings {
        var settings = HTTP1Settings()
        settings.enableTrailers = true
        return settings
    }
}

/// A service on a host of its own: answers each request with that request's body, after a while.
package final class SimulatedService: ListenerDelegate {
    package let address: SocketAddress
    /// Every stream it has seen, in order.
    package var streams: [ServiceStream] = []
    package var connections = 0
    /// Requests being served now, and the most there ever were.
    package private(set) var active = 0
    package private(set) var activeMax = 0
    /// How long an answer takes.
    package var delay = Nanoseconds.zero
    /// Pauses each request at its head, until the test resumes it.
    package var pausesAtHead = false
    /// The status of the next answers; 200 when used up.
    package var statuses: ArraySlice<String> = []
    /// Names the service in the header `x-service`.
    package let name: String

    let wire: Wire
    let loop: EventLoop
    private var listener: Listener?
    private var open: [ServiceConnection] = []

    package init(
        _ wire: Wire,
        in simulation: Simulation,
        name: String = "service",
        at address: SocketAddress = .ip(IPAddress(ipv4: 0x0A01_0001), port: 80)
    ) throws(SystemError) {
        self.wire = wire
        self.name = name
        self.address = address
        loop = simulation.makeLoop()
        let socket = try loop.system.listen(on: address, options: ListenOptions())
        listener = try Listener(socket: socket, loop: loop, delegate: self)
        simulation.keep(self)
    }

    /// Refuses connections from now on.
    package func stopListening() { listener?.close() }

    package func accepted(_ socket: Socket, from address: SocketAddress) {
        connections += 1
        let served = ServiceConnection(self)
        open.append(served)
        let connection = Connection(accepted: socket, loop: loop, secure: nil, delegate: served)
        try? connection.start()
    }

    package func acceptExhausted(_ error: SystemError) {}

    fileprivate func began(_ stream: ServiceStream) {
        streams.append(stream)
        active += 1
        activeMax = max(activeMax, active)
    }

    fileprivate func ended() { active -= 1 }
}

/// One connection of a ``SimulatedService``.
final class ServiceConnection: ConnectionDelegate, ServerCodecDelegate {
    private let server: SimulatedService
    private var connection: Connection?
    private var codec: (any ServerCodec)?

    init(_ server: SimulatedService) { self.server = server }

    func connectionEstablished(_ connection: Connection) {
        self.connection = connection
        codec =
            switch server.wire {
            case .http1:
                HTTP1ServerCodec(sink: connection, delegate: self, settings: Wire.settings)
            case .framed: FramedServerCodec(sink: connection, delegate: self)
            case .http2:
                HTTP2ServerCodec(sink: connection, delegate: self, settings: HTTP2Settings())
            }
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        codec?.received(bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { codec?.receivedEnd() }
    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        codec?.connectionClosed(.connectionTermination)
        codec = nil
        self.connection = nil
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        let served = ServiceStream(stream, of: server)
        server.began(served)
        return served
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }
}

/// One request to a ``SimulatedService``.
package final class ServiceStream: ServerStreamDelegate, TimerTarget {
    package private(set) var body: [UInt8] = []
    package private(set) var fields: [String: String] = [:]
    /// How often the stream was told that it is over.
    package private(set) var endings = 0
    /// All of the request has arrived.
    package private(set) var isComplete = false
    private var stream: (any ServerStream)?
    private let service: SimulatedService
    private let head = HeaderMap()
    private var trailer: String?

    fileprivate init(_ stream: any ServerStream, of service: SimulatedService) {
        self.stream = stream
        self.service = service
    }

    package func resume() { stream?.resumeReading() }

    package func requestHead(_ head: HeaderMap, endStream: Bool) {
        head.forEach { fields[String(bytes: $0)] = String(bytes: $1) }
        if service.pausesAtHead { stream?.pauseReading() }
        if endStream { requestEnded() }
    }

    package func requestData(_ bytes: Bytes, endStream: Bool) {
        body += bytes
        if endStream { requestEnded() }
    }

    package func requestTrailers(_ trailers: HeaderMap) {
        trailer = trailers.string(HeaderName("x-end"))
        requestEnded()
    }

    private func requestEnded() {
        isComplete = true
        if service.delay > .zero {
            _ = service.loop.arm(self, after: service.delay)
        } else {
            answer()
        }
    }

    package func timerFired(_ kind: UInt8) { answer() }

    private func answer() {
        guard let stream else { return }
        head.append(.status, service.statuses.popFirst() ?? "200")
        head.append(HeaderName("x-service"), service.name)
        stream.sendHead(head, endStream: false)
        body.withUnsafeBytes { stream.sendData($0, endStream: trailer == nil) }
        guard let trailer else { return }
        let map = HeaderMap()
        map.append(HeaderName("x-end"), trailer)
        stream.sendTrailers(map)
    }

    package func requestInvalid(_ error: CodecError) {
        let stream = stream
        over()
        stream?.reset(.protocolError)
    }

    package func requestReset(_ reason: StreamResetReason) { over() }
    package func responseSent() { over() }
    package func responseBlocked() {}
    package func responseUnblocked() {}

    private func over() {
        endings += 1
        if stream != nil { service.ended() }
        stream = nil
    }
}
