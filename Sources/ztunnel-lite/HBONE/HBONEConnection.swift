import MeshHTTP
import MeshNet
import MeshRuntime

/// A connection to another node: mTLS, and HTTP/2 whose streams are tunnels.
final class HBONEConnection: ConnectionDelegate, ClientCodecDelegate, TimerTarget {
    private enum Phase { case connecting, open, closed }

    private let group: HBONEGroup
    private unowned let worker: ZtunnelWorker
    private let credentials: Credentials
    private var phase = Phase.connecting
    private var connection: Connection?
    private var codec: HTTP2ClientCodec?
    /// What the handshake established; nil before.
    private(set) var tls: TLSConnectionInfo?
    /// Who the peer proved to be.
    private(set) var identity: SPIFFEID?
    private(set) var tunnels = 0
    /// Why it was ended under its tunnels, where we did it.
    private(set) var endCause: HBONEFailure?
    /// It takes no further tunnel.
    private var isRetired = false
    private var idleTimer = TimerID.none
    private var expiryTimer = TimerID.none

    private enum Timer { static let idle: UInt8 = 0, expiry: UInt8 = 1 }

    init(_ group: HBONEGroup, _ worker: ZtunnelWorker) throws(HBONEFailure) {
        self.group = group
        self.worker = worker
        guard let credentials = worker.identities.credentials[group.key.source] else {
            throw HBONEFailure(
                flag: .identityError,
                reason: "no certificate for \(group.key.source)"
            )
        }
        self.credentials = credentials
        do throws(SystemError) {
            connection = try Connection.connect(
                to: group.key.gateway,
                options: worker.socketOptions(
                    to: group.key.gateway,
                    from: group.key.sourceAddress
                ),
                loop: worker.loop,
                secure: TLSSession(
                    client: credentials.client,
                    identities: group.key.destinations
                ),
                timeout: ZtunnelWorker.connectTimeout,
                delegate: self
            )
        } catch {
            throw HBONEFailure(
                flag: .connectionFailure,
                reason: "connection failed: \(error.reason)"
            )
        }
    }

    // MARK: Tunnels

    /// Whether another tunnel may be opened on it.
    var hasRoom: Bool {
        guard phase == .open, !isRetired, tunnels < worker.options.poolStreamsMax, let codec else {
            return false
        }
        return codec.streamsAvailable > 0
    }

    func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream {
        guard let codec else { preconditionFailure("a tunnel on a connection that is not open") }
        tunnels += 1
        worker.loop.cancel(&idleTimer)
        return codec.openStream(delegate)
    }

    /// Takes no further tunnel, and ends with the last.
    func retire() {
        isRetired = true
        if phase == .open, tunnels == 0 { leave() }
    }

    /// The worker's certificates have changed.
    func review(_ identities: IdentitySnapshot) {
        if let peer = tls?.peer, identities.revoked.contains(peer) {
            return end(.certificateRevoked, "the peer's certificate was revoked")
        }
        if identities.credentials[group.key.source] !== credentials { retire() }
    }

    private func end(_ flag: FailureFlag, _ reason: String) {
        endCause = HBONEFailure(flag: flag, reason: reason)
        worker.log.info(.connection, "HBONE: \(group.key.gateway): \(reason)")
        connection?.abort()
    }

    private func leave() {
        guard phase == .open else { return }
        isRetired = true
        codec?.takeLeave()
        connection?.closeAfterFlush()
    }

    // MARK: ConnectionDelegate

    func connectionEstablished(_ connection: Connection) {
        guard let tls = connection.tls, tls.alpn == "h2" else {
            fail(
                HBONEFailure(
                    flag: .http2HandshakeFailure,
                    reason: "the peer does not speak HTTP/2 (ALPN h2)"
                )
            )
            return connection.close()
        }
        self.tls = tls
        identity = SPIFFEID(peerOf: tls)
        phase = .open
        codec = HTTP2ClientCodec(
            sink: connection,
            delegate: self,
            settings: worker.clientSettings,
            pool: worker.headers,
            seed: worker.random.next()
        )
        armExpiry(tls)
        group.established(self)
        if tunnels == 0 { armIdle() }
    }

