import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// One connection manager's configuration compiled for one worker; shared by its connections. A changed
/// runtime replaces what was compiled from it; a stream keeps the route it has.
package final class HTTPConnectionManagerSettings: RuntimeUser {
    package let config: HTTPConnectionManagerConfig
    package let stats: HTTPConnectionManagerStats
    package let listenerStats: ListenerHTTPStats
    package let routerStats: HTTPRouterStats
    let http1Underscores: UnderscoreStats
    /// On first use: without HTTP/2 nobody looks for them.
    private(set) lazy var http2Underscores = UnderscoreStats(StatsScope(worker.stats, "http2."))
    package private(set) var routes: RouteTable
    package let router: RouterConfig
    package let filters: [any HTTPFilterFactory]
    package private(set) var accessLogs: [AccessLogger] = []
    package private(set) var localReplies: LocalReplyRenderer
    package let preparation: RequestPreparation
    package let finisher: ResponseFinisher
    /// Whether connections come in over TLS.
    package let isTLS: Bool
    package let bufferLimit: Int

    // Zero in the file means no limit, which is nil here.
    package let idleTimeout: Nanoseconds?
    package let connectionDurationMax: Nanoseconds?
    package let streamDurationMax: Nanoseconds?
    package let streamIdleTimeout: Nanoseconds?
    package let requestTimeout: Nanoseconds?
    package let requestHeadersTimeout: Nanoseconds?
    package let drainTimeout: Nanoseconds
    package let delayedCloseTimeout: Nanoseconds
    package let requestsPerConnectionMax: Int?
    /// Present where the runtime asks for them.
    private(set) var timingHistograms: TimingHistograms?
    private let demand = TimePointDemand()
    /// At which formats want the clock to be read.
    private var timePoints: TimePoints = []
    /// Present while the listener drains.
    package var drain: ListenerDrain?
    /// For explanations: the filter chain's name or place, and what was asked before this manager.
    var chainName = ""
    var gates: [NetworkRBAC] = []
    private var http1: HTTP1Settings
    private var http2: HTTP2Settings
    private unowned let worker: Worker

    init(
        _ config: HTTPConnectionManagerConfig,
        listener: ListenerConfig,
        listenerStatName: String,
        chain: FilterChainConfig,
        plan: AgentPlan,
        worker: Worker
    ) {
        self.config = config
        self.worker = worker
        stats = HTTPConnectionManagerStats(worker.stats, statPrefix: config.statPrefix)
        listenerStats = ListenerHTTPStats(
            worker.stats,
            listener: listenerStatName,
            statPrefix: config.statPrefix
        )
        routerStats = HTTPRouterStats(worker.stats, statPrefix: config.statPrefix)
        http1Underscores = UnderscoreStats(StatsScope(worker.stats, "http1."))
        if case .tls = chain.transportSocket { isTLS = true } else { isTLS = false }
        bufferLimit = listener.perConnectionBufferLimitBytes
        let options = config.protocolOptions
        idleTimeout = Self.limit(options.idleTimeout ?? .seconds(3600))
        connectionDurationMax = Self.limit(options.maxConnectionDuration)
        streamDurationMax = Self.limit(options.maxStreamDuration)
        streamIdleTimeout = Self.limit(config.streamIdleTimeout)
        requestTimeout = Self.limit(config.requestTimeout)
        requestHeadersTimeout = Self.limit(config.requestHeadersTimeout)
        drainTimeout = Nanoseconds(config.drainTimeout)
        delayedCloseTimeout = Nanoseconds(config.delayedCloseTimeout)
        requestsPerConnectionMax = options.maxRequestsPerConnection.flatMap {
            $0 == 0 ? nil : Int($0)
        }
        preparation = RequestPreparation(
            config,
            node: plan.bootstrap.node,
            nodeAddress: plan.process.nodeAddress
        )
        finisher = ResponseFinisher(config)
        router = config.router
        let formats = worker.formats.noting(demand)
        filters = HTTPFilterChain.make(config, stats: worker.stats, formats: formats)
        let runtime = plan.runtime
        http1 = HTTP1Settings(downstream: config, runtime: runtime)
        http2 = HTTP2Settings(downstream: config, runtime: runtime)
        localReplies = LocalReplyRenderer(config.localReply, runtime: runtime, formats)
        routes = Self.routes(config, runtime, filters, worker, formats)
        worker.use(self)
    }

    func apply(_ runtime: RuntimeConfig) {
        http1 = HTTP1Settings(downstream: config, runtime: runtime)
        http2 = HTTP2Settings(downstream: config, runtime: runtime)
        let formats = worker.formats.noting(demand)
        accessLogs = config.accessLogs.map {
            worker.accessLogs.logger($0, runtime: runtime, noting: demand)
        }
        localReplies = LocalReplyRenderer(config.localReply, runtime: runtime, formats)
        routes = Self.routes(config, runtime, filters, worker, formats)
        timingHistograms = TimingHistograms(
            worker.stats,
            statPrefix: config.statPrefix,
            runtime
        )
        timePoints = demand.points
    }

    /// What a request that begins now is measured with; nil where nobody asks.
    func timing(from start: Instant) -> RequestTiming? {
        guard timingHistograms != nil || !timePoints.isEmpty else { return nil }
        return RequestTiming(
            start: start,
            points: timePoints,
            histograms: timingHistograms,
            loop: worker.loop
        )
    }

    private static func routes(
        _ config: HTTPConnectionManagerConfig,
        _ runtime: RuntimeConfig,
        _ filters: [any HTTPFilterFactory],
        _ worker: Worker,
        _ formats: FormatEnvironment
    ) -> RouteTable {
        RouteTable(
            config.routes,
            RouteEnvironment(
                cluster: { worker.clusters[$0] },
                formats: formats,
                stats: worker.stats,
                share: { runtime.share($0) },
                filters: filters.map(\.name),
                settings: { at, override in filters[at].setting(override) }
            )
        )
    }

    private static func limit(_ duration: Duration?) -> Nanoseconds? {
        guard let duration, duration > .zero else { return nil }
        return Nanoseconds(duration)
    }

    /// What a connection speaks that begins with these bytes; nil while that is open
    /// (envoy: codec_type).
    func version(of connection: Connection, first bytes: Bytes) -> HTTPVersion? {
        switch config.codecType {
        case .http1: return .http11
        case .http2: return .http2
        case .auto, .http3: break
        }
        if let chosen = connection.tls?.alpn, !chosen.isEmpty {
            return chosen == "h2" ? .http2 : .http11
        }
        return HTTPInspector.speaksHTTP2(bytes).map { $0 ? .http2 : .http11 }
    }

    func makeCodec(
        _ version: HTTPVersion,
        _ connection: Connection,
        _ manager: HTTPConnectionManager
    ) -> any ServerCodec {
        let headers = manager.worker.headers
        if let codecs = manager.worker.plan.serverCodecs {
            return codecs.makeCodec(sink: connection, delegate: manager, headers: headers)
        }
        if version == .http2 {
            return HTTP2ServerCodec(
                sink: connection,
                delegate: manager,
                settings: http2,
                pool: headers,
                stats: worker.http2Stats,
                seed: manager.worker.random.next()
            )
        }
        return HTTP1ServerCodec(
            sink: connection,
            delegate: manager,
            settings: http1,
            pool: headers
        )
    }
}
