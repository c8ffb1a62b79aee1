import MeshConfig
import MeshNet
import MeshRuntime

/// Makes a plan of a configuration, on the control thread: reads what the file names, builds TLS
/// contexts, opens logs. Every problem is reported; with one, there is no plan.
package struct AgentPlanner {
    package let process: ProcessState
    package let workers: WorkerGroup
    package let registry: ClusterRegistry

    package init(process: ProcessState, workers: WorkerGroup) {
        self.process = process
        self.workers = workers
        registry = ClusterRegistry(stats: process.registry, mailboxes: workers)
    }

    package func plan(
        _ bootstrap: Bootstrap,
        secrets: SecretStore,
        diagnostics: ConfigDiagnostics
    ) -> AgentPlan? {
        var downstreamTLS: [ConfigPath: TLSContextSlot] = [:]
        for listener in bootstrap.listeners {
            for chain in listener.allFilterChains {
                guard case .tls(let tls) = chain.transportSocket else { continue }
                // Sessions of one set of server names must not be resumed under another.
                let scope = chain.match.serverNames.sorted().joined(separator: ",")
                downstreamTLS[tls.place.path] = secrets.slot(
                    tls,
                    scope: scope,
                    diagnostics: diagnostics
                )
            }
        }
        let transports = bootstrap.clusters.map { Self.transports(of: $0, secrets, diagnostics) }
        // A file that is refused leaves no trace on the disk.
        if !diagnostics.hasErrors { openLogs(of: bootstrap, diagnostics) }
        guard !diagnostics.hasErrors else { return nil }
        var next = transports.makeIterator()
        let clusters = registry.plan(bootstrap.clusters, runtime: bootstrap.runtime) { _ in
            next.next() ?? UniformTransports()
        }
        return AgentPlan(
            bootstrap: bootstrap,
            process: process,
            workers: workers,
            clusters: clusters,
            downstreamTLS: downstreamTLS
        )
    }

    private static func transports(
        of cluster: ClusterConfig,
        _ secrets: SecretStore,
        _ diagnostics: ConfigDiagnostics
    ) -> any UpstreamTransports {
        func transport(_ config: UpstreamTransportConfig) -> any UpstreamTransport {
            switch config {
            case .rawBuffer: return PlainTransport()
            case .tls(let tls):
                guard let slot = secrets.slot(tls, diagnostics: diagnostics) else {
                    return PlainTransport()
                }
                return UpstreamTLSTransport(
                    slot,
                    serverName: tls.sni,
                    prefersHostname: tls.autoHostSNI
                )
            case .passing(let passed, let inner):
                return PassingTransport(
                    passed,
                    over: transport(inner),
                    cluster: cluster.metadata
                )
            }
        }
        let usual = transport(cluster.transportSocket)
        if cluster.transportSocketMatches.isEmpty { return UniformTransports(usual) }
        return MatchedTransports(
            cluster.transportSocketMatches.map {
                (MetadataValue.members($0.match), transport($0.transportSocket))
            },
            fallback: usual
        )
    }

    /// A log that cannot be opened is a mistake in the file; one that cannot be written later is not.
    private func openLogs(of bootstrap: Bootstrap, _ diagnostics: ConfigDiagnostics) {
        for log in bootstrap.accessLogs {
            do throws(SystemError) {
                try process.logWriter.open(log.sink)
            } catch {
                diagnostics.error(
                    "the access log cannot be opened: \(log.sink): \(error.reason)",
                    at: .start
                )
            }
        }
    }
}

extension Bootstrap {
    /// Every access log of the file.
    var accessLogs: [AccessLogConfig] {
        var logs = admin?.accessLogs ?? []
        for listener in listeners {
            logs += listener.accessLogs
            for chain in listener.allFilterChains {
                for filter in chain.filters {
                    switch filter {
                    case .httpConnectionManager(let manager): logs += manager.accessLogs
                    case .tcpProxy(let proxy): logs += proxy.accessLogs
                    case .rbac, .setFilterState: break
                    }
                }
            }
        }
        return logs
    }
}
