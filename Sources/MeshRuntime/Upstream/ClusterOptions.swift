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
    /// Whether connections bring filter state with them (envoy: internal_upstream).
    package var passesState = false
    /// What is spoken to it.
    package var codecs: UpstreamCodecs
    /// For `%METADATA(CLUSTER:…)%`; nil where there is none.
    package var metadata: MetadataConfig?

    package init(name: String, codecs: UpstreamCodecs) {
        self.name = name
        statName = name
        self.codecs = codecs
    }
}
