import MeshConfig
import MeshNet

/// From the file's values to a state's: looks up every name once, so that nobody has to later.
struct MeshStateBuilder {
    private(set) var workloads: [Workload] = []
    private(set) var services: [Service] = []
    private(set) var workloadsByAddress: [IPAddress: Int32] = [:]
    private(set) var workloadsByName: [MeshState.WorkloadName: Int32] = [:]
    private(set) var workloadsByUID: [String: Int32] = [:]
    private(set) var servicesByAddress = IndexByKey<IPAddress>()
    private(set) var servicesByHostname = IndexByKey<String>()
    private(set) var servicesByRange = IndexByRange()
    private(set) var policySets: [PolicySet] = []
    let policyIndex: PolicySetBuilder

    private let config: ZtunnelConfig
    private let network: String
    /// In all networks, for waypoints.
    private var addresses: [ZtunnelConfig.NetworkAddress: Workload.Gateway.Target] = [:]
    private var serviceKeys: [ZtunnelConfig.NamespacedHostname: Int32] = [:]
    /// By workload.
    private var memberships: [[Workload.Membership]]
    private var workloadHostnames: [ZtunnelConfig.NamespacedHostname: Int32] = [:]

    init(_ config: ZtunnelConfig, network: String) {
        self.config = config
        self.network = network
        memberships = Array(repeating: [], count: config.workloads.count)
        policyIndex = PolicySetBuilder(config.policies)
        index()
        makeServices()
        makeWorkloads()
        policySets = policyIndex.sets(for: config.workloads)
    }

    private mutating func index() {
        workloadsByName.reserveCapacity(config.workloads.count)
        workloadsByUID.reserveCapacity(config.workloads.count)
        workloadsByAddress.reserveCapacity(config.workloads.count)
        addresses.reserveCapacity(config.workloads.count + config.services.count)
        for (place, workload) in config.workloads.enumerated() { index(workload, Int32(place)) }
        for (place, service) in config.services.enumerated() { index(service, Int32(place)) }
    }

    private mutating func index(_ workload: ZtunnelConfig.Workload, _ place: Int32) {
        let name = MeshState.WorkloadName(
            name: workload.name,
            namespace: workload.namespace,
            serviceAccount: workload.serviceAccount
        )
        if workloadsByName[name] == nil { workloadsByName[name] = place }
        if !workload.uid.isEmpty { workloadsByUID[workload.uid] = place }
        if !workload.hostname.isEmpty {
            let key = ZtunnelConfig.NamespacedHostname(
                namespace: workload.namespace,
                hostname: workload.hostname
            )
            if workloadHostnames[key] == nil { workloadHostnames[key] = place }
        }
        // A node's address says nothing of who is behind it.
        if workload.networkMode == .hostNetwork { return }
        for address in workload.addresses {
            let key = ZtunnelConfig.NetworkAddress(network: workload.network, address: address)
            if case .workload(let other) = addresses[key],
                config.workloads[Int(other)].rank > workload.rank
            {
                continue
            }
            addresses[key] = .workload(place)
            if workload.network == network { workloadsByAddress[address] = place }
        }
    }

    private mutating func index(_ service: ZtunnelConfig.Service, _ place: Int32) {
        serviceKeys[service.key] = place
        servicesByHostname.insert(place, for: service.hostname)
        for vip in service.vips {
            if vip.network == network { insert(place, at: vip.address, of: service.namespace) }
            addresses[vip] = .service(place)
        }
        for range in service.ranges where range.network == network {
            servicesByRange.insert(place, for: range.range)
        }
    }

    /// Of services of one namespace with one VIP the last is meant.
    private mutating func insert(_ place: Int32, at vip: IPAddress, of namespace: String) {
        let others = servicesByAddress[vip].filter {
            config.services[Int($0)].namespace == namespace
        }
        if let other = others.first {
            servicesByAddress.replace(other, by: place, for: vip)
        } else {
            servicesByAddress.insert(place, for: vip)
        }
    }

    // MARK: Objects

