import MeshConfig
import MeshNet

/// A workload of the mesh. Immutable; the same one is the same object within one ``MeshState``.
package final class Workload: Sendable {
    /// How inbound connections reach an application that tunnels itself, as a waypoint does.
    package struct ApplicationTunnel: Hashable, Sendable {
        /// PROXY v2 goes before the bytes, to the port on the loopback address.
        package let isProxyProtocol: Bool
        /// Nil keeps the port that the client asked for.
        package let port: UInt16?

        package init(isProxyProtocol: Bool, port: UInt16?) {
            self.isProxyProtocol = isProxyProtocol
            self.port = port
        }
    }

    package struct Locality: Hashable, Sendable {
        package let region: String
        package let zone: String
        package let subzone: String

        package init(region: String = "", zone: String = "", subzone: String = "") {
            self.region = region
            self.zone = zone
            self.subzone = subzone
        }
    }

    package let uid: String
    package let name: String
    package let namespace: String
    package let serviceAccount: String
    package let trustDomain: String
    package let node: String
    package let network: String
    package let clusterID: String
    package let hostname: String
    package let workloadName: String
    package let workloadType: String
    package let canonicalName: String
    package let canonicalRevision: String
    package let identity: SPIFFEID
    package let addresses: [IPAddress]
    package let isHBONE: Bool
    /// It speaks HBONE itself. Connections go to its own address either way.
    package let nativeTunnel: Bool
    package let isHealthy: Bool
    package let capacity: UInt32
    package let applicationTunnel: ApplicationTunnel?
    package let locality: Locality
    /// Policies it names itself, `namespace/name`.
    package let policyKeys: [String]

    /// Where it stands in its state's list.
    let index: Int
    let waypoint: Gateway?
    let hasNetworkGateway: Bool
    /// Services it serves.
    let services: [Membership]

    init(
        _ config: ZtunnelConfig.Workload,
        index: Int,
        waypoint: Gateway?,
        services: [Membership]
    ) {
        uid = config.uid
        name = config.name
        namespace = config.namespace
        serviceAccount = config.serviceAccount
        trustDomain = config.trustDomain
        node = config.node
        network = config.network
        clusterID = config.clusterID
        hostname = config.hostname
        workloadName = config.workloadName
        workloadType = config.workloadType
        canonicalName = config.canonicalName
        canonicalRevision = config.canonicalRevision
        identity = SPIFFEID(
            trustDomain: config.trustDomain,
            namespace: config.namespace,
            serviceAccount: config.serviceAccount
        )
        addresses = config.addresses
        isHBONE = config.tunnel == .hbone
        nativeTunnel = config.nativeTunnel
        isHealthy = config.status == .healthy
        capacity = config.capacity
        applicationTunnel = config.applicationTunnel.map {
            ApplicationTunnel(isProxyProtocol: $0.tunnel == .proxy, port: $0.port)
        }
        locality = Locality(
            region: config.locality.region,
            zone: config.locality.zone,
            subzone: config.locality.subzone
        )
        policyKeys = config.authorizationPolicies
        self.index = index
        self.waypoint = waypoint
        hasNetworkGateway = config.networkGateway != nil
        self.services = services
    }

    /// For people: `default/client`.
    package var displayName: String { "\(namespace)/\(name.isEmpty ? uid : name)" }
}

extension Workload {
    struct Membership: Sendable {
        /// The service's place in the state's list.
        let service: Int32
        /// Its own ports for it.
        let ports: ZtunnelConfig.PortMap
    }

    /// A waypoint, looked up when the state was made.
    struct Gateway: Sendable {
        enum Target: Sendable {
            /// The workload's place in the state's list.
            case workload(Int32)
            case service(Int32)
            case unknown
        }

        let target: Target
        let port: UInt16
        /// How the file names it.
        let name: String
        /// Where it is named by address, which then decides between IPv4 and IPv6.
        let address: IPAddress?
    }
}
