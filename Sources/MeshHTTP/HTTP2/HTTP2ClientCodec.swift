import CNGHTTP2
import MeshNet

/// HTTP/2 as spoken to servers (RFC 9113). Responses are checked as strictly as requests are.
package final class HTTP2ClientCodec: HTTP2Codec, ClientCodec {
    // Unchecked: it outlives us.
    private unowned(unsafe) let owner: any ClientCodecDelegate
    /// What the peer allows; ours until it has said.
    private var peerStreamsMax: UInt32
    private(set) var hasPeerSettings = false
    private var isGoingAway = false
    private var streamsOpened = 0

    /// Stream identifiers have 31 bits, and ours are odd; a few are left.
    private static let streamsOpenedMax = (1 << 30) - 16

    /// Parameters as of ``HTTP2ServerCodec``.
    package init(
        sink: ByteSink,
        delegate: any ClientCodecDelegate,
        settings: HTTP2Settings,
        pool: HeaderMapPool = HeaderMapPool(),
        stats: (any HTTP2Stats)? = nil,
        seed: UInt64 = 0
    ) {
        owner = delegate
        peerStreamsMax = settings.maxConcurrentStreams
        super.init(
            sink: sink,
            settings: settings,
            pool: pool,
            stats: stats,
            seed: seed,
            isServer: false
        )
        pump()
    }

    // MARK: Streams

    package var streamsAvailable: Int {
        guard isAlive, !isGoingAway, streamsOpened < Self.streamsOpenedMax else { return 0 }
        return max(0, Int(min(peerStreamsMax, settings.maxConcurrentStreams)) - streams.count)
    }

    package func openStream(_ delegate: any ClientStreamDelegate) -> any ClientStream {
        precondition(streamsAvailable > 0, "HTTP/2 connection takes no further stream")
        askIfIdle()
        streamsOpened += 1
        let stream = HTTP2ClientStream(codec: self, router: delegate)
        add(stream)
        return stream
    }

    /// The peer would take one more request now: its HEADERS do not have to wait.
    var mayRequestNow: Bool { streams.count <= Int(peerStreamsMax) }

    /// The peer has said whether it takes extended CONNECT (RFC 8441 §3), and does not.
    var refusesExtendedConnect: Bool {
        guard hasPeerSettings else { return false }
        let allowed = nghttp2_session_get_remote_settings(
            raw,
            NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
        )
        return allowed != 1
    }

    override func streamRemoved(_ stream: HTTP2Stream) {
        owner.streamEnded(reusable: isAlive && !isGoingAway)
    }

    override func settingsReceived() {
        hasPeerSettings = true
        let allowed = nghttp2_session_get_remote_settings(
            raw,
            NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        )
        guard allowed != peerStreamsMax else { return }
        peerStreamsMax = allowed
        owner.streamsAvailableChanged()
    }

    /// Streams that the peer will not look at are closed by libnghttp2, as refused: safe to try again.
    override func goAwayReceived() {
        guard !isGoingAway else { return }
        isGoingAway = true
        owner.connectionSpoiled(.goAway)
    }

    // MARK: Heads

    override func sectionBegan(_ id: Int32, _ category: nghttp2_headers_category) {
        endSection()
        guard isAlive, let found = stream(id) else { return }
        found.use { stream in
            guard stream.isAttached else { return }
            receiving = found
            if stream.hasFinalHead {
                begin(.trailers, into: stream.trailersMap)
            } else {
                let map = stream.headMap
                map.use { $0.removeAll() }
                begin(.response, into: map)
            }
        }
    }

    override func sectionComplete(
        _ stream: HTTP2Stream,
        _ map: Uncounted<HeaderMap>,
        endStream: Bool
    ) {
        guard let stream = stream as? HTTP2ClientStream else { return }
        guard section.kind == .response else {
            if let fault = section.fault { return refuse(stream, fault) }
            guard endStream else { return refuse(stream, .message) }
            return map.use { stream.receive(trailers: $0) }
        }
        let fault = map.use { stream.headComplete(section, $0, endStream: endStream) }
        stream.giveHeadBack()
        if let fault { refuse(stream, fault) }
    }

    override func refuse(_ stream: HTTP2Stream, _ fault: HTTP2Fault) {
        guard let stream = stream as? HTTP2ClientStream, let router = stream.router else { return }
        guard fault.isLimit || settings.endsOnlyStreamOnInvalidMessage else { return fail(fault) }
        stats?.count(fault.counter)
        stream.router = nil
        stream.submitReset(fault.isLimit ? .cancel : .protocolError)
        router.responseReset(.protocolError, detail: fault.details)
    }

    // MARK: The connection's end

    package func receivedEnd() {
        guard !isDead else { return }
        die()
        for stream in streams {
            stream.connectionEnded(.connectionTermination)
            remove(stream)
        }
        owner.closeAfterFlush()
    }

    /// The server hears that no request is to come (RFC 9113 §6.8).
    package func takeLeave() {
        if isAlive { writeGoAway(.noError) }
    }

    override func closesWhenEmpty() -> Bool {
        guard isGoingAway else { return false }
        owner.closeAfterFlush()
        return true
    }

    override func connectionFailed(
        _ fault: HTTP2Fault,
        _ streams: [HTTP2Stream],
        closesNow: Bool
    ) {
        owner.connectionSpoiled(fault == .keepalive ? .streamLost : .protocolError)
        let reason: StreamResetReason =
            fault == .keepalive ? .connectionTermination : .protocolError
        for stream in streams {
            guard let stream = stream as? HTTP2ClientStream else { continue }
            let router = stream.router
            stream.router = nil
            stream.part()
            router?.responseReset(reason, detail: fault.details)
            owner.streamEnded(reusable: false)
        }
        if closesNow { owner.closeNow() } else { owner.closeAfterFlush() }
    }
}
