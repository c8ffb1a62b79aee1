import MeshNet

extension ZtunnelConfig {
    /// The same mesh in memory of its own, without places in the file: words that are said many times are
    /// kept once.
    ///
    /// What is decoded lies scattered among the parts of a text that is forgotten right after. In a mesh of
    /// ten thousand workloads that would keep five times the memory that the values need.
    func compacted() -> ZtunnelConfig {
        var words = Words()
        return ZtunnelConfig(
            workloads: workloads.map { words.compact($0) },
            services: services.map { words.compact($0) },
            policies: policies.map { words.compact($0) }
        )
    }

    /// Makes one copy of each word.
    private struct Words {
        private var texts: [String: String] = [:]
        private var maps: [PortMap: PortMap] = [:]

        mutating func compact(_ text: String) -> String {
            // Up to here Swift keeps text inside the string.
            if text.utf8.count <= 15 { return text }
            if let known = texts[text] { return known }
            let copy = String(decoding: Array(text.utf8), as: UTF8.self)
            texts[copy] = copy
            return copy
        }

        mutating func compact(_ ports: PortMap) -> PortMap {
            if let known = maps[ports] { return known }
            let copy = PortMap(ports.entries)
            maps[copy] = copy
            return copy
        }

        mutating func compact(_ name: NamespacedHostname) -> NamespacedHostname {
            .init(namespace: compact(name.namespace), hostname: compact(name.hostname))
        }

        mutating func compact(_ address: NetworkAddress) -> NetworkAddress {
            .init(network: compact(address.network), address: address.address)
        }

        mutating func compact(_ gateway: Gateway) -> Gateway {
            let destination: Gateway.Destination
            switch gateway.destination {
            case .address(let address): destination = .address(compact(address))
            case .hostname(let name): destination = .hostname(compact(name))
            }
            return Gateway(destination: destination, port: gateway.port, place: .none)
        }

        mutating func compact(_ workload: Workload) -> Workload {
            var copy = workload
            copy.uid = compact(workload.uid)
            copy.name = compact(workload.name)
            copy.namespace = compact(workload.namespace)
            copy.serviceAccount = compact(workload.serviceAccount)
            copy.trustDomain = compact(workload.trustDomain)
            copy.addresses = Array(workload.addresses.map { $0 })
            copy.addressPlaces = []
            copy.node = compact(workload.node)
            copy.network = compact(workload.network)
            copy.clusterID = compact(workload.clusterID)
            copy.hostname = compact(workload.hostname)
            copy.workloadName = compact(workload.workloadName)
            copy.workloadType = compact(workload.workloadType)
            copy.canonicalName = compact(workload.canonicalName)
            copy.canonicalRevision = compact(workload.canonicalRevision)
            copy.waypoint = workload.waypoint.map { compact($0) }
            copy.networkGateway = workload.networkGateway.map { compact($0) }
            copy.authorizationPolicies = workload.authorizationPolicies.map { compact($0) }
            copy.policyPlaces = []
            copy.locality.region = compact(workload.locality.region)
            copy.locality.zone = compact(workload.locality.zone)
            copy.locality.subzone = compact(workload.locality.subzone)
            copy.services = workload.services.map {
                .init(service: compact($0.service), ports: compact($0.ports), place: .none)
            }
            copy.place = .none
            return copy
        }

        mutating func compact(_ service: Service) -> Service {
            var copy = service
            copy.name = compact(service.name)
            copy.namespace = compact(service.namespace)
            copy.hostname = compact(service.hostname)
            copy.vips = service.vips.map { compact($0) }
            copy.vipPlaces = []
            copy.ranges = service.ranges.map {
                .init(network: compact($0.network), range: $0.range)
            }
            copy.ports = compact(service.ports)
            copy.endpoints = service.endpoints.map {
                .init(
                    workloadUID: compact($0.workloadUID),
                    ports: compact($0.ports),
                    status: $0.status,
                    place: .none
                )
            }
            copy.subjectAltNames = service.subjectAltNames.map { compact($0) }
            copy.namePlaces = []
            copy.waypoint = service.waypoint.map { compact($0) }
            copy.weightedWaypoints = service.weightedWaypoints.map {
                .init(gateway: compact($0.gateway), weight: $0.weight)
            }
            copy.loadBalancer?.routingPreferences =
                service.loadBalancer?.routingPreferences.map { $0 } ?? []
            copy.place = .none
            return copy
        }

        // MARK: Policies

        mutating func compact(_ policy: Policy) -> Policy {
            var copy = policy
            copy.name = compact(policy.name)
            copy.namespace = compact(policy.namespace)
            copy.rules = policy.rules.map { $0.map { $0.map { compact($0) } } }
            copy.place = .none
            return copy
        }

        mutating func compact(_ match: Policy.Match) -> Policy.Match {
            var copy = Policy.Match()
            copy.namespaces = compact(match.namespaces) { $1.compact($0) }
            copy.serviceAccounts = compact(match.serviceAccounts) { account, words in
                .init(
                    namespace: words.compact(account.namespace),
                    serviceAccount: words.compact(account.serviceAccount)
                )
            }
            copy.principals = compact(match.principals) { $1.compact($0) }
            copy.sourceIPs = compact(match.sourceIPs) { range, _ in range }
            copy.destinationIPs = compact(match.destinationIPs) { range, _ in range }
            copy.destinationPorts = compact(match.destinationPorts) { port, _ in port }
            return copy
        }

        private mutating func compact<V>(
            _ condition: Policy.Condition<V>,
            _ value: (V, inout Words) -> V
        ) -> Policy.Condition<V> {
            .init(
                positive: condition.positive.map { value($0, &self) },
                negative: condition.negative.map { value($0, &self) }
            )
        }

        mutating func compact(_ match: StringMatch) -> StringMatch {
            switch match {
            case .exact(let text): .exact(compact(text))
            case .prefix(let text): .prefix(compact(text))
            case .suffix(let text): .suffix(compact(text))
            case .presence: .presence
            }
        }
    }
}

extension ConfigPlace {
    /// Of what is in no file any more.
    fileprivate static let none = ConfigPlace(path: .root, position: .start)
}
