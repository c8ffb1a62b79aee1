import MeshConfig
import MeshNet
import MeshRuntime

/// One filter chain, compiled for one worker: how its connections are secured, who may pass, and who
/// serves them.
final class FilterChain {
    enum Terminal {
        case http(HTTPConnectionManagerSettings)
        case tcp(TCPProxySettings)
        /// A chain without filters closes every connection.
        case nobody
    }

    let name: String
    let metadata: MetadataConfig
    let terminal: Terminal
    let transport: DownstreamTransport
    let gates: [NetworkRBAC]
    let handshakeTimeout: Nanoseconds?
    let tlsStats: TLSHandshakeStats?

    init(
        name: String,
        metadata: MetadataConfig,
        transport: DownstreamTransport,
        gates: [NetworkRBAC],
        terminal: Terminal,
        handshakeTimeout: Nanoseconds?,
        tlsStats: TLSHandshakeStats?
    ) {
        self.name = name
        self.metadata = metadata
        self.transport = transport
        self.gates = gates
        self.terminal = terminal
        self.handshakeTimeout = handshakeTimeout
        self.tlsStats = tlsStats
    }

    func makeTerminal(_ info: ConnectionInfo, _ worker: Worker) -> (any ConnectionDelegate)? {
        switch terminal {
        case .http(let settings):
            HTTPConnectionManager(settings: settings, info: info, worker: worker)
        case .tcp(let settings): TCPProxySession(settings: settings, info: info, worker: worker)
        case .nobody: nil
        }
    }

    /// One line that tells both sides' view; a peer can cause it, so it is rate-limited.
    func handshakeFailed(_ connection: Connection, _ info: ConnectionInfo, _ worker: Worker) {
        let failure = (connection.secure as? TLSSession)?.failure
        tlsStats?.failed(failure)
        let sentence = failure?.sentence ?? connection.transportFailureReason
        worker.log.warning(
            .connection,
            "handshake failed: downstream=\(info.remoteAddress) listener=\(info.listenerName)"
                + " \(sentence)"
        )
    }
}

/// How connections of a chain are secured.
enum DownstreamTransport {
    case raw
    case tls(TLSContextSlot)
}
