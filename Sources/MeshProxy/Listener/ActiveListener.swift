import MeshConfig
import MeshNet
import MeshRuntime

/// One listener on one worker: accepts, lets listener filters look, chooses the filter chain.
final class ActiveListener: ListenerDelegate, InternalListenerDelegate, RuntimeUser {
    let worker: Worker
    let config: ListenerConfig
    /// As statistics name it: the address with `:` and brackets as `_`, or the configured prefix.
    let stats: ListenerStats
    private let workerStats: ListenerWorkerStats
    private let matcher: FilterChainMatcher
    private let inspectors: ListenerInspectors?
    private let chains: [FilterChain]
    private let defaultChain: FilterChain?
    private var accessLogs: [AccessLogger] = []
    private let keepAlive: SocketOptions?
    private var listener: Listener?
    private let localAddress: SocketAddress
    private var exhaustionLoggedAt: Instant?
    private static let exhaustionLogInterval = Nanoseconds.seconds(10)

    init(
        _ config: ListenerConfig,
        statName: String,
        worker: Worker,
        localAddress: SocketAddress,
        chains: [FilterChain],
        defaultChain: FilterChain?
    ) {
        self.config = config
        self.worker = worker
        self.localAddress = localAddress
        self.chains = chains
        self.defaultChain = defaultChain
        keepAlive = config.tcpKeepalive.map { keepAlive in
            var options = SocketOptions()
            options.keepAlive = SocketOptions.KeepAlive(
                probes: keepAlive.probes.map { Int32($0) },
                idleSeconds: keepAlive.idleSeconds.map { Int32($0) },
                intervalSeconds: keepAlive.intervalSeconds.map { Int32($0) }
            )
            return options
        }
        stats = ListenerStats(worker.stats, listener: statName)
        workerStats = ListenerWorkerStats(worker.stats, listener: statName)
        matcher = FilterChainMatcher(config)
        inspectors = ListenerInspectors(config, worker.stats)
        worker.use(self)
    }

    func apply(_ runtime: RuntimeConfig) {
        accessLogs = config.accessLogs.map { worker.accessLogs.logger($0, runtime: runtime) }
    }

    /// Begins to accept. Takes the socket.
    func start(_ socket: Socket) throws(SystemError) {
        listener = try Listener(socket: socket, loop: worker.loop, delegate: self)
    }

    /// Begins to take connections of this loop.
    func startInternally() {
        worker.loop.internalNetwork.listen(on: config.name, delegate: self)
    }

    func close() {
        listener?.close()
        listener = nil
    }

    /// From now on its HTTP connections are asked to go elsewhere.
    func begin(_ drain: ListenerDrain) {
        for chain in chains + (defaultChain.map { [$0] } ?? []) {
            if case .http(let settings) = chain.terminal, settings.drain == nil {
                settings.drain = drain
            }
        }
    }

    // MARK: Accepting

    func accepted(_ socket: Socket, from address: SocketAddress) {
        let loop = worker.loop
        if let keepAlive { loop.system.apply(keepAlive, to: socket) }
        let local = loop.system.localAddress(of: socket) ?? localAddress
        inspect(AcceptedSocket(socket, of: loop.system), makeInfo(from: address, at: local))
    }

    func accepted(
        _ socket: Socket,
        of sockets: any Sockets,
        from remote: SocketAddress,
        at address: SocketAddress,
        passed: AnyObject?
    ) {
        let info = makeInfo(from: remote, at: address)
        if let passed = passed as? PassedState {
            info.filterState = passed.filterState
            info.dynamicMetadata = passed.metadata
        }
        if config.takesPassedAddresses { info.restoreAddresses() }
        inspect(AcceptedSocket(socket, of: sockets), info)
    }

    private func makeInfo(from remote: SocketAddress, at local: SocketAddress) -> ConnectionInfo {
        let info = ConnectionInfo(
            remoteAddress: remote,
            localAddress: local,
            start: worker.loop.now,
            startWall: worker.wallClock
        )
        info.id = worker.nextConnectionID()
        info.listenerName = config.name
        info.listenerMetadata = config.metadata
        return info
    }

    private func inspect(_ socket: AcceptedSocket, _ info: ConnectionInfo) {
        var facts = ConnectionFacts(
            localAddress: info.localAddress,
            remoteAddress: info.remoteAddress
        )
        facts.filterState = info.filterState
        guard let inspectors else { return choose(socket, info, facts) }
        ListenerInspection(socket, inspectors, listener: self, info: info, facts: facts).begin()
    }

