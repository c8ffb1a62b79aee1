import MeshNet

/// What went wrong with a request or a connection; equal ones are counted together.
package enum LoadFault: Hashable {
    case connect(SystemError)
    case connectTimeout
    /// The handshake, or a record, in words.
    case tls(String)
    /// The peer speaks TLS but not the protocol.
    case noHTTP2
    /// The proxy's words, or what was wrong with them.
    case socks5(String)
    /// The peer closed the connection before the answer was complete, or while it was to stand.
    case closed
    case reset(SystemError)
    case status(Int)
    /// Of a gRPC call; nil: the answer had none.
    case grpcStatus(Int?)
    /// What the codec says about an answer that is none.
    case codec(String)
    /// A message came back shorter or longer than it was sent.
    case wrongEcho
    /// The queue of requests without a free connection was full.
    case dropped
    /// There was no answer when the run, and the time it waits for the last ones, was over.
    case unanswered

    /// As it is counted in ``LoadResult/errors``.
    package var text: String {
        switch self {
        case .connect(let error): "connect: \(error.reason)"
        case .connectTimeout: "connect: timed out"
        case .tls(let reason): "tls: \(reason)"
        case .noHTTP2: "tls: the peer did not agree on h2"
        case .socks5(let reason): "socks5: \(reason)"
        case .closed: "connection closed by the peer"
        case .reset(let error): "reset: \(error.reason)"
        case .status(let status): "status \(status)"
        case .grpcStatus(let status): status.map { "grpc-status \($0)" } ?? "no grpc-status"
        case .codec(let detail): "answer: \(detail)"
        case .wrongEcho: "echo of another length"
        case .dropped: "not sent: queue full"
        case .unanswered: "unanswered at the end"
        }
    }
}
