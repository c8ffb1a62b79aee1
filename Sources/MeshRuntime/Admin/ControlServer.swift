import MeshHTTP
import MeshNet

/// Answers the requests of a ``ControlServer``.
package protocol ControlResponder: AnyObject {
    /// To be answered with ``ControlReply/send(_:)``, now or later on the control thread.
    func respond(to request: AdminRequest, _ reply: ControlReply)
}

/// Counts what passes a ``ControlServer``.
package protocol ControlServerAccounts: AnyObject {
    func connectionOpened()
    /// - Parameter hasRequest: one was under way.
    func connectionClosed(byUs: Bool, hasRequest: Bool, age: Nanoseconds)
    /// Bytes that have passed since the last call.
    func transferred(received: UInt64, sent: UInt64)
    func requestBegan()
    func responseBegan(_ status: Int)
    func requestEnded(took: Nanoseconds, isReset: Bool)
}

/// A port for people and scrapers: HTTP/1.1 on the control thread's loop, so that an expensive answer
/// stalls no traffic.
package final class ControlServer: ListenerDelegate {
    private let loop: EventLoop
    private let responder: any ControlResponder
    private let headers = HeaderMapPool()
    fileprivate let accounts: (any ControlServerAccounts)?
    /// The value of `server`; nil sends none.
    fileprivate let name: StaticString?
    private var listener: Listener?
    private var date = DateHeader()
    /// With the port the kernel chose, where 0 was asked for.
    package let address: SocketAddress

    /// Where there are more connections than this, the one that has been silent longest gives way, so
    /// that nobody can occupy the port.
    private static let connectionsMax = 256
    /// The one silent longest comes first.
    private var connections: [Connection] = []
    /// Answers may be large, and whoever asks need not read: beyond so many bytes that wait, those that
    /// have been silent longest lose theirs. The last to ask keeps its own, whatever its size.
    private static let waitingBytesMax = 64 << 20

    /// Listens at once. Throws what the system says, e.g. that the address is in use.
    ///
    /// - Parameter acceptsIPv4: whether `[::]` stands for every IPv4 address too.
    package init(
        _ address: SocketAddress,
        acceptsIPv4: Bool = false,
        loop: EventLoop,
        responder: any ControlResponder,
        accounts: (any ControlServerAccounts)? = nil,
        name: StaticString? = nil
    ) throws(SystemError) {
        self.loop = loop
        self.accounts = accounts
        self.responder = responder
        self.name = name
        var options = ListenOptions()
        options.reusePort = false
        options.onlyIPv6 = !acceptsIPv4
        let socket = try loop.system.listen(on: address, options: options)
        self.address = loop.system.localAddress(of: socket) ?? address
        listener = try Listener(socket: socket, loop: loop, delegate: self)
    }

    package func accepted(_ socket: Socket, from address: SocketAddress) {
        if connections.count >= Self.connectionsMax { connections.first?.close() }
        let served = ControlConnection(self, headers)
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

    /// An answer was written.
    fileprivate func answered() {
        var waiting = connections.reduce(0) { $0 + $1.bufferedBytes }
        for connection in connections.dropLast() {
            guard waiting > Self.waitingBytesMax else { return }
            waiting -= connection.bufferedBytes
            if connection.bufferedBytes > 0 { connection.close() }
        }
    }

    package func acceptExhausted(_ error: SystemError) {
        Log.shared.warning(.admin, "accept failed: \(error.reason)")
    }

    fileprivate func respond(to request: AdminRequest, _ reply: ControlReply) {
        responder.respond(to: request, reply)
    }

    fileprivate func appendDate(to head: HeaderMap) {
        date.withText(at: loop.system.wallClock()) { head.append(.date, $0) }
    }
}

/// One connection to the port.
private final class ControlConnection: ConnectionDelegate, ServerCodecDelegate {
    private let server: ControlServer
    private let headers: HeaderMapPool
    private var codec: HTTP1ServerCodec?
    private var connection: Connection?
    private let start: Instant
    private var requests = 0
    private var peerHasEnded = false
    private var counted: (received: UInt64, sent: UInt64) = (0, 0)

    init(_ server: ControlServer, _ headers: HeaderMapPool) {
        self.server = server
        self.headers = headers
        start = server.now
    }

    func connectionEstablished(_ connection: Connection) {
        self.connection = connection
        server.accounts?.connectionOpened()
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
            server.accounts?.connectionClosed(
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
        server.accounts?.requestBegan()
        return ControlReply(server, self, stream, headers)
    }

    func requestEnded(_ start: Instant, isReset: Bool) {
        requests -= 1
        server.accounts?.requestEnded(took: server.now - start, isReset: isReset)
        countBytes()
    }

    private func countBytes() {
        guard let connection else { return }
        server.accounts?.transferred(
            received: connection.bytesReceived &- counted.received,
            sent: connection.bytesSent &- counted.sent
        )
        counted = (connection.bytesReceived, connection.bytesSent)
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }
}

/// One request to the port: collected whole, answered whole.
package final class ControlReply: ServerStreamDelegate {
    private let server: ControlServer
    private let connection: ControlConnection
    private let start: Instant
    private let wire: any ServerStream
    private let headers: HeaderMapPool
    private var method = ""
    private var target = ""
    private var contentType = ""
    private var accept = ""
    private var body: [UInt8] = []
    private var isAnswered = false

    /// Largest request body: a request to explain is a few KiB.
    private static let bodyBytesMax = 1 << 20

    fileprivate init(
        _ server: ControlServer,
        _ connection: ControlConnection,
        _ wire: any ServerStream,
        _ headers: HeaderMapPool
    ) {
        self.server = server
        self.connection = connection
        start = server.now
        self.wire = wire
        self.headers = headers
    }

    package func requestHead(_ head: HeaderMap, endStream: Bool) {
        method = head.string(.method) ?? ""
        target = head.string(.path) ?? ""
        contentType = head.string(.contentType) ?? ""
        accept = head.string(.accept) ?? ""
        if endStream { answer() }
    }

    package func requestData(_ bytes: Bytes, endStream: Bool) {
        guard !isAnswered else { return }
        guard body.count + bytes.count <= Self.bodyBytesMax else {
            wire.closeAfterResponse()
            return send(AdminResponse(status: 413, "Payload Too Large"))
        }
        body.append(contentsOf: bytes)
        if endStream { answer() }
    }

    package func requestTrailers(_ trailers: HeaderMap) { answer() }

    package func requestInvalid(_ error: CodecError) {
        wire.closeAfterResponse()
        send(AdminResponse(status: error.status, error.body.description))
    }

    private func answer() {
        guard !isAnswered else { return }
        let request = AdminRequest(
            method: method,
            target: target,
            body: body,
            contentType: contentType,
            accept: accept
        )
        server.respond(to: request, self)
    }

    /// Answers. Only the first answer counts, and none that comes after the client has left.
    package func send(_ response: consuming AdminResponse) {
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
        if let name = server.name { head.append(.server, name.description) }
        server.accounts?.responseBegan(response.status)
        let hasBody = !response.body.isEmpty && method != "HEAD"
        head.append(.contentLength, "\(response.body.count)")
        wire.sendHead(head, endStream: !hasBody)
        if hasBody { wire.sendData(response.body.bytes, endStream: true) }
        headers.give(taken)
        server.answered()
    }

    package func requestReset(_ reason: StreamResetReason) {
        isAnswered = true
        connection.requestEnded(start, isReset: true)
    }

    package func responseSent() { connection.requestEnded(start, isReset: false) }
    package func responseBlocked() {}
    package func responseUnblocked() {}
}
