import MeshNet

/// What one side's HTTP/2 codec offers, accepts and bears (envoy: Http2ProtocolOptions and the limits of
/// HttpConnectionManager and HttpProtocolOptions). The defaults are Envoy's.
package struct HTTP2Settings: Sendable {
    /// A PING now and then, and the end of a connection whose peer does not answer
    /// (envoy: KeepaliveSettings).
    package struct Keepalive: Sendable {
        /// Between the answer to one PING and the next; zero sends none on its own.
        package var interval: Nanoseconds
        /// How long a PING may stay unanswered while nothing else arrives either.
        package var timeout: Nanoseconds
        /// The interval is lengthened by chance up to so much.
        package var intervalJitterPercent = 15.0
        /// A connection that heard nothing for so long is asked before it gets its next stream; zero
        /// never. Client side only.
        package var connectionIdleInterval = Nanoseconds.zero

        package init(interval: Nanoseconds, timeout: Nanoseconds) {
            self.interval = interval
            self.timeout = timeout
        }
    }

    /// Streams the peer may have open at once; of a client, also how many it opens itself.
    package var maxConcurrentStreams: UInt32 = 1024
    /// Body bytes that may be under way to us per stream, and held for it while it is paused.
    package var initialStreamWindowBytes: UInt32 = 16 << 20
    package var initialConnectionWindowBytes: UInt32 = 24 << 20
    /// Body bytes held for paused streams of one connection, together, at which the peer gets no more of
    /// the connection's window back: many readers that have stopped do not fill the memory.
    package var heldBytesMax = 64 << 20
    /// Largest payload of a frame that the peer may send (RFC 9113 §4.2). Ours are as large as it allows.
    package var maxFrameBytes: UInt32 = 16_384
    /// Of the HPACK table, in both directions; 0 switches it off.
    package var hpackTableBytes: UInt32 = 4096
    /// Accept extended CONNECT (RFC 8441): upgrades over HTTP/2.
    package var allowConnect = false
    /// Frames written but not yet with the kernel.
    package var maxOutboundFrames: UInt32 = 10_000
    /// Of these, answers to PING and SETTINGS, and RST_STREAM.
    package var maxOutboundControlFrames: UInt32 = 1000
    /// HEADERS, CONTINUATION and DATA frames in a row that carry nothing and end nothing.
    package var maxConsecutiveInboundFramesWithEmptyPayload: UInt32 = 1
    package var maxInboundPriorityFramesPerStream: UInt32 = 100
    package var maxInboundWindowUpdateFramesPerDataFrameSent: UInt32 = 10
    /// A malformed message ends its stream only, not the connection
    /// (envoy: override_stream_error_on_invalid_http_message).
    package var endsOnlyStreamOnInvalidMessage = false
    /// A CONNECT must name a port (RFC 9110 §9.3.6); off, whoever answers it says so.
    package var demandsConnectPort = true
    /// Heads stay with their streams until these end, for whoever logs them; off, each is given back as
    /// soon as it was told, and a tunnel that stays open for hours holds none.
    package var keepsHeads = true
    package var keepalive: Keepalive?
    /// How long the rest of a response may wait for its client's window once nobody else waits for it;
    /// zero for ever (envoy: stream_idle_timeout).
    package var flushTimeout = Nanoseconds.seconds(300)

    /// Largest header section in KiB, names and values (envoy: max_request_headers_kb).
    package var maxHeadersKB: UInt32 = 60
    /// Most fields in a header or trailer section; all cookie fields count as one
    /// (envoy: max_headers_count).
    package var maxHeadersCount: UInt32 = 100

    /// Requests after which a connection whose client has reset half of them is ended, early as soon as
    /// that cannot be avoided any more (envoy: overload.premature_reset_total_stream_count).
    package var prematureResetTotalStreamCount: UInt32 = 500
    /// Only requests that were reset within this time, unanswered, count
    /// (envoy: overload.premature_reset_min_stream_lifetime_seconds).
    package var prematureResetMinStreamLifetime = Nanoseconds.seconds(1)

    package init() {}

    /// Envoy's largest max_request_headers_kb.
    private static let headBytesMax = 8192 * 1024
    /// An entry of a header map is indexed with 15 bits; the proxy adds some of its own.
    static let entriesMax = 16_384

    var headBytesMax: Int { min(Int(maxHeadersKB) * 1024, Self.headBytesMax) }
    var fieldsMax: Int { min(Int(maxHeadersCount), Self.entriesMax) }

    /// CONTINUATION frames per header section. A section of the largest size needs one per 16 KiB; that
    /// many again, and eight, are left to peers who cut it finer.
    var continuationsMax: Int { headBytesMax / 8192 + 8 }
}
