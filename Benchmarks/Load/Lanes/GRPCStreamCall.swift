import MeshHTTP
import MeshNet

/// A gRPC call that stays open; a request is one message, which comes back.
final class GRPCStreamCall: HTTPCall {
    private var stream: (any ClientStream)?
    private var remaining = 0

    override var holdsRoom: Bool { stream != nil }

    override func send() -> Bool {
        guard let codec = http.codec else { return false }
        let shape = lane.generator.target.request
        remaining = shape.body.count
        if stream == nil {
            guard codec.streamsAvailable > 0 else { return false }
            let opened = codec.openStream(self)
            stream = opened
            opened.sendHead(shape.head, endStream: false)
        }
        stream?.sendData(shape.body, endStream: false)
        return true
    }

    override func responseHead(_ head: HeaderMap, endStream: Bool) {
        status = head.statusCode
        if endStream {
            // An answer without a message has its trailers here.
            closed(by: status / 100 == 2 ? .grpcStatus(head.grpcStatusCode) : .status(status))
        } else if status / 100 != 2 {
            let stream = stream
            closed(by: .status(status))
            stream?.reset(.localReset)
        }
    }

    override func responseData(_ bytes: Bytes, endStream: Bool) {
        if bytes.count > remaining || !isUnderWay && !bytes.isEmpty {
            let stream = stream
            closed(by: .wrongEcho)
            stream?.reset(.localReset)
            return
        }
        remaining -= bytes.count
        if remaining == 0, isUnderWay { lane.answered(self) }
        if endStream { closed(by: .grpcStatus(nil)) }
    }

    override func responseTrailers(_ trailers: HeaderMap) {
        closed(by: .grpcStatus(trailers.grpcStatusCode))
    }

    override func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        let isClosed = reason == .connectionTermination
        closed(by: isClosed ? .closed : .codec("\(detail)"))
    }

    /// The call has ended, which it should not.
    private func closed(by fault: LoadFault) {
        stream = nil
        if isUnderWay {
            lane.generator.failed(self, fault)
        } else if lane.isOpen {
            // Otherwise it is the connection that ended, and the lane's to count.
            lane.generator.count(fault)
            lane.generator.fell(self)
        }
    }
}
