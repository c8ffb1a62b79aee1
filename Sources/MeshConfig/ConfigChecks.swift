import MeshNet

/// The rules between parts of a configuration: names, references and addresses; and lints.
struct ConfigChecks {
    private let bootstrap: Bootstrap
    private let diagnostics: ConfigDiagnostics

    init(_ bootstrap: Bootstrap, _ diagnostics: ConfigDiagnostics) {
        self.bootstrap = bootstrap
        self.diagnostics = diagnostics
    }

    func run() {
        checkNames()
        checkAddresses()
        checkReferences()
        checkProtocols()
        InternalListenerChecks(bootstrap: bootstrap, diagnostics: diagnostics).run()
        for manager in managers { ShadowedRoutes.check(manager.routes, diagnostics) }
    }

    // MARK: TLS and codecs

    private func checkProtocols() {
        for chain in bootstrap.listeners.flatMap(\.allFilterChains) {
            guard case .tls(let tls) = chain.transportSocket, let last = chain.filters.last,
                case .httpConnectionManager(let manager) = last, manager.codecType == .http1
            else { continue }
            check(tls.common.alpn, tls.place)
        }
        for cluster in bootstrap.clusters where cluster.http.version == .http1 {
            let sockets =
                [cluster.transportSocket] + cluster.transportSocketMatches.map(\.transportSocket)
            for tls in sockets.compactMap(\.tls) { check(tls.common.alpn, tls.place) }
        }
    }

    /// For those that speak HTTP/1.1 whatever is agreed on.
    private func check(_ alpn: [String], _ place: ConfigPlace) {
        if alpn.contains("h2") {
            diagnostics.warning(
                "alpn_protocols offers \"h2\", but what is spoken is HTTP/1.1: a peer that agrees on"
                    + " h2 does not understand us",
                path: place.path,
                at: place.position
            )
        }
    }

    // MARK: Names and addresses

    private func checkNames() {
        var clusters: Set<String> = []
        for cluster in bootstrap.clusters where !cluster.name.isEmpty {
            if !clusters.insert(cluster.name).inserted {
                diagnostics.error(
                    "\(ConfigNode.quoted(cluster.name)) is the name of another cluster",
                    path: cluster.path,
                    at: cluster.position
                )
            }
        }
        var listeners: Set<String> = []
        for listener in bootstrap.listeners where !listener.name.isEmpty {
            if !listeners.insert(listener.name).inserted {
                diagnostics.error(
                    "\(ConfigNode.quoted(listener.name)) is the name of another listener",
                    path: listener.path,
                    at: listener.position
                )
            }
        }
    }

    private func checkAddresses() {
        var owners: [SocketAddress: String] = [:]
        if let admin = bootstrap.admin?.address, admin.port != 0 {
            owners[admin] = "the administration server"
        }
        for listener in bootstrap.listeners {
            // Port 0 is a free port, another one each time.
            for address in listener.addresses where address.address.port != 0 {
                let owner = "listener \(ConfigNode.quoted(listener.displayName))"
                guard let other = owners.updateValue(owner, forKey: address.address) else {
                    continue
                }
                diagnostics.error(
                    "\(address.address) is the address of \(other) already",
                    path: address.path,
                    at: address.position
                )
            }
        }
    }

    // MARK: References

    private var filters: [NetworkFilterConfig] {
        bootstrap.listeners.flatMap(\.allFilterChains).flatMap(\.filters)
    }

    private var managers: [HTTPConnectionManagerConfig] {
        filters.compactMap {
            if case .httpConnectionManager(let manager) = $0 { manager } else { nil }
        }
    }

    private func checkReferences() {
        let names = Set(bootstrap.clusters.map(\.name))
        var used: Set<String> = []
        var usesHeader = false
        func check(_ name: String, _ path: ConfigPath, _ position: ConfigPosition, isError: Bool) {
            used.insert(name)
            if name.isEmpty || names.contains(name) { return }
            let hint = Suggestion.hint(for: name, among: names)
            if isError {
                diagnostics.error(
                    "unknown cluster \(ConfigNode.quoted(name))\(hint)",
                    path: path,
                    at: position
                )
            } else {
                diagnostics.warning(
                    "unknown cluster \(ConfigNode.quoted(name)): requests to it are not served\(hint)",
                    path: path,
                    at: position
                )
            }
        }
        for filter in filters {
            switch filter {
            case .rbac, .setFilterState: break
            case .httpConnectionManager(let manager):
                for reference in manager.routes.clusterReferences {
                    check(
                        reference.name,
                        reference.path,
                        reference.position,
                        isError: manager.routes.validateClusters
                    )
                }
                if manager.routes.takesClusterFromHeader { usesHeader = true }
            case .tcpProxy(let proxy):
                for cluster in proxy.clusters {
                    check(cluster.name, cluster.path, cluster.position, isError: true)
                }
            }
        }
        if usesHeader { return }
        for cluster in bootstrap.clusters where !used.contains(cluster.name) {
            diagnostics.warning(
                "no route leads to the cluster \(ConfigNode.quoted(cluster.name))",
                path: cluster.path,
                at: cluster.position
            )
        }
    }
}

extension RouteConfig {
    /// Whether some route lets a request name its cluster.
    fileprivate var takesClusterFromHeader: Bool {
        virtualHosts.flatMap(\.routes).contains { route in
            guard case .route(let action) = route.action else { return false }
            switch action.target {
            case .header: return true
            case .weighted(let clusters):
                return clusters.entries.contains { entry in
                    if case .header = entry.target { true } else { false }
                }
            case .cluster: return false
            }
        }
    }
}
