import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// `tunneling_config` compiled for one worker.
final class TunnelSettings {
    let config: TunnelingConfig
    let hostname: FormatString
    let headers: HeaderMutation

    init(_ config: TunnelingConfig, _ formats: FormatEnvironment) {
        self.config = config
        hostname = FormatString(config.hostname, formats)
        headers = HeaderMutation(add: config.headersToAdd, formats)
    }
}

/// Why a tunnel did not come to be.
enum TunnelFailure {
    /// Nobody can serve it (response flag UH).
    case noEndpoint
    /// A circuit breaker is open (UO).
    case overflow(Endpoint?)
    /// The cluster could not be reached, or did not grant it (UF). The reason is the log's.
    case notConnected(Endpoint?, reason: String)
}

/// The far half of a session that tunnels: a CONNECT, or POST, to the cluster whose bodies are what the
/// session carries (envoy: tunneling_config).
///
/// The stream is one of the cluster's pool, and shares its connection where that is HTTP/2's. The session
/// hears once whether the tunnel is open or has failed, and afterwards what comes through it.
final class TCPTunnel: TCPProxyUpstream {
    private enum State {
        /// In the pool's queue.
        case waiting
        /// The request was sent.
        case asked(any ClientStream)
        case open(any ClientStream)
        case ended
    }

    private let settings: TunnelSettings
    private let worker: Worker
    /// Nil once ended.
    private var session: TCPProxySession?
    private var state = State.waiting
    private var ticket: PoolTicket?
    private(set) var connection: UpstreamConnection?
    private var hasSentEnd = false
    private var hasPeerEnded = false

    init(_ settings: TunnelSettings, _ worker: Worker, for session: TCPProxySession) {
        self.settings = settings
        self.worker = worker
        self.session = session
    }

    /// Asks for a stream. The session may hear of a failure from inside this call.
    func start(_ cluster: Cluster, _ selection: UpstreamSelection) {
        switch cluster.openStream(for: self, selection) {
        case .underWay(let ticket):
            if case .waiting = state { self.ticket = ticket }
        case .noEndpoint:
            fail(.noEndpoint)
        }
    }

    private func fail(_ failure: TunnelFailure) {
        let session = session
        end()
        session?.tunnelFailed(failure)
    }

    /// Resets of single streams, which HTTP/1 does not have.
    private func countResetSent() {
        if let connection, connection.isMultiplexed { connection.countResetSent() }
    }

    /// Parts stream and session; what the stream has carried is known to the log.
    private func end() {
        switch state {
        case .asked(let stream), .open(let stream):
            session?.tunnelCarried(received: stream.bytesReceived, sent: stream.bytesSent)
        case .waiting, .ended: break
        }
        state = .ended
        session = nil
        ticket = nil
    }

    private func reset() {
        switch state {
        case .waiting:
            if let ticket { ticket.pool?.cancel(ticket) }
            end()
        case .asked(let stream), .open(let stream):
            countResetSent()
            end()
            stream.reset(.localReset)
        case .ended: break
        }
    }

    // MARK: TCPProxyUpstream

    func write(_ bytes: Bytes) {
        guard case .open(let stream) = state, !hasSentEnd else { return }
        stream.sendData(bytes, endStream: false)
    }

    func shutdownSending() {
        guard case .open(let stream) = state, !hasSentEnd else { return }
        hasSentEnd = true
        stream.sendData(Bytes(start: nil, count: 0), endStream: true)
        endIfBothHave()
    }

    private func endIfBothHave() {
        if hasSentEnd, hasPeerEnded { end() }
    }

    func pauseReading() {
        if case .open(let stream) = state { stream.pauseReading() }
    }

    func resumeReading() {
        if case .open(let stream) = state { stream.resumeReading() }
    }

    var bufferedBytes: Int { 0 }
    func closeAfterFlush() { reset() }
    func abort() { reset() }
}

