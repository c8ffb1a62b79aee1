import MeshConfig

/// What logs and policies call the route of a request. Made once per route; its requests share it.
package final class RouteLabels: Sendable {
    package let name: String
    package let virtualHostName: String
    /// By namespace, then key.
    package let metadata: [String: [String: MetadataValue]]
    package let virtualHostMetadata: MetadataConfig?

    package init(
        name: String,
        virtualHostName: String = "",
        metadata: [String: [String: MetadataValue]] = [:],
        virtualHostMetadata: MetadataConfig? = nil
    ) {
        self.name = name
        self.virtualHostName = virtualHostName
        self.metadata = metadata
        self.virtualHostMetadata = virtualHostMetadata
    }
}

/// What logs and policies call a cluster. Made once per cluster; its streams share it.
package final class ClusterLabels: Sendable {
    package let name: String
    /// As stats call it (envoy: alt_stat_name), which is also what `%UPSTREAM_CLUSTER%` prints.
    package let statName: String
    package let metadata: MetadataConfig?

    package init(name: String, statName: String? = nil, metadata: MetadataConfig? = nil) {
        self.name = name
        self.statName = statName ?? name
        self.metadata = metadata
    }
}
