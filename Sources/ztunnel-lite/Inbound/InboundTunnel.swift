import MeshHTTP
import MeshNet

/// One tunnel from another node to one of our workloads: authorized, connected, relayed.
final class InboundTunnel: RelaySession {
    private let connection: InboundConnection
    private let workload: Workload
    private let target: InboundTarget
    private let stream: HBONEServerStream
    /// What policy is asked about; asked again when policy changes.
    private let subject: L4Connection
    private var isAccepted = false

    init(
        _ connection: InboundConnection,
        to workload: Workload,
        _ target: InboundTarget,
        _ head: HeaderMap,
        _ stream: HBONEServerStream
    ) {
        let worker = connection.worker
        self.connection = connection
        self.workload = workload
        self.target = target
        self.stream = stream
        subject = L4Connection(
            source: connection.remoteAddress,
            identity: connection.identity,
            destination: target.destination
        )
        let record = ConnectionRecord(
            direction: .inbound,
            source: connection.remoteAddress,
            // As outbound: where HBONE was taken. Whom it is for is the authority.
            destination: connection.localAddress,
            start: worker.loop.now
        )
        record.isMutualTLS = true
        record.sourceIdentity = connection.identity
        record.sourceWorkload = connection.remoteAddress.ip.flatMap {
            worker.state.workload(at: $0)
        }
        if record.sourceWorkload == nil { record.claimedSource = HBONEHeaders.claim(head) }
        record.destinationWorkload = workload
        record.destinationIdentity = workload.identity
        record.hboneAddress = head[.authority].map { String(bytes: $0) }
        record.service = target.service
        super.init(worker, record)
        attach(near: stream)
    }

    func begin() {
        let decision = worker.decide(subject, for: workload)
        report()
        guard decision.isAllowed else {
            return refuse(
                status: 401,
                .authorizationPolicyDenied,
                "connection closed due to policy rejection: \(decision.reason)"
            )
        }
        connect(to: serverAddress, from: sourceAddress)
    }

    /// Application tunnels are for the loopback, so that nobody comes to them but through us.
    private var isByLoopback: Bool { target.proxyProtocol && worker.options.allowsLocalhostTunnel }

    private var serverAddress: SocketAddress {
        target.proxyProtocol && !isByLoopback ? target.destination : target.address
    }

    private var sourceAddress: IPAddress? {
        isByLoopback ? nil : worker.originalSource(of: subject.source, to: serverAddress)
    }

    override func farEstablished() {
        if target.proxyProtocol {
            far?.write(ProxyProtocol.header(subject, to: target.tunnelTarget).bytes)
        }
        isAccepted = true
        let taken = worker.headers.take()
        let head = taken.takeUnretainedValue()
        head.append(.status, "200")
        if worker.options.sendsResponseBaggage {
            head.append(HBONEHeaders.baggageName, worker.baggage(of: workload))
        }
        stream.accept(head)
        worker.headers.give(taken)
        startRelaying()
    }

    override func farFailed(_ reason: String) {
        refuse(status: 503, .connectionFailure, "connection failed: \(reason)")
    }

    private func refuse(status: Int, _ flag: FailureFlag, _ error: String) {
        record.flags = flag
        record.error = error
        let stream = stream
        finish()
        stream.refuse(status: status)
    }

    // MARK: Review

    override func review() {
        guard !isFinished else { return }
        let decision = worker.decide(subject, for: workload)
        guard !decision.isAllowed else { return }
        fail(
            "connection closed due to policy change: \(decision.reason)",
            .authorizationPolicyDenied
        )
    }

    override func belongs(to other: InboundConnection) -> Bool { other === connection }
}