extension TCPTunnel: PoolWaiter {
    func poolReady(_ stream: any ClientStream, on connection: UpstreamConnection) {
        ticket = nil
        guard case .waiting = state, let session else { return stream.reset(.localReset) }
        state = .asked(stream)
        self.connection = connection
        session.tunnelAsks(on: connection)
        let taken = worker.headers.take()
        defer { worker.headers.give(taken) }
        let head = taken.takeUnretainedValue()
        guard write(head, session) else {
            stream.reset(.localReset)
            return fail(.notConnected(connection.endpoint, reason: "invalid tunnel hostname"))
        }
        stream.sendHead(head, endStream: false)
    }

    /// False where the host that came out of the format is none.
    private func write(_ head: HeaderMap, _ session: TCPProxySession) -> Bool {
        let context = session.formatContext
        head.append(.method, settings.config.usesPost ? "POST" : "CONNECT")
        if settings.config.usesPost {
            head.append(.scheme, connection?.tls == nil ? "http" : "https")
            head.append(.path, settings.config.postPath)
        }
        var host = ByteBuffer()
        settings.hostname.append(to: &host, context)
        // What a client's server name or metadata may have brought does not get into a head.
        guard !host.isEmpty, host.bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return false }
        head.append(.authority, host.bytes)
        settings.headers.apply(to: head) { context }
        return true
    }

    func poolFailed(_ failure: PoolFailure) {
        ticket = nil
        guard case .waiting = state else { return }
        if failure.kind == .overflow { return fail(.overflow(failure.endpoint)) }
        fail(.notConnected(failure.endpoint, reason: failure.transportFailureReason))
    }
}

extension TCPTunnel: ClientStreamDelegate {
    func responseInformational(_ head: HeaderMap) {}

    func responseHead(_ head: HeaderMap, endStream: Bool) {
        guard case .asked(let stream) = state else { return }
        if settings.config.propagatesResponseHeaders {
            session?.propagate(head, as: "envoy.tcp_proxy.propagate_response_headers")
        }
        let status = HTTPStream.status(of: head)
        guard status / 100 == 2, !endStream else {
            if !endStream { countResetSent() }
            fail(.notConnected(connection?.endpoint, reason: "tunnel_response:\(status)"))
            return stream.reset(.localReset)
        }
        state = .open(stream)
        session?.tunnelOpened(self)
    }

    func responseData(_ bytes: Bytes, endStream: Bool) {
        guard case .open = state, let session else { return }
        if !bytes.isEmpty { session.upstreamReceived(bytes) }
        if endStream { responseEnded() }
    }

    func responseTrailers(_ trailers: HeaderMap) {
        guard case .open = state else { return }
        if settings.config.propagatesResponseTrailers {
            session?.propagate(trailers, as: "envoy.tcp_proxy.propagate_response_trailers")
        }
        responseEnded()
    }

    /// The other direction of a POST ends with its response.
    private func responseEnded() {
        guard case .open = state, let session else { return }
        hasPeerEnded = true
        if settings.config.usesPost, !hasSentEnd {
            end()
            session.upstreamClosed(byReset: false)
        } else {
            endIfBothHave()
            session.upstreamEnded()
        }
    }

    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        switch state {
        case .asked:
            countResetReceived(reason)
            let text = connection?.transportFailureReason ?? ""
            fail(.notConnected(connection?.endpoint, reason: text))
        case .open:
            countResetReceived(reason)
            let session = session
            end()
            // Who has said all and takes no more has not failed.
            session?.upstreamClosed(byReset: !hasPeerEnded || reason != .remoteReset)
        case .waiting, .ended: break
        }
    }

    private func countResetReceived(_ reason: StreamResetReason) {
        guard let connection, connection.isMultiplexed else { return }
        if reason == .protocolError { connection.countResetSent() }
        if reason == .remoteReset { connection.countResetReceived() }
    }

    func requestBlocked() { session?.upstreamBlocked() }
    func requestUnblocked() { session?.upstreamUnblocked() }
}
