import MeshNet

/// The rules between the parts of a mesh: what is named twice, and what names something that is not there.
///
/// ztunnel takes most of this in silence. Here it is an error where one part would take the place of
/// another unseen, and a warning where something just does not work.
struct ZtunnelChecks {
    private let config: ZtunnelConfig
    private let diagnostics: ConfigDiagnostics
    private let serviceKeys: Set<ZtunnelConfig.NamespacedHostname>
    private let serviceNames: Set<String>

    init(_ config: ZtunnelConfig, _ diagnostics: ConfigDiagnostics) {
        self.config = config
        self.diagnostics = diagnostics
        serviceKeys = Set(config.services.map(\.key))
        serviceNames = Set(config.services.prefix(101).map(\.key.description))
    }

    func run() {
        checkNames()
        // Warnings about what could not be read whole would mislead.
        if diagnostics.hasErrors { return }
        checkAddresses()
        checkMemberships()
        checkEndpoints()
        checkWaypoints()
        checkPolicies()
        checkReach()
    }

    // MARK: Names

    private func checkNames() {
        var uids: Set<String> = []
        for workload in config.workloads where !workload.uid.isEmpty {
            if !uids.insert(workload.uid).inserted {
                error("\(quoted(workload.uid)) is the uid of another workload", workload.place)
            }
        }
        var services: Set<ZtunnelConfig.NamespacedHostname> = []
        for service in config.services where !service.hostname.isEmpty {
            if !services.insert(service.key).inserted {
                error("there is another service \(quoted(service.key.description))", service.place)
            }
        }
        var policies: Set<String> = []
        for policy in config.policies where !policy.name.isEmpty {
            if !policies.insert(policy.key).inserted {
                error("there is another policy \(quoted(policy.key))", policy.place)
            }
        }
    }

    // MARK: Addresses

    private func checkAddresses() {
        var workloads: [ZtunnelConfig.NetworkAddress: ZtunnelConfig.Workload] = [:]
        for workload in config.workloads where workload.networkMode != .hostNetwork {
            for (address, place) in zip(workload.addresses, workload.addressPlaces) {
                let key = ZtunnelConfig.NetworkAddress(
                    network: workload.network,
                    address: address
                )
                if let other = workloads.updateValue(workload, forKey: key) {
                    warning(
                        "\(address) is an address of \(quoted(other.displayName)) too: pods come"
                            + " before others, then those with HBONE, then the last",
                        workload.place,
                        "workloadIps",
                        place
                    )
                }
            }
        }
        var vips: [ZtunnelConfig.NetworkAddress: [ZtunnelConfig.NamespacedHostname]] = [:]
        for service in config.services {
            for (vip, place) in zip(service.vips, service.vipPlaces) {
                let shared = vips[vip]?.first { $0.namespace == service.namespace }
                vips[vip, default: []].append(service.key)
                var problem: String?
                if let shared {
                    problem =
                        "is a VIP of \(quoted(shared.description)) too: connections to it come here"
                } else if let workload = workloads[vip] {
                    problem =
                        "is an address of workload \(quoted(workload.displayName)) too: connections go"
                        + " to the service"
                }
                guard let problem else { continue }
                warning(
                    "\(vip.address) \(problem)",
                    service.place,
                    "vips",
                    place
                )
            }
        }
    }

    // MARK: References

    private func checkMemberships() {
        let ports = Dictionary(
            config.services.map { ($0.key, $0.ports) },
            uniquingKeysWith: { first, _ in first }
        )
        for workload in config.workloads {
            for membership in workload.services {
                guard let known = ports[membership.service] else {
                    warning(
                        "there is no service \(quoted(membership.service.description))"
                            + hint(membership.service),
                        membership.place
                    )
                    continue
                }
                check(membership.ports, against: known, membership.place)
            }
        }
    }

    private func checkEndpoints() {
        let uids = Set(config.workloads.map(\.uid))
        for service in config.services {
            for endpoint in service.endpoints {
                if !endpoint.workloadUID.isEmpty, !uids.contains(endpoint.workloadUID) {
                    warning(
                        "there is no workload with the uid \(quoted(endpoint.workloadUID))"
                            + hint(endpoint.workloadUID, among: uids),
                        endpoint.place
                    )
                }
                check(endpoint.ports, against: service.ports, endpoint.place)
            }
        }
    }

    private func check(
        _ ports: ZtunnelConfig.PortMap,
        against known: ZtunnelConfig.PortMap,
        _ place: ConfigPlace
    ) {
        for entry in ports.entries where known[service: entry.service] == nil {
            warning("the service has no port \(entry.service): nobody gets here by it", place)
        }
    }

