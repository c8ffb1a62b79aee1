import CNGHTTP2
import MeshNet

/// HTTP/2 as spoken to clients (RFC 9113).
///
/// What libnghttp2 leaves to us is checked here and in ``HTTP2RequestHead``. A request that breaks the
/// rules is not answered: its stream, or the connection, ends, as the settings say. The docs page is
/// docs/http2.md.
package final class HTTP2ServerCodec: HTTP2Codec, ServerCodec {
    private enum Drain { case none, warned, last }

    // Unchecked: it outlives us.
    private unowned(unsafe) let owner: any ServerCodecDelegate
    private var drain = Drain.none
    private var hasPeerEnded = false
    private var hasPeerSaidGoodbye = false
    private var resets: HTTP2ResetGuard

    /// - Parameters:
    ///   - delegate: outlives the codec.
    ///   - pool: the worker's; maps return to it when their stream ends.
    ///   - stats: the worker's.
    ///   - seed: chance for the jitter of keepalive PINGs.
    package init(
        sink: ByteSink,
        delegate: any ServerCodecDelegate,
        settings: HTTP2Settings,
        pool: HeaderMapPool = HeaderMapPool(),
        stats: (any HTTP2Stats)? = nil,
        seed: UInt64 = 0
    ) {
        owner = delegate
        resets = HTTP2ResetGuard(settings)
        super.init(
            sink: sink,
            settings: settings,
            pool: pool,
            stats: stats,
            seed: seed,
            isServer: true
        )
    }

    // MARK: Heads

    override func sectionBegan(_ id: Int32, _ category: nghttp2_headers_category) {
        endSection()
        guard isAlive else { return }
        if category == NGHTTP2_HCAT_REQUEST {
            let stream = HTTP2ServerStream(id: id, codec: self)
            closedStreams.opened(id)
            add(stream)
            nghttp2_session_set_stream_user_data(
                raw,
                id,
                Unmanaged.passUnretained(stream).toOpaque()
            )
            receiving = Uncounted(stream)
            begin(.request, into: stream.headMap)
            stream.application = owner.openStream(stream)
        } else if let stream = stream(id) {
            stats?.count(.trailers)
            receiving = stream
            begin(.trailers, into: stream.use { $0.trailersMap })
        }
    }

    override func sectionComplete(
        _ stream: HTTP2Stream,
        _ map: Uncounted<HeaderMap>,
        endStream: Bool
    ) {
        guard let stream = stream as? HTTP2ServerStream else { return }
        map.use { complete(stream, $0, endStream: endStream) }
    }

    private func complete(_ stream: HTTP2ServerStream, _ map: HeaderMap, endStream: Bool) {
        guard section.kind == .request else {
            if let fault = section.fault { return refuse(stream, fault) }
            guard endStream, stream.form == .plain else { return refuse(stream, .message) }
            return stream.receive(trailers: map)
        }
        do throws(HTTP2Fault) {
            stream.form = try HTTP2RequestHead.read(section, map, settings)
            if stream.form == .plain { stream.bodyRemaining = section.contentLength }
            if endStream, (stream.bodyRemaining ?? 0) > 0 { throw .message }
        } catch {
            return refuse(stream, error)
        }
        stream.hasPeerEnded = endStream
        stream.headComplete(map, endStream: endStream)
        stream.giveHeadBack()
    }

    override func refuse(_ stream: HTTP2Stream, _ fault: HTTP2Fault) {
        guard let stream = stream as? HTTP2ServerStream, let application = stream.application else {
            return
        }
        guard fault.isLimit || settings.endsOnlyStreamOnInvalidMessage else { return fail(fault) }
        stats?.count(fault.counter)
        stream.application = nil
        stream.submitReset(fault.errorCode)
        application.requestRefused(fault.codecError)
    }

    // MARK: The connection's end

    package func receivedEnd() {
        guard !isDead else { return }
        hasPeerEnded = true
        // A client may close its sending side and still wait for responses. What of a request is missing
        // will not come any more.
        for stream in streams where !stream.hasPeerEnded {
            remove(stream)
            stream.connectionEnded(.connectionTermination)
        }
        pump()
    }

    /// The client opens no further stream, or nobody would answer it: libnghttp2 is done when those under
    /// way are.
    override func goAwayReceived() { hasPeerSaidGoodbye = true }

    override func closesWhenEmpty() -> Bool {
        guard hasPeerEnded || hasPeerSaidGoodbye || drain == .last else { return false }
        // Requests that came behind the client's own GOAWAY were not looked at.
        if hasPeerSaidGoodbye, drain != .last { writeGoAway(.noError) }
        owner.closeAfterFlush()
        return true
    }

    override func connectionFailed(
        _ fault: HTTP2Fault,
        _ streams: [HTTP2Stream],
        closesNow: Bool
    ) {
        let error = fault.codecError
        owner.connectionRefused(error)
        for stream in streams {
            guard let stream = stream as? HTTP2ServerStream else { continue }
            let application = stream.application
            stream.application = nil
            stream.part()
            if fault == .keepalive {
                application?.requestReset(.connectionTermination)
            } else {
                application?.requestRefused(error)
            }
        }
        if closesNow { owner.closeNow() } else { owner.closeAfterFlush() }
    }

    override func streamRemoved(_ stream: HTTP2Stream) {
        let unanswered = stream.isResetByPeer && !stream.isHeadSubmitted
        if resets.streamEnded(after: now - stream.openedAt, resetUnanswered: unanswered) {
            fail(.prematureResets)
        }
    }

    // MARK: Drain

    package var isIdle: Bool { streams.isEmpty && drain != .warned }

    /// RFC 9113 §6.8: first a GOAWAY that refuses nothing, and after a round trip, when the client has
    /// heard it, the one that names the last stream.
    package func startDrain() {
        if drain == .warned { sendLastGoAway() } else { warn() }
    }

    /// Begins a drain, where none is under way.
    package func warn() {
        guard isAlive, drain == .none else { return }
        drain = .warned
        nghttp2_submit_shutdown_notice(raw)
        stats?.count(.goawayGracefulSent)
        pump()
    }

    /// The PING that measures the round trip follows the warning: submitted together with it, it would
    /// overtake it.
    override func goAwaySent() {
        if drain == .warned { ping(Self.drainPing) }
    }

    override func drainPingAcknowledged() {
        if drain == .warned { sendLastGoAway() }
    }

    private func sendLastGoAway() {
        guard isAlive else { return }
        drain = .last
        nghttp2_submit_goaway(
            raw,
            0,
            nghttp2_session_get_last_proc_stream_id(raw),
            NGHTTP2_NO_ERROR.rawValue,
            nil,
            0
        )
        stats?.count(.goawaySent)
        pump()
    }
}
