/// What befalls HTTP/2 connections and is worth a number. The names are Envoy's, below `http2.`, but for
/// those of ``isOurs``.
package enum HTTP2Counter: UInt8, CaseIterable, Sendable {
    case goawaySent, goawayGracefulSent
    case headerOverflow, headerListSizeTooLarge
    case inboundEmptyFramesFlood, inboundPriorityFramesFlood, inboundWindowUpdateFramesFlood
    case keepaliveTimeout
    case outboundControlFlood, outboundFlood
    case rxMessagingError, rxReset, txReset
    case streamRefusedErrors, trailers, txFlushTimeout
    /// The client reset too many requests too early (CVE-2023-44487); Envoy counts it as
    /// `downstream_rq_too_many_premature_resets` of the connection manager.
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
        case .prematureResetsFlood: "premature_resets_flood"
        case .inboundResetFramesFlood: "inbound_reset_frames_flood"
        case .inboundContinuationFramesFlood: "inbound_continuation_frames_flood"
        case .protocolError: "protocol_error"
        }
    }

    /// Envoy has no counter of this name.
    package var isOurs: Bool { rawValue >= Self.prematureResetsFlood.rawValue }
}

/// Levels of HTTP/2 connections, below `http2.` as in Envoy.
package enum HTTP2Gauge: UInt8, CaseIterable, Sendable {
    case streamsActive
    /// Body bytes that wait for the peer's window.
    case pendingSendBytes

    package var name: StaticString {
        switch self {
        case .streamsActive: "streams_active"
        case .pendingSendBytes: "pending_send_bytes"
        }
    }
}

/// Where codecs report what they count. One worker's; outlives its codecs.
package protocol HTTP2Stats: AnyObject {
    func count(_ counter: HTTP2Counter)
    func change(_ gauge: HTTP2Gauge, by amount: Int)
}
