import MeshNet

extension ZtunnelConfig {
    /// A pod, a virtual machine or anything else with addresses and an identity.
    package struct Workload: Sendable {
        package enum TunnelProtocol: String, ZtunnelWord, Sendable {
            case tcp = "TCP"
            case hbone = "HBONE"
        }

        package enum NetworkMode: String, ZtunnelWord, Sendable {
            case standard = "Standard"
            /// It has its node's address, by which it is therefore not known.
            case hostNetwork = "HostNetwork"
        }

        package enum Status: String, ZtunnelWord, Sendable {
            case healthy = "Healthy"
            case unhealthy = "Unhealthy"
        }

        package struct ApplicationTunnel: Hashable, Sendable {
            package enum TunnelProtocol: String, ZtunnelWord, Sendable {
                case none = "NONE"
                case proxy = "PROXY"
            }

            package var tunnel: TunnelProtocol
            /// Nil keeps the port that the client asked for.
            package var port: UInt16?
        }

        package struct Locality: Hashable, Sendable {
            package var region = ""
            package var zone = ""
            package var subzone = ""
        }

        /// A service it serves, and its own ports for it.
        package struct Membership: Sendable {
            package var service: NamespacedHostname
            package var ports: PortMap
            package var place: ConfigPlace
        }

        package var uid: String
        package var name: String
        package var namespace: String
        package var serviceAccount: String
        package var trustDomain: String
        package var addresses: [IPAddress]
        package var tunnel: TunnelProtocol
        package var networkMode: NetworkMode
        package var node: String
        package var network: String
        package var clusterID: String
        package var hostname: String
        package var workloadName: String
        package var workloadType: String
        package var canonicalName: String
        package var canonicalRevision: String
        package var waypoint: Gateway?
        package var networkGateway: Gateway?
        package var nativeTunnel: Bool
        package var applicationTunnel: ApplicationTunnel?
        /// Keys of policies, `namespace/name`.
        package var authorizationPolicies: [String]
        package var status: Status
        package var locality: Locality
        package var capacity: UInt32
        package var services: [Membership]
        package var place: ConfigPlace
        /// Of ``addresses`` and ``authorizationPolicies``, until the checks are done.
        var addressPlaces: [ListPlace]
        var policyPlaces: [ListPlace]

        init(_ object: ConfigObject) {
            object.require("workloadIps", "services")
            uid = object.string("uid") ?? ""
            name = object.string("name") ?? ""
            namespace = object.identityPart("namespace", object.requiredString("namespace"))
            serviceAccount = object.identityPart(
                "serviceAccount",
                object.filled("serviceAccount", default: "default")
            )
            trustDomain = object.identityPart(
                "trustDomain",
                object.filled("trustDomain", default: "cluster.local")
            )
            (addresses, addressPlaces) = object.parsed("workloadIps", "an IP address") {
                IPAddress($0)
            }
            tunnel = object.word("protocol") ?? .tcp
            networkMode = object.word("networkMode") ?? .standard
            node = object.string("node") ?? ""
            network = object.string("network") ?? ""
            clusterID = object.filled("clusterId", default: "Kubernetes")
            hostname = object.string("hostname") ?? ""
            workloadName = object.string("workloadName") ?? ""
            workloadType = object.string("workloadType") ?? ""
            canonicalName = object.string("canonicalName") ?? ""
            canonicalRevision = object.string("canonicalRevision") ?? ""
            waypoint = object.object("waypoint").flatMap { Gateway($0) }
            networkGateway = object.object("networkGateway").flatMap { Gateway($0) }
            nativeTunnel = object.bool("nativeTunnel") ?? false
            applicationTunnel = object.object("applicationTunnel").flatMap { ApplicationTunnel($0) }
            (authorizationPolicies, policyPlaces) = object.parsed(
                "authorizationPolicies",
                "the key of a policy, \"namespace/name\""
            ) { $0.contains("/") ? $0 : nil }
            status = object.word("status") ?? .healthy
            locality = object.object("locality").map { Locality($0) } ?? Locality()
            capacity = object.uint32("capacity") ?? 1
            services = Self.memberships(object)
            place = ConfigPlace(object)
        }

        private static func memberships(_ object: ConfigObject) -> [Membership] {
            object.objectEntries("services").compactMap { key, ports in
                guard let service = NamespacedHostname(key) else {
                    ports.skip()
                    ports.error(
                        "expected \"namespace/hostname\" as key, got \(ConfigNode.quoted(key))"
                    )
                    return nil
                }
                return Membership(
                    service: service,
                    ports: ports.portMap(),
                    place: ConfigPlace(ports)
                )
            }
        }
    }
}

extension ZtunnelConfig.Workload.ApplicationTunnel {
    fileprivate init?(_ object: ConfigObject) {
        object.require("protocol")
        port = object.uint32("port", in: 1...65535).map { UInt16(truncatingIfNeeded: $0) }
        guard let word = object.word("protocol", TunnelProtocol.self) else { return nil }
        tunnel = word
    }
}

extension ZtunnelConfig.Workload.Locality {
    fileprivate init(_ object: ConfigObject) {
        object.require("region", "zone", "subzone")
        region = object.string("region") ?? ""
        zone = object.string("zone") ?? ""
        subzone = object.string("subzone") ?? ""
    }
}

extension ConfigObject {
    /// The empty string stands for the default too, as in the control plane's messages.
    fileprivate func filled(_ key: String, default fallback: String) -> String {
        string(key).flatMap { $0.isEmpty ? nil : $0 } ?? fallback
    }

    /// `text`, of which a SPIFFE ID is made.
    fileprivate func identityPart(_ key: String, _ text: String) -> String {
        if text.utf8.contains(UInt8(ascii: "/")) {
            error("must not contain a slash: it becomes a part of the identity", at: key)
        }
        return text
    }
}
