/// The rules of listeners inside the process: that they may be there, that endpoints lead to one, and that
/// none leads to itself.
struct InternalListenerChecks {
    let bootstrap: Bootstrap
    let diagnostics: ConfigDiagnostics

    private var listeners: [ListenerConfig] { bootstrap.listeners.filter(\.isInternal) }

    func run() {
        checkExtension()
        for cluster in bootstrap.clusters { check(cluster) }
        for listener in listeners { checkLoop(from: listener) }
    }

    private func checkExtension() {
        guard bootstrap.internalListeners == nil else { return }
        for listener in listeners {
            diagnostics.error(
                "internal_listener needs the bootstrap extension \(InternalListenersConfig.type)",
                path: listener.path,
                at: listener.position
            )
        }
    }

    private func check(_ cluster: ClusterConfig) {
        let endpoints = cluster.loadAssignment.localities.flatMap(\.endpoints)
        for endpoint in endpoints {
            guard case .listener(let name, _) = endpoint.address.host, !name.isEmpty else {
                continue
            }
            if listeners.contains(where: { $0.name == name }) { continue }
            let known = listeners.map(\.name)
            let isSocket = bootstrap.listeners.contains { $0.name == name }
            diagnostics.error(
                isSocket
                    ? "listener \(ConfigNode.quoted(name)) is not an internal one; connect to its address"
                    : "unknown internal listener \(ConfigNode.quoted(name))"
                        + Suggestion.hint(for: name, among: known),
                path: endpoint.address.path,
                at: endpoint.address.position
            )
        }
        let sockets =
            [cluster.transportSocket] + cluster.transportSocketMatches.map(\.transportSocket)
        if sockets.contains(where: \.passes),
            !endpoints.isEmpty, endpoints.allSatisfy({ !$0.address.isInternal })
        {
            diagnostics.warning(
                "an internal upstream socket passes nothing on: no endpoint is a listener of this process",
                path: cluster.path,
                at: cluster.position
            )
        }
    }

    // MARK: Loops

    /// A connection that is only passed on comes round for ever, a request as often as limits allow.
    private func checkLoop(from listener: ListenerConfig) {
        if reaches(listener, over: Self.proxied) {
            diagnostics.error(
                "tcp_proxy leads from this listener back to it: every connection would make another",
                path: listener.path,
                at: listener.position
            )
        } else if reaches(listener, over: { Self.proxied($0).union(Self.routed($0)) }) {
            diagnostics.warning(
                "routes lead from this listener back to it: a request that takes the same one again goes"
                    + " round until a limit of the cluster stops it",
                path: listener.path,
                at: listener.position
            )
        }
    }

    private func reaches(
        _ target: ListenerConfig,
        over clusters: (ListenerConfig) -> Set<String>
    ) -> Bool {
        var seen: Set<String> = []
        var left = [target]
        while let next = left.popLast() {
            let names = clusters(next)
            for cluster in bootstrap.clusters where names.contains(cluster.name) {
                for endpoint in cluster.loadAssignment.localities.flatMap(\.endpoints) {
                    guard case .listener(let name, _) = endpoint.address.host else { continue }
                    if name == target.name { return true }
                    guard seen.insert(name).inserted else { continue }
                    left += listeners.filter { $0.name == name }
                }
            }
        }
        return false
    }

    private static func proxied(_ listener: ListenerConfig) -> Set<String> {
        var names: Set<String> = []
        for case .tcpProxy(let proxy) in listener.allFilterChains.flatMap(\.filters) {
            names.formUnion(proxy.clusters.map(\.name))
        }
        return names
    }

    private static func routed(_ listener: ListenerConfig) -> Set<String> {
        var names: Set<String> = []
        for case .httpConnectionManager(let manager) in listener.allFilterChains.flatMap(\.filters)
        {
            names.formUnion(manager.routes.clusterReferences.map(\.name))
        }
        return names
    }
}

extension AddressConfig {
    var isInternal: Bool { if case .listener = host { true } else { false } }
}
