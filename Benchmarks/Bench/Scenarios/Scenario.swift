import MeshLoad

/// What goes through which hops, and what is measured of it.
package struct Scenario: Sendable {
    /// How clients connect.
    package enum ClientTLS: Sendable {
        case none
        /// With a certificate; a full handshake for each connection.
        case mutual
        /// With a certificate, resuming an earlier session.
        case resumed
    }

    /// The service behind the last hop.
    package enum Service: Sendable {
        case http
        case tcp
        case httpTLS
        case tcpTLS
    }

    /// The same peer with something changed, measured beside itself.
    package struct Variant: Sendable {
        /// Added to the peer's name; empty: the peer as it is.
        package var label = ""
        package var change: ConfigChange?
        /// Its statistics are read once a second meanwhile.
        package var isScraped = false
        /// Of the processes, beyond the adapter's; only for peers of this dialect.
        package var environment: [String: String] = [:]
        package var dialect: PeerAdapter.Dialect?
        /// Only peers with stamps of their own.
        package var needsStamps = false

        package init(label: String = "", change: ConfigChange? = nil) {
            self.label = label
            self.change = change
        }
    }

    /// Stable, and short enough to type.
    package var id: String
    package var title: String
    package var explanation: String
    package var unit = "request"
    /// Roles of the hops, the client's first.
    package var hops: [String]
    package var traffic: LoadPlan.Traffic
    package var connections = 32
    package var streamsPerConnection = 1
    package var messageBytes = 64
    package var authority = "bench.test"
    package var path = "/bench/1k"
    package var clientTLS = ClientTLS.none
    package var service = Service.http
    /// Where ``Peer/direct`` connects to, if not to the service.
    package var directService: Service?
    package var variants = [Variant()]
    /// Of the latency figures; nil: there are none.
    package var rate: Double?
    /// What is open in silence, for scenarios of memory; then nothing else is measured.
    package var standing: Int?
    /// Connections are led to the client's hop by the kernel, where that is allowed.
    package var isCaptured = false
    /// Part of a run that names no scenarios.
    package var isStandard = true
    /// Says something of start and memory only, and needs no traffic.
    package var isStartOnly = false

    package init(
        _ id: String,
        _ title: String,
        hops: [String],
        _ traffic: LoadPlan.Traffic,
        explanation: String
    ) {
        self.id = id
        self.title = title
        self.hops = hops
        self.traffic = traffic
        self.explanation = explanation
    }

    /// A copy with something else.
    func with(_ change: (inout Scenario) -> Void) -> Scenario {
        var copy = self
        change(&copy)
        return copy
    }

    /// Who can take part, each once for every variant, in the order of the peers.
    package func contestants(of peers: [Peer]) -> [Contestant] {
        peers.flatMap { peer -> [Contestant] in
            if peer.isDirect {
                return standing == nil && !isStartOnly ? [Contestant(peer, Variant())] : []
            }
            guard peer.plays(hops) else { return [] }
            // A relay has a connection to the upstream for each: more than processes may open files.
            if peer.name == PeerName.floor, (standing ?? 0) >= 10_000, traffic != .idleStreams {
                return []
            }
            return variants.filter { variant in
                ((variant.change?.dialect ?? variant.dialect).map { $0 == peer.adapter?.dialect }
                    ?? true)
                    && (!variant.needsStamps || peer.hasStamps)
            }.map { Contestant(peer, $0) }
        }
    }
}

/// A peer in a scenario, with one of its variants.
package struct Contestant: Sendable {
    package var peer: Peer
    package var variant: Scenario.Variant

    package init(_ peer: Peer, _ variant: Scenario.Variant) {
        self.peer = peer
        self.variant = variant
    }

    package var name: String {
        variant.label.isEmpty ? peer.name : "\(peer.name), \(variant.label)"
    }
}
