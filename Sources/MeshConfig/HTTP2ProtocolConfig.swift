/// Options of HTTP/2 (envoy: core.v3.Http2ProtocolOptions). Nil leaves Envoy's default in force.
package struct HTTP2ProtocolConfig: Hashable, Sendable {
    /// PINGs that find out whether the peer is still there (envoy: core.v3.KeepaliveSettings).
    package struct Keepalive: Hashable, Sendable {
        /// Between PINGs; nil sends none on its own.
        package let interval: Duration?
        /// Without an answer in this time the connection is closed.
        package let timeout: Duration
        /// The interval is lengthened by chance up to so much.
        package let jitterPercent: Double?
        /// A connection idle for this long is asked before its next stream; nil never.
        package let connectionIdleInterval: Duration?

        init(_ object: ConfigObject) {
            let least = Duration.milliseconds(1)
            interval = object.duration("interval", atLeast: least)
            if !object.isPresent("timeout") { object.error("timeout is required") }
            timeout = object.duration("timeout", atLeast: least) ?? least
            jitterPercent = object.object("interval_jitter")?.double("value", in: 0...100)
            connectionIdleInterval = object.duration("connection_idle_interval", atLeast: least)
        }
    }

    /// Of the HPACK table, in bytes.
    package private(set) var hpackTableSize: UInt32?
    package private(set) var maxConcurrentStreams: UInt32?
    package private(set) var initialStreamWindowSize: UInt32?
    package private(set) var initialConnectionWindowSize: UInt32?
    /// Whether extended CONNECT is accepted, or offered (RFC 8441).
    package private(set) var allowsConnect = false
    package private(set) var maxOutboundFrames: UInt32?
    package private(set) var maxOutboundControlFrames: UInt32?
    /// In a row, of those that carry nothing.
    package private(set) var maxEmptyFrames: UInt32?
    package private(set) var maxPriorityFramesPerStream: UInt32?
    package private(set) var maxWindowUpdatesPerDataFrame: UInt32?
    /// Whether a message that is not valid ends its stream only.
    package private(set) var endsOnlyStreamOnInvalidMessage = false
    package private(set) var keepalive: Keepalive?

    /// - Parameter endsOnlyStream: what the connection manager says of a message that is not valid.
    package init(endsOnlyStreamOnInvalidMessage endsOnlyStream: Bool? = nil) {
        endsOnlyStreamOnInvalidMessage = endsOnlyStream ?? false
    }

    package init(_ object: ConfigObject, endsOnlyStreamOnInvalidMessage endsOnlyStream: Bool? = nil)
    {
        let window: ClosedRange<UInt32> = 65_535...2_147_483_647
        let some: ClosedRange<UInt32> = 1...UInt32.max
        hpackTableSize = object.uint32("hpack_table_size")
        maxConcurrentStreams = object.uint32("max_concurrent_streams", in: 1...2_147_483_647)
        initialStreamWindowSize = object.uint32("initial_stream_window_size", in: window)
        initialConnectionWindowSize = object.uint32("initial_connection_window_size", in: window)
        allowsConnect = object.bool("allow_connect", default: false)
        maxOutboundFrames = object.uint32("max_outbound_frames", in: some)
        maxOutboundControlFrames = object.uint32("max_outbound_control_frames", in: some)
        maxEmptyFrames = object.uint32("max_consecutive_inbound_frames_with_empty_payload")
        maxPriorityFramesPerStream = object.uint32("max_inbound_priority_frames_per_stream")
        maxWindowUpdatesPerDataFrame = object.uint32(
            "max_inbound_window_update_frames_per_data_frame_sent",
            in: some
        )
        // The deprecated field holds where the others are absent.
        let legacy = object.bool("stream_error_on_invalid_http_messaging", default: false)
        endsOnlyStreamOnInvalidMessage =
            object.bool("override_stream_error_on_invalid_http_message") ?? endsOnlyStream ?? legacy
        keepalive = object.object("connection_keepalive").map { Keepalive($0) }
        refuseTheRest(object)
    }

    private func refuseTheRest(_ object: ConfigObject) {
        object.unsupported("allow_metadata", "METADATA frames are Envoy's own extension")
        object.unsupported("custom_settings_parameters", "only SETTINGS of RFC 9113 are sent")
        object.unsupported(
            "max_header_field_size_kb",
            "the limit of the whole section, max_request_headers_kb, bounds each field"
        )
        object.unsupported("disallow_obs_text", "field values follow RFC 9110 §5.5")
        object.unsupported("stream_reset_burst", "resets are limited as a share of requests")
        object.unsupported("stream_reset_rate", "resets are limited as a share of requests")
        // There is one codec; of each string the shorter form is written.
        object.inert("use_oghttp2_codec", "max_metadata_size", "enable_huffman_encoding")
    }
}
