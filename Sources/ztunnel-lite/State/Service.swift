import MeshConfig
import MeshNet

/// A service: addresses behind which there are workloads. Immutable.
package final class Service: Sendable {
    package typealias NetworkAddress = ZtunnelConfig.NetworkAddress
    package typealias PortMap = ZtunnelConfig.PortMap

    /// One workload that serves it.
    struct Endpoint: Sendable {
        /// The workload's place in the state's list.
        let workload: Int32
        let capacity: UInt32
        let ports: PortMap
    }

    package let name: String
    package let namespace: String
    package let hostname: String
    package let vips: [NetworkAddress]
    package let ranges: [ZtunnelConfig.NetworkRange]
    /// From ports of the service to ports of its workloads.
    package let ports: PortMap
    /// Sorted; whom its workloads may also be.
    package let subjectAltNames: [SPIFFEID]
    package let isCanonical: Bool
    /// For clients in other namespaces there is no such service.
    package let isPrivate: Bool

    /// Where it stands in its state's list.
    let index: Int
    /// Those that can be chosen: with an address in our network, and healthy where that is asked.
    let endpoints: [Endpoint]
    /// Running totals of the capacities of ``endpoints``.
    let capacities: [UInt64]
    /// Workloads behind a network gateway, which cannot be reached.
    let remoteEndpoints: Int
    let waypoint: Workload.Gateway?
    let weightedWaypoints: [(gateway: Workload.Gateway, weight: UInt32)]
    let loadBalancer: ZtunnelConfig.Service.LoadBalancer?
    let ipFamilies: ZtunnelConfig.Service.IPFamilies?

    init(
        _ config: ZtunnelConfig.Service,
        index: Int,
        endpoints: [Endpoint],
        remoteEndpoints: Int,
        waypoint: Workload.Gateway?,
        weightedWaypoints: [(gateway: Workload.Gateway, weight: UInt32)]
    ) {
        name = config.name
        namespace = config.namespace
        hostname = config.hostname
        vips = config.vips
        ranges = config.ranges
        ports = config.ports
        subjectAltNames = Set(config.subjectAltNames.compactMap { SPIFFEID($0) }).sorted()
        isCanonical = config.isCanonical
        isPrivate = config.visibility == .namespace
        self.index = index
        self.endpoints = endpoints
        var total: UInt64 = 0
        capacities = endpoints.map {
            total += UInt64($0.capacity)
            return total
        }
        self.remoteEndpoints = remoteEndpoints
        self.waypoint = waypoint
        self.weightedWaypoints = weightedWaypoints
        loadBalancer = config.loadBalancer
        ipFamilies = config.ipFamilies
    }
}

extension SPIFFEID: Comparable {
    package static func < (left: SPIFFEID, right: SPIFFEID) -> Bool {
        (left.trustDomain, left.namespace, left.serviceAccount)
            < (right.trustDomain, right.namespace, right.serviceAccount)
    }
}