    func acceptTurnEnded(accepted: Int) {
        stats.connectionsAcceptedPerSocketEvent.record(UInt64(accepted))
    }

    func acceptExhausted(_ error: SystemError) {
        stats.downstreamCxOverflow.add()
        // It is tried again and again; the counter tells how often.
        let now = worker.loop.now
        if let last = exhaustionLoggedAt, now - last < Self.exhaustionLogInterval { return }
        exhaustionLoggedAt = now
        worker.log.warning(
            .connHandler,
            "accept failed: listener=\(config.displayName): \(error.reason);"
                + " raise the limit of open files (ulimit -n) or lower the load"
        )
    }

    /// Takes the socket, once listener filters have seen enough of it.
    func choose(_ socket: AcceptedSocket, _ info: ConnectionInfo, _ facts: ConnectionFacts) {
        guard let chain = matcher.match(facts).map({ chains[$0] }) ?? defaultChain else {
            stats.noFilterChainMatch.add()
            let stream = StreamInfo(connection: info, start: info.start, startWall: info.startWall)
            stream.flags.insert(.noRouteFound)
            stream.responseCodeDetails = "filter_chain_not_found"
            log(stream)
            return socket.abort()
        }
        info.filterChainName = chain.name
        info.filterChainMetadata = chain.metadata
        var secure: (any SecureTransport)?
        if case .tls(let slot) = chain.transport {
            secure = TLSSession(server: slot.load())
            info.handshakeStart = worker.loop.now
        }
        let served = DownstreamConnection(info, chain: chain, listener: self)
        let connection = Connection(
            accepted: socket.socket,
            of: socket.sockets,
            loop: worker.loop,
            secure: secure,
            delegate: served
        )
        connection.outputHighWatermark = config.perConnectionBufferLimitBytes
        do throws(SystemError) {
            try connection.start(timeout: chain.handshakeTimeout)
        } catch {
            worker.log.warning(.connHandler, "connection lost: \(error)")
        }
    }

    // MARK: Accounts

    func connectionOpened() {
        stats.downstreamCxTotal.add()
        stats.downstreamCxActive.add()
        workerStats.downstreamCxTotal.add()
        workerStats.downstreamCxActive.add()
    }

    func handshakeTimedOut() { stats.downstreamCxTransportSocketConnectTimeout.add() }

    func connectionEnded(_ info: ConnectionInfo, _ connection: Connection) {
        stats.downstreamCxDestroy.add()
        stats.downstreamCxActive.subtract()
        workerStats.downstreamCxActive.subtract()
        let lasted = worker.loop.now - info.start
        stats.downstreamCxLengthMs.record(UInt64(max(0, lasted.milliseconds)))
        guard !accessLogs.isEmpty else { return }
        let stream = StreamInfo(connection: info, start: info.start, startWall: info.startWall)
        stream.bytesReceived = connection.bytesReceived
        stream.bytesSent = connection.bytesSent
        stream.connectionTerminationDetails = info.terminationDetails
        log(stream)
    }

    private func log(_ stream: StreamInfo) {
        stream.dynamicMetadata = stream.connection.dynamicMetadata
        stream.end = worker.loop.now
        for log in accessLogs { log.log(worker.context(of: stream, .notSet)) }
    }

    // MARK: Explaining

    /// Which chain these facts lead to; nil where none.
    func chainIndex(for facts: ConnectionFacts) -> Int? { matcher.match(facts) }
    func chain(at index: Int?) -> FilterChain? { index.map { chains[$0] } ?? defaultChain }
}

/// A socket that nobody serves yet. Whoever has it serves it, or closes it.
struct AcceptedSocket {
    let socket: Socket
    let sockets: any Sockets

    init(_ socket: Socket, of sockets: any Sockets) {
        self.socket = socket
        self.sockets = sockets
    }

    func close() { sockets.close(socket) }
    func abort() { sockets.abort(socket) }
}

extension ConnectionInfo {
    /// Takes the addresses that came with a connection inside the process for its own (envoy:
    /// filters.listener.original_dst).
    func restoreAddresses() {
        let filter = "envoy.filters.listener.original_dst"
        if case .string(let text) = dynamicMetadata[filter]?["local"],
            let address = SocketAddress(ipAndPort: text)
        {
            localAddress = address
        } else if let address = filterState["\(filter).local_ip"]?.address {
            localAddress = address
        }
        if let address = filterState["\(filter).remote_ip"]?.address { remoteAddress = address }
    }
}