    private func checkWaypoints() {
        var addresses: Set<ZtunnelConfig.NetworkAddress> = []
        var hostnames = serviceKeys
        for workload in config.workloads {
            for address in workload.addresses {
                addresses.insert(.init(network: workload.network, address: address))
            }
            if !workload.hostname.isEmpty {
                hostnames.insert(
                    .init(namespace: workload.namespace, hostname: workload.hostname)
                )
            }
        }
        for service in config.services { addresses.formUnion(service.vips) }
        let gateways =
            config.workloads.compactMap(\.waypoint) + config.services.compactMap(\.waypoint)
            + config.services.flatMap { $0.weightedWaypoints.map(\.gateway) }
        for gateway in gateways {
            var suggestion = ""
            switch gateway.destination {
            case .address(let address):
                if addresses.contains(address) { continue }
            case .hostname(let name):
                if hostnames.contains(name) { continue }
                suggestion = hint(name)
            }
            warning(
                "there is no waypoint \(quoted(gateway.destination.description)): connections through"
                    + " it are refused\(suggestion)",
                gateway.place
            )
        }
    }

    private func hint(_ name: ZtunnelConfig.NamespacedHostname) -> String {
        hint(name.description, among: serviceNames)
    }

    /// Looking for what is near takes time: in a large mesh, where much may be wrong, there are no hints.
    private func hint(_ word: String, among words: Set<String>) -> String {
        words.count > 100 ? "" : Suggestion.hint(for: word, among: words)
    }

    // MARK: Policies

    private func checkPolicies() {
        let keys = Set(config.policies.map(\.key))
        var named: Set<String> = []
        for workload in config.workloads {
            for (key, place) in zip(workload.authorizationPolicies, workload.policyPlaces) {
                named.insert(key)
                if keys.contains(key) { continue }
                warning(
                    "there is no policy \(quoted(key)): it is skipped\(hint(key, among: keys))",
                    workload.place,
                    "authorizationPolicies",
                    place
                )
            }
        }
        for policy in config.policies {
            switch policy.scope {
            case .workloadSelector where !named.contains(policy.key):
                warning(
                    "no workload has \(quoted(policy.key)) in authorizationPolicies: the policy holds"
                        + " for nobody",
                    policy.place
                )
            case .namespace where policy.namespace.isEmpty:
                warning(
                    "a policy of a namespace that is \"\" holds for nobody; for all there is the scope"
                        + " Global",
                    policy.place
                )
            default: break
            }
            for (rule, clauses) in policy.rules.enumerated() {
                for (clause, matches) in clauses.enumerated()
                where matches.contains(where: \.isEmpty) {
                    warning(
                        "rule \(rule + 1), clause \(clause + 1) has a match that asks nothing: it"
                            + " holds for nobody; a clause without matches holds for all",
                        policy.place
                    )
                }
            }
        }
    }

    // MARK: What cannot be done

    private func checkReach() {
        for workload in config.workloads {
            if let gateway = workload.networkGateway {
                warning(
                    "double HBONE through a network gateway is not supported: connections to another"
                        + " network are refused",
                    gateway.place
                )
            } else if workload.addresses.isEmpty {
                warning(
                    workload.hostname.isEmpty
                        ? "without an address nobody gets here"
                        : "\(quoted(workload.hostname)) is not resolved: without an address nobody"
                            + " gets here",
                    workload.place
                )
            }
        }
        for service in config.services {
            for (name, place) in zip(service.subjectAltNames, service.namePlaces)
            where !Self.isIdentity(name) {
                warning(
                    "\(quoted(name)) is no identity and ignored: expected"
                        + " \"spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT\"",
                    service.place,
                    "subjectAltNames",
                    place
                )
            }
        }
    }

    /// ztunnel's form of a SPIFFE ID.
    private static func isIdentity(_ text: String) -> Bool {
        let scheme = "spiffe://"
        return text.hasPrefix(scheme)
            && ZtunnelConfig.StringMatch.isPrincipal(text.dropFirst(scheme.count))
    }

    // MARK: Reporting

    private func quoted(_ text: String) -> String { ConfigNode.quoted(text) }

    private func error(_ message: String, _ place: ConfigPlace) {
        diagnostics.error(message, path: place.path, at: place.position)
    }

    private func warning(_ message: String, _ place: ConfigPlace) {
        diagnostics.warning(message, path: place.path, at: place.position)
    }

    private func warning(
        _ message: String,
        _ place: ConfigPlace,
        _ key: String,
        _ element: ZtunnelConfig.ListPlace
    ) {
        diagnostics.warning(
            message,
            path: place.path.member(key).element(element.index),
            at: element.position
        )
    }
}

extension ZtunnelConfig.Workload {
    fileprivate var displayName: String { "\(namespace)/\(name.isEmpty ? uid : name)" }
}
