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
    /// Before the terminal filter, in order.
    let steps: [NetworkStep]
    let handshakeTimeout: Nanoseconds?
    let tlsStats: TLSHandshakeStats?

    init(
        name: String,
        metadata: MetadataConfig,
        transport: DownstreamTransport,
        steps: [NetworkStep],
        terminal: Terminal,
        handshakeTimeout: Nanoseconds?,
        tlsStats: TLSHandshakeStats?
    ) {
        self.name = name
        self.metadata = metadata
        self.transport = transport
        self.steps = steps
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

/// What a chain does with an established connection before its terminal filter has it.
enum NetworkStep {
    case rbac(NetworkRBAC)
    case setFilterState(FilterStateValues)
}

/// How connections of a chain are secured.
enum DownstreamTransport {
    case raw
    case tls(TLSContextSlot)
}
