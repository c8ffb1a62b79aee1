import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

extension HTTPStream {
    /// What the route says of the filter at this place of the chain.
    package func filterSetting(at position: Int) -> FilterSetting {
        guard case .route(let selection) = decision else { return .chain }
        return selection.settings[position]
    }

    /// How long the stream may take in all; nil is for ever.
    func durationMax(_ action: ForwardAction?) -> Nanoseconds? {
        guard action != nil else { return settings.streamDurationMax }
        return action?.maxStreamDuration(request: request, manager: settings.streamDurationMax)
    }

    /// Its response grants a CONNECT or an upgrade: its directions end each by itself.
    package var isTunnel: Bool {
        guard info.responseCode == 101 || info.responseCode / 100 == 2 else { return false }
        if isUpgrade { return true }
        guard case .route(let selection) = decision else { return false }
        return selection.forward?.endsTunnel(of: request) ?? false
    }

    /// The stream as format strings see it.
    package func formatContext(response: HeaderMap? = nil) -> FormatContext {
        FormatContext(
            info,
            requestHead: request,
            responseHead: response ?? self.response,
            responseTrailers: responseTrailers,
            now: loop.now,
            wallNow: worker.wallClock,
            logType: isFinished ? .downstreamEnd : .notSet
        )
    }

    /// Whether the connection is not worth keeping after this answer.
    func endsConnection(_ reply: LocalReply) -> Bool {
        guard info.httpVersion != .http2 else { return false }
        return reply.closesConnection
            || (reply.status == 400 && settings.config.closesAfterBadRequest)
    }

    package func requestReset(_ reason: StreamResetReason) {
        guard !isFinished, !isResponseComplete else { return finish() }  // Of tunnels.
        if reason == .connectionTermination {
            info.flags.insert(.downstreamConnectionTermination)
            if info.responseCodeDetails.isEmpty {
                info.responseCodeDetails = "downstream_remote_disconnect"
            }
        } else if !info.flags.contains(.downstreamProtocolError) {
            info.flags.insert(.downstreamRemoteReset)
            info.responseCodeDetails =
                reason == .remoteRefused ? "http2.remote_refuse" : "http2.remote_reset"
        }
        settings.stats.downstreamRqRxReset.add()
        finish()
    }

    package func requestRefused(_ error: CodecError) {
        guard !isFinished else { return }
        if error.isProtocolError { info.flags.insert(.downstreamProtocolError) }
        info.responseCodeDetails = error.details.description
        requestReset(.protocolError)
    }

    package func requestInvalid(_ error: CodecError) {
        guard !isFinished else { return }
        if error.isProtocolError { settings.stats.downstreamCxProtocolError.add() }
        if error.isProtocolError { info.flags.insert(.downstreamProtocolError) }
        worker.log.debug(.http, "request refused: \(error.reason)")
        sendLocalReply(
            LocalReply(
                status: error.status,
                body: error.body,
                details: error.details,
                closesConnection: true
            )
        )
    }

    /// `:status` of a response head; zero where it is missing or no number.
    package static func status(of head: HeaderMap) -> Int {
        guard let text = head[.status], text.count == 3 else { return 0 }
        return text.reduce(0) { $0 * 10 + (Int($1) - 0x30) }
    }
}
