import MeshConfig
import MeshNet
import MeshRuntime

/// One accepted connection from its handshake to its end, whoever serves it: counts it, asks network
/// RBAC, hands it to its filter chain's terminal filter, writes the listener's access log.
final class DownstreamConnection: ConnectionDelegate, TimerTarget {
    let info: ConnectionInfo
    private let chain: FilterChain
    private let listener: ActiveListener
    /// Made once the connection is established; nil before, and where RBAC refused.
    private var terminal: (any ConnectionDelegate)?
    private var denied: Connection?
    /// Network RBAC said no.
    private var isDenied = false
    private var timer = TimerID.none

    init(_ info: ConnectionInfo, chain: FilterChain, listener: ActiveListener) {
        self.info = info
        self.chain = chain
        self.listener = listener
        listener.connectionOpened()
        listener.worker.plan.process.connectionOpened()
    }

    private var worker: Worker { listener.worker }

    func connectionEstablished(_ connection: Connection) {
        if let tls = connection.tls {
            info.tls = tls
            noteHandshake()
            if !tls.serverName.isEmpty { info.requestedServerName = tls.serverName }
            chain.tlsStats?.established(tls, connection.secure as? TLSSession)
        }
        for step in chain.steps {
            switch step {
            case .rbac(let gate):
                if gate.admits(info) { continue }
                worker.log.debug(.rbac, "connection denied: \(info.terminationDetails)")
                return deny(connection, after: gate.delayDeny)
            case .setFilterState(let values):
                let stream = StreamInfo(
                    connection: info,
                    start: info.start,
                    startWall: info.startWall
                )
                values.setInConnection(worker.context(of: stream, .notSet))
            }
        }
        let terminal = chain.makeTerminal(info, worker)
        self.terminal = terminal
        terminal?.connectionEstablished(connection)
        if terminal == nil { connection.close() }
    }

    private func noteHandshake() {
        let end = worker.loop.system.now()
        info.handshakeEnd = end
        guard case .http(let settings) = chain.terminal else { return }
        let took = UInt64(max(0, (end - info.start).count))
        settings.timingHistograms?.downstreamHandshake.record(took)
    }

    /// Closes a denied connection, after holding it for a while where so configured.
    private func deny(_ connection: Connection, after delay: Nanoseconds) {
        isDenied = true
        guard delay > .zero else { return connection.close() }
        denied = connection
        timer = worker.loop.arm(self, after: delay)
    }

    func timerFired(_ kind: UInt8) {
        timer = .none
        denied?.close()
        denied = nil
    }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        terminal?.connection(connection, received: bytes) ?? bytes.count
    }

    func connectionReadEnded(_ connection: Connection) { terminal?.connectionReadEnded(connection) }

    func connectionOutputBlocked(_ connection: Connection) {
        terminal?.connectionOutputBlocked(connection)
    }

    func connectionOutputUnblocked(_ connection: Connection) {
        terminal?.connectionOutputUnblocked(connection)
    }

    func connectionFlushed(_ connection: Connection) { terminal?.connectionFlushed(connection) }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        if terminal == nil, !connection.transportFailureReason.isEmpty {
            info.transportFailureReason = connection.transportFailureReason
        }
        if case .tlsFailed = reason { chain.handshakeFailed(connection, info, worker) }
        if case .connectTimeout = reason { listener.handshakeTimedOut() }
        info.end = worker.loop.now
        worker.loop.cancel(&timer)
        denied = nil
        if isDenied, case .tcp(let settings) = chain.terminal { settings.logDenied(info, worker) }
        terminal?.connectionClosed(connection, reason)
        terminal = nil
        listener.connectionEnded(info, connection)
        worker.plan.process.connectionClosed()
    }
}
