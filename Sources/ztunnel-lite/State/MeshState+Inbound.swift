import MeshConfig
import MeshNet

extension MeshState {
    /// Where a CONNECT that came in goes: always to the workload at whose address it came in.
    package func inboundRoute(_ request: InboundRequest) -> InboundRoute {
        guard let authority = Authority(request.authority) else {
            return .refused(
                status: 400,
                reason: "no valid authority pseudo header: \(request.authority)"
            )
        }
        guard let local = request.localAddress.ip else {
            return .refused(status: 503, reason: "no valid routing destination for workload")
        }
        let workload = current(request.workload) ?? request.workload
        var port = authority.port
        var service: Service?
        switch authority.host {
        case .address(let address):
            guard accepts(address, at: local, workload) else {
                return .refused(status: 400, reason: "ip mismatch: \(local) != \(address)")
            }
        case .name(let name):
            guard let found = self.service(hostname: name, for: workload.namespace) else {
                return .refused(
                    status: 503,
                    reason: "no service or workload for hostname: \(name)"
                )
            }
            guard let target = targetPort(of: found, authority.port, workload) else {
                return .refused(
                    status: 503,
                    reason: "requested service \(name):\(authority.port) found, but cannot resolve"
                        + " port"
                )
            }
            port = target
            service = found
        }
        if request.illegalPorts.contains(port) {
            return .refused(status: 503, reason: "attempted recursive call to ourselves")
        }
        guard let meant = meant(authority, local, port, service) else {
            return .refused(
                status: 503,
                reason:
                    "requested service \(service?.hostname ?? "") found, but has no IP addresses"
            )
        }
        let tunnel = workload.applicationTunnel
        let destination = SocketAddress.ip(local, port: tunnel?.port ?? port)
        var address = destination
        if tunnel?.isProxyProtocol == true {
            address = .ip(local.loopback, port: tunnel?.port ?? port)
        }
        return .connect(
            InboundTarget(
                address: address,
                destination: destination,
                service: service
                    ?? guessService(of: workload, destination, request.forwardedHost),
                proxyProtocol: tunnel?.isProxyProtocol == true,
                tunnelTarget: tunnel == nil ? destination : meant
            )
        )
    }

    /// Whether a client may mean `address` here: it is where it connected to, or that is a waypoint's,
    /// which serves others.
    private func accepts(_ address: IPAddress, at local: IPAddress, _ workload: Workload) -> Bool {
        if address == local || workload.applicationTunnel != nil { return true }
        var waypoints: [Workload.Gateway] = []
        if let target = self.workload(at: address) {
            if let waypoint = target.waypoint { waypoints = [waypoint] }
        } else if let target = service(at: address) {
            waypoints = target.weightedWaypoints.map(\.gateway)
            if let waypoint = target.waypoint { waypoints.append(waypoint) }
        }
        return waypoints.contains { waypoint in
            switch waypoint.target {
            case .workload(let place): workloads[Int(place)].addresses.contains(local)
            case .service(let place): workload.services.contains { $0.service == place }
            case .unknown: false
            }
        }
    }

    private func targetPort(of service: Service, _ port: UInt16, _ workload: Workload) -> UInt16? {
        let own = workload.services.first { Int($0.service) == service.index }
        if let target = own?.ports[service: port], target != 0 { return target }
        let target = service.ports[service: port]
        return target == 0 ? nil : target
    }

    /// What the client asked for, as an address. A service with several has that in our network, IPv4
    /// first. Nil where it has none.
    private func meant(
        _ authority: Authority,
        _ local: IPAddress,
        _ port: UInt16,
        _ service: Service?
    ) -> SocketAddress? {
        switch authority.host {
        case .address(let address): return .ip(address, port: authority.port)
        case .name:
            func rank(_ vip: Service.NetworkAddress) -> Int {
                vip.network != network ? 0 : vip.address.isIPv6 ? 1 : 2
            }
            return service?.vips.max { rank($0) < rank($1) }
                .map { .ip($0.address, port: authority.port) }
        }
    }

    /// Which of the workload's services is meant, for logs and metrics: the one the client names, else
    /// one with this port.
    private func guessService(
        of workload: Workload,
        _ destination: SocketAddress,
        _ forwardedHost: String?
    ) -> Service? {
        if let forwardedHost {
            for own in workload.services
            where services[Int(own.service)].hostname == forwardedHost {
                return services[Int(own.service)]
            }
        }
        for own in workload.services {
            let service = services[Int(own.service)]
            for entry in service.ports.entries
            where entry.target == destination.port
                || own.ports[service: entry.service] == destination.port
            {
                return service
            }
        }
        return nil
    }
}

extension IPAddress {
    fileprivate var loopback: IPAddress {
        isIPv6 ? IPAddress(ipv6High: 0, low: 1) : IPAddress(ipv4: 0x7F00_0001)
    }
}

/// `:authority` of a CONNECT: `10.0.0.1:80`, `[::1]:80` or `host:80`.
struct Authority {
    enum Host {
        case address(IPAddress)
        case name(String)
    }

    let host: Host
    let port: UInt16

    init?(_ text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty,
            digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let port = UInt16(digits)
        else { return nil }
        self.port = port
        let name = text[..<colon]
        if name.hasPrefix("["), name.hasSuffix("]") {
            guard let address = IPAddress(String(name.dropFirst().dropLast())), address.isIPv6
            else { return nil }
            host = .address(address)
        } else if let address = IPAddress(String(name)), !address.isIPv6 {
            host = .address(address)
        } else {
            guard !name.isEmpty, !name.utf8.contains(where: { ":[]/@ ".utf8.contains($0) })
            else { return nil }
            host = .name(String(name))
        }
    }
}
