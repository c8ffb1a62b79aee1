import MeshHTTP
import MeshNet
import MeshRuntime

/// The admin port: HTTP/1.1 on the control thread's loop, so that an expensive answer stalls no traffic.
final class AdminServer: ListenerDelegate {
    private let loop: EventLoop
    private let admin: Admin
    private let headers = HeaderMapPool()
    fileprivate let stats: AdminServerStats
    private var listener: Listener?
    private var date = DateHeader()
    let address: SocketAddress

    /// The admin answers people and scrapers; where there are more connections than this, the one that
    /// has been silent longest gives way, so that nobody can occupy the port.
    private static let connectionsMax = 256
    /// The one silent longest comes first.
    private var connections: [Connection] = []

    /// - Parameter stats: the control thread's.
    init(
        _ address: SocketAddress,
        loop: EventLoop,
        admin: Admin,
        stats: WorkerStats
    ) throws(SystemError) {
        self.loop = loop
        self.stats = AdminServerStats(stats)
        self.admin = admin
        var options = ListenOptions()
        options.reusePort = false
        let socket = try loop.system.listen(on: address, options: options)
        self.address = loop.system.localAddress(of: socket) ?? address
        listener = try Listener(socket: socket, loop: loop, delegate: self)
    }

    func accepted(_ socket: Socket, from address: SocketAddress) {
        if connections.count >= Self.connectionsMax { connections.first?.close() }
        let served = AdminConnection(self, headers)
        let connection = Connection(accepted: socket, loop: loop, secure: nil, delegate: served)
        connections.append(connection)
        do throws(SystemError) { try connection.start() } catch { forget(connection) }
    }

    fileprivate var now: Instant { loop.now }

    fileprivate func forget(_ connection: Connection) {
        connections.removeAll { $0 === connection }
    }

    /// Something was heard of it.
    fileprivate func heard(_ connection: Connection) {
        guard connections.last !== connection else { return }
        forget(connection)
        connections.append(connection)
    }

    func acceptExhausted(_ error: SystemError) {
        Log.shared.warning(.admin, "accept failed: \(error.reason)")
    }

    fileprivate func respond(to request: AdminRequest) -> AdminResponse {
        admin.respond(to: request)
    }

    fileprivate func appendDate(to head: HeaderMap) {
        date.withText(at: loop.system.wallClock()) { head.append(.date, $0) }
    }
}

/// One connection to the admin port.
private final class AdminConnection: ConnectionDelegate, ServerCodecDelegate {
    private let server: AdminServer
    private let headers: HeaderMapPool
    private var codec: HTTP1ServerCodec?
    private var connection: Connection?
    private let start: Instant
    private var requests = 0
    private var peerHasEnded = false
    private var counted: (received: UInt64, sent: UInt64) = (0, 0)

    init(_ server: AdminServer, _ headers: HeaderMapPool) {
        self.server = server
        self.headers = headers
        start = server.now
    }

    func connectionEstablished(_ connection: Connection) {
        self.connection = connection
        server.stats.connectionOpened()
        codec = HTTP1ServerCodec(
            sink: connection,
            delegate: self,
            settings: HTTP1Settings(),
            pool: headers
        )
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        server.heard(connection)
        return codec?.received(bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) {
        peerHasEnded = true
        codec?.receivedEnd()
    }

    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        let hasRequest = requests > 0
        codec?.connectionClosed(.connectionTermination)
        codec = nil
        // One that was never established was never counted.
        if self.connection != nil {
            countBytes()
            var isLocal = false
            if case .local = reason { isLocal = !peerHasEnded }
            server.stats.connectionClosed(
                byUs: isLocal,
                hasRequest: hasRequest,
                age: server.now - start
            )
        }
        self.connection = nil
        server.forget(connection)
    }

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        requests += 1
        server.stats.requestBegan()
        return AdminStream(server, self, stream, headers)
    }

    func requestEnded(_ start: Instant, isReset: Bool) {
        requests -= 1
        server.stats.requestEnded(took: server.now - start, isReset: isReset)
        countBytes()
    }

    private func countBytes() {
        guard let connection else { return }
        server.stats.transferred(
            received: connection.bytesReceived &- counted.received,
            sent: connection.bytesSent &- counted.sent
        )
        counted = (connection.bytesReceived, connection.bytesSent)
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }
}

/// One request to the admin port: collected whole, answered whole.
private final class AdminStream: ServerStreamDelegate {
    private let server: AdminServer
    private let connection: AdminConnection
    private let start: Instant
    private let wire: any ServerStream
    private let headers: HeaderMapPool
    private var method = ""
    private var target = ""
    private var contentType = ""
    private var body: [UInt8] = []
    private var isAnswered = false

    /// Largest request body: a request to explain is a few KiB.
    private static let bodyBytesMax = 1 << 20

    init(
        _ server: AdminServer,
        _ connection: AdminConnection,
        _ wire: any ServerStream,
        _ headers: HeaderMapPool
    ) {
        self.server = server
        self.connection = connection
        start = server.now
        self.wire = wire
        self.headers = headers
    }

    func requestHead(_ head: HeaderMap, endStream: Bool) {
        method = head.string(.method) ?? ""
        target = head.string(.path) ?? ""
        contentType = head.string(.contentType) ?? ""
        if endStream { answer() }
    }

    func requestData(_ bytes: Bytes, endStream: Bool) {
        guard !isAnswered else { return }
        guard body.count + bytes.count <= Self.bodyBytesMax else {
            wire.closeAfterResponse()
            return send(AdminResponse(status: 413, "Payload Too Large"))
        }
        body.append(contentsOf: bytes)
        if endStream { answer() }
    }

    func requestTrailers(_ trailers: HeaderMap) { answer() }

    func requestInvalid(_ error: CodecError) {
        wire.closeAfterResponse()
        send(AdminResponse(status: error.status, error.body.description))
    }

    private func answer() {
        guard !isAnswered else { return }
        let request = AdminRequest(
            method: method,
            target: target,
            body: body,
            contentType: contentType
        )
        send(server.respond(to: request))
    }

    private func send(_ response: consuming AdminResponse) {
        guard !isAnswered else { return }
        isAnswered = true
        let taken = headers.take()
        let head = taken.takeUnretainedValue()
        head.append(.status, "\(response.status)")
        head.append(.contentType, response.contentType)
        for (name, value) in AdminResponse.headers {
            head.append(HeaderName(name.description), value.description)
        }
        server.appendDate(to: head)
        head.append(.server, "envoy")
        server.stats.responseBegan(response.status)
        let hasBody = !response.body.isEmpty && method != "HEAD"
        head.append(.contentLength, "\(response.body.count)")
        wire.sendHead(head, endStream: !hasBody)
        if hasBody { wire.sendData(response.body.bytes, endStream: true) }
        headers.give(taken)
    }

    func requestReset(_ reason: StreamResetReason) {
        isAnswered = true
        connection.requestEnded(start, isReset: true)
    }

    func responseSent() { connection.requestEnded(start, isReset: false) }
    func responseBlocked() {}
    func responseUnblocked() {}
}
