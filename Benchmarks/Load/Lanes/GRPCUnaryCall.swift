import MeshHTTP
import MeshNet

/// One gRPC call at a time, with one message each way.
final class GRPCUnaryCall: HTTPCall {
    private var messageBytes = 0

    override func send() -> Bool {
        messageBytes = 0
        return super.send()
    }

    override func responseData(_ bytes: Bytes, endStream: Bool) {
        messageBytes += bytes.count
        super.responseData(bytes, endStream: endStream)
    }

    override func fault(trailers: HeaderMap?) -> LoadFault? {
        if let fault = super.fault(trailers: trailers) { return fault }
        let status = trailers?.grpcStatusCode
        guard status == 0 else { return .grpcStatus(status) }
        return messageBytes == lane.generator.target.request.body.count ? nil : .wrongEcho
    }
}

extension HeaderMap {
    /// Nil where there is none.
    var grpcStatusCode: Int? {
        guard let text = self[.grpcStatus], !text.isEmpty, text.count <= 9 else { return nil }
        var code = 0
        for byte in text { code = code &* 10 &+ Int(byte &- 0x30) }
        return code
    }
}
