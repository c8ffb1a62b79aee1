import MeshHTTP
import MeshNet

/// The gRPC status of a response (envoy: Grpc::Common::getGrpcStatus).
enum GRPCStatus {
    /// A `grpc-status` that is no number.
    private static let invalid = -1

    /// For logs: nil where the request is not gRPC, or nothing tells.
    static func of(_ context: FormatContext) -> Int? {
        guard let type = context.requestHead?[.contentType], isGRPC(type) else { return nil }
        return ofAny(context)
    }

    /// Whatever the request is: the status that was said, else what the HTTP status stands for; nil
    /// where there was no response.
    static func ofAny(_ context: FormatContext) -> Int? {
        if let status = context.responseTrailers?[.grpcStatus] ?? context.responseHead?[.grpcStatus]
        {
            return Int(String(bytes: status)).flatMap { $0 >= 0 ? $0 : nil } ?? invalid
        }
        return fromHTTP(context.stream.responseCode)
    }

    private static func isGRPC(_ type: Bytes) -> Bool {
        let name: StaticString = "application/grpc"
        let length = name.utf8CodeUnitCount
        guard type.count >= length, Bytes(rebasing: type.prefix(length)).equals(name) else {
            return false
        }
        return type.count == length || type[length] == UInt8(ascii: "+")
    }

    /// What a client makes of an HTTP status without `grpc-status`.
    private static func fromHTTP(_ code: Int) -> Int? {
        switch code {
        case 400: 13
        case 401: 16
        case 403: 7
        case 404: 12
        case 429, 502, 503, 504: 14
        case 0: nil
        default: 2
        }
    }
}
