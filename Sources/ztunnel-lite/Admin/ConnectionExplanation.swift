import MeshNet
import MeshRuntime

/// Which way a connection would take through the mesh, and what policy at its end says: made by the same
/// routing and the same matching that connections meet. Cold.
struct ConnectionExplanation {
    /// How it travels.
    enum Way {
        case tunnel(TunnelRoute)
        case direct(DirectRoute)
        /// The source's agent knows nobody there.
        case passthrough
        /// The source is none of the mesh's workloads: no agent captures it.
        case unmanaged
        case refused(String)
    }

    let question: ConnectionQuestion
    let sourceWorkload: Workload?
    /// What the destination's agent sees; nil without mTLS.
    let identity: SPIFFEID?
    let way: Way
    /// Where policy is asked; nil where nobody asks.
    let target: Workload?
    /// What the destination's agent would say to the CONNECT.
    let inboundRefusal: String?
    let policy: L4Explanation?

    init(_ question: ConnectionQuestion, _ facts: AdminFacts, _ random: inout FastRandom) {
        self.question = question
        let state = facts.state()
        let workload = question.source.ip.flatMap {
            state.workload(at: $0) ?? ($0.isLoopback ? facts.ownWorkload() : nil)
        }
        sourceWorkload = workload
        way = Self.way(question, from: workload, state, facts, &random)
        var subject: SocketAddress? = .ip(question.destination, port: question.port)
        var refusal: String?
        switch way {
        case .tunnel(let tunnel):
            identity = question.identity ?? workload?.identity
            target = tunnel.workload
            subject = nil
            if let peer = tunnel.workload {
                let request = InboundRequest(
                    authority: tunnel.authority,
                    localAddress: tunnel.gateway,
                    workload: peer,
                    illegalPorts: facts.ownPorts,
                    forwardedHost: tunnel.forwardedHost
                )
                switch state.inboundRoute(request) {
                case .connect(let target): subject = target.destination
                case .refused(let status, let reason): refusal = "\(status): \(reason)"
                }
            }
        case .direct(let direct):
            identity = question.identity
            target = direct.workload
            subject = direct.address
        case .passthrough, .unmanaged:
            identity = question.identity
            target = state.workload(at: question.destination)
        case .refused:
            identity = question.identity
            target = nil
        }
        // A waypoint answers for itself what it does with a CONNECT that is not for its own address.
        if case .tunnel(let tunnel) = way, tunnel.isWaypoint, refusal != nil {
            refusal = nil
            subject = tunnel.gateway
        }
        inboundRefusal = refusal
        if let target, let subject, refusal == nil {
            policy = state.policies(for: target).explain(
                L4Connection(source: question.source, identity: identity, destination: subject)
            )
        } else {
            policy = nil
        }
    }

    private static func way(
        _ question: ConnectionQuestion,
        from workload: Workload?,
        _ state: MeshState,
        _ facts: AdminFacts,
        _ random: inout FastRandom
    ) -> Way {
        guard let workload, let source = question.source.ip else { return .unmanaged }
        let request = OutboundRequest(
            source: workload,
            destination: question.destination,
            port: question.port,
            sourceAddress: source,
            hbonePort: facts.hbonePort
        )
        switch state.route(request, random: &random) {
        case .tunnel(let tunnel): return .tunnel(tunnel)
        case .direct(let direct): return .direct(direct)
        case .passthrough: return .passthrough
        case .refused(let reason): return .refused(reason)
        }
    }

    // MARK: Words

    var isAllowed: Bool {
        if case .refused = way { return false }
        return inboundRefusal == nil && policy?.decision.isAllowed != false
    }

    /// One sentence.
    var summary: String {
        if case .refused(let reason) = way { return "refused by the source's agent: \(reason)" }
        if let inboundRefusal { return "refused by the destination's agent: \(inboundRefusal)" }
        if let policy { return policy.summary }
        return "allowed: no workload of the mesh is at the destination"
    }

    private var wayText: String {
        switch way {
        case .tunnel(let tunnel):
            (tunnel.isWaypoint ? "HBONE to the waypoint at " : "HBONE to ")
                + "\(tunnel.gateway), CONNECT \(tunnel.authority), expecting "
                + tunnel.identities.map(\.description).joined(separator: " or ")
        case .direct(let direct): "in the clear to \(direct.address), which takes no HBONE"
        case .passthrough: "in the clear, as it is: the destination is unknown to the mesh"
        case .unmanaged: "in the clear: the source is no workload of the mesh"
        case .refused: "none"
        }
    }

    private var service: Service? {
        switch way {
        case .tunnel(let tunnel): tunnel.service
        case .direct(let direct): direct.service
        case .passthrough, .unmanaged, .refused: nil
        }
    }

    private var kind: String {
        switch way {
        case .tunnel(let tunnel): tunnel.isWaypoint ? "waypoint" : "hbone"
        case .direct: "tcp"
        case .passthrough: "passthrough"
        case .unmanaged: "unmanaged"
        case .refused: "refused"
        }
    }

    private var destinationText: String {
        SocketAddress.ip(question.destination, port: question.port).description
    }

    var text: String {
        var lines = [summary, ""]
        let sender = sourceWorkload.map { $0.displayName } ?? "unknown to the mesh"
        lines.append("source: \(question.source.ip?.description ?? "") (\(sender))")
        lines.append("destination: \(destinationText)")
        lines.append("way: \(wayText)")
        if let service { lines.append("service: \(service.namespace)/\(service.hostname)") }
        if let target { lines.append("workload: \(target.displayName)") }
        if case .tunnel(let tunnel) = way, tunnel.isWaypoint {
            lines.append("the waypoint asks its own policies, of which nothing is known here")
        }
        var text = lines.map { $0 + "\n" }.joined()
        if let policy { text += "\n" + policy.text }
        return text
    }

    /// Writes an object.
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("decision", isAllowed ? "allowed" : "denied")
        json.member("summary", summary)
        json.key("source")
        json.beginObject()
        json.member("address", question.source.ip?.description ?? "")
        if let sourceWorkload { json.member("workload", sourceWorkload.displayName) }
        if let identity { json.member("identity", identity.description) }
        json.endObject()
        json.member("destination", destinationText)
        json.key("route")
        json.beginObject()
        json.member("kind", kind)
        json.member("text", wayText)
        if case .tunnel(let tunnel) = way {
            json.member("gateway", tunnel.gateway.description)
            json.member("authority", tunnel.authority)
            json.key("expected_identities")
            json.beginArray()
            for identity in tunnel.identities { json.string(identity.description) }
            json.endArray()
        }
        if case .direct(let direct) = way {
            json.member("address", direct.address.description)
        }
        if let service { json.member("service", "\(service.namespace)/\(service.hostname)") }
        if let target { json.member("workload", target.displayName) }
        json.endObject()
        if let policy {
            json.key("authorization")
            policy.write(to: &json)
        }
        json.endObject()
    }
}
