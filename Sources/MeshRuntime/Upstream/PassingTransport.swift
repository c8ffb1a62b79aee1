import MeshConfig
import MeshNet

/// Hands filter state and metadata to the listener inside the process that a connection leads to (envoy:
/// transport_sockets.internal_upstream). What goes over the connection is the inner transport's business.
package final class PassingTransport: UpstreamTransport {
    private let inner: any UpstreamTransport
    private let config: PassthroughConfig
    /// The cluster's, by namespace.
    private let clusterMetadata: [String: [String: MetadataValue]]

    package init(
        _ config: PassthroughConfig,
        over inner: any UpstreamTransport,
        cluster: MetadataConfig
    ) {
        self.config = config
        self.inner = inner
        clusterMetadata = MetadataValue.byFilter(cluster)
    }

    package var isTLS: Bool { inner.isTLS }

    package func makeSession(
        for endpoint: EndpointSpec,
        _ identity: ConnectionIdentity?,
        usualALPN: [String]
    ) -> (any SecureTransport)? {
        inner.makeSession(for: endpoint, identity, usualALPN: usualALPN)
    }

    package func passed(to endpoint: EndpointSpec, _ identity: ConnectionIdentity?)
        -> PassedState?
    {
        var metadata: [String: [String: MetadataValue]] = [:]
        for wanted in config.metadata {
            let found =
                switch wanted.source {
                case .host: endpoint.metadata[wanted.name]
                case .cluster: clusterMetadata[wanted.name]
                }
            if let found { metadata[wanted.name, default: [:]].merge(found) { $1 } }
        }
        return PassedState(identity?.shared, metadata: metadata)
    }
}
