/// What befalls HTTP/2 connections and is worth a number. The names are Envoy's, below `http2.`; those that
/// it has not come last.
package enum HTTP2Counter: UInt8, CaseIterable, Sendable {
    case goawaySent
    case headerOverflow, headerListSizeTooLarge
    case inboundEmptyFramesFlood, inboundPriorityFramesFlood, inboundWindowUpdateFramesFlood
    case keepaliveTimeout
    case outboundControlFlood, outboundFlood
    case rxMessagingError, rxReset, txReset
    case streamRefusedErrors, txFlushTimeout
    /// Of requests; a response's are not counted, as in Envoy.
    case trailers
    /// Connections by the library that frames them, which is always the same here.
    case nghttp2DownstreamConnections, nghttp2UpstreamConnections
    /// The first, warning GOAWAY of a drain, which is not among those of ``goawaySent``.
    case goawayGracefulSent
    /// The client reset too many requests too early (CVE-2023-44487); Envoy has only
    /// `downstream_rq_too_many_premature_resets` of the connection manager, which counts too.
    case prematureResetsFlood
    /// RST_STREAM frames for more streams than there were.
    case inboundResetFramesFlood
    /// A header section in more CONTINUATION frames than its size explains.
    case inboundContinuationFramesFlood
    /// The connection as a whole broke the protocol.
    case protocolError

    package var name: StaticString {
        switch self {
        case .goawaySent: "goaway_sent"
        case .goawayGracefulSent: "goaway_graceful_sent"
        case .headerOverflow: "header_overflow"
        case .headerListSizeTooLarge: "header_list_size_too_large"
        case .inboundEmptyFramesFlood: "inbound_empty_frames_flood"
        case .inboundPriorityFramesFlood: "inbound_priority_frames_flood"
        case .inboundWindowUpdateFramesFlood: "inbound_window_update_frames_flood"
        case .keepaliveTimeout: "keepalive_timeout"
        case .outboundControlFlood: "outbound_control_flood"
        case .outboundFlood: "outbound_flood"
        case .rxMessagingError: "rx_messaging_error"
        case .rxReset: "rx_reset"
        case .txReset: "tx_reset"
        case .streamRefusedErrors: "stream_refused_errors"
        case .trailers: "trailers"
        case .txFlushTimeout: "tx_flush_timeout"
        case .nghttp2DownstreamConnections: "nghttp2_downstream_connections"
        case .nghttp2UpstreamConnections: "nghttp2_upstream_connections"
        case .prematureResetsFlood: "premature_resets_flood"
        case .inboundResetFramesFlood: "inbound_reset_frames_flood"
        case .inboundContinuationFramesFlood: "inbound_continuation_frames_flood"
        case .protocolError: "protocol_error"
        }
    }
}

/// Levels of HTTP/2 connections, below `http2.` as in Envoy.
package enum HTTP2Gauge: UInt8, CaseIterable, Sendable {
    case streamsActive
    /// Body bytes that wait for the peer's window.
    case pendingSendBytes
    /// Frames that wait for the peer to read, while that is more than the high watermark's worth; those of
    /// the second kind are answers and resets, which a peer can make us send at will.
    case outboundFramesActive, outboundControlFramesActive

    package var name: StaticString {
        switch self {
        case .streamsActive: "streams_active"
        case .pendingSendBytes: "pending_send_bytes"
        case .outboundFramesActive: "outbound_frames_active"
        case .outboundControlFramesActive: "outbound_control_frames_active"
        }
    }
}

/// Where codecs report what they count. One worker's; outlives its codecs.
package protocol HTTP2Stats: AnyObject {
    func count(_ counter: HTTP2Counter)
    func change(_ gauge: HTTP2Gauge, by amount: Int)
}
