import MeshHTTP
import MeshNet

/// A local workload's connection to somebody else: through a tunnel to a workload of the mesh or its
/// waypoint, in the clear to one that takes no HBONE, and as it is to the unknown.
final class OutboundConnection: RelaySession, TimerTarget {
    private enum Phase {
        /// Its workload is not known yet.
        case unknown
        /// In the pool's queue.
        case waiting(HBONEKey)
        case connecting, relaying
    }

    private let destination: SocketAddress
    /// Present while a SOCKS5 client waits for its answer.
    private var greeting: SOCKS5Reply?
    /// What such a client is told, where the flag does not say it.
    private var refusal: SOCKS5Reply.Code?
    private var phase = Phase.unknown
    private var route: TunnelRoute?
    private var waitTimer = TimerID.none
    private var hasRetried = false
    private var tunnel: HBONEClientStream?

    /// - Parameters:
    ///   - source: the workload's end.
    ///   - destination: where the workload meant to connect.
    init(
        _ worker: ZtunnelWorker,
        from source: SocketAddress,
        to destination: SocketAddress
    ) {
        self.destination = destination
        super.init(
            worker,
            ConnectionRecord(
                direction: .outbound,
                source: source,
                destination: destination,
                start: worker.loop.now
            )
        )
    }

    /// A SOCKS5 client has said where it wants to go.
    func adopt(_ connection: Connection, _ greeting: SOCKS5Reply) {
        self.greeting = greeting
        connection.delegate = self
        connectionEstablished(connection)
    }

    // MARK: Route

    override func nearEstablished() {
        if let port = destination.port, worker.illegalPorts.contains(port),
            worker.isOurs(destination)
        {
            return fail("attempted recursive call to ourselves", .none)
        }
        guard let workload = worker.localWorkload(at: record.source.ip) else {
            // A workload that has just started may not be in the file yet.
            worker.waitForState(self)
            waitTimer = loop.arm(self, after: ZtunnelWorker.workloadPatience)
            return
        }
        begin(workload)
    }

    /// The mesh has changed while we wait for our workload.
    func stateChanged() {
        guard case .unknown = phase, !isFinished,
            let workload = worker.localWorkload(at: record.source.ip)
        else { return }
        loop.cancel(&waitTimer)
        worker.stopWaiting(self)
        begin(workload)
    }

    func timerFired(_ kind: UInt8) {
        waitTimer = .none
        worker.stopWaiting(self)
        fail("failed to fetch information about local workload: \(record.source)", .none)
    }

    private func begin(_ source: Workload) {
        phase = .connecting
        record.sourceWorkload = source
        guard let address = destination.ip, let port = destination.port else {
            return fail("the destination has no IP address", .none)
        }
        let route = worker.route(
            OutboundRequest(
                source: source,
                destination: address,
                port: port,
                sourceAddress: record.source.ip ?? address,
                hbonePort: worker.options.hbonePort
            )
        )
        switch route {
        case .refused(let reason):
            report()
            fail(reason, .none)
        case .passthrough:
            report()
            connect(to: destination, from: nil)
        case .direct(let direct):
            record.destinationWorkload = direct.workload
            record.service = direct.service
            record.destination = direct.address
            report()
            connect(to: direct.address, from: nil)
        case .tunnel(let tunnel):
            begin(tunnel, source)
        }
    }

    // MARK: Tunnel

    private func begin(_ route: TunnelRoute, _ source: Workload) {
        self.route = route
        record.sourceIdentity = source.identity
        record.destinationWorkload = route.workload
        record.service = route.service
        record.destination = route.gateway
        record.hboneAddress = route.authority
        record.isMutualTLS = true
        report()
        openTunnel(route, source)
    }

    private func openTunnel(_ route: TunnelRoute, _ source: Workload) {
        let key = HBONEKey(
            source: source.identity,
            destinations: route.identities,
            sourceAddress: worker.tunnelSource(record.source, to: route.gateway),
            gateway: route.gateway
        )
        phase = .waiting(key)
        worker.pool.open(key, for: self)
    }

    override func farEstablished() { relay() }

    override func farFailed(_ reason: String) {
        refusal = reason.contains("refused") ? .connectionRefused : .hostUnreachable
        fail("connection failed: \(reason)", .connectionFailure)
    }

    private func relay() {
        phase = .relaying
        greeting?.answer(.succeeded)
        greeting = nil
        startRelaying()
    }

    override func fail(_ error: String, _ flag: FailureFlag) {
        guard let greeting, let connection = near as? Connection, !isFinished else {
            return super.fail(error, flag)
        }
        // The protocol has words for it: they are to arrive, so no reset.
        greeting.answer(
            flag == .authorizationPolicyDenied ? .notAllowed : refusal ?? .generalFailure
        )
        record.error = error
        record.flags = flag
        finish()
        connection.closeAfterFlush()
    }

    override func finished() {
        loop.cancel(&waitTimer)
        if case .waiting(let key) = phase { worker.pool.cancel(key, self) }
        if case .unknown = phase { worker.stopWaiting(self) }
        phase = .relaying
        tunnel = nil
    }
}

extension OutboundConnection: HBONEWaiter {
    func poolReady(_ connection: HBONEConnection) {
        guard case .waiting = phase, let route else { return }
        phase = .connecting
        record.destinationIdentity = connection.identity
        let taken = worker.headers.take()
        defer { worker.headers.give(taken) }
        let head = taken.takeUnretainedValue()
        head.append(.method, "CONNECT")
        head.append(.authority, route.authority)
        if let source = record.sourceWorkload {
            head.append(HBONEHeaders.baggageName, worker.baggage(of: source))
        }
        head.append(
            HBONEHeaders.forwardedName,
            HBONEHeaders.forwarded(for: record.source, host: route.forwardedHost)
        )
        head.append(
            HBONEHeaders.traceparentName,
            HBONEHeaders.traceparent(&worker.random)
        )
        let tunnel = HBONEClientStream(on: connection, head: head, owner: self)
        self.tunnel = tunnel
        attach(far: tunnel)
    }

    func poolFailed(_ failure: HBONEFailure) {
        guard case .waiting = phase else { return }
        phase = .connecting
        if failure.flag == .connectionFailure { refusal = .hostUnreachable }
        fail(failure.reason, failure.flag)
    }
}

extension OutboundConnection: HBONEClientStreamOwner {
    func tunnelOpened() { relay() }

    func tunnelRefused(status: Int) {
        refusal = .hostUnreachable
        fail(
            "http status: \(status) \(Self.phrase(status))",
            status == 401 ? .authorizationPolicyDenied : .connectionFailure
        )
    }

    func tunnelLost(isUnprocessed: Bool, _ reason: String) {
        guard isUnprocessed, !hasRetried, let route, let source = record.sourceWorkload else {
            return fail("tunnel lost: \(reason)", .connectionFailure)
        }
        // Nobody has looked at it, and none of the client's bytes were sent.
        hasRetried = true
        openTunnel(route, source)
    }

    private static func phrase(_ status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 503: "Service Unavailable"
        default: ""
        }
    }
}
