import MeshNet

/// A captured connection from outside the mesh to one of our workloads: plaintext, without identity, but
/// under the same policy.
final class InboundPassthrough: RelaySession {
    private let workload: Workload
    private let subject: L4Connection

    init(
        _ worker: ZtunnelWorker,
        to workload: Workload,
        from source: SocketAddress,
        destination: SocketAddress
    ) {
        self.workload = workload
        subject = L4Connection(source: source, identity: nil, destination: destination)
        let record = ConnectionRecord(
            direction: .inbound,
            source: source,
            destination: destination,
            start: worker.loop.now
        )
        record.sourceWorkload = source.ip.flatMap { worker.state.workload(at: $0) }
        record.destinationWorkload = workload
        super.init(worker, record)
    }

    override func nearEstablished() {
        guard let port = subject.destination.port, !worker.illegalPorts.contains(port) else {
            return fail("attempted recursive call to ourselves", .none)
        }
        let decision = worker.decide(subject, for: workload)
        report()
        guard decision.isAllowed else {
            return fail(
                "connection closed due to policy rejection: \(decision.reason)",
                .authorizationPolicyDenied
            )
        }
        connect(
            to: subject.destination,
            from: worker.originalSource(of: subject.source, to: subject.destination)
        )
    }

    override func farEstablished() { startRelaying() }

    override func farFailed(_ reason: String) {
        fail("connection failed: \(reason)", .connectionFailure)
    }

    override func review() {
        guard !isFinished else { return }
        let decision = worker.decide(subject, for: workload)
        guard !decision.isAllowed else { return }
        fail(
            "connection closed due to policy change: \(decision.reason)",
            .authorizationPolicyDenied
        )
    }
}
