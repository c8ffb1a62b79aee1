import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Synchronization

/// A validated configuration, ready to be compiled by each worker. Immutable but for
/// ``runtime``; made on the control thread, where everything that can fail has been done.
package final class AgentPlan: Sendable {
    package let bootstrap: Bootstrap
    package let process: ProcessState
    package let workers: WorkerGroup
    /// By place in the configuration, like `bootstrap.clusters`.
    package let clusters: [ClusterPlan]
    /// TLS contexts of filter chains, by the transport socket's place in the file.
    private let downstreamTLS: [ConfigPath: TLSContextSlot]
    /// Another wire than HTTP/1.1 towards clients; nil where the configuration decides.
    let serverCodecs: (any ServerCodecFactory)?
    private let currentRuntime: Mutex<RuntimeConfig>

    package init(
        bootstrap: Bootstrap,
        process: ProcessState,
        workers: WorkerGroup,
        clusters: [ClusterPlan],
        downstreamTLS: [ConfigPath: TLSContextSlot],
        serverCodecs: (any ServerCodecFactory)? = nil
    ) {
        self.bootstrap = bootstrap
        self.process = process
        self.workers = workers
        self.clusters = clusters
        self.downstreamTLS = downstreamTLS
        self.serverCodecs = serverCodecs
        currentRuntime = Mutex(bootstrap.runtime)
    }

    /// The runtime values in force. Workers begin with them, and hear of later ones by mail.
    package var runtime: RuntimeConfig { currentRuntime.withLock { $0 } }

    /// Puts runtime values in force in all workers.
    package func publish(_ runtime: RuntimeConfig) {
        currentRuntime.withLock { $0 = runtime }
        workers.postAll { $0.apply(runtime) }
    }

    func cluster(_ name: String) -> ClusterPlan? { clusters.first { $0.options.name == name } }

    /// The slot of a filter chain's TLS; the planner has made one for each.
    func slot(_ config: DownstreamTLSConfig) -> TLSContextSlot {
        guard let slot = downstreamTLS[config.place.path] else {
            preconditionFailure("no TLS context for \(config.place.path)")
        }
        return slot
    }
}

extension Worker {
    /// Compiles the plan's listeners for this worker; they accept once given their sockets, and those
    /// without at once.
    package func listen(on sockets: [ListenerSocket]) throws(SystemError) {
        if let internals = plan.bootstrap.internalListeners {
            loop.internalNetwork.capacity = internals.bufferBytes
        }
        for config in plan.bootstrap.listeners where config.isInternal {
            let listener = compile(config, at: config.internalAddress)
            listener.startInternally()
            add(listener)
        }
        for socket in sockets {
            let listener = compile(plan.bootstrap.listeners[socket.listener], at: socket.address)
            try listener.start(socket.socket)
            add(listener)
        }
    }

    private func compile(_ config: ListenerConfig, at address: SocketAddress) -> ActiveListener {
        let statName = config.statName(at: address)
        let compiler = FilterChainCompiler(
            plan: plan,
            worker: self,
            listener: config,
            listenerStatName: statName
        )
        return ActiveListener(
            config,
            statName: statName,
            worker: self,
            localAddress: address,
            chains: config.filterChains.map(compiler.compile),
            defaultChain: config.defaultFilterChain.map(compiler.compile)
        )
    }
}

/// Makes the codec of a new downstream connection, as ``ClientCodecFactory`` does upstream.
package protocol ServerCodecFactory: Sendable {
    /// - Parameter headers: the worker's.
    func makeCodec(
        sink: ByteSink,
        delegate: any ServerCodecDelegate,
        headers: HeaderMapPool
    ) -> any ServerCodec
}

/// A listening socket of one worker.
package struct ListenerSocket: Sendable {
    /// Index of the listener in the configuration.
    package let listener: Int
    /// The address bound, with the port the kernel chose where the configuration says 0.
    package let address: SocketAddress
    package let socket: Socket

    package init(listener: Int, address: SocketAddress, socket: Socket) {
        self.listener = listener
        self.address = address
        self.socket = socket
    }
}

extension ListenerConfig {
    /// Of an internal listener.
    var internalAddress: SocketAddress { .internal(listener: name, endpointID: "") }

    /// As statistics name a listener that is bound to this address.
    func statName(at address: SocketAddress) -> String {
        statPrefix.isEmpty ? StatName.address(address) : statPrefix
    }
}

/// Names as Envoy writes them in statistics.
package enum StatName {
    /// `127.0.0.1_8080`, `[__1]_8080`: colons would separate scopes.
    package static func address(_ address: SocketAddress) -> String {
        if case .internal(let listener, _) = address { return "envoy_internal_\(listener)" }
        return String(address.description.map { $0 == ":" ? "_" : $0 })
    }
}
