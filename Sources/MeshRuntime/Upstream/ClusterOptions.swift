import MeshConfig
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
    package var transports: any UpstreamTransports = UniformTransports()
    /// Present where each request says whom its connection is to reach.
    package var identitySource: IdentitySource?
    package var codec: any ClientCodecFactory
    /// For `%METADATA(CLUSTER:…)%`; nil where there is none.
    package var metadata: MetadataConfig?

    package init(name: String, codec: any ClientCodecFactory) {
        self.name = name
        statName = name
        self.codec = codec
    }
}

/// Makes the codec of a new upstream connection.
package protocol ClientCodecFactory: Sendable {
    /// Name in ALPN (RFC 7301) of what its codecs speak; empty for none.
    var applicationProtocol: String { get }
    /// What `%UPSTREAM_PROTOCOL%` says.
    var version: HTTPVersion { get }
    /// - Parameter headers: the worker's.
    func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        headers: HeaderMapPool
    ) -> any ClientCodec
}

extension ClientCodecFactory {
    package var applicationProtocol: String { "" }
}

/// HTTP/1.1 to everybody.
package struct HTTP1ClientCodecFactory: ClientCodecFactory {
    private let settings: HTTP1Settings

    package init(_ settings: HTTP1Settings) { self.settings = settings }

    package var applicationProtocol: String { "http/1.1" }
    package var version: HTTPVersion { .http11 }

    package func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        headers: HeaderMapPool
    ) -> any ClientCodec {
        HTTP1ClientCodec(sink: sink, delegate: delegate, settings: settings, pool: headers)
    }
}
