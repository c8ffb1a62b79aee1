/// What lies between a cluster's connections and their sockets (envoy: core.v3.TransportSocket).
package enum UpstreamTransportConfig: Sendable {
    case rawBuffer

    package init(_ object: ConfigObject?) {
        self = .rawBuffer
    }
}
