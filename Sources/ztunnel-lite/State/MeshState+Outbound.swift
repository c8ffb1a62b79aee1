import MeshConfig
import MeshNet
import MeshRuntime

extension MeshState {
    /// Where a connection goes: to a service by its VIP, to a workload by its address, else past us.
    package func route(
        _ request: OutboundRequest,
        random: inout FastRandom
    ) -> OutboundRoute {
        let namespace = request.source.namespace
        if let service = service(at: request.destination, seenFrom: namespace) {
            return route(request, to: service, &random)
        }
        if let workload = workload(at: request.destination) {
            return route(request, to: workload, &random)
        }
        if let service = service(covering: request.destination, seenFrom: namespace) {
            return route(request, to: service, &random)
        }
        return .passthrough
    }

    // MARK: To a service

    private func route(
        _ request: OutboundRequest,
        to service: Service,
        _ random: inout FastRandom
    ) -> OutboundRoute {
        if let waypoint = service.chooseWaypoint(&random) {
            return route(request, through: waypoint, service: service, &random)
        }
        guard
            let chosen = choose(
                from: service,
                port: request.port,
                .service,
                source: request.source,
                &random
            )
        else {
            if service.loadBalancer?.mode == .passthrough { return .passthrough }
            if service.endpoints.isEmpty, service.remoteEndpoints > 0 {
                return .refused(Self.doubleHBONE(service.hostname))
            }
            return .refused("no healthy upstream: \(request.target)")
        }
        let workload = workloads[Int(chosen.workload)]
        guard let address = workload.address(like: request.destination, service.ipFamilies)
        else { return .refused(workload.noAddress) }
        return route(
            request,
            to: workload,
            at: .ip(address, port: chosen.port),
            service: service
        )
    }

    // MARK: To a workload

    private func route(
        _ request: OutboundRequest,
        to workload: Workload,
        _ random: inout FastRandom
    ) -> OutboundRoute {
        if let waypoint = workload.waypoint, !comes(request, from: waypoint) {
            return route(request, through: waypoint, service: nil, &random)
        }
        return route(
            request,
            to: workload,
            at: .ip(request.destination, port: request.port),
            service: nil
        )
    }

    private func route(
        _ request: OutboundRequest,
        to workload: Workload,
        at address: SocketAddress,
        service: Service?
    ) -> OutboundRoute {
        guard workload.isHBONE, let ip = address.ip else {
            return .direct(.init(address: address, workload: workload, service: service))
        }
        return .tunnel(
            TunnelRoute(
                gateway: .ip(ip, port: request.hbonePort),
                authority: address.description,
                identities: workload.identities(with: service),
                workload: workload,
                service: service,
                isWaypoint: false,
                forwardedHost: service?.hostname
            )
        )
    }

    /// Whether it is the waypoint itself that connects, by identity and address.
    private func comes(_ request: OutboundRequest, from waypoint: Workload.Gateway) -> Bool {
        func isSource(_ place: Int32) -> Bool {
            let workload = workloads[Int(place)]
            return workload.identity == request.source.identity
                && workload.addresses.contains(request.sourceAddress)
        }
        switch waypoint.target {
        case .workload(let place): return isSource(place)
        case .service(let place):
            return services[Int(place)].endpoints.contains { isSource($0.workload) }
        case .unknown: return false
        }
    }

    // MARK: Through a waypoint

    private func route(
        _ request: OutboundRequest,
        through waypoint: Workload.Gateway,
        service: Service?,
        _ random: inout FastRandom
    ) -> OutboundRoute {
        var port = waypoint.port
        let workload: Workload
        var waypointService: Service?
        switch waypoint.target {
        case .workload(let place): workload = workloads[Int(place)]
        case .service(let place):
            let found = services[Int(place)]
            waypointService = found
            guard
                let chosen = choose(
                    from: found,
                    port: waypoint.port,
                    .waypoint,
                    source: request.source,
                    &random
                )
            else {
                return .refused("unknown waypoint: waypoint \(waypoint.name) has no endpoint")
            }
            workload = workloads[Int(chosen.workload)]
            port = chosen.port
        case .unknown:
            return .refused("unknown waypoint: waypoint \(waypoint.name) not found")
        }
        guard workload.network == network else {
            return .refused(Self.doubleHBONE("waypoint \(waypoint.name)"))
        }
        let like = waypoint.address ?? request.destination
        guard let address = workload.address(like: like, waypointService?.ipFamilies)
        else { return .refused(workload.noAddress) }
        return .tunnel(
            TunnelRoute(
                gateway: .ip(address, port: port),
                authority: request.target.description,
                identities: workload.identities(with: waypointService),
                workload: workload,
                service: service,
                isWaypoint: true,
                forwardedHost: service?.hostname
            )
        )
    }

    private static func doubleHBONE(_ what: String) -> String {
        "unsupported feature: \(what) is in another network, and double HBONE through its gateway"
            + " is not supported"
    }
}

extension OutboundRequest {
    fileprivate var target: SocketAddress { .ip(destination, port: port) }
}

extension Workload {
    /// Of its addresses the one that was meant, else one that the service's families allow and that is
    /// of the family of `wanted` where possible.
    fileprivate func address(
        like wanted: IPAddress,
        _ families: ZtunnelConfig.Service.IPFamilies?
    ) -> IPAddress? {
        if addresses.contains(wanted) { return wanted }
        var first: IPAddress?
        for address in addresses {
            switch families {
            case .ipv4? where address.isIPv6, .ipv6? where !address.isIPv6: continue
            default: break
            }
            if address.isIPv6 == wanted.isIPv6 { return address }
            if first == nil { first = address }
        }
        return first
    }

    fileprivate var noAddress: String {
        let hint = hostname.isEmpty ? "" : " (names are not resolved: \(hostname))"
        return "no valid routing destination for workload: \(displayName)\(hint)"
    }

    /// Whom a peer that is this workload may present itself as; sorted.
    fileprivate func identities(with service: Service?) -> [SPIFFEID] {
        guard let names = service?.subjectAltNames, !names.isEmpty else { return [identity] }
        if names.contains(identity) { return names }
        return (names + [identity]).sorted()
    }
}