    /// The connection outlives neither our certificate nor the peer's.
    private func armExpiry(_ tls: TLSConnectionInfo) {
        let peerEnd = tls.peer?.chainNotAfter.nanoseconds ?? Int64.max
        let end = min(peerEnd, credentials.validUntil.nanoseconds)
        let left = end - worker.wallClock.nanoseconds
        guard left < ZtunnelWorker.expiryHorizon.count else { return }
        expiryTimer = worker.loop.arm(self, Timer.expiry, after: Nanoseconds(max(0, left)))
    }

    private func armIdle() {
        worker.loop.cancel(&idleTimer)
        idleTimer = worker.loop.arm(self, Timer.idle, after: worker.options.poolUnusedRelease)
    }

    func timerFired(_ kind: UInt8) {
        if kind == Timer.idle {
            idleTimer = .none
            if tunnels == 0 { leave() }
        } else {
            expiryTimer = .none
            end(.tlsFailure, "a certificate has expired")
        }
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        codec?.received(bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) {
        if let codec { codec.receivedEnd() } else { connection.close() }
    }

    func connectionOutputBlocked(_ connection: Connection) { codec?.outputBlocked() }
    func connectionOutputUnblocked(_ connection: Connection) { codec?.outputUnblocked() }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        worker.loop.cancel(&idleTimer)
        worker.loop.cancel(&expiryTimer)
        switch phase {
        case .connecting:
            fail(failure(of: connection, reason))
        case .open:
            phase = .closed
            // With TLS 1.3 a server judges our certificate after we have finished.
            if case .tlsFailed = reason, endCause == nil {
                endCause = tlsFailure(of: connection)
            }
            let codec = codec
            self.codec = nil
            self.connection = nil
            codec?.connectionClosed(.connectionTermination)
            group.closed(self)
        case .closed: break
        }
    }

    private func fail(_ failure: HBONEFailure) {
        phase = .closed
        connection = nil
        group.failed(self, failure)
    }

    private func failure(
        of connection: Connection,
        _ reason: ConnectionCloseReason
    ) -> HBONEFailure {
        let gateway = group.key.gateway
        switch reason {
        case .tlsFailed:
            return tlsFailure(of: connection)
        case .connectTimeout:
            guard connection.connectedAt == nil else {
                return HBONEFailure(flag: .tlsFailure, reason: "TLS handshake timed out")
            }
            return HBONEFailure(
                flag: .networkPolicyError,
                reason: "connection timed out, maybe a NetworkPolicy is blocking HBONE port"
                    + " \(gateway.port ?? 0): \(gateway)"
            )
        case .connectFailed(let error), .reset(let error):
            return HBONEFailure(
                flag: .connectionFailure,
                reason: "connection failed: \(error.reason)"
            )
        case .local, .remote:
            return HBONEFailure(
                flag: .connectionFailure,
                reason: "connection closed during the handshake"
            )
        }
    }

    private func tlsFailure(of connection: Connection) -> HBONEFailure {
        guard connection.isPeerRevoked else {
            return HBONEFailure(flag: .tlsFailure, reason: connection.tlsFailureText)
        }
        worker.observer.certificateRefused(.outbound)
        return HBONEFailure(flag: .certificateRevoked, reason: connection.tlsFailureText)
    }

    // MARK: ClientCodecDelegate

    func streamEnded(reusable: Bool) {
        tunnels -= 1
        if !reusable { isRetired = true }
        guard phase == .open else { return }
        group.serve(self)
        guard tunnels == 0 else { return }
        if isRetired { leave() } else { armIdle() }
    }

    func streamsAvailableChanged() { group.serve(self) }
    func connectionSpoiled(_ cause: ConnectionSpoilage) { isRetired = true }
    func closeAfterFlush() { connection?.closeAfterFlush() }
    func closeNow() { connection?.close() }
    func abort() { connection?.abort() }
}

extension Connection {
    /// We have refused the peer because its certificate was revoked.
    var isPeerRevoked: Bool {
        guard let failure = (secure as? TLSSession)?.failure else { return false }
        return failure.stage == .revoked && failure.refuser == .local
    }

    /// Why TLS failed, with what either side wanted and saw.
    var tlsFailureText: String {
        guard let failure = (secure as? TLSSession)?.failure else { return transportFailureReason }
        return failure.sentence
    }
}
