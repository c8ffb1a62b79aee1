/// A mesh as somebody plans it: how much traffic over how many pods and nodes, and with which reserve.
package struct CapacityQuestion: Sendable, Equatable {
    /// What sidecars and waypoints speak to each other.
    package enum HTTPVersion: String, Sendable, CaseIterable {
        case http1
        case http2
    }

    /// CPUs are bought for half as much again as the work takes.
    package static let defaultHeadroom = 1.5
    package static let defaultReplicas = 3
    package static let defaultConnections = 20.0
    package static let defaultWaypoints = 2

    /// Calls from pod to pod, a second, in the whole mesh.
    package var rate: Double
    package var services: Int
    /// Pods of each service.
    package var replicas = CapacityQuestion.defaultReplicas
    package var nodes: Int
    /// Open connections from each pod to others.
    package var connections = CapacityQuestion.defaultConnections
    /// Cores are multiplied with it; memory is not.
    package var headroom = CapacityQuestion.defaultHeadroom
    /// Share of calls that leave their node; nil: pods are spread evenly, and call each other alike.
    package var statedCrossNodeShare: Double?
    /// Share of calls to services with a waypoint.
    package var waypointShare = 1.0
    /// Waypoint processes in the whole mesh.
    package var waypoints = CapacityQuestion.defaultWaypoints
    package var version = HTTPVersion.http1

    package init(rate: Double, services: Int, nodes: Int) {
        self.rate = rate
        self.services = services
        self.nodes = nodes
    }

    package var pods: Int { services * replicas }
    package var crossNodeShare: Double { statedCrossNodeShare ?? 1 - 1 / Double(nodes) }
    /// Connections in the whole mesh; each has a pod at either end.
    package var allConnections: Double { Double(pods) * connections }
    /// Calls, each as often as it passes two agents: one within a node passes one, which is half.
    package var agentPairShare: Double { crossNodeShare + (1 - crossNodeShare) / 2 }

    /// Why it cannot be answered; nil if it can.
    package var objection: String? {
        let counts: [(Double, String)] = [
            (rate, "--rate"), (Double(services), "--services"), (Double(replicas), "--replicas"),
            (Double(nodes), "--nodes"), (headroom, "--headroom"),
            (Double(waypoints), "--waypoints"),
        ]
        for (value, name) in counts where !(value.isFinite && value > 0) {
            return "\(name): has to be above 0"
        }
        guard connections.isFinite, connections >= 0 else { return "--connections: is below 0" }
        if headroom < 1 { return "--headroom: below 1 there would be less than the work takes" }
        let shares: [(Double, String)] = [
            (crossNodeShare, "--cross-node"), (waypointShare, "--waypoint-share"),
        ]
        for (value, name) in shares where !(0...1).contains(value) {
            return "\(name): is a share from 0 to 1"
        }
        return nil
    }
}
