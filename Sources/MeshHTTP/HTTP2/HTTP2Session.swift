import CNGHTTP2
import MeshNet

/// Makes libnghttp2's sessions; the codec deletes its own.
enum HTTP2Session {
    /// - Parameters:
    ///   - context: outlives the session.
    ///   - memory: likewise.
    static func make(
        _ settings: HTTP2Settings,
        isServer: Bool,
        context: UnsafeMutablePointer<HTTP2Context>,
        memory: HTTP2Memory
    ) -> OpaquePointer {
        var option: OpaquePointer?
        guard nghttp2_option_new(&option) == 0, let option else { fatalError("out of memory") }
        defer { nghttp2_option_del(option) }
        nghttp2_option_set_no_auto_window_update(option, 1)
        // We check messages ourselves, in the pass that copies them (HTTP2FieldSection).
        nghttp2_option_set_no_http_messaging(option, 1)
        // Closed streams would be kept for the priority tree only, which we do not offer.
        nghttp2_option_set_no_closed_streams(option, 1)
        // Our own limits are in force (HTTP2InboundLimits, HTTP2OutboundFrames, HTTP2ResetGuard).
        nghttp2_option_set_max_outbound_ack(option, 10_000)
        nghttp2_option_set_stream_reset_rate_limit(option, .max, .max)
        nghttp2_option_set_max_send_header_block_length(option, 32 << 20)
        // It counts a frame anew each time a part of its header arrives.
        nghttp2_option_set_max_continuations(option, .max)
        nghttp2_option_set_max_deflate_dynamic_table_size(option, Int(settings.hpackTableBytes))
        nghttp2_option_set_peer_max_concurrent_streams(option, settings.maxConcurrentStreams)

        var session: OpaquePointer?
        let callbacks = HTTP2Callbacks.shared.raw
        // Copied by the session.
        var table = memory.table
        let result =
            isServer
            ? nghttp2_session_server_new3(&session, callbacks, context, option, &table)
            : nghttp2_session_client_new3(&session, callbacks, context, option, &table)
        guard result == 0, let session else { fatalError("out of memory") }
        submit(settings, to: session, isServer: isServer)
        return session
    }

    /// What every peer takes (RFC 9113 §6.5.2).
    private static let frameBytesDefault: UInt32 = 16_384

    private static func submit(
        _ settings: HTTP2Settings,
        to session: OpaquePointer,
        isServer: Bool
    ) {
        withUnsafeTemporaryAllocation(of: nghttp2_settings_entry.self, capacity: 5) { entries in
            var count = 0
            func add(_ id: nghttp2_settings_id, _ value: UInt32) {
                entries.initializeElement(
                    at: count,
                    to: nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: value)
                )
                count += 1
            }
            add(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, settings.hpackTableBytes)
            if isServer {
                add(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, settings.allowConnect ? 1 : 0)
                add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams)
            } else {
                add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)
            }
            add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.initialStreamWindowBytes)
            if settings.maxFrameBytes > frameBytesDefault {
                add(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.maxFrameBytes)
            }
            nghttp2_submit_settings(session, 0, entries.baseAddress, count)
        }
        nghttp2_session_set_local_window_size(
            session,
            0,
            0,
            Int32(clamping: settings.initialConnectionWindowBytes)
        )
    }
}

/// The table of callbacks all sessions share. No logic in the trampolines.
struct HTTP2Callbacks: @unchecked Sendable {
    static let shared = HTTP2Callbacks()

    // Built once, never freed, only read: safe from every thread.
    let raw: OpaquePointer

    static let failed = NGHTTP2_ERR_CALLBACK_FAILURE.rawValue

    private init() {
        var table: OpaquePointer?
        guard nghttp2_session_callbacks_new(&table) == 0, let table else {
            fatalError("out of memory")
        }
        raw = table
        nghttp2_session_callbacks_set_on_begin_frame_callback(table) { _, header, user in
            guard let header, let codec = HTTP2Codec.of(user) else { return Self.failed }
            return codec.use { $0.frameBegan(header.pointee) } ? 0 : Self.failed
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, user in
            guard let frame, let codec = HTTP2Codec.of(user) else { return Self.failed }
            return codec.use {
                $0.sectionBegan(frame.pointee.hd.stream_id, frame.pointee.headers.cat)
                return $0.isAlive ? 0 : Self.failed
            }
        }
        nghttp2_session_callbacks_set_on_header_callback(table) {
            _,
            _,
            name,
            nameLength,
            value,
            valueLength,
            _,
            user in
            guard let name, let value, let user else { return Self.failed }
            let context = user.assumingMemoryBound(to: HTTP2Context.self)
            context.pointee.section.read(name, nameLength, value, valueLength)
            return 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) {
            _,
            _,
            id,
            data,
            count,
            user in
            guard let codec = HTTP2Codec.of(user) else { return Self.failed }
            codec.use { $0.chunkReceived(id, Bytes(start: data, count: count)) }
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, user in
            guard let frame, let codec = HTTP2Codec.of(user) else { return Self.failed }
            return codec.use {
                $0.frameReceived(frame)
                return $0.isAlive ? 0 : Self.failed
            }
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table) { _, _, error, user in
            HTTP2Codec.of(user)?.use { $0.invalidFrameReceived(error) }
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, id, code, user in
            guard let codec = HTTP2Codec.of(user) else { return Self.failed }
            codec.use { $0.streamClosed(id, code) }
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, user in
            guard let frame else { return Self.failed }
            HTTP2Codec.of(user)?.use { $0.frameSent(frame) }
            return 0
        }
        // libnghttp2 would keep to 16 KiB where the peer takes more.
        nghttp2_session_callbacks_set_data_source_read_length_callback(table) {
            _,
            _,
            _,
            sessionWindow,
            streamWindow,
            frameBytesMax,
            _ in
            Int(min(sessionWindow, streamWindow, Int32(clamping: frameBytesMax)))
        }
        nghttp2_session_callbacks_set_send_data_callback(table) {
            _,
            _,
            header,
            count,
            source,
            user in
            guard let header, let stream = HTTP2Stream.of(source?.pointee.ptr),
                let codec = HTTP2Codec.of(user)
            else { return Self.failed }
            codec.use { codec in stream.use { codec.write($0, header, count) } }
            return 0
        }
    }

    /// How a stream's DATA is asked for; see ``HTTP2Stream/nextPayload(upTo:_:)``.
    static let readData: nghttp2_data_source_read_callback = {
        _,
        _,
        _,
        limit,
        flags,
        source,
        user in
        guard let flags, let stream = HTTP2Stream.of(source?.pointee.ptr) else {
            return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
        }
        return stream.use { $0.nextPayload(upTo: limit, &flags.pointee) }
    }
}

/// What libnghttp2's callbacks get: the codec, and beside it what each field needs, without reference
/// counting on the way.
struct HTTP2Context {
    /// Owns the context.
    var codec: Uncounted<HTTP2Codec>?
    var section: HTTP2FieldSection
}

// Callbacks run inside calls on a codec, which whoever calls keeps alive, as the codec does its streams.
extension HTTP2Codec {
    static func of(_ user: UnsafeMutableRawPointer?) -> Uncounted<HTTP2Codec>? {
        user?.assumingMemoryBound(to: HTTP2Context.self).pointee.codec
    }
}

extension HTTP2Stream {
    static func of(_ user: UnsafeMutableRawPointer?) -> Uncounted<HTTP2Stream>? {
        user.map { Uncounted(opaque: $0) }
    }
}
