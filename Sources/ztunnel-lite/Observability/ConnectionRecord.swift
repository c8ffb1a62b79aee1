import MeshNet

/// What is known of one proxied connection, for its metrics and its line in the log.
///
/// One worker owns it, from the moment the connection begins until ``TrafficObserver/finished(_:)``. It
/// is filled in as the facts become known; what metrics are labelled with must be complete when
/// ``TrafficObserver/opened(_:)`` is called and stay as it is from then on.
package final class ConnectionRecord {
    /// Which side of the connection this agent reports from.
    package enum Direction: UInt8, Sendable {
        /// For the workload that connects: `reporter="source"`.
        case outbound
        /// For the workload that is connected to: `reporter="destination"`.
        case inbound

        package var text: StaticString {
            switch self {
            case .outbound: "outbound"
            case .inbound: "inbound"
            }
        }

        package var reporter: StaticString {
            switch self {
            case .outbound: "source"
            case .inbound: "destination"
            }
        }
    }

    package let direction: Direction
    package var source: SocketAddress
    /// Where the connection goes on the wire: port 15008 of the peer for HBONE.
    package var destination: SocketAddress
    package let start: Instant

    /// Nil where the file knows none at that address.
    package var sourceWorkload: Workload?
    /// What a peer says of itself in `baggage`; read only where ``sourceWorkload`` is nil.
    package var claimedSource: ClaimedWorkload? {
        didSet { claimedSource?.shorten() }
    }
    /// The one of the handshake, so nil without mTLS.
    package var sourceIdentity: SPIFFEID?
    package var destinationWorkload: Workload?
    /// The one of the handshake; without, metrics give the workload's.
    package var destinationIdentity: SPIFFEID?
    package var service: Service?
    /// The `:authority` of the CONNECT request, where there is one.
    package var hboneAddress: String?
    package var isMutualTLS = false

    /// Bytes from the server towards the client, whichever side reports.
    package internal(set) var bytesSent: UInt64 = 0
    /// Bytes from the client towards the server, whichever side reports.
    package internal(set) var bytesReceived: UInt64 = 0

    package var flags = FailureFlag.none
    /// Why it ended; empty where nothing failed.
    package var error = ""

    /// Where the worker counts its bytes; nil before ``TrafficObserver/opened(_:)``.
    var cells: TrafficCells?

    package init(
        direction: Direction,
        source: SocketAddress,
        destination: SocketAddress,
        start: Instant
    ) {
        self.direction = direction
        self.source = source
        self.destination = destination
        self.start = start
    }
}

/// A workload as its own agent describes it in the `baggage` field of a CONNECT request. Empty values
/// are unknown.
package struct ClaimedWorkload: Hashable, Sendable {
    package var workloadName = ""
    /// `service.name`
    package var app = ""
    /// `service.version`
    package var revision = ""
    package var namespace = ""
    package var clusterID = ""
    package var region = ""
    package var zone = ""

    /// The longest name there is in Kubernetes; a peer that sends more gets no more of our memory.
    static let valueBytesMax = 253

    package init() {}

    fileprivate mutating func shorten() {
        for path in Self.values where self[keyPath: path].utf8.count > Self.valueBytesMax {
            let kept = self[keyPath: path].utf8.prefix(Self.valueBytesMax)
            self[keyPath: path] = String(decoding: kept, as: UTF8.self)
        }
    }

    private static var values: [WritableKeyPath<ClaimedWorkload, String>] {
        [\.workloadName, \.app, \.revision, \.namespace, \.clusterID, \.region, \.zone]
    }
}
