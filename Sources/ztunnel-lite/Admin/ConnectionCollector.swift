import MeshNet
import MeshRuntime

/// One `/connections` on its way: gathers what workers answer, and answers when all have or the time is
/// over. Keeps itself alive until then.
final class ConnectionCollector: TimerTarget {
    private let facts: AdminFacts
    private let loop: EventLoop
    private var reply: ControlReply?
    private var answers: [WorkerConnections] = []
    private var timer = TimerID.none
    private var keepsItself: ConnectionCollector?

    /// A worker that is that busy is left out.
    private static let patience = Nanoseconds.seconds(1)

    init(_ facts: AdminFacts, loop: EventLoop, _ reply: ControlReply) {
        self.facts = facts
        self.loop = loop
        self.reply = reply
    }

    func start() {
        keepsItself = self
        timer = loop.arm(self, after: Self.patience)
        facts.connections { [weak self] in self?.answered($0) }
        if facts.workers == 0 { finish() }
    }

    private func answered(_ connections: WorkerConnections) {
        answers.append(connections)
        if answers.count == facts.workers { finish() }
    }

    func timerFired(_ kind: UInt8) {
        timer = .none
        finish()
    }

    private func finish() {
        guard let reply else { return }
        self.reply = nil
        loop.cancel(&timer)
        var json = JSONWriter(indentation: 2)
        let now = facts.now()
        json.beginObject()
        json.member("open", answers.reduce(0) { $0 + $1.total })
        json.member("silent_workers", facts.workers - answers.count)
        json.key("connections")
        json.beginArray()
        let connections = answers.flatMap(\.shown).sorted { $0.start < $1.start }
        for connection in connections { connection.write(to: &json, now: now) }
        json.endArray()
        json.endObject()
        reply.send(.document(json))
        keepsItself = nil
    }
}

extension OpenConnection {
    /// Under the keys of the access log.
    fileprivate func write(to json: inout JSONWriter, now: Instant) {
        json.beginObject()
        json.member("direction", direction.text.description)
        json.member("src.addr", source.description)
        if let sourceWorkload {
            json.member("src.workload", sourceWorkload.name)
            json.member("src.namespace", sourceWorkload.namespace)
        }
        if isMutualTLS, let sourceIdentity {
            json.member("src.identity", sourceIdentity.description)
        }
        json.member("dst.addr", destination.description)
        if let hboneAddress { json.member("dst.hbone_addr", hboneAddress) }
        if let service { json.member("dst.service", service.hostname) }
        if let destinationWorkload {
            json.member("dst.workload", destinationWorkload.name)
            json.member("dst.namespace", destinationWorkload.namespace)
        }
        if isMutualTLS, let identity = destinationIdentity ?? destinationWorkload?.identity {
            json.member("dst.identity", identity.description)
        }
        // As in the log: the view of the side that reports.
        let isOutbound = direction == .outbound
        json.member("bytes_sent", Double(isOutbound ? bytesReceived : bytesSent))
        json.member("bytes_recv", Double(isOutbound ? bytesSent : bytesReceived))
        json.member("age", "\(max(0, (now - start).milliseconds))ms")
        json.endObject()
    }
}
