import MeshConfig
import MeshHTTP
import MeshNet

/// What is known of one downstream connection for its whole life; shared by its streams.
package final class ConnectionInfo {
    /// Unique in the process.
    package var id: UInt64 = 0
    /// The peer as the kernel saw it.
    package var directRemoteAddress: SocketAddress
    /// The peer after PROXY protocol; the direct one otherwise.
    package var remoteAddress: SocketAddress
    /// What was connected to, as the kernel has it; what ``localAddress`` is unless a listener filter knows
    /// better.
    package var directLocalAddress: SocketAddress
    package var localAddress: SocketAddress
    /// Set once the handshake is complete.
    package var tls: TLSConnectionInfo?
    /// SNI, by TLS or by the TLS inspector.
    package var requestedServerName = ""
    /// `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`.
    package var transportFailureReason = ""
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    package var terminationDetails = ""
    package var filterChainName = ""
    package var listenerName = ""
    /// As configured, for `%METADATA(LISTENER:…)%` and `%METADATA(LISTENER_FILTER_CHAIN:…)%`.
    package var listenerMetadata: MetadataConfig?
    package var filterChainMetadata: MetadataConfig?
    /// What network filters found out, by filter name, then key.
    package var dynamicMetadata: [String: [String: MetadataValue]] = [:]
    /// What came with the connection, and what network filters added.
    package var filterState: [String: FilterStateObject] = [:]
    package var start: Instant
    package var startWall: WallTime
    /// When the TLS handshake began and was complete; nil without TLS.
    package var handshakeStart: Instant?
    package var handshakeEnd: Instant?
    /// When it was closed; nil while it is open.
    package var end: Instant?

    package init(
        remoteAddress: SocketAddress,
        localAddress: SocketAddress,
        start: Instant,
        startWall: WallTime
    ) {
        directRemoteAddress = remoteAddress
        self.remoteAddress = remoteAddress
        directLocalAddress = localAddress
        self.localAddress = localAddress
        self.start = start
        self.startWall = startWall
    }
}

/// A value of dynamic metadata (google.protobuf.Value).
package indirect enum MetadataValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case list([MetadataValue])
    case structure([String: MetadataValue])
}

/// Everything one request, or one raw TCP connection, leaves behind for logs, stats and policy.
package final class StreamInfo {
    package let connection: ConnectionInfo

    package var startWall: WallTime
    package var start: Instant
    /// Points in time; nil until reached.
    package var lastDownstreamByteReceived: Instant?
    /// Of the upstream connection that served the stream, which may have been there before it.
    package var upstreamConnectStart: Instant?
    package var upstreamConnectEnd: Instant?
    package var upstreamHandshakeEnd: Instant?
    package var firstUpstreamByteSent: Instant?
    package var lastUpstreamByteSent: Instant?
    package var firstUpstreamByteReceived: Instant?
    package var lastUpstreamByteReceived: Instant?
    package var firstDownstreamByteSent: Instant?
    package var lastDownstreamByteSent: Instant?
    package var end: Instant?
    /// What is measured besides; nil unless somebody asks for it. ``measure(_:)`` keeps it.
    package private(set) var timing: Uncounted<RequestTiming>?
    private var keptTiming: RequestTiming?

    /// Nil for raw TCP.
    package var httpVersion: HTTPVersion?
    package var upstreamHTTPVersion: HTTPVersion?
    /// Zero where no response head was sent.
    package var responseCode = 0
    package var responseCodeDetails = ""
    package var flags: ResponseFlags = []
    /// Bytes of the body (of the connection, for raw TCP).
    package var bytesReceived: UInt64 = 0
    package var bytesSent: UInt64 = 0
    /// Bytes of head and body on the wire.
    package var wireBytesReceived: UInt64 = 0
    package var wireBytesSent: UInt64 = 0
    package var upstreamWireBytesReceived: UInt64 = 0
    package var upstreamWireBytesSent: UInt64 = 0

    /// The client: the connection's peer, or what a trusted `x-forwarded-for` says.
    package var remoteAddress: SocketAddress
    /// Of the route in force; nil while there is none.
    package var route: RouteLabels?
    /// `%VIRTUAL_CLUSTER_NAME%`.
    package var virtualClusterName = ""
    /// Of the cluster the stream goes to; nil where that is nowhere.
    package var cluster: ClusterLabels?
    package var upstreamHost: SocketAddress?
    package var upstreamHostName = ""
    /// The peer of the upstream connection; nil where none was made.
    package var upstreamRemoteAddress: SocketAddress?
    package var upstreamLocalAddress: SocketAddress?
    package var upstreamTLS: TLSConnectionInfo?
    package var upstreamTransportFailureReason = ""
    package var upstreamConnectionID: UInt64 = 0
    package var attemptCount = 0
    package var localReplyBody = ""
    package var connectionTerminationDetails = ""
    /// By filter name (namespace), then key.
    package var dynamicMetadata: [String: [String: MetadataValue]] = [:]
    /// What this stream's filters left; see ``filterStateObject(_:)``.
    package var filterState: [String: FilterStateObject] = [:]
    /// Of the endpoint in ``upstreamHost``; by namespace, then key.
    package var upstreamHostMetadata: [String: [String: MetadataValue]] = [:]

    package init(connection: ConnectionInfo, start: Instant, startWall: WallTime) {
        self.connection = connection
        self.start = start
        self.startWall = startWall
        remoteAddress = connection.remoteAddress
    }

    /// From now on the stream is measured: once.
    package func measure(_ timing: RequestTiming) {
        guard keptTiming == nil else { return }
        keptTiming = timing
        self.timing = Uncounted(timing)
    }

    /// The request becomes another one: where it has been so far is no longer of interest.
    package func forgetUpstream() {
        upstreamConnectStart = nil
        upstreamConnectEnd = nil
        upstreamHandshakeEnd = nil
        firstUpstreamByteSent = nil
        lastUpstreamByteSent = nil
        firstUpstreamByteReceived = nil
        lastUpstreamByteReceived = nil
        timing?.use { $0.forgetUpstream() }
        upstreamHTTPVersion = nil
        upstreamWireBytesReceived = 0
        upstreamWireBytesSent = 0
        route = nil
        cluster = nil
        upstreamHost = nil
        upstreamHostName = ""
        upstreamHostMetadata = [:]
        upstreamRemoteAddress = nil
        upstreamLocalAddress = nil
        upstreamTLS = nil
        upstreamTransportFailureReason = ""
        upstreamConnectionID = 0
        attemptCount = 0
        flags = []
    }

    package var routeMetadata: [String: [String: MetadataValue]] { route?.metadata ?? [:] }
    /// Empty where the stream goes nowhere.
    package var clusterName: String { cluster?.name ?? "" }
}
