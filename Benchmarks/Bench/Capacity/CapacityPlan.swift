/// What a mesh of one peer costs, as sidecars, as agents, and as agents with waypoints.
package struct CapacityPlan: Sendable {
    package enum Shape: String, Sendable, CaseIterable {
        case sidecars
        case agents
        case waypoints = "agents and waypoints"
    }

    /// One way to lay out the mesh.
    package struct Cost: Sendable {
        package var shape: Shape
        /// At the cost that a request has at saturation.
        package var cores: CapacityFormula?
        /// At the cost that it has at the report's fixed rate, where each wakes somebody.
        package var coresAtRate: CapacityFormula?
        package var memoryMiB: CapacityFormula?
        /// What the report has no figure for.
        package var missing: [String] = []
    }

    package let peer: String
    /// Whose waypoints: the peer's own, MeshProxy's with ztunnel-lite.
    package let waypointPeer: String
    package private(set) var inputs: [CapacityInput] = []
    package private(set) var costs: [Cost] = []

    private let question: CapacityQuestion
    private let report: BenchReport

    /// Of everybody who has a figure for one of the three.
    package static func all(_ question: CapacityQuestion, _ report: BenchReport) -> [CapacityPlan] {
        var seen = Set<String>()
        let peers = report.scenarios.flatMap { $0.results.map(\.peer) }
            .filter { !PeerName.isReference($0) && PeerName.variant($0).isEmpty }
            .filter { seen.insert($0).inserted }
        let ordered = peers.enumerated().sorted {
            (PeerName.rank($0.element), $0.offset) < (PeerName.rank($1.element), $1.offset)
        }
        return ordered.map { CapacityPlan(of: $0.element, question, report) }
            .filter { plan in plan.costs.contains { $0.cores != nil || $0.memoryMiB != nil } }
    }

    package init(of peer: String, _ question: CapacityQuestion, _ report: BenchReport) {
        self.peer = peer
        self.question = question
        self.report = report
        waypointPeer = peer.hasPrefix("ztunnel") ? "meshproxy" : peer
        let sidecars = sidecars()
        let agents = agents()
        costs = [sidecars, agents, waypoints(beyond: agents)]
    }

    // MARK: Shapes

    private mutating func sidecars() -> Cost {
        var cost = Cost(shape: .sidecars)
        if let hops = find(.twoHops(question.version), &cost) {
            setCores(of: &cost, share: nil, [(1, hops)])
        }
        let start = find(.proxyStart, &cost)
        let plain = find(.plainConnection, &cost)
        let mutual = find(.mutualConnection, &cost)
        cost.memoryMiB = start.map { start in
            .memory(
                of: ("pods", question.pods),
                start: start,
                connections: question.allConnections,
                each: [plain, mutual]
            )
        }
        return cost
    }

    private mutating func agents() -> Cost {
        var cost = Cost(shape: .agents)
        if let pair = find(.twoAgents, &cost) {
            setCores(of: &cost, share: ("pairs", question.agentPairShare), [(1, pair)])
        }
        let start = find(.agentsStart, &cost)
        let tunnel = find(.tunnel, &cost)
        cost.memoryMiB = start.map { start in
            .memory(
                of: ("nodes", question.nodes),
                start: start,
                connections: question.allConnections,
                each: [tunnel]
            )
        }
        return cost
    }

    /// The agents, and one hop more for each call to a service with a waypoint.
    private mutating func waypoints(beyond agents: Cost) -> Cost {
        var cost = Cost(shape: .waypoints)
        cost.missing = agents.missing
        let into = find(.mutualIn, &cost, of: waypointPeer)
        let out = find(.mutualOut, &cost, of: waypointPeer)
        let plain = find(.plainHop, &cost, of: waypointPeer)
        if let into, let out, let plain {
            // A hop with mTLS on both sides: what the two measured ones have in common counts once.
            let terms = [(1.0, into), (1.0, out), (-1.0, plain)]
            setCores(of: &cost, share: ("share", question.waypointShare), terms)
        }
        let start = find(.proxyStart, &cost, of: waypointPeer)
        let mutual = find(.mutualConnection, &cost, of: waypointPeer)
        let hop = start.map { start in
            CapacityFormula.memory(
                of: ("waypoints", question.waypoints),
                start: start,
                connections: question.allConnections * question.waypointShare,
                each: [mutual]
            )
        }
        cost.cores = CapacityFormula.sum(agents.cores, cost.cores)
        cost.coresAtRate = CapacityFormula.sum(agents.coresAtRate, cost.coresAtRate)
        cost.memoryMiB = CapacityFormula.sum(agents.memoryMiB, hop)
        return cost
    }

    // MARK: Parts

    /// The input, noted; or its absence, noted too.
    private mutating func find(
        _ source: CapacitySource,
        _ cost: inout Cost,
        of peer: String? = nil
    ) -> CapacityInput? {
        guard let input = source.find(in: report, of: peer ?? self.peer) else {
            cost.missing.append(source.absence(in: report))
            return nil
        }
        if !inputs.contains(input) { inputs.append(input) }
        return input
    }

    private func setCores(
        of cost: inout Cost,
        share: (String, Double)?,
        _ terms: [(sign: Double, input: CapacityInput)]
    ) {
        func formula(_ values: [Double]) -> CapacityFormula {
            .cores(question, share: share, zip(terms, values).map { ($0.sign, $0.input.name, $1) })
        }
        cost.cores = formula(terms.map(\.input.median))
        let atRate = terms.compactMap { $0.input.atRate?.median }
        if atRate.count == terms.count { cost.coresAtRate = formula(atRate) }
    }
}
