import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// One worker: a loop, its connections, and the present state of the mesh. Made on its own thread and never
/// seen by another; what comes from outside comes as a letter.
package final class ZtunnelWorker {
    let index: Int
    let loop: EventLoop
    let options: ZtunnelOptions
    let log: Log
    let observer: TrafficObserver
    let headers = HeaderMapPool()
    let illegalPorts: [UInt16]
    let clientSettings: HTTP2Settings
    let serverSettings: HTTP2Settings
    var random: FastRandom
    private(set) lazy var pool = HBONEPool(self)

    /// The mesh as it is now. Immutable; replaced as a whole.
    private(set) var state = MeshState.empty
    private(set) var identities: IdentitySnapshot
    /// Dedicated mode's one workload, where it is known.
    private var ownWorkload: Workload?
    private let canBorrowSources: Bool
    /// The last that was asked for.
    private var baggage: (workload: Workload, text: String)?

    private var ports: [CapturePort] = []
    private var sessions: [RelaySession] = []
    private var inbound: [ObjectIdentifier: InboundConnection] = [:]
    private var waiting: [ObjectIdentifier: OutboundConnection] = [:]
    private(set) var isDraining = false

    /// To connect to a workload or another node, TLS included.
    static let connectTimeout = Nanoseconds.seconds(10)
    /// For a client's TLS handshake, or its first words in SOCKS5.
    static let handshakeTimeout = Nanoseconds.seconds(10)
    /// How long a connection waits for its own workload to be known.
    static let workloadPatience = Nanoseconds.seconds(5)
    /// Certificates that end later need no timer: nothing is that old.
    static let expiryHorizon = Nanoseconds.seconds(30 * 24 * 3600)
    /// Streams a client may have on one connection.
    private static let serverStreamsMax: UInt32 = 200
    private static let keepalive = HTTP2Settings.Keepalive(
        interval: .seconds(10),
        timeout: .seconds(20)
    )

    package init(
        index: Int,
        loop: EventLoop,
        options: ZtunnelOptions,
        identities: IdentitySnapshot,
        metrics: TrafficMetrics,
        traffic: TrafficLog?,
        log: Log,
        canBorrowSources: Bool
    ) {
        self.index = index
        self.loop = loop
        self.options = options
        self.identities = identities
        self.log = log
        self.canBorrowSources = canBorrowSources
        observer = TrafficObserver(metrics: metrics, log: traffic)
        illegalPorts = options.ownPorts
        var seed: UInt64 = 0
        withUnsafeMutableBytes(of: &seed) { loop.system.fill(random: $0) }
        random = FastRandom(seed: seed)
        clientSettings = Self.settings(
            options,
            streams: UInt32(options.poolStreamsMax),
            headersKB: 16
        )
        serverSettings = Self.settings(options, streams: Self.serverStreamsMax, headersKB: 64)
        loop.owner = self
    }

    private static func settings(
        _ options: ZtunnelOptions,
        streams: UInt32,
        headersKB: UInt32
    ) -> HTTP2Settings {
        var settings = HTTP2Settings()
        settings.maxConcurrentStreams = streams
        settings.initialStreamWindowBytes = options.streamWindowBytes
        settings.initialConnectionWindowBytes = options.connectionWindowBytes
        settings.maxFrameBytes = options.frameBytes
        settings.maxHeadersKB = headersKB
        settings.endsOnlyStreamOnInvalidMessage = true
        // Many clients may send in small pieces to a slow reader: bytes are what is bounded.
        settings.maxOutboundFrames = .max
        settings.demandsConnectPort = false
        settings.keepsHeads = false
        settings.keepalive = keepalive
        // A slow reader is no fault: only its connection's keepalive ends a tunnel.
        settings.flushTimeout = .zero
        return settings
    }

    var wallClock: WallTime { loop.system.wallClock() }

    // MARK: Listening

    /// Takes the sockets.
    package func listen(on sockets: [ZtunnelSocket]) throws(SystemError) {
        for socket in sockets { ports.append(try CapturePort(socket, self)) }
    }

    // MARK: State

    /// The mesh has changed. Returns what was true before, so that its end does not cost this thread.
    package func apply(_ state: MeshState) -> MeshState {
        let before = self.state
        self.state = state
        baggage = nil
        ownWorkload = options.workload.flatMap {
            state.workload(
                named: $0.name,
                namespace: $0.namespace,
                serviceAccount: $0.serviceAccount
            )
        }
        observer.peersChanged()
        for connection in Array(waiting.values) { connection.stateChanged() }
        SessionReview.start(self, sessions)
        return before
    }

    package func apply(_ identities: IdentitySnapshot) {
        self.identities = identities
        pool.review(identities)
        for connection in Array(inbound.values) { connection.review(identities) }
    }

    // MARK: Lookups

    /// Whose connection from this address is.
    func localWorkload(at address: IPAddress?) -> Workload? {
        if options.mode == .dedicated { return ownWorkload }
        return address.flatMap { state.workload(at: $0) }
    }

    /// Whom a connection to this address of ours is for.
    func workload(servedAt address: SocketAddress) -> Workload? {
        if options.mode == .dedicated { return ownWorkload }
        return address.ip.flatMap { state.workload(at: $0) }
    }

    func route(_ request: OutboundRequest) -> OutboundRoute {
        state.route(request, random: &random)
    }

    func decide(_ connection: L4Connection, for workload: Workload) -> L4Decision {
        let decision = state.policies(for: workload).decide(connection)
        for verdict in decision.dryRun { log.info(.rbac, verdict) }
        return decision
    }

    /// Where a service of this name is, in our network.
    func address(ofHost name: String) -> IPAddress? {
        state.service(hostname: name)?.vips.first { $0.network == state.network }?.address
    }

    /// Whether a connection there would come back to us.
    func isOurs(_ destination: SocketAddress) -> Bool {
        guard let address = destination.ip else { return false }
        if address.isLoopback { return true }
        if let own = ownWorkload { return own.addresses.contains(address) }
        return state.workload(at: address) != nil
    }

    /// Who the workload is, for the other node. Most connections of a worker are of the same one.
    func baggage(of workload: Workload) -> String {
        if let baggage, baggage.workload === workload { return baggage.text }
        let text = HBONEHeaders.baggage(of: workload, cluster: options.clusterID)
        baggage = (workload, text)
        return text
    }

    // MARK: Sockets

    func socketOptions(to address: SocketAddress, from source: IPAddress?) -> SocketOptions {
        var socket = SocketOptions()
        socket.keepAlive = options.keepAlive
        socket.mark = options.packetMark
        if options.isUserTimeoutEnabled, let keepAlive = options.keepAlive {
            let interval = Int64(keepAlive.intervalSeconds ?? 0) * Int64(keepAlive.probes ?? 0)
            socket.userTimeout = .seconds(Int64(keepAlive.idleSeconds ?? 0) + interval)
        }
        if let source, source.isIPv6 == address.ip?.isIPv6 {
            socket.source = .ip(source, port: 0)
            socket.sourceIsForeign = canBorrowSources
        }
        return socket
    }

    /// The client's own address, for connections to local workloads, where we may use it.
    func originalSource(of source: SocketAddress, to destination: SocketAddress) -> IPAddress? {
        guard canBorrowSources, let address = source.ip, address != destination.ip else {
            return nil
        }
        return address
    }

    /// In shared mode tunnels come from their workload's address: that is how the other node knows it.
    func tunnelSource(_ source: SocketAddress, to gateway: SocketAddress) -> IPAddress? {
        guard options.mode == .shared, source.ip?.isIPv6 == gateway.ip?.isIPv6 else { return nil }
        return source.ip
    }

    // MARK: Tracking

    package var openConnections: Int { sessions.count + inbound.count + waiting.count }

    func add(_ session: RelaySession) {
        guard session.position == nil else { return }
        session.position = sessions.count
        sessions.append(session)
    }

    func remove(_ session: RelaySession) {
        guard let position = session.position else { return }
        session.position = nil
        let last = sessions.removeLast()
        if last !== session {
            last.position = position
            sessions[position] = last
        }
    }

    func add(_ connection: InboundConnection) { inbound[ObjectIdentifier(connection)] = connection }
    func remove(_ connection: InboundConnection) { inbound[ObjectIdentifier(connection)] = nil }

    func waitForState(_ connection: OutboundConnection) {
        waiting[ObjectIdentifier(connection)] = connection
    }

    func stopWaiting(_ connection: OutboundConnection) {
        waiting[ObjectIdentifier(connection)] = nil
    }

    /// Ends every tunnel of a connection.
    func failTunnels(of connection: InboundConnection, _ flag: FailureFlag, _ reason: String) {
        for session in sessions where session.belongs(to: connection) { session.fail(reason, flag) }
    }

    /// Records of what is open, for the admin.
    package var records: [ConnectionRecord] { sessions.map(\.record) }

    // MARK: Ending

    /// Stops accepting; connections end when they do.
    package func drain() {
        guard !isDraining else { return }
        isDraining = true
        for port in ports { port.close() }
        ports.removeAll()
        pool.drain()
        for connection in Array(inbound.values) { connection.drain() }
    }

    /// Time is over: everybody is told that something is missing.
    package func closeEverything() {
        for session in sessions { session.fail("connection closed: the agent has stopped", .none) }
        for connection in Array(inbound.values) { connection.closeAtOnce() }
    }
}

/// A listening socket of one worker, and what it is for.
package struct ZtunnelSocket: Sendable {
    package enum Purpose: Sendable { case outbound, inbound, inboundPlaintext, socks5 }

    package let purpose: Purpose
    package let socket: Socket

    package init(purpose: Purpose, socket: Socket) {
        self.purpose = purpose
        self.socket = socket
    }
}

/// Asks again, in slices, whether open connections are still allowed: many of them are not to stall the rest.
private final class SessionReview: DeferredWork {
    private unowned let worker: ZtunnelWorker
    private var sessions: ArraySlice<RelaySession>

    private static let sliceCount = 256

    private init(_ worker: ZtunnelWorker, _ sessions: [RelaySession]) {
        self.worker = worker
        self.sessions = sessions[...]
    }

    /// The loop keeps it until it is done.
    static func start(_ worker: ZtunnelWorker, _ sessions: [RelaySession]) {
        if !sessions.isEmpty { worker.loop.deferWork(SessionReview(worker, sessions)) }
    }

    func runDeferred() {
        for session in sessions.prefix(Self.sliceCount) { session.review() }
        sessions = sessions.dropFirst(Self.sliceCount)
        if !sessions.isEmpty { worker.loop.deferWork(self) }
    }
}
