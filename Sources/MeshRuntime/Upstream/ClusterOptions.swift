import MeshHTTP
import MeshNet

/// What a cluster's runtime needs of its configuration.
package struct ClusterOptions: Sendable {
    package var name: String
    /// As in stat names.
    package var statName: String
    package var connectTimeout = Nanoseconds.seconds(5)
    package var balancing = BalancingOptions()
    package var subsets: SubsetOptions?
    /// Nil is without limit.
    package var maxRequestsPerConnection: Int?
    /// How long a connection may be without a request; nil is forever.
    package var idleTimeout: Nanoseconds? = .seconds(3600)
    /// After this a connection takes no further request.
    package var maxConnectionDuration: Nanoseconds?
    package var socket = SocketOptions()
    /// Bytes of output at which the source is paused (envoy: per_connection_buffer_limit_bytes).
    package var outputHighWatermark = 1 << 20
    package var transports: any UpstreamTransports = PlainTransports()
    package var codec: any ClientCodecFactory

    package init(name: String, codec: any ClientCodecFactory) {
        self.name = name
        statName = name
        self.codec = codec
    }
}

/// Makes the codec of a new upstream connection.
package protocol ClientCodecFactory: Sendable {
    func makeCodec(sink: ByteSink, delegate: any ClientCodecDelegate) -> any ClientCodec
}

/// What one request asks of its connection beyond what the cluster says; pools are apart by it
/// (envoy: TransportSocketOptions; `auto_sni`, `auto_san_validation`).
package struct ConnectionIdentity: Hashable, Sendable {
    /// Server name to ask for; empty for the configured one.
    package var serverName: String
    /// Names of which the peer's certificate must have one; empty for the configured ones.
    package var verifiedNames: [String]

    package init(serverName: String = "", verifiedNames: [String] = []) {
        self.serverName = serverName
        self.verifiedNames = verifiedNames
    }
}

/// Which transport socket an endpoint's connections get.
package protocol UpstreamTransports: Sendable {
    /// Asked once per endpoint and update (envoy: transport_socket_matches).
    func transport(for endpoint: EndpointSpec) -> any UpstreamTransport
}

/// Makes the transport of each new connection. Shared by all workers.
package protocol UpstreamTransport: AnyObject, Sendable {
    /// Nil for plain TCP. Throws where TLS cannot be: no certificate has arrived yet, for instance.
    func makeSession(_ identity: ConnectionIdentity?) throws(TransportUnavailable)
        -> (any SecureTransport)?
}

/// No connection can be made now.
package struct TransportUnavailable: Error, Sendable {
    /// In words, as `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    package let reason: String
    package init(reason: String) { self.reason = reason }
}

/// Plain TCP for everybody (envoy: transport_sockets.raw_buffer).
package struct PlainTransports: UpstreamTransports {
    private static let plain = PlainTransport()
    package init() {}
    package func transport(for endpoint: EndpointSpec) -> any UpstreamTransport { Self.plain }
}

package final class PlainTransport: UpstreamTransport {
    package init() {}
    package func makeSession(_ identity: ConnectionIdentity?) throws(TransportUnavailable)
        -> (any SecureTransport)?
    { nil }
}
