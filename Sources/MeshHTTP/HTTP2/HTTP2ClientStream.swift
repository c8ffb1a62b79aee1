import CNGHTTP2
import MeshNet

/// One request through an ``HTTP2ClientCodec`` and its response.
final class HTTP2ClientStream: HTTP2Stream, ClientStream {
    var router: (any ClientStreamDelegate)?
    private var form = HTTP2Form.plain
    private var isHeadRequest = false
    private var isResponseDelivered = false
    /// A granted tunnel: each direction ends by itself.
    private var isTunnel = false
    /// The protocol an upgrade asked for, to be named in the 101 that grants it.
    private var upgrade: [UInt8] = []
    private var informationalHeads = 0

    /// A server that never comes to its point is given up.
    private static let informationalHeadsMax = 100

    init(codec: HTTP2ClientCodec, router: any ClientStreamDelegate) {
        self.router = router
        super.init(id: 0, codec: codec)
    }

    override var isAttached: Bool { router != nil }

    // MARK: Request

    func sendHead(_ head: HeaderMap, endStream: Bool) {
        guard router != nil, id == 0, !isParted, let codec = codec as? HTTP2ClientCodec,
            let method = head[.method]
        else { return }
        isHeadRequest = method.equals("HEAD")
        if method.equals("CONNECT") {
            form = .connect
        } else if let protocolName = head[.upgrade] {
            guard !codec.refusesExtendedConnect else {
                return fail(.localReset, "http2.extended_connect_not_enabled")
            }
            form = .upgrade
            upgrade = Array(protocolName)
        }
        isHeadSubmitted = true
        isEndQueued = endStream && form == .plain
        let flags = isEndQueued ? UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) : 0
        var result: Int32 = 0
        HTTP2FieldWriter.request(
            head,
            form: form,
            borrows: codec.mayPump && codec.mayRequestNow
        ) { fields, count in
            result = nghttp2_submit_headers(
                codec.raw,
                flags,
                -1,
                nil,
                fields,
                count,
                Unmanaged.passUnretained(self).toOpaque()
            )
        }
        guard result > 0 else { return fail(.remoteRefused, "http2.no_stream_available") }
        id = result
        codec.pump()
    }

    // MARK: Response

    /// Returns why the response cannot be had, where it cannot.
    func headComplete(
        _ section: HTTP2FieldSection,
        _ head: HeaderMap,
        endStream: Bool
    ) -> HTTP2Fault? {
        let status: Int
        do throws(HTTP2Fault) {
            status = try HTTP2ResponseHead.read(section, head, form)
        } catch {
            return error
        }
        if status < 200 {
            guard !endStream else { return .message }
            informationalHeads += 1
            guard informationalHeads <= Self.informationalHeadsMax else { return .message }
            router?.responseInformational(head)
            return nil
        }
        hasFinalHead = true
        isTunnel = form != .plain && status / 100 == 2
        if isTunnel, form == .upgrade { grantUpgrade(head) }
        if isHeadRequest || !isTunnel && (status == 204 || status == 304) {
            bodyRemaining = 0
        } else if !isTunnel {
            bodyRemaining = section.contentLength
            if endStream, (bodyRemaining ?? 0) > 0 { return .message }
        }
        if endStream { hasPeerEnded = true }
        let router = router
        if endStream, !isTunnel || isEndQueued { self.router = nil }
        router?.responseHead(head, endStream: endStream)
        if endStream { responseEnded() } else { updateBlocked() }
        return nil
    }

    /// Above the codec a granted upgrade looks as in HTTP/1.
    private func grantUpgrade(_ head: HeaderMap) {
        head.set(.status, "101")
        upgrade.withUnsafeBytes { head.append(.upgrade, $0) }
        head.append(.connection, "upgrade")
    }

    override func deliver(_ bytes: Bytes, endStream: Bool) {
        let router = router
        if endStream, !isTunnel || isEndQueued { self.router = nil }
        router?.responseData(bytes, endStream: endStream)
        if endStream { responseEnded() }
    }

    override func deliver(trailers: HeaderMap) {
        let router = router
        if !isTunnel || isEndQueued { self.router = nil }
        router?.responseTrailers(trailers)
        responseEnded()
    }

    override func deliver(isBlocked: Bool) {
        if isBlocked { router?.requestBlocked() } else { router?.requestUnblocked() }
    }

    /// Nobody waits for the rest of the request, unless it is a tunnel's.
    private func responseEnded() {
        isResponseDelivered = true
        if !hasSentEnd, !isTunnel { submitReset(.cancel) }
    }

    override func endTaken() {
        if isResponseDelivered { router = nil }
    }

    // MARK: End

    func reset(_ reason: StreamResetReason) {
        guard router != nil else { return }
        router = nil
        giveUp(reason)
    }

    private func fail(_ reason: StreamResetReason, _ detail: StaticString) {
        let router = router
        self.router = nil
        giveUp(reason)
        router?.responseReset(reason, detail: detail)
    }

    private func giveUp(_ reason: StreamResetReason) {
        if id == 0 || isClosedOnWire {
            codec.remove(self)
        } else {
            submitReset(reason.errorCode(isServer: false))
        }
    }

    override func ended(_ code: UInt32) {
        let router = router
        self.router = nil
        // Both ends were reached; whoever sends the last part hears so from there.
        if isResponseDelivered, isEndQueued, code == HTTP2ErrorCode.noError.rawValue { return }
        // Refused: by RST_STREAM, or because a GOAWAY came before it.
        if code == HTTP2ErrorCode.refusedStream.rawValue {
            router?.responseReset(.remoteRefused, detail: "http2.remote_refuse")
        } else if isResetByPeer {
            router?.responseReset(
                StreamResetReason(received: code),
                detail: "http2.remote_reset"
            )
        } else {
            router?.responseReset(.protocolError, detail: HTTP2Fault.message.details)
        }
    }

    override func connectionEnded(_ reason: StreamResetReason) {
        let router = router
        self.router = nil
        part()
        router?.responseReset(reason, detail: "http2.connection_closed")
    }
}
