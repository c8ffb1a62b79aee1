import MeshConfig
import MeshNet
import MeshRuntime

/// The listener filters of one listener on one worker, with their stats.
final class ListenerInspectors {
    fileprivate let filters: [ListenerFilterConfig]
    /// Some filters do not look at all connections.
    private let hasConditions: Bool
    fileprivate let timeout: Nanoseconds?
    fileprivate let continuesOnTimeout: Bool
    fileprivate let tlsStats: TLSInspectorStats?
    fileprivate let httpStats: HTTPInspectorStats?
    /// As much as any filter may want to see.
    fileprivate let peekBytes: Int

    /// Nil where the listener has no filters: connections are then not looked at.
    init?(_ config: ListenerConfig, _ stats: WorkerStats) {
        filters = config.listenerFilters.filter { $0.kind != .originalDestination }
        hasConditions = filters.contains { $0.disabled != nil }
        if filters.isEmpty { return nil }
        timeout = config.listenerFiltersTimeout.map { Nanoseconds($0) }
        continuesOnTimeout = config.continuesOnListenerFiltersTimeout
        var bytes = 0
        var hasTLS = false
        var hasHTTP = false
        for filter in filters {
            switch filter.kind {
            case .tlsInspector(let options):
                hasTLS = true
                // Room for the heads of many small records.
                bytes = max(bytes, options.maxClientHelloBytes * 2)
            case .httpInspector:
                hasHTTP = true
                bytes = max(bytes, HTTPInspector.requestLineBytesMax)
            case .originalDestination: break
            }
        }
        peekBytes = bytes
        tlsStats = hasTLS ? TLSInspectorStats(stats) : nil
        httpStats = hasHTTP ? HTTPInspectorStats(stats) : nil
    }

    fileprivate func filters(for port: UInt16?) -> [ListenerFilterConfig] {
        guard hasConditions else { return filters }
        return filters.filter { !($0.disabled?.holds(port: port) ?? false) }
    }
}

/// An accepted socket whose first bytes decide its filter chain. It looks at them without taking them,
/// and hands the socket back to its listener once every filter has seen enough.
final class ListenerInspection: ReadinessHandler, TimerTarget {
    private let socket: AcceptedSocket
    private let inspectors: ListenerInspectors
    /// Those that look at this one.
    private let filters: [ListenerFilterConfig]
    private let listener: ActiveListener
    private let info: ConnectionInfo
    private var facts: ConnectionFacts
    /// The filter that looks now.
    private var current = 0
    private var registration: EventLoop.Registration?
    private var timer = TimerID.none
    /// The peer will send no more than what is there.
    private var isEnded = false
    private var isOver = false

    init(
        _ socket: AcceptedSocket,
        _ inspectors: ListenerInspectors,
        listener: ActiveListener,
        info: ConnectionInfo,
        facts: ConnectionFacts
    ) {
        self.socket = socket
        self.inspectors = inspectors
        filters = inspectors.filters(for: facts.localAddress.port)
        self.listener = listener
        self.info = info
        self.facts = facts
    }

    private var loop: EventLoop { listener.worker.loop }

    /// Looks at once; what has not arrived is waited for.
    func begin() {
        listener.stats.downstreamPreCxActive.add()
        if filters.isEmpty { return finish() }
        look()
        if isOver { return }
        if let timeout = inspectors.timeout { timer = loop.arm(self, after: timeout) }
        do throws(SystemError) {
            registration = try loop.register(self, for: socket.socket, of: socket.sockets)
        } catch {
            listener.stats.downstreamListenerFilterError.add()
            refuse()
        }
    }

    func becameReady(_ readiness: Readiness) {
        if readiness.contains(.peerClosed) { isEnded = true }
        look()
    }

    func timerFired(_ kind: UInt8) {
        timer = .none
        listener.stats.downstreamPreCxTimeout.add()
        if inspectors.continuesOnTimeout { finish() } else { refuse() }
    }

    // MARK: Looking

    private enum Verdict { case enough, needMore, refuse }

    private func look() {
        if isOver { return }
        withUnsafeTemporaryAllocation(byteCount: inspectors.peekBytes, alignment: 1) { buffer in
            switch socket.sockets.peek(socket.socket, into: buffer) {
            case .wouldBlock: return
            case .failed:
                inspectors.httpStats?.readError.add()
                listener.stats.downstreamListenerFilterError.add()
                refuse()
            case .endOfStream:
                listener.stats.downstreamListenerFilterRemoteClose.add()
                refuse()
            case .bytes(let count):
                inspect(Bytes(rebasing: Bytes(buffer)[..<count]))
            }
        }
    }

    private func inspect(_ bytes: Bytes) {
        while current < filters.count {
            let verdict: Verdict
            switch filters[current].kind {
            case .tlsInspector(let options): verdict = inspectTLS(bytes, options)
            case .httpInspector: verdict = inspectHTTP(bytes)
            case .originalDestination: verdict = .enough
            }
            switch verdict {
            case .enough: current += 1
            case .needMore:
                guard isEnded else { return }
                listener.stats.downstreamListenerFilterRemoteClose.add()
                return refuse()
            case .refuse: return refuse()
            }
        }
        finish()
    }

    private func inspectTLS(_ bytes: Bytes, _ options: ListenerFilterConfig.TLSInspector) -> Verdict
    {
        guard let stats = inspectors.tlsStats else { return .enough }
        var result = TLSInspector(limit: options.maxClientHelloBytes).inspect(bytes)
        // Records so small that their heads fill the window.
        if result == .needMore, bytes.count == inspectors.peekBytes { result = .tooLarge }
        switch result {
        case .needMore: return .needMore
        case .notTLS:
            stats.tlsNotFound.add()
            if options.closesOnParseError { return .refuse }
        case .tooLarge:
            // Its name is not known: no filter chain may be chosen as if there were none.
            stats.clientHelloTooLarge.add()
            return .refuse
        case .tls(let hello):
            stats.tlsFound.add()
            facts.transportProtocol = "tls"
            facts.serverName = hello.serverName
            facts.applicationProtocols = hello.protocols
            info.requestedServerName = hello.serverName
            (hello.serverName.isEmpty ? stats.sniNotFound : stats.sniFound).add()
            (hello.protocols.isEmpty ? stats.alpnNotFound : stats.alpnFound).add()
        }
        stats.bytesProcessed.record(UInt64(bytes.count))
        return .enough
    }

    private func inspectHTTP(_ bytes: Bytes) -> Verdict {
        // Within TLS there is nothing to read.
        guard let stats = inspectors.httpStats, facts.transportProtocol != "tls" else {
            return .enough
        }
        switch HTTPInspector().inspect(bytes) {
        case .needMore: return .needMore
        case .notHTTP: stats.httpNotFound.add()
        case .http10:
            stats.http10Found.add()
            facts.applicationProtocols = ["http/1.0"]
        case .http11:
            stats.http11Found.add()
            facts.applicationProtocols = ["http/1.1"]
        case .http2:
            stats.http2Found.add()
            facts.applicationProtocols = ["h2c"]
        }
        return .enough
    }

    // MARK: Ending

    private func release() {
        isOver = true
        loop.cancel(&timer)
        if let registration { loop.deregister(registration) }
        registration = nil
        listener.stats.downstreamPreCxActive.subtract()
    }

    private func finish() {
        release()
        listener.choose(socket, info, facts)
    }

    private func refuse() {
        release()
        socket.close()
    }
}
