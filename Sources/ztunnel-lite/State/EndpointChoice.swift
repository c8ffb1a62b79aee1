import MeshConfig
import MeshRuntime

/// A workload to connect to and its port.
struct EndpointChoice {
    /// Its place in the state's list.
    let workload: Int32
    let port: UInt16
}

/// What an endpoint is chosen for.
enum EndpointUse {
    case service
    /// Its application tunnel may take any port.
    case waypoint
}

extension Service {
    /// One of the weighted waypoints, else the plain one.
    func chooseWaypoint(_ random: inout FastRandom) -> Workload.Gateway? {
        if weightedWaypoints.isEmpty { return waypoint }
        let total = weightedWaypoints.reduce(0) { $0 + Int($1.weight) }
        var ticket = random.next(below: total)
        for candidate in weightedWaypoints {
            ticket -= Int(candidate.weight)
            if ticket < 0 { return candidate.gateway }
        }
        return waypoint
    }

    /// The endpoint's own port, else the service's; nil where there is none but 0.
    fileprivate func port(
        _ endpoint: Endpoint,
        _ port: UInt16,
        _ servicePort: UInt16?,
        _ use: EndpointUse,
        _ tunnel: Workload.ApplicationTunnel?
    ) -> UInt16? {
        if use == .waypoint, servicePort == nil, tunnel == nil { return nil }
        if let own = endpoint.ports[service: port], own != 0 { return own }
        if let servicePort, servicePort != 0 { return servicePort }
        return use == .waypoint && tunnel?.port != nil ? port : nil
    }
}

extension MeshState {
    /// One of the endpoints that know `port`, at random by capacity; of those that share most with the
    /// source where the service has preferences.
    func choose(
        from service: Service,
        port: UInt16,
        _ use: EndpointUse,
        source: Workload,
        _ random: inout FastRandom
    ) -> EndpointChoice? {
        let servicePort = service.ports[service: port]
        if use == .service, servicePort == nil { return nil }
        func target(_ endpoint: Service.Endpoint) -> UInt16? {
            service.port(
                endpoint,
                port,
                servicePort,
                use,
                use == .waypoint ? workloads[Int(endpoint.workload)].applicationTunnel : nil
            )
        }
        let preferences = service.preferences
        if preferences == nil, let drawn = service.draw(&random), let port = target(drawn) {
            return EndpointChoice(workload: drawn.workload, port: port)
        }
        // Two passes: the best rank and how much capacity has it, then the choice.
        var best = -1
        var total: UInt64 = 0
        func rank(_ endpoint: Service.Endpoint) -> Int? {
            guard endpoint.capacity > 0, target(endpoint) != nil else { return nil }
            guard let preferences else { return 0 }
            return preferences.rank(workloads[Int(endpoint.workload)], from: source)
        }
        for endpoint in service.endpoints {
            guard let rank = rank(endpoint), rank >= best else { continue }
            if rank > best { total = 0 }
            best = rank
            total += UInt64(endpoint.capacity)
        }
        guard total > 0 else { return nil }
        var ticket = UInt64.random(in: 0..<total, using: &random)
        for endpoint in service.endpoints where rank(endpoint) == best {
            let capacity = UInt64(endpoint.capacity)
            if ticket < capacity, let port = target(endpoint) {
                return EndpointChoice(workload: endpoint.workload, port: port)
            }
            ticket -= min(ticket, capacity)
        }
        return nil
    }
}

extension Service {
    fileprivate var preferences: ZtunnelConfig.Service.LoadBalancer? {
        guard let loadBalancer, loadBalancer.mode != .standard,
            !loadBalancer.routingPreferences.isEmpty
        else { return nil }
        return loadBalancer
    }

    /// One of all, by capacity; nil where none has any.
    fileprivate func draw(_ random: inout FastRandom) -> Endpoint? {
        guard let total = capacities.last, total > 0 else { return nil }
        let ticket = UInt64.random(in: 0..<total, using: &random)
        var low = 0
        var high = capacities.count - 1
        while low < high {
            let middle = (low + high) / 2
            if capacities[middle] > ticket { high = middle } else { low = middle + 1 }
        }
        return endpoints[low]
    }
}

extension ZtunnelConfig.Service.LoadBalancer {
    /// How many preferences in a row hold, from the first; nil where all must and one does not.
    fileprivate func rank(_ target: Workload, from source: Workload) -> Int? {
        var rank = 0
        for scope in routingPreferences {
            let isSame =
                switch scope {
                case .region: source.locality.region == target.locality.region
                case .zone: source.locality.zone == target.locality.zone
                case .subzone: source.locality.subzone == target.locality.subzone
                case .node: source.node == target.node
                case .cluster: source.clusterID == target.clusterID
                case .network: source.network == target.network
                }
            guard isSame else { break }
            rank += 1
        }
        return mode == .strict && rank != routingPreferences.count ? nil : rank
    }
}
