import CNGHTTP2
import MeshNet

/// What one frame has brought. Its stream is on the codec's list until that was told.
enum HTTP2Event {
    /// Nothing, or a part of a DATA frame.
    case none
    case data(Uncounted<HTTP2Stream>, endStream: Bool)
    case section(Uncounted<HTTP2Stream>, endStream: Bool)
    case goAway, settings
    case pong(UInt64)
}

/// Where frames end in the bytes received (RFC 9113 §4.1).
struct HTTP2FrameBoundary {
    /// Bytes of the frame's payload, or of the preface, that are still to come.
    private var payloadLeft: Int
    private var headerBytes = 0
    private var length = 0

    init(behindPreface: Bool) { payloadLeft = behindPreface ? 24 : 0 }

    /// The end of the frame that these bytes continue, or of the bytes.
    mutating func next(_ bytes: Bytes, _ start: Int) -> Int {
        var at = start
        if payloadLeft == 0, headerBytes == 0, at &+ 9 <= bytes.count {
            // The usual case: the header in one piece.
            payloadLeft = Int(
                UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)) >> 8
            )
            at &+= 9
        } else if payloadLeft == 0 {
            while headerBytes < 9, at < bytes.count {
                if headerBytes < 3 { length = length << 8 | Int(bytes[at]) }
                headerBytes += 1
                at += 1
            }
            guard headerBytes == 9 else { return at }
            payloadLeft = length
            headerBytes = 0
            length = 0
        }
        let count = min(payloadLeft, bytes.count - at)
        payloadLeft -= count
        return at + count
    }
}

/// Frames as libnghttp2 reports them.
extension HTTP2Codec {
    private static var headersType: UInt8 { UInt8(NGHTTP2_HEADERS.rawValue) }
    private static var dataType: UInt8 { UInt8(NGHTTP2_DATA.rawValue) }
    static var frameHeaderBytes: Int { 9 }

    private static func endsStream(_ header: nghttp2_frame_hd) -> Bool {
        header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    }

    /// A frame's header was read. Returns false where it is one too many.
    func frameBegan(_ header: nghttp2_frame_hd) -> Bool {
        guard isAlive else { return false }
        var fault: HTTP2Fault?
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue, NGHTTP2_CONTINUATION.rawValue:
            // Of padded DATA the payload is known at its end.
            let isPadded = header.flags & UInt8(NGHTTP2_FLAG_PADDED.rawValue) != 0
            if !isPadded || header.type != Self.dataType {
                fault = inbound.messageFrame(
                    payload: header.length,
                    endsStream: Self.endsStream(header)
                )
            }
            if header.type == Self.headersType {
                inbound.sectionBegan()
            } else if header.type != Self.dataType {
                fault = fault ?? inbound.continuationFrame()
            }
        case NGHTTP2_PRIORITY.rawValue: fault = inbound.priorityFrame()
        case NGHTTP2_WINDOW_UPDATE.rawValue: fault = inbound.windowUpdateFrame()
        case NGHTTP2_RST_STREAM.rawValue: fault = inbound.resetFrame()
        case NGHTTP2_PUSH_PROMISE.rawValue:
            // Our SETTINGS, which forbid it, went out before any request that it could answer.
            fault = .connection
        default: break
        }
        if fault == nil, isServer, header.type == Self.headersType, header.stream_id > 0,
            !closedStreams.isNew(header.stream_id), stream(header.stream_id) == nil
        {
            fault = closedStreams.judge(header.stream_id)
        }
        guard let fault else { return true }
        fail(fault)
        return false
    }

    /// A frame is complete and valid.
    func frameReceived(_ frame: UnsafePointer<nghttp2_frame>) {
        guard isAlive else { return }
        let header = frame.pointee.hd
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue:
            let padding = frame.pointee.data.padlen
            if padding > 0,
                let fault = inbound.messageFrame(
                    payload: header.length - padding,
                    endsStream: Self.endsStream(header)
                )
            {
                return fail(fault)
            }
            guard let stream = stream(header.stream_id) else { return }
            stream.use { $0.countReceived(header.length + Self.frameHeaderBytes) }
            event = .data(stream, endStream: Self.endsStream(header))
        case NGHTTP2_HEADERS.rawValue:
            guard let stream = receiving else { return }
            stream.use { $0.countReceived(header.length + Self.frameHeaderBytes) }
            event = .section(stream, endStream: Self.endsStream(header))
        case NGHTTP2_RST_STREAM.rawValue:
            // The close that follows tells the delegate.
            guard let stream = stream(header.stream_id) else { return }
            stream.use {
                $0.countReceived(4 + Self.frameHeaderBytes)
                $0.isResetByPeer = true
            }
            stats?.count(.rxReset)
        case NGHTTP2_PING.rawValue:
            guard header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 else { return }
            let payload = withUnsafeBytes(of: frame.pointee.ping.opaque_data) {
                $0.loadUnaligned(as: UInt64.self)
            }
            event = .pong(payload)
        case NGHTTP2_GOAWAY.rawValue:
            event = .goAway
        case NGHTTP2_SETTINGS.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { event = .settings }
        default: break
        }
    }

    func invalidFrameReceived(_ error: Int32) {
        if error == NGHTTP2_ERR_REFUSED_STREAM.rawValue { stats?.count(.streamRefusedErrors) }
    }

    func frameSent(_ frame: UnsafePointer<nghttp2_frame>) {
        let header = frame.pointee.hd
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue:
            // DATA was counted when it was taken.
            let isData = header.type == Self.dataType
            guard !isData || Self.endsStream(header), let stream = stream(header.stream_id) else {
                return
            }
            stream.use { stream in
                if !isData { stream.countSent(header.length + Self.frameHeaderBytes) }
                if Self.endsStream(header) {
                    stream.hasSentEnd = true
                    // Nothing is left to say about a request that has come whole.
                    if !stream.hasPeerEnded { sendingEnded(of: stream) }
                }
                if !isData { stream.headSent() }
            }
        case NGHTTP2_RST_STREAM.rawValue:
            stats?.count(.txReset)
        case NGHTTP2_GOAWAY.rawValue:
            // libnghttp2 says so when it has found the peer at fault.
            guard frame.pointee.goaway.error_code != NGHTTP2_NO_ERROR.rawValue else {
                return goAwaySent()
            }
            goAwayWasWritten()
            stats?.count(.goawaySent)
            fail(.connection)
        default: break
        }
    }

    /// By hand: libnghttp2 does not write after it, or we, have given a session up.
    func writeGoAway(_ code: HTTP2ErrorCode) {
        let last = nghttp2_session_get_last_proc_stream_id(raw)
        // Length 8, type 7, no flags, stream 0.
        for byte: UInt8 in [0, 0, 8, 7, 0, 0, 0, 0, 0] { sink.output.append(byte: byte) }
        for word in [UInt32(bitPattern: last), code.rawValue] {
            for shift: UInt32 in [24, 16, 8, 0] {
                sink.output.append(byte: UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        stats?.count(.goawaySent)
        sink.outputGrew()
    }
}
