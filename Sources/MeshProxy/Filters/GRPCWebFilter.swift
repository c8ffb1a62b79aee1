import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Lets browsers call gRPC services (envoy.filters.http.grpc_web): gRPC-Web requests, binary and text,
/// go on as gRPC, and trailers come back as the last frame of the body.
final class GRPCWebFilterFactory: HTTPFilterFactory {
    let name: String
    let isDisabled: Bool
    private let table: GRPCStatsTable

    init(name: String, isDisabled: Bool, stats: WorkerStats) {
        self.name = name
        self.isDisabled = isDisabled
        table = GRPCStatsTable(stats, word: "grpc-web")
    }

    func filter(for stream: HTTPStream) -> (any HTTPFilter)? {
        let type = GRPCWebType(stream.request[.contentType])
        return type == .other ? nil : GRPCWebFilter(self, type)
    }

    func setting(_ override: FilterOverridesConfig.Override) -> FilterSetting {
        if case .enabled(let isEnabled) = override { return isEnabled ? .enabled : .disabled }
        return .chain
    }

    func explain(
        _ head: HeaderMap,
        _ stream: StreamInfo,
        _ setting: FilterSetting
    ) -> Explanation.Filter? { nil }

    fileprivate func stats(_ head: HeaderMap, _ stream: HTTPStream) -> GRPCMethodStats? {
        guard let cluster = stream.info.cluster, let path = head[.path] else { return nil }
        return table.find(path: path, cluster) { "\($0).\($1)" }
    }
}

/// The kinds of gRPC-Web, by content type.
private enum GRPCWebType {
    case binary, text, other

    init(_ type: Bytes?) {
        guard let type else {
            self = .other
            return
        }
        if type.equals("application/grpc-web") || type.equals("application/grpc-web+proto") {
            self = .binary
        } else if type.equals("application/grpc-web-text")
            || type.equals("application/grpc-web-text+proto")
        {
            self = .text
        } else {
            self = .other
        }
    }
}

/// One call's part of it.
private final class GRPCWebFilter: HTTPBodyFilter {
    private static let acceptEncoding = HeaderName("grpc-accept-encoding")
    /// Of a response that is not gRPC, so much becomes the message of the status.
    private static let messageBytesMax = 16384
    private static let trailersFlag: UInt8 = 0x80

    private let factory: GRPCWebFilterFactory
    private let isTextRequest: Bool
    private var isTextResponse = false
    private var decoder = Base64Decoder()
    private var encoder = Base64Encoder()
    private var frames = GRPCFrames()
    private var stats: GRPCMethodStats?

    init(_ factory: GRPCWebFilterFactory, _ type: GRPCWebType) {
        self.factory = factory
        isTextRequest = type == .text
    }

    // MARK: Request

    func requestHead(_ head: HeaderMap, endStream: Bool, of stream: HTTPStream) -> FilterVerdict {
        stats = factory.stats(head, stream)
        isTextResponse = GRPCWebType(head[.accept]) == .text
        // It would be the length of another body.
        head.remove(.contentLength)
        head.set(.contentType, "application/grpc")
        head.set(.te, "trailers")
        if head.first(Self.acceptEncoding) == nil { head.set(Self.acceptEncoding, "identity") }
        return .proceed
    }

    func requestData(
        _ bytes: Bytes,
        endStream: Bool,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict {
        guard isTextRequest else { return .unchanged }
        guard decoder.append(bytes, to: &output) else {
            return refuse(stream, "grpc_base_64_decode_failed")
        }
        guard !endStream || decoder.isBetween else {
            return refuse(stream, "grpc_base_64_decode_failed_bad_size")
        }
        return .replaced
    }

    func requestTrailers(_ trailers: HeaderMap, of stream: HTTPStream) -> BodyVerdict {
        guard isTextRequest, !decoder.isBetween else { return .unchanged }
        return refuse(stream, "grpc_base_64_decode_failed_bad_size")
    }

    private func refuse(_ stream: HTTPStream, _ details: StaticString) -> BodyVerdict {
        stream.sendLocalReply(
            LocalReply(
                status: 400,
                body: "Bad gRPC-web request, invalid base64 data.",
                details: details
            )
        )
        return .answered
    }

    // MARK: Response

    func responseHead(_ head: HeaderMap, endStream: Bool, of stream: HTTPStream) -> FilterVerdict {
        if let status = head[.grpcStatus] { stats?.record(status: status) }
        let isMessages =
            GRPC.isResponse(head, endStream: endStream)
            || HTTPStream.status(of: head) == 200 && Self.isBinary(head[.contentType])
        head.remove(.contentLength)
        head.set(
            .contentType,
            isTextResponse ? "application/grpc-web-text+proto" : "application/grpc-web+proto"
        )
        return isMessages || endStream ? .proceed : .suspend
    }

    /// gRPC-Web already; parameters do not matter.
    private static func isBinary(_ type: Bytes?) -> Bool {
        guard let type else { return false }
        var name = Bytes(rebasing: type[..<(type.firstIndex(of: UInt8(ascii: ";")) ?? type.count)])
        while let last = name.last, last == UInt8(ascii: " ") {
            name = Bytes(rebasing: name.dropLast())
        }
        return GRPCWebType(name) == .binary
    }

    /// A response that is not gRPC, ours or the upstream's: its body becomes the message of a status.
    func responseHeld(
        _ head: HeaderMap,
        _ held: inout HeldParts,
        of stream: HTTPStream
    ) -> FilterVerdict {
        // Never more than is held before the source is paused: the end must arrive.
        held.cutBody(to: min(Self.messageBytesMax, stream.settings.bufferLimit))
        guard held.hasEnded else { return .suspend }
        let status = HTTPStream.status(of: head)
        head.set(.grpcMessage, GRPC.percentEncoded(held.body.bytes))
        head.set(.grpcStatus, decimal: GRPC.status(ofHTTP: status))
        head.set(.contentLength, "0")
        held.cutBody(to: 0)
        held.trailers = nil
        return .proceed
    }

    func responseData(
        _ bytes: Bytes,
        endStream: Bool,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict {
        guard isTextResponse else { return .unchanged }
        // Each message is a text of its own, so that it can be read when it is there.
        var rest = bytes
        while !rest.isEmpty {
            let length = frames.take(rest)
            encoder.append(Bytes(rebasing: rest.prefix(length)), to: &output)
            if frames.isBetween { encoder.finish(to: &output) }
            rest = Bytes(rebasing: rest.dropFirst(length))
        }
        if endStream { encoder.finish(to: &output) }
        return .replaced
    }

    func responseTrailers(
        _ trailers: HeaderMap,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict {
        if let status = trailers[.grpcStatus] { stats?.record(status: status) }
        var fields = ByteBuffer()
        trailers.forEach { name, value in
            fields.append(name)
            fields.append(":")
            fields.append(value)
            fields.append("\r\n")
        }
        var frame = ByteBuffer()
        frame.append(byte: Self.trailersFlag)
        for shift in stride(from: 24, through: 0, by: -8) {
            frame.append(byte: UInt8(truncatingIfNeeded: fields.count >> shift))
        }
        frame.append(fields.bytes)
        if isTextResponse {
            encoder.finish(to: &output)
            encoder.append(frame.bytes, to: &output)
            encoder.finish(to: &output)
        } else {
            output.append(frame.bytes)
        }
        return .replaced
    }
}
