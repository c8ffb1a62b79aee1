import MeshNet

/// Counts what a peer sends against what explains it (envoy: ProtocolConstraints). Knows no I/O.
struct HTTP2InboundLimits {
    private let emptyFramesMax: UInt64
    private let priorityFramesPerStream: UInt64
    private let windowUpdatesPerDataFrame: UInt64
    private let continuationsMax: Int

    private(set) var streams: UInt64 = 0
    private var emptyFrames: UInt64 = 0
    private var priorityFrames: UInt64 = 0
    private var windowUpdateFrames: UInt64 = 0
    private var resetFrames: UInt64 = 0
    /// CONTINUATION frames of the section under way.
    private var continuations = 0
    /// DATA frames that we sent: each may be answered by updates of two windows.
    var dataFramesSent: UInt64 = 0

    /// A reset of a stream that the peer opened but we never saw, and the like.
    private static let resetFramesSpare: UInt64 = 16

    init(_ settings: HTTP2Settings) {
        emptyFramesMax = UInt64(settings.maxConsecutiveInboundFramesWithEmptyPayload)
        priorityFramesPerStream = UInt64(settings.maxInboundPriorityFramesPerStream)
        windowUpdatesPerDataFrame = UInt64(settings.maxInboundWindowUpdateFramesPerDataFrameSent)
        continuationsMax = settings.continuationsMax
    }

    mutating func streamOpened() { streams &+= 1 }

    /// A HEADERS, CONTINUATION or DATA frame, its padding not counted as payload.
    mutating func messageFrame(payload: Int, endsStream: Bool) -> HTTP2Fault? {
        guard payload == 0, !endsStream else {
            emptyFrames = 0
            return nil
        }
        emptyFrames &+= 1
        return emptyFrames > emptyFramesMax ? .emptyFrames : nil
    }

    mutating func sectionBegan() { continuations = 0 }

    mutating func continuationFrame() -> HTTP2Fault? {
        continuations += 1
        return continuations > continuationsMax ? .continuations : nil
    }

    mutating func priorityFrame() -> HTTP2Fault? {
        priorityFrames &+= 1
        return priorityFrames > priorityFramesPerStream * (1 + streams) ? .priorityFrames : nil
    }

    mutating func windowUpdateFrame() -> HTTP2Fault? {
        windowUpdateFrames &+= 1
        let explained = 1 + 2 * (streams + windowUpdatesPerDataFrame * dataFramesSent)
        return windowUpdateFrames > explained ? .windowUpdateFrames : nil
    }

    mutating func resetFrame() -> HTTP2Fault? {
        resetFrames &+= 1
        return resetFrames > streams + Self.resetFramesSpare ? .resetFrames : nil
    }
}

/// Ends connections whose client asks and takes it back, over and over (CVE-2023-44487; envoy:
/// overload.premature_reset_total_stream_count).
struct HTTP2ResetGuard {
    private let streamsMax: UInt64
    private let lifetimeMin: Nanoseconds
    private var ended: UInt64 = 0
    private var premature: UInt64 = 0

    init(_ settings: HTTP2Settings) {
        streamsMax = UInt64(settings.prematureResetTotalStreamCount)
        lifetimeMin = settings.prematureResetMinStreamLifetime
    }

    /// A request is over. Returns true where the client has gone too far: half of its requests, or so
    /// many that the rest of the first ``streamsMax`` could not make up for them.
    mutating func streamEnded(after lifetime: Nanoseconds, resetUnanswered: Bool) -> Bool {
        ended &+= 1
        guard resetUnanswered, lifetime <= lifetimeMin else { return false }
        premature &+= 1
        return premature * 2 >= max(streamsMax, ended)
    }
}

/// How many of the frames that were written have not yet reached the kernel.
///
/// Frames are noted by where they end in the stream of bytes, several to a mark, so that a full output
/// costs little memory. Empty while the peer reads.
struct HTTP2OutboundFrames {
    private struct Mark {
        var end: UInt64
        var frames: UInt32
        var controlFrames: UInt32
    }

    /// Full marks; the one being filled is ``last``.
    private var marks: [Mark] = []
    private var first = 0
    private var last = Mark(end: 0, frames: 0, controlFrames: 0)
    private var written: UInt64 = 0
    private(set) var frames: UInt32 = 0
    private(set) var controlFrames: UInt32 = 0
    /// What of it the gauges show.
    private var reported = (frames: 0, controlFrames: 0)

    private static let framesPerMark: UInt32 = 32

    mutating func wrote(_ bytes: Int, isControl: Bool) {
        written &+= UInt64(bytes)
        frames &+= 1
        if last.frames == Self.framesPerMark {
            marks.append(last)
            last = Mark(end: 0, frames: 0, controlFrames: 0)
        }
        last.end = written
        last.frames &+= 1
        if isControl {
            controlFrames &+= 1
            last.controlFrames &+= 1
        }
    }

    /// A request's is not counted. Its server did not ask for it, and many clients may send it in small
    /// pieces to a server that reads slowly: no flood, and its bytes are bounded by the watermark.
    mutating func wroteData(_ bytes: Int, isServer: Bool) {
        if isServer { wrote(bytes, isControl: false) } else { written &+= UInt64(bytes) }
    }

    /// Brings the gauges up to date. Only a blocked output is shown: what the next flush takes along is
    /// no backlog, and nobody would tell us that it has gone.
    mutating func report(_ stats: (any HTTP2Stats)?, isBlocked: Bool) {
        let wanted = isBlocked ? (Int(frames), Int(controlFrames)) : (0, 0)
        guard let stats, wanted != reported else { return }
        stats.change(.outboundFramesActive, by: wanted.0 - reported.frames)
        stats.change(.outboundControlFramesActive, by: wanted.1 - reported.controlFrames)
        reported = wanted
    }

    /// So many bytes are still with us.
    mutating func settle(buffered: Int) {
        guard frames > 0 else { return }
        let gone = written - min(written, UInt64(buffered))
        while first < marks.count, marks[first].end <= gone {
            frames -= marks[first].frames
            controlFrames -= marks[first].controlFrames
            first += 1
        }
        if first > 64, first * 2 > marks.count {
            marks.removeFirst(first)
            first = 0
        }
        guard last.end <= gone else { return }
        marks.removeAll(keepingCapacity: marks.count <= 8)
        first = 0
        last = Mark(end: 0, frames: 0, controlFrames: 0)
        frames = 0
        controlFrames = 0
    }
}

/// What became of streams that are gone, as far as a frame for one of them is to be judged: frames that
/// were under way when we reset it are in order, frames behind the peer's own end are not (RFC 9113
/// §5.1). A few are remembered; of older ones nothing is held against the peer.
struct HTTP2ClosedStreams {
    private var ended: SIMD16<Int32> = .zero
    private var next = 0
    private var last: Int32 = 0
    /// Identifiers that the last opened stream passed over.
    private var passed: Range<Int32> = 0..<0

    mutating func opened(_ id: Int32) {
        if id > last + 2 { passed = last + 1..<id }
        last = id
    }

    /// The peer had ended, or reset, this one.
    mutating func endedByPeer(_ id: Int32) {
        ended[next] = id
        next = (next + 1) % ended.scalarCount
    }

    /// DATA or HEADERS came for a stream that is not open.
    func judge(_ id: Int32) -> HTTP2Fault? {
        if passed.contains(id) { return .streamPassed }
        for at in 0..<ended.scalarCount where ended[at] == id { return .streamClosed }
        return nil
    }

    /// Whether a frame of this stream would open it.
    func isNew(_ id: Int32) -> Bool { id > last }
}
