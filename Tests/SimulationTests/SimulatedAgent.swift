import MeshConfig
import MeshHTTP
import MeshNet
import MeshProxy
import MeshRuntime
import MeshSimulation
import Synchronization
import Testing

/// A whole agent inside a simulation: its configuration is read from text, each of its workers is a
/// loop of the simulation, its access log is kept in memory.
final class SimulatedAgent {
    static let address = SocketAddress.ip(IPAddress(ipv4: 0x0A00_0101), port: 10_000)

    /// What an agent can be made to speak on both sides.
    static let wires: [Wire] = [.http1, .framed, .http2]

    let workers: [Worker]
    let registry: StatsRegistry
    private let logs = MemoryLogFiles()
    private let logWriter: LogWriter
    private let process: ProcessState
    private let plan: AgentPlan

    init(
        _ text: String,
        in simulation: Simulation,
        workers count: Int = 1,
        wire: Wire = .http1
    ) throws {
        let files = NoFiles()
        let (loaded, diagnostics) = ConfigLoader.load(
            text: Array(text.utf8),
            fileName: "agent.json",
            files: files
        )
        let bootstrap = try #require(loaded, "\(diagnostics.errors)")
        registry = StatsRegistry(workers: count)
        logWriter = LogWriter(logs, registry)
        process = ProcessState(
            registry: registry,
            log: Log(output: { _ in }),
            logWriter: logWriter,
            formats: FormatEnvironment(hostname: "simulated") { _ in nil },
            startWall: simulation.clock.wall
        )
        let group = WorkerGroup(workerCount: count)
        let planner = AgentPlanner(process: process, workers: group)
        let secrets = SecretStore(bootstrap.secrets, files: files, diagnostics: diagnostics)
        var plan = try #require(
            planner.plan(bootstrap, secrets: secrets, diagnostics: diagnostics),
            "\(diagnostics.errors)"
        )
        switch wire {
        case .http1: break
        case .framed: plan = Self.plan(plan, upstream: FramedClientCodecs(), FramedServerCodecs())
        // Listeners know HTTP/2 by its preface.
        case .http2: plan = Self.plan(plan, upstream: HTTP2ClientCodecFactory(HTTP2Settings()), nil)
        }
        self.plan = plan
        workers = (0..<count).map { [plan] index in
            let worker = Worker(index: index, loop: simulation.makeLoop(), plan: plan)
            group.joined(index, worker.loop.mailbox)
            return worker
        }
        for worker in workers { try listen(worker, plan) }
        simulation.keep(self)
    }

    private func listen(_ worker: Worker, _ plan: AgentPlan) throws {
        var sockets: [ListenerSocket] = []
        for (index, listener) in plan.bootstrap.listeners.enumerated() {
            for wanted in listener.addresses {
                let system = worker.loop.system
                let socket = try system.listen(on: wanted.address, options: ListenOptions())
                sockets.append(
                    ListenerSocket(listener: index, address: wanted.address, socket: socket)
                )
            }
        }
        try worker.listen(on: sockets)
    }

    /// The same plan, but other codecs are spoken.
    private static func plan(
        _ plan: AgentPlan,
        upstream: any ClientCodecFactory,
        _ downstream: (any ServerCodecFactory)?
    ) -> AgentPlan {
        let clusters = plan.clusters.map { cluster in
            var options = cluster.options
            options.codecs = UpstreamCodecs(only: upstream)
            return ClusterPlan(options: options, vitals: cluster.vitals)
        }
        return AgentPlan(
            bootstrap: plan.bootstrap,
            process: plan.process,
            workers: plan.workers,
            clusters: clusters,
            downstreamTLS: [:],
            serverCodecs: downstream
        )
    }

    /// What `POST /runtime_modify` does with these values in the place of all earlier ones.
    func publish(_ values: [(key: String, value: String)]) {
        plan.publish(plan.runtime.replacingAdminLayer(with: values))
    }

    /// A counter or gauge over all workers; 0 where there is none.
    func stat(_ name: String) -> Int { Int(registry.view().value(name) ?? 0) }

    /// The access log's lines so far.
    func logLines() -> [String] {
        for worker in workers { worker.accessLogs.flush() }
        logWriter.drain()
        return logs.lines
    }

    /// Nothing is under way: what a test may expect once everybody has left.
    func expectIdle(_ simulation: Simulation) {
        for name in [
            "http.in.downstream_rq_active", "http.in.downstream_cx_active",
            "cluster.up.upstream_rq_active", "cluster.up.upstream_rq_pending_active",
        ] {
            #expect(stat(name) == 0, "\(name) is \(stat(name)); \(simulation.replay)")
        }
    }
}

