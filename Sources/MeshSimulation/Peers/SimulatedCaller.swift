import MeshHTTP
import MeshNet

/// One request and what became of it.
package final class SimulatedCall: ClientStreamDelegate {
    package private(set) var received: [UInt8] = []
    package private(set) var status: String?
    /// Fields of the response's head.
    package private(set) var fields: [String: String] = [:]
    package private(set) var trailers: [String: String] = [:]
    package private(set) var reset: StreamResetReason?
    /// How often it was told that it is over.
    package private(set) var endings = 0
    package var isOver: Bool { endings > 0 }
    /// Answered completely, whatever the status.
    package var isAnswered: Bool { endings == 1 && reset == nil && status != nil }

    private let path: String
    private let requestFields: [(String, String)]
    private let body: [[UInt8]]
    private let requestTrailers: [String: String]
    private let holdsLast: Bool
    private var stream: (any ClientStream)?
    private let head = HeaderMap()

    /// - Parameter holdsLast: the end of the request waits for ``finish()``.
    package init(
        _ path: String = "/echo",
        fields: [(String, String)] = [],
        body: [[UInt8]] = [],
        trailers: [String: String] = [:],
        holdsLast: Bool = false
    ) {
        self.path = path
        requestFields = fields
        self.body = body
        requestTrailers = trailers
        self.holdsLast = holdsLast
    }

    func send(on stream: any ClientStream) {
        self.stream = stream
        let isEmpty = body.isEmpty && requestTrailers.isEmpty && !holdsLast
        head.append(.method, isEmpty ? "GET" : "POST")
        head.append(.path, path)
        head.append(.scheme, "http")
        head.append(.authority, "mesh.test")
        for (name, value) in requestFields { head.append(HeaderName(name), value) }
        stream.sendHead(head, endStream: isEmpty)
        for (at, part) in body.enumerated() {
            let isEnd = at == body.count - 1 && requestTrailers.isEmpty && !holdsLast
            part.withUnsafeBytes { stream.sendData($0, endStream: isEnd) }
        }
        guard !requestTrailers.isEmpty else { return }
        let map = HeaderMap()
        for name in requestTrailers.keys.sorted() {
            map.append(HeaderName(name), requestTrailers[name] ?? "")
        }
        stream.sendTrailers(map)
    }

    /// Sends the end that was held back.
    package func finish() { stream?.sendData(Bytes(start: nil, count: 0), endStream: true) }

    /// Gives the request up.
    package func abandon() {
        guard !isOver else { return }
        endings += 1
        reset = .localReset
        stream?.reset(.localReset)
    }

    package func responseInformational(_ head: HeaderMap) {}

    package func responseHead(_ head: HeaderMap, endStream: Bool) {
        status = head.string(.status)
        head.forEach { fields[String(bytes: $0)] = String(bytes: $1) }
        if endStream { endings += 1 }
    }

    package func responseData(_ bytes: Bytes, endStream: Bool) {
        received += bytes
        if endStream { endings += 1 }
    }

    package func responseTrailers(_ trailers: HeaderMap) {
        trailers.forEach { self.trailers[String(bytes: $0)] = String(bytes: $1) }
        endings += 1
    }

    package func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        reset = reason
        endings += 1
    }

    package func requestBlocked() {}
    package func requestUnblocked() {}
}

/// Makes calls over one connection, from a host of its own: one after another, or all at once.
package final class SimulatedCaller: ConnectionDelegate, ClientCodecDelegate, DeferredWork {
    /// The connection has ended, whoever ended it.
    package private(set) var isClosed = false

    private let wire: Wire
    private let loop: EventLoop
    private let atOnce: Bool
    private var waiting: ArraySlice<SimulatedCall>
    private var connection: Connection?
    private var codec: (any ClientCodec)?

    package init(
        _ wire: Wire,
        to address: SocketAddress,
        in simulation: Simulation,
        calls: [SimulatedCall],
        atOnce: Bool = false
    ) throws(SystemError) {
        self.wire = wire
        self.atOnce = atOnce
        waiting = calls[...]
        loop = simulation.makeLoop()
        connection = try Connection.connect(
            to: address,
            options: SocketOptions(),
            loop: loop,
            secure: nil,
            timeout: nil,
            delegate: self
        )
        simulation.keep(self)
    }

    package func connectionEstablished(_ connection: Connection) {
        codec =
            switch wire {
            case .http1:
                HTTP1ClientCodec(sink: connection, delegate: self, settings: Wire.settings)
            case .framed: FramedClientCodec(sink: connection, delegate: self)
            case .http2:
                HTTP2ClientCodec(sink: connection, delegate: self, settings: HTTP2Settings())
            }
        runDeferred()
    }

    package func runDeferred() {
        repeat {
            guard let codec, codec.streamsAvailable > 0, let call = waiting.popFirst() else {
                return
            }
            call.send(on: codec.openStream(call))
        } while atOnce
    }

    package func streamEnded(reusable: Bool) {
        if waiting.isEmpty, !atOnce {
            connection?.closeAfterFlush()
        } else {
            loop.deferWork(self)
        }
    }

    package func closeAfterFlush() { connection?.closeAfterFlush() }

    /// Ends the connection; what is under way is reset.
    package func close() { connection?.close() }

    package func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        codec?.received(bytes) ?? bytes.count
    }

    package func connectionReadEnded(_ connection: Connection) { codec?.receivedEnd() }
    package func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    package func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    package func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        isClosed = true
        let codec = codec
        self.codec = nil
        self.connection = nil
        codec?.connectionClosed(.connectionTermination)
        // Calls that never got a stream end here.
        while let call = waiting.popFirst() {
            call.responseReset(.remoteConnectionFailure, detail: "no connection")
        }
    }
}
