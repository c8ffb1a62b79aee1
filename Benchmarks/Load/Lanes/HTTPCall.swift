import MeshHTTP
import MeshNet

/// One HTTP request at a time, and its answer.
class HTTPCall: RequestSlot, ClientStreamDelegate {
    // Unchecked: it owns us.
    final unowned(unsafe) let http: HTTPLane
    final var status = 0

    init(http: HTTPLane) {
        self.http = http
        super.init(lane: http)
    }

    override func send() -> Bool {
        guard let codec = http.codec, codec.streamsAvailable > 0 else {
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
        if endStream { ended(trailers: head) }
    }

    func responseData(_ bytes: Bytes, endStream: Bool) {
        if endStream { ended(trailers: nil) }
    }

    func responseTrailers(_ trailers: HeaderMap) { ended(trailers: trailers) }

    func responseReset(_ reason: StreamResetReason, detail: StaticString) {
        // How a connection broke is told by the lane, which hears of it first.
        let isClosed = reason == .connectionTermination
        lane.generator.failed(self, isClosed ? .closed : .codec("\(detail)"))
    }

    func requestBlocked() {}
    func requestUnblocked() {}

    /// What is wrong with the answer, which is complete.
    ///
    /// - Parameter trailers: the head, where there was nothing else.
    func fault(trailers: HeaderMap?) -> LoadFault? {
        status / 100 == 2 ? nil : .status(status)
    }

    private func ended(trailers: HeaderMap?) {
        guard let fault = fault(trailers: trailers) else { return lane.answered(self) }
        lane.isProductive = true
        lane.generator.failed(self, fault)
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