    private mutating func makeServices() {
        var endpoints = Array(repeating: EndpointList(), count: config.services.count)
        for (place, workload) in config.workloads.enumerated() {
            for own in workload.services {
                guard let service = serviceKeys[own.service] else { continue }
                let isHealthy = workload.status == .healthy
                endpoints[Int(service)].insert(Int32(place), own.ports, isHealthy: isHealthy)
                memberships[place].append(.init(service: service, ports: own.ports))
            }
        }
        for (service, config) in config.services.enumerated() {
            for endpoint in config.endpoints {
                guard let place = workloadsByUID[endpoint.workloadUID],
                    endpoints[service].insert(
                        place,
                        endpoint.ports,
                        isHealthy: endpoint.status == .healthy
                    )
                else { continue }
                memberships[Int(place)].append(
                    .init(service: Int32(service), ports: endpoint.ports)
                )
            }
        }
        services = config.services.enumerated().map { place, service in
            let (reachable, remote) = usable(endpoints[place], of: service)
            return Service(
                service,
                index: place,
                endpoints: reachable,
                remoteEndpoints: remote,
                waypoint: service.waypoint.map { gateway($0) },
                weightedWaypoints: service.weightedWaypoints.compactMap {
                    $0.weight == 0 ? nil : (gateway($0.gateway), $0.weight)
                }
            )
        }
    }

    /// Endpoints that can be reached from our network, and how many others there are.
    private func usable(
        _ list: EndpointList,
        of service: ZtunnelConfig.Service
    ) -> ([Service.Endpoint], Int) {
        var reachable: [Service.Endpoint] = []
        var remote = 0
        let takesAll = service.loadBalancer?.healthPolicy == .allowAll
        for entry in list.entries where entry.isHealthy || takesAll {
            let workload = config.workloads[Int(entry.workload)]
            if workload.network != network {
                remote += 1
            } else if !workload.addresses.isEmpty {
                reachable.append(
                    .init(
                        workload: entry.workload,
                        capacity: workload.capacity,
                        ports: entry.ports
                    )
                )
            }
        }
        return (reachable, remote)
    }

    private mutating func makeWorkloads() {
        workloads.reserveCapacity(config.workloads.count)
        for (place, workload) in config.workloads.enumerated() {
            workloads.append(
                Workload(
                    workload,
                    index: place,
                    waypoint: workload.waypoint.map { gateway($0) },
                    services: memberships[place]
                )
            )
        }
    }

    private func gateway(_ config: ZtunnelConfig.Gateway) -> Workload.Gateway {
        var target = Workload.Gateway.Target.unknown
        var address: IPAddress?
        switch config.destination {
        case .address(let place):
            address = place.address
            target = addresses[place] ?? .unknown
        case .hostname(let name):
            if let service = serviceKeys[name] {
                target = .service(service)
            } else if let workload = workloadHostnames[name] {
                target = .workload(workload)
            }
        }
        return Workload.Gateway(
            target: target,
            port: config.port,
            name: config.destination.description,
            address: address
        )
    }
}

/// Endpoints of one service. A workload is one once: what it says itself comes first.
private struct EndpointList {
    struct Entry {
        let workload: Int32
        let ports: Service.PortMap
        let isHealthy: Bool
    }

    private(set) var entries: [Entry] = []
    private var known: Set<Int32> = []

    /// False where the workload is one already.
    @discardableResult
    mutating func insert(_ workload: Int32, _ ports: Service.PortMap, isHealthy: Bool) -> Bool {
        guard known.insert(workload).inserted else { return false }
        entries.append(Entry(workload: workload, ports: ports, isHealthy: isHealthy))
        return true
    }
}

extension ZtunnelConfig.Workload {
    /// Who is meant where several have one address: pods cannot pretend, and who speaks HBONE is better
    /// known (ztunnel: WorkloadByAddr).
    fileprivate var rank: Int { (uid.contains("//Pod/") ? 2 : 0) + (tunnel == .hbone ? 1 : 0) }
}
