import MeshHTTP
import MeshNet
import MeshRuntime

/// A connection from another node on the HBONE port: mTLS, and HTTP/2 whose streams are tunnels to one of
/// our workloads.
final class InboundConnection: ConnectionDelegate, ServerCodecDelegate, TimerTarget {
    unowned let worker: ZtunnelWorker
    /// Whom it came to.
    let workload: Workload
    let remoteAddress: SocketAddress
    let localAddress: SocketAddress
    private let credentials: Credentials
    private var connection: Connection?
    private var codec: HTTP2ServerCodec?
    private(set) var tls: TLSConnectionInfo?
    private(set) var identity: SPIFFEID?
    private var expiryTimer = TimerID.none

    /// - Parameters:
    ///   - workload: whose address it came to; the handshake speaks for it.
    init(
        _ worker: ZtunnelWorker,
        to workload: Workload,
        credentials: Credentials,
        from remoteAddress: SocketAddress,
        at localAddress: SocketAddress
    ) {
        self.worker = worker
        self.workload = workload
        self.credentials = credentials
        self.remoteAddress = remoteAddress
        self.localAddress = localAddress
    }

    /// Takes the socket, whose first bytes belong to TLS.
    func start(_ socket: Socket) {
        let connection = Connection(
            accepted: socket,
            loop: worker.loop,
            secure: TLSSession(server: credentials.server),
            delegate: self
        )
        self.connection = connection
        worker.add(self)
        do throws(SystemError) {
            try connection.start(timeout: ZtunnelWorker.handshakeTimeout)
        } catch {
            worker.observer.socketClosed(.inbound)
            worker.remove(self)
        }
    }

    // MARK: Ending

    /// Takes no further tunnel, and ends with the last.
    func drain() {
        guard let codec else { return connection?.close() ?? () }
        codec.startDrain()
        if codec.isIdle { connection?.closeAfterFlush() }
    }

    func closeAtOnce() { connection?.abort() }

    /// The worker's certificates have changed.
    func review(_ identities: IdentitySnapshot) {
        guard let peer = tls?.peer else { return }
        if identities.revoked.contains(peer) {
            return end(.certificateRevoked, "the client's certificate was revoked")
        }
        // Those who come later meet the new certificate.
        if identities.credentials[workload.identity] !== credentials { codec?.warn() }
    }

    private func end(_ flag: FailureFlag, _ reason: String) {
        worker.failTunnels(of: self, flag, reason)
        connection?.abort()
    }

    func timerFired(_ kind: UInt8) {
        expiryTimer = .none
        end(.tlsFailure, "a certificate has expired")
    }

    // MARK: ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {
        guard let tls = connection.tls, tls.alpn == "h2" else {
            refused("the client does not speak HTTP/2 (ALPN h2)")
            return connection.close()
        }
        self.tls = tls
        identity = SPIFFEID(peerOf: tls)
        codec = HTTP2ServerCodec(
            sink: connection,
            delegate: self,
            settings: worker.serverSettings,
            pool: worker.headers,
            seed: worker.random.next()
        )
        let end = min(
            tls.peer?.chainNotAfter.nanoseconds ?? .max,
            credentials.validUntil.nanoseconds
        )
        let left = end - worker.wallClock.nanoseconds
        if left < ZtunnelWorker.expiryHorizon.count {
            expiryTimer = worker.loop.arm(self, after: Nanoseconds(max(0, left)))
        }
    }

    private func refused(_ reason: String) {
        worker.observer.refusedEarly(
            source: remoteAddress,
            destination: localAddress,
            direction: .inbound,
            error: reason
        )
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        codec?.received(bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { codec?.receivedEnd() }
    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        if codec == nil, tls == nil {
            switch reason {
            case .tlsFailed:
                if connection.isPeerRevoked { worker.observer.certificateRefused(.inbound) }
                refused(connection.tlsFailureText)
            case .connectTimeout: refused("TLS handshake timed out")
            case .local, .remote, .reset, .connectFailed: break
            }
        }
        worker.observer.socketClosed(.inbound)
        worker.loop.cancel(&expiryTimer)
        let codec = codec
        self.codec = nil
        self.connection = nil
        codec?.connectionClosed(.connectionTermination)
        worker.remove(self)
    }

    // MARK: ServerCodecDelegate

    func openStream(_ stream: any ServerStream) -> any ServerStreamDelegate {
        HBONEServerStream(stream, on: self)
    }

    func closeAfterFlush() { connection?.closeAfterFlush() }
    func closeNow() { connection?.close() }
    func abort() { connection?.abort() }

    func connectionRefused(_ error: CodecError) { refused("\(error.reason)") }

    // MARK: Tunnels

    /// What becomes of a request; nil where it was refused.
    func session(for head: HeaderMap, on stream: HBONEServerStream) -> InboundTunnel? {
        guard let method = head[.method], method.equals("CONNECT"),
            let authority = head[.authority]
        else {
            let method = head[.method].map { String(bytes: $0) } ?? ""
            refused("non-CONNECT method: \(method)")
            stream.refuse(status: 400)
            return nil
        }
        // The mesh may have changed since the connection came in.
        guard let workload = worker.state.current(workload) else {
            refused("failed to fetch information about local workload: \(localAddress)")
            stream.refuse(status: 503)
            return nil
        }
        let route = worker.state.inboundRoute(
            InboundRequest(
                authority: String(bytes: authority),
                localAddress: localAddress,
                workload: workload,
                illegalPorts: worker.illegalPorts,
                forwardedHost: HBONEHeaders.forwardedHost(head)
            )
        )
        switch route {
        case .refused(let status, let reason):
            refused(reason)
            stream.refuse(status: status)
            return nil
        case .connect(let target):
            return InboundTunnel(self, to: workload, target, head, stream)
        }
    }
}
