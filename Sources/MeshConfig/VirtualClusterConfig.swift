/// Requests of a virtual host that are counted apart (envoy: route.v3.VirtualCluster).
package struct VirtualClusterConfig: Sendable {
    /// As it stands in stat names, and in `%VIRTUAL_CLUSTER_NAME%`.
    package let name: String
    /// A request must meet all of them.
    package let headers: [HeaderMatchConfig]

    package init(_ object: ConfigObject) {
        name = object.requiredString("name")
        headers = object.objects("headers").map { HeaderMatchConfig($0) }
        if headers.isEmpty { object.error("needs at least one matcher", at: "headers") }
    }
}
