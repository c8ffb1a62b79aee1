import MeshNet

/// What came up while libnghttp2 was at work, to be told when it has returned.
///
/// The streams are counted here, and have their codec: a codec that ends must ``forget()`` them.
struct HTTP2News {
    /// Our END_STREAM is written, and the peer's has not come.
    private(set) var ended: [HTTP2Stream] = []
    /// Their waiting bytes have fallen below the mark at which the source resumes.
    private(set) var relieved: [HTTP2Stream] = []
    private(set) var closed = HTTP2ClosedQueue()
    private(set) var isEmpty = true

    mutating func sendingEnded(_ stream: HTTP2Stream) {
        ended.append(stream)
        isEmpty = false
    }

    mutating func relieve(_ stream: HTTP2Stream) {
        relieved.append(stream)
        isEmpty = false
    }

    mutating func close(_ stream: Uncounted<HTTP2Stream>) {
        closed.append(stream)
        isEmpty = false
    }

    /// All that is there is about to be told; what telling adds is news again.
    mutating func begin() { isEmpty = true }

    mutating func endedTold() { ended.removeAll(keepingCapacity: true) }
    mutating func relievedTold() { relieved.removeAll(keepingCapacity: true) }
    mutating func nextClosed() -> HTTP2Stream? { closed.next() }

    mutating func forget() { self = HTTP2News() }
}

/// Streams that libnghttp2 has closed, in order, linked through ``HTTP2Stream/nextClosed``: an array of
/// them would cost more to empty than the rest of a stream's end.
struct HTTP2ClosedQueue {
    private var first: HTTP2Stream?
    private var last: Uncounted<HTTP2Stream>?

    mutating func append(_ stream: Uncounted<HTTP2Stream>) {
        if let last {
            last.use { $0.nextClosed = stream.counted }
        } else {
            first = stream.counted
        }
        last = stream
    }

    mutating func next() -> HTTP2Stream? {
        guard let stream = first else { return nil }
        first = stream.nextClosed
        stream.nextClosed = nil
        if first == nil { last = nil }
        return stream
    }
}