private struct NoFiles: ConfigFiles {
    func read(_ path: String) throws(ConfigFileError) -> [UInt8] { [] }
    func environment(_ name: String) -> [UInt8]? { nil }
}

/// Access logs in memory.
private final class MemoryLogFiles: LogFiles {
    private let text = Mutex<[UInt8]>([])

    var lines: [String] {
        text.withLock { String(decoding: $0, as: UTF8.self) }
            .split(separator: "\n").map(String.init)
    }

    func open(_ path: String) throws(SystemError) -> Int32 { 100 }

    func write(_ bytes: Bytes, to descriptor: Int32) throws(SystemError) -> Int {
        let copy = Array(bytes)
        text.withLock { $0 += copy }
        return bytes.count
    }

    func close(_ descriptor: Int32) {}
}

private struct FramedClientCodecs: ClientCodecFactory {
    var version: HTTPVersion? { .http2 }

    func makeCodec(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        cluster: Cluster
    ) -> any ClientCodec { FramedClientCodec(sink: sink, delegate: delegate) }
}

private struct FramedServerCodecs: ServerCodecFactory {
    func makeCodec(
        sink: ByteSink,
        delegate: any ServerCodecDelegate,
        headers: HeaderMapPool
    ) -> any ServerCodec { FramedServerCodec(sink: sink, delegate: delegate) }
}

/// Envoy files in text, with only what a test cares about.
enum AgentText {
    static func file(
        route: String = "",
        cluster: String = "",
        manager: String = "",
        filters: String = "",
        upstreams: [SocketAddress] = [.ip(IPAddress(ipv4: 0x0A01_0001), port: 80)]
    ) -> String {
        let endpoints = upstreams.map { "{\"endpoint\": {\"address\": \(json($0))}}" }
        return """
            {"static_resources": {
              "listeners": [{"name": "in", "address": \(json(SimulatedAgent.address)),
                "filter_chains": [{"filters": [{
                  "name": "envoy.filters.network.http_connection_manager",
                  "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "in", \(manager)
                    "access_log": [{"name": "envoy.access_loggers.file", "typed_config": {
                      "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                      "path": "/access.log",
                      "log_format": {"text_format_source": {"inline_string":
                        "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\\n"}}
                    }}],
                    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                      {"match": {"prefix": "/"}, "route": {"cluster": "up" \(route)}}]}]},
                    "http_filters": [\(filters){"name": "envoy.filters.http.router", "typed_config": {
                      "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
                  }}]}]}],
              "clusters": [{"name": "up", "type": "STATIC", "connect_timeout": "1s" \(cluster),
                "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [
                  \(endpoints.joined(separator: ", "))]}]}}]
            }}
            """
    }

    private static func json(_ address: SocketAddress) -> String {
        guard let ip = address.ip, let port = address.port else { return "{}" }
        return "{\"socket_address\": {\"address\": \"\(ip)\", \"port_value\": \(port)}}"
    }
}

/// Runs the body once per seed; a failure says how to replay it.
func simulate(seeds: Int = 20, _ body: (Simulation) throws -> Void) {
    for seed in Simulation.seeds(seeds) {
        let simulation = Simulation(seed: seed)
        do {
            try body(simulation)
        } catch {
            Issue.record("\(error); \(simulation.replay)")
        }
    }
}
