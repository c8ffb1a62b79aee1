import CNGHTTP2
import MeshNet

/// One request to an ``HTTP2ServerCodec`` and its response.
final class HTTP2ServerStream: HTTP2Stream, ServerStream {
    var application: (any ServerStreamDelegate)?
    var form = HTTP2Form.plain
    private var isRequestHeadDelivered = false
    /// A granted tunnel: each direction ends by itself.
    private var isTunnel = false
    private var isRequestEndDelivered = false

    var version: HTTPVersion { .http2 }

    override var isAttached: Bool { application != nil }
    override var takesDataEarly: Bool { true }
    override var isHeadDelivered: Bool { isRequestHeadDelivered }

    // MARK: Request

    func headComplete(_ head: HeaderMap, endStream: Bool) {
        isRequestHeadDelivered = true
        isRequestEndDelivered = endStream
        application?.requestHead(head, endStream: endStream)
        updateBlocked()
    }

    override func deliver(_ bytes: Bytes, endStream: Bool) {
        if endStream { isRequestEndDelivered = true }
        application?.requestData(bytes, endStream: endStream)
        if endStream, isTunnel, isEndQueued { endTaken() }
    }

    override func deliver(trailers: HeaderMap) { application?.requestTrailers(trailers) }

    override func deliver(isBlocked: Bool) {
        if isBlocked { application?.responseBlocked() } else { application?.responseUnblocked() }
    }

    // MARK: Response

    func sendInformational(_ head: HeaderMap) {
        guard application != nil, !isHeadSubmitted, let status = head.statusCode, status >= 100,
            status < 200, status != 101
        else { return }
        submit(head, status: status, endStream: false)
    }

    func sendHead(_ head: HeaderMap, endStream: Bool) {
        guard application != nil, !isHeadSubmitted, let status = head.statusCode else { return }
        // A switch that nobody asked for, or a plain success where only a switch is one, would make the
        // client take a body for another protocol's bytes.
        let isSwitch = status == 101
        guard isSwitch ? form == .upgrade : status >= 200,
            isSwitch || form != .upgrade || status / 100 != 2
        else { return giveUp(.connectError) }
        isHeadSubmitted = true
        isEndQueued = endStream
        isTunnel = isSwitch || form == .connect && status / 100 == 2
        submit(head, status: status, endStream: endStream)
    }

    private func submit(_ head: HeaderMap, status: Int, endStream: Bool) {
        guard !isParted else { return }
        HTTP2FieldWriter.response(head, status: status, borrows: codec.mayPump) {
            fields,
            count in
            _ = nghttp2_submit_headers(
                codec.raw,
                endStream ? UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) : 0,
                id,
                nil,
                fields,
                count,
                nil
            )
        }
        codec.pump()
        if endStream { endTaken() }
    }

    /// The response was taken; what the client's window does not let through yet is the codec's to send.
    override func endTaken() {
        guard let application, !isTunnel || isRequestEndDelivered else { return }
        self.application = nil
        if !hasSentEnd, !isParted { codec.flushes(self) }
        application.responseSent()
    }

    override func sendingEnded() {
        // The rest of the request is not wanted (RFC 9113 §8.1), unless it is at hand anyway.
        guard !hasPeerEnded, !isTunnel, !isParted else { return }
        if codec.isReceiving { codec.endedEarly(self) } else { resetRest() }
    }

    func resetRest() {
        if !hasPeerEnded { submitReset(.noError) }
    }

    func closeAfterResponse() {
        if !isParted { (codec as? HTTP2ServerCodec)?.warn() }
    }

    // MARK: End

    func reset(_ reason: StreamResetReason) {
        guard application != nil else { return }
        application = nil
        guard isTunnel else { return submitReset(reason.errorCode(isServer: true)) }
        isTunnel = false
        if !isEndQueued {
            let isTCPError = form == .connect && reason == .connectionTermination
            submitReset(isTCPError ? .connectError : reason.errorCode(isServer: true))
        } else if hasSentEnd {
            resetRest()
        } else if !isParted {
            codec.flushes(self)
        }
    }

    /// The response cannot be sent as it is.
    private func giveUp(_ reason: StreamResetReason) {
        let application = application
        reset(reason)
        application?.requestReset(reason)
    }

    override func ended(_ code: UInt32) {
        // In order: whoever is writing the response is told when it was taken.
        guard !hasSentEnd || isResetByPeer || isTunnel && code != 0 else { return }
        let application = application
        self.application = nil
        if isResetByPeer {
            application?.requestReset(StreamResetReason(received: code))
        } else {
            // libnghttp2 has reset it: its window or its state was not respected.
            application?.requestRefused(HTTP2Fault.message.codecError)
        }
    }

    override func connectionEnded(_ reason: StreamResetReason) {
        let application = application
        self.application = nil
        part()
        application?.requestReset(reason)
    }
}
