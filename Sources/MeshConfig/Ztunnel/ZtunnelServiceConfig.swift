import MeshNet

extension ZtunnelConfig {
    /// Addresses behind which there are workloads.
    package struct Service: Sendable {
        package struct WeightedWaypoint: Sendable {
            package var gateway: Gateway
            package var weight: UInt32
        }

        package struct LoadBalancer: Sendable {
            package enum Scope: String, ZtunnelWord, Sendable {
                case region = "Region"
                case zone = "Zone"
                case subzone = "Subzone"
                case node = "Node"
                case cluster = "Cluster"
                case network = "Network"
            }

            package enum Mode: String, ZtunnelWord, Sendable {
                case standard = "Standard"
                case strict = "Strict"
                case failover = "Failover"
                case passthrough = "Passthrough"
            }

            package enum HealthPolicy: String, ZtunnelWord, Sendable {
                case onlyHealthy = "OnlyHealthy"
                case allowAll = "AllowAll"
            }

            package var routingPreferences: [Scope]
            package var mode: Mode
            package var healthPolicy: HealthPolicy
        }

        package enum IPFamilies: String, ZtunnelWord, Sendable {
            case dual = "Dual"
            case ipv4 = "IPv4"
            case ipv6 = "IPv6"
        }

        package enum Visibility: String, ZtunnelWord, Sendable {
            case everywhere = "Public"
            /// For clients in other namespaces there is no such service.
            case namespace = "Namespace"
        }

        package struct Endpoint: Sendable {
            package var workloadUID: String
            package var ports: PortMap
            package var status: Workload.Status
            package var place: ConfigPlace
        }

        package var name: String
        package var namespace: String
        package var hostname: String
        package var vips: [NetworkAddress]
        package var ranges: [NetworkRange]
        package var ports: PortMap
        /// Beside those of workloads that name the service.
        package var endpoints: [Endpoint]
        /// SPIFFE IDs, as written.
        package var subjectAltNames: [String]
        package var waypoint: Gateway?
        package var weightedWaypoints: [WeightedWaypoint]
        package var loadBalancer: LoadBalancer?
        package var ipFamilies: IPFamilies?
        package var isCanonical: Bool
        package var visibility: Visibility
        package var place: ConfigPlace
        /// Of ``vips`` and ``subjectAltNames``, until the checks are done.
        var vipPlaces: [ListPlace]
        var namePlaces: [ListPlace]

        package var key: NamespacedHostname { .init(namespace: namespace, hostname: hostname) }

        init(_ object: ConfigObject) {
            object.require("vips", "ports")
            name = object.requiredString("name")
            namespace = object.requiredString("namespace")
            hostname = object.requiredString("hostname")
            (vips, vipPlaces) = object.parsed("vips", "\"network/address\"") { NetworkAddress($0) }
            ranges =
                object.parsed("cidrVips", "\"network/address/length\"") { NetworkRange($0) }.values
            ports = object.portMap("ports")
            endpoints = object.objectEntries("endpoints").map { Endpoint($0.object, key: $0.key) }
            (subjectAltNames, namePlaces) = object.parsed("subjectAltNames", "a string") { $0 }
            waypoint = object.object("waypoint").flatMap { Gateway($0) }
            weightedWaypoints = object.objects("weightedWaypoints").compactMap {
                WeightedWaypoint($0)
            }
            loadBalancer = object.object("loadBalancer").map { LoadBalancer($0) }
            ipFamilies = object.word("ipFamilies")
            isCanonical = object.bool("canonical") ?? false
            visibility = object.word("visibility") ?? .everywhere
            place = ConfigPlace(object)
        }
    }
}

extension ZtunnelConfig.Service.Endpoint {
    fileprivate init(_ object: ConfigObject, key: String) {
        object.require("port", "status")
        workloadUID = object.requiredString("workloadUid")
        ports = object.portMap("port")
        status = object.word("status") ?? .healthy
        place = ConfigPlace(object)
        if workloadUID != key, !workloadUID.isEmpty {
            object.error(
                "the key is another uid, \(ConfigNode.quoted(key)): both name the workload",
                at: "workloadUid"
            )
        }
    }
}

extension ZtunnelConfig.Service.LoadBalancer {
    fileprivate init(_ object: ConfigObject) {
        object.require("routingPreferences", "mode", "healthPolicy")
        routingPreferences = object.words("routingPreferences")
        mode = object.word("mode") ?? .standard
        healthPolicy = object.word("healthPolicy") ?? .onlyHealthy
    }
}

extension ZtunnelConfig.Service.WeightedWaypoint {
    fileprivate init?(_ object: ConfigObject) {
        object.require("destination", "weight")
        weight = object.uint32("weight") ?? 0
        // A whole gateway, or its parts beside the weight.
        if let inner = object.object("destination", ifHas: "destination") {
            guard let gateway = ZtunnelConfig.Gateway(inner) else { return nil }
            self.gateway = gateway
        } else {
            guard let gateway = ZtunnelConfig.Gateway(object) else { return nil }
            self.gateway = gateway
        }
    }
}

extension ConfigObject {
    /// The object in field `key`, if it is one and has a member `member`.
    fileprivate func object(_ key: String, ifHas member: String) -> ConfigObject? {
        guard case .object(let members)? = node(key)?.content,
            members.contains(where: { $0.key == member })
        else { return nil }
        return object(key)
    }
}
