import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Turns the configuration of filter chains into what one worker runs.
struct FilterChainCompiler {
    let plan: AgentPlan
    let worker: Worker
    let listener: ListenerConfig
    let listenerStatName: String

    func compile(_ config: FilterChainConfig) -> FilterChain {
        var steps: [NetworkStep] = []
        var gates: [NetworkRBAC] = []
        var terminal = FilterChain.Terminal.nobody
        for filter in config.filters {
            switch filter {
            case .rbac(let rbac):
                let gate = NetworkRBAC(rbac, stats: worker.stats)
                gates.append(gate)
                steps.append(.rbac(gate))
            case .setFilterState(let values):
                steps.append(.setFilterState(FilterStateValues(values, worker.formats)))
            case .tcpProxy(let proxy):
                terminal = .tcp(TCPProxySettings(proxy, worker: worker))
            case .httpConnectionManager(let manager):
                let settings = HTTPConnectionManagerSettings(
                    manager,
                    listener: listener,
                    listenerStatName: listenerStatName,
                    chain: config,
                    plan: plan,
                    worker: worker
                )
                settings.chainName = config.displayName
                settings.gates = gates
                terminal = .http(settings)
            }
        }
        let transport: DownstreamTransport
        switch config.transportSocket {
        case .rawBuffer: transport = .raw
        case .tls(let tls): transport = .tls(plan.slot(tls))
        }
        var tlsStats: TLSHandshakeStats?
        if case .tls = transport {
            tlsStats = TLSHandshakeStats(worker.stats, prefix: "listener.\(listenerStatName)")
        }
        return FilterChain(
            name: config.name,
            metadata: config.metadata,
            transport: transport,
            steps: steps,
            terminal: terminal,
            handshakeTimeout: config.transportSocketConnectTimeout.map { Nanoseconds($0) },
            tlsStats: tlsStats
        )
    }
}
