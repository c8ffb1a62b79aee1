import MeshHTTP
import MeshRuntime

/// Whether an answer speaks for its endpoint or against it (envoy: `rq_success` and `rq_error` of
/// `/clusters`). gRPC tells in its status, which may come last.
struct AttemptOutcome {
    private var isAwaited = false

    /// The answer begins. Nil while its status is still to come.
    mutating func head(_ head: HeaderMap, status: Int, isGRPC: Bool, endStream: Bool)
        -> EndpointCounter?
    {
        isAwaited = false
        guard status < 500 else { return .requestsError }
        guard isGRPC else { return .requestsSuccess }
        guard endStream else {
            isAwaited = true
            return nil
        }
        return Self.counter(head)
    }

    /// It has ended. Without a status that is a failure; nil where all was said before.
    mutating func end(_ trailers: HeaderMap?) -> EndpointCounter? {
        guard isAwaited else { return nil }
        isAwaited = false
        return trailers.map(Self.counter) ?? .requestsError
    }

    /// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS and what is no status
    /// stand for 5xx (envoy: Grpc::Utility::grpcToHttpStatus).
    private static func counter(_ fields: HeaderMap) -> EndpointCounter {
        switch fields[.grpcStatus].flatMap({ DecimalNumber.parse($0) }) {
        case 0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 16: .requestsSuccess
        default: .requestsError
        }
    }
}
