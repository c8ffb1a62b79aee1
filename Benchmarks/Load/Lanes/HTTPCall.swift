import MeshHTTP
import MeshNet

/// One HTTP request at a time, and its answer.
final class HTTPCall: RequestSlot, ClientStreamDelegate {
    private var status = 0

    override func send() -> Bool {
        guard let lane = lane as? HTTPLane, let codec = lane.codec, codec.streamsAvailable > 0
        else {
            return false
        }
        status = 0
        let shape = lane.generator.target.request
        let stream = codec.openStream(self)
        stream.sendHead(shape.head, endStream: shape.body.isEmpty)
        if !shape.body.isEmpty { stream.sendData(shape.body, endStream: true) }
        return true
    }

    // MARK: ClientStreamDelegate

    func responseInformational(_ head: HeaderMap) {}

    func responseHead(_ head: HeaderMap, endStream: Bool) {
        status = head.statusCode
        if endStream { ended() }
    }

    func responseData(_ bytes: Bytes, endStream: Bool) {
        if endStream { ended() }
    }

    func responseTrailers(_ trailers: HeaderMap) { ended() }

    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        // How a connection broke is told by the lane, which hears of it first.
        let isClosed = reason == .connectionTermination
        lane.generator.failed(self, isClosed ? .closed : .codec("\(detail)"))
    }

    func requestBlocked() {}
    func requestUnblocked() {}

    private func ended() {
        if status / 100 == 2 {
            lane.answered(self)
        } else {
            lane.isProductive = true
            lane.generator.failed(self, .status(status))
        }
    }
}

extension HeaderMap {
    /// 0 where there is none.
    var statusCode: Int {
        guard let text = self[.status] else { return 0 }
        var code = 0
        for byte in text { code = code &* 10 &+ Int(byte &- 0x30) }
        return code
    }
}
