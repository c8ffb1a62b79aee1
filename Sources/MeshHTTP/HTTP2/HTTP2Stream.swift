import CNGHTTP2
import MeshNet

/// One stream of an ``HTTP2Codec``, whichever its role: bodies in both directions, with their windows.
///
/// On its codec's list until libnghttp2 has closed it and its delegate knows; whoever holds it longer
/// holds a husk. Its header maps go back to the worker's pool with the last reference, since the head may
/// still be logged after the stream's end.
package class HTTP2Stream {
    /// 0 until the request was submitted.
    final var id: Int32
    final let codec: HTTP2Codec
    /// Off the codec's list: it does nothing any more.
    private(set) final var isParted = false
    /// Where the codec's list has it.
    final var position = 0
    final let openedAt: Instant
    private final let pool: HeaderMapPool

    // Taken from the pool.
    private final var head: Unmanaged<HeaderMap>?
    private final var trailers: Unmanaged<HeaderMap>?
    private final var outgoingTrailers: Unmanaged<HeaderMap>?

    // Receiving.
    private final var pauses = 0
    /// Body bytes that arrived while paused; the stream's window bounds them.
    private final var held = ByteBuffer()
    private final var isEndHeld = false
    private final var areTrailersHeld = false
    private final var isTurnWanted = false
    /// Bytes whose window the peer gets back when the stream resumes.
    private final var unconsumed = 0
    /// What the content-length leaves; nil where none was given.
    final var bodyRemaining: UInt64?
    /// END_STREAM has come and was in order.
    final var hasPeerEnded = false
    final var isResetByPeer = false
    /// libnghttp2 has forgotten it.
    final var isClosedOnWire = false
    /// The error it was closed with.
    final var closeCode: UInt32 = 0
    /// Behind it in ``HTTP2ClosedQueue``.
    final var nextClosed: HTTP2Stream?

    // Sending.
    /// The bytes of the call under way.
    private final var borrowed = Bytes(start: nil, count: 0)
    /// Bytes that wait for the peer's window or for our output.
    private final var waiting = ByteBuffer()
    private final var reportedWaiting = 0
    private final var hasDataItem = false
    /// libnghttp2 asked for data in vain, and waits to be told.
    private final var isDeferred = false
    private final var isOverLimit = false
    private final var isBlockTold = false
    final var isHeadSubmitted = false
    private final var isHeadSent = false
    final var isEndQueued = false
    /// The final response head has come: what follows are trailers.
    final var hasFinalHead = false
    /// Our END_STREAM is on the sink.
    final var hasSentEnd = false
    /// RST_STREAM was submitted: nothing more is sent.
    private final var isGivenUp = false
    /// When what still waits for the peer's window is given up; nil while somebody else looks after it.
    final var flushDeadline: Instant?

    package private(set) final var bytesReceived: UInt64 = 0
    package private(set) final var bytesSent: UInt64 = 0

    /// Waiting bytes at which the source is told to pause; half of it resumes. The peer does not read,
    /// so more would only lie here.
    private static let waitingBytesMax = 65_536
    /// Held bytes are handed on in pieces, so that the delegate may pause again in between.
    private static let heldPieceBytes = 65_536

    init(id: Int32, codec: HTTP2Codec) {
        self.id = id
        self.codec = codec
        pool = codec.pool
        openedAt = codec.now
    }

    deinit {
        let pool = pool
        if let head { pool.give(head) }
        if let trailers { pool.give(trailers) }
        if let outgoingTrailers { pool.give(outgoingTrailers) }
    }

    // MARK: Roles

    /// Somebody wants to hear of it.
    var isAttached: Bool { false }
    /// libnghttp2 takes DATA for it although its HEADERS are not yet packed.
    var takesDataEarly: Bool { false }
    func deliver(_ bytes: Bytes, endStream: Bool) {}
    func deliver(trailers: HeaderMap) {}
    func deliver(isBlocked: Bool) {}
    /// The last of what is to be sent was taken.
    func endTaken() {}
    /// Our END_STREAM is on the sink.
    func sendingEnded() {}
    /// libnghttp2 has forgotten it; the delegate hears what it has not heard yet.
    func ended(_ code: UInt32) {}
    func connectionEnded(_ reason: StreamResetReason) {}

    // MARK: Storage

    // The maps live as long as the stream.
    final var headMap: Uncounted<HeaderMap> {
        let map = head ?? pool.take()
        head = map
        return Uncounted(opaque: map.toOpaque())
    }

    package final func releaseHead() {
        guard let head else { return }
        self.head = nil
        pool.give(head)
    }

    final var trailersMap: Uncounted<HeaderMap> {
        let map = trailers ?? pool.take()
        trailers = map
        return Uncounted(opaque: map.toOpaque())
    }

    /// The head was told, and nobody asks for it again.
    final func giveHeadBack() {
        guard !codec.settings.keepsHeads, let head else { return }
        self.head = nil
        pool.give(head)
    }

    final func countReceived(_ count: Int) { bytesReceived &+= UInt64(count) }
    final func countSent(_ count: Int) { bytesSent &+= UInt64(count) }

    /// Off the list: nothing leads back to the codec.
    final func part() {
        waiting.release()
        releaseHeld()
        reportWaiting()
        isParted = true
    }

    private func releaseHeld() {
        guard !held.isEmpty else { return }
        let count = held.count
        held.release()
        codec.held(-count)
    }

    // MARK: Receiving

    final func receive(_ bytes: Bytes, endStream: Bool) {
        guard !isParted, !hasPeerEnded else { return }
        guard isAttached else {
            hasPeerEnded = endStream
            return
        }
        if let remaining = bodyRemaining {
            guard UInt64(bytes.count) <= remaining,
                !endStream || UInt64(bytes.count) == remaining
            else { return codec.refuse(self, .message) }
            bodyRemaining = remaining - UInt64(bytes.count)
        }
        if endStream { hasPeerEnded = true }
        if pauses > 0 || !held.isEmpty {
            held.append(bytes)
            codec.held(bytes.count)
            unconsumed += bytes.count
            isEndHeld = endStream
            return
        }
        deliver(bytes, endStream: endStream)
        guard !endStream else { return }
        if pauses > 0 { unconsumed += bytes.count } else { consume(bytes.count) }
    }

    final func receive(trailers: HeaderMap) {
        guard !isParted else { return }
        if let remaining = bodyRemaining, remaining > 0 { return codec.refuse(self, .message) }
        hasPeerEnded = true
        let isEmpty = !HTTP1Trailers.reduce(trailers)
        if pauses > 0 || !held.isEmpty {
            if isEmpty { isEndHeld = true } else { areTrailersHeld = true }
        } else if isEmpty {
            deliver(Bytes(start: nil, count: 0), endStream: true)
        } else {
            deliver(trailers: trailers)
        }
    }

    /// Gives the peer its window back.
    private func consume(_ count: Int) {
        guard count > 0, !isClosedOnWire, !hasPeerEnded, !isParted else { return }
        nghttp2_session_consume_stream(codec.raw, id, count)
    }

    package final func pauseReading() { pauses += 1 }

    package final func resumeReading() {
        guard pauses > 0 else { return }
        pauses -= 1
        guard pauses == 0, !isParted, isAttached else { return }
        if !held.isEmpty || isEndHeld || areTrailersHeld {
            guard !isTurnWanted else { return }
            isTurnWanted = true
            codec.wantTurn(for: self)
        } else if unconsumed > 0 {
            consume(unconsumed)
            unconsumed = 0
            codec.pump()
        }
    }

    /// A turn of its own: what was held goes on.
    final func deliverHeld() {
        isTurnWanted = false
        // Taken out, so that whoever ends the stream in the call does not pull the bytes from under it.
        var rest = ByteBuffer()
        swap(&rest, &held)
        codec.held(-rest.count)
        while pauses == 0, !rest.isEmpty, isAttached {
            let count = min(rest.count, Self.heldPieceBytes)
            let isLast = count == rest.count && isEndHeld
            if isLast { isEndHeld = false }
            deliver(Bytes(rebasing: rest.bytes[..<count]), endStream: isLast)
            rest.consume(count)
        }
        if !rest.isEmpty, isAttached {
            swap(&rest, &held)
            codec.held(held.count)
        }
        guard pauses == 0, held.isEmpty else { return }
        if isAttached, isEndHeld {
            isEndHeld = false
            deliver(Bytes(start: nil, count: 0), endStream: true)
        } else if isAttached, areTrailersHeld {
            areTrailersHeld = false
            deliver(trailers: trailersMap.counted)
        } else if isAttached, unconsumed > 0 {
            consume(unconsumed)
            unconsumed = 0
        }
        if isClosedOnWire, !isAttached { codec.remove(self) }
    }

    /// libnghttp2 has forgotten it. A message that came whole but is still held stays to be delivered.
    final func closedOnWire() {
        if isAttached, hasPeerEnded, !isResetByPeer, !held.isEmpty || isEndHeld || areTrailersHeld {
            return
        }
        ended(closeCode)
        codec.remove(self)
    }

    // MARK: Sending

    package final func sendData(_ bytes: Bytes, endStream: Bool) {
        guard !isParted, isAttached, isHeadSubmitted, !isEndQueued else { return }
        isEndQueued = endStream
        guard endStream || !bytes.isEmpty else { return }
        if codec.mayPump {
            borrowed = bytes
            offerData()
            codec.pump()
            keepBorrowed()
        } else {
            waiting.append(bytes)
            offerData()
            codec.pump()
        }
        reportWaiting()
        if endStream { endTaken() } else { updateBlocked() }
    }

    package final func sendTrailers(_ map: HeaderMap) {
        guard !isParted, isAttached, isHeadSubmitted, !isEndQueued else { return }
        guard map.count > 0 else {
            return sendData(Bytes(start: nil, count: 0), endStream: true)
        }
        isEndQueued = true
        if !hasDataItem, waiting.isEmpty, isHeadSent || takesDataEarly {
            submit(trailers: map, borrows: codec.mayPump)
        } else {
            // They follow the data, whenever that goes.
            let copy = outgoingTrailers ?? pool.take()
            outgoingTrailers = copy
            copy._withUnsafeGuaranteedRef { $0.copy(from: map) }
            offerData()
        }
        codec.pump()
        endTaken()
    }

    private func submit(trailers map: HeaderMap, borrows: Bool) {
        HTTP2FieldWriter.trailers(map, borrows: borrows) { fields, count in
            _ = nghttp2_submit_headers(
                codec.raw,
                UInt8(NGHTTP2_FLAG_END_STREAM.rawValue),
                id,
                nil,
                fields,
                count,
                nil
            )
        }
    }

    /// Our HEADERS are packed: data may follow.
    final func headSent() {
        guard !isHeadSent, isHeadSubmitted, !isParted else { return }
        isHeadSent = true
        if !waiting.isEmpty || isEndQueued, !hasSentEnd { offerData() }
    }

    /// Tells libnghttp2 that there is something to send.
    private func offerData() {
        guard id > 0, isHeadSent || takesDataEarly, !isClosedOnWire else { return }
        if !hasDataItem {
            hasDataItem = true
            let user = Unmanaged.passUnretained(self).toOpaque()
            var provider = nghttp2_data_provider(
                source: nghttp2_data_source(ptr: user),
                read_callback: HTTP2Callbacks.readData
            )
            nghttp2_submit_data(
                codec.raw,
                UInt8(NGHTTP2_FLAG_END_STREAM.rawValue),
                id,
                &provider
            )
        } else {
            resumeData()
        }
    }

    final func resumeData() {
        guard isDeferred, !isClosedOnWire, !isParted else { return }
        guard !waiting.isEmpty || !borrowed.isEmpty || isEndQueued else { return }
        isDeferred = false
        nghttp2_session_resume_data(codec.raw, id)
    }

    /// How much of the next DATA frame there is, and whether it is the last (libnghttp2's read callback).
    final func nextPayload(upTo limit: Int, _ flags: inout UInt32) -> Int {
        guard !isParted else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
        let pending = waiting.count + borrowed.count
        if codec.isOutputBlocked && pending > 0 || pending == 0 && !isEndQueued {
            isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        flags |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        let count = min(limit, pending)
        guard count == pending, isEndQueued else { return count }
        flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
        if let outgoingTrailers {
            flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            outgoingTrailers._withUnsafeGuaranteedRef { submit(trailers: $0, borrows: true) }
        }
        return count
    }

    /// Moves so many bytes onto the output: those that waited, then those of the call under way.
    final func take(_ count: Int, into output: inout ByteBuffer) {
        countSent(count + HTTP2Codec.frameHeaderBytes)
        let fromWaiting = min(count, waiting.count)
        if fromWaiting > 0 {
            output.append(Bytes(rebasing: waiting.bytes[..<fromWaiting]))
            waiting.consume(fromWaiting)
            if waiting.isEmpty { waiting.release() }
            reportWaiting()
            if isOverLimit, waiting.count <= Self.waitingBytesMax / 2 { codec.relieve(self) }
        }
        let rest = count - fromWaiting
        guard rest > 0 else { return }
        output.append(Bytes(rebasing: borrowed[..<rest]))
        borrowed = Bytes(rebasing: borrowed[rest...])
    }

    private func keepBorrowed() {
        if !borrowed.isEmpty, !isParted, !isGivenUp { waiting.append(borrowed) }
        borrowed = Bytes(start: nil, count: 0)
    }

    private func reportWaiting() {
        guard waiting.count != reportedWaiting else { return }
        codec.stats?.change(.pendingSendBytes, by: waiting.count - reportedWaiting)
        reportedWaiting = waiting.count
    }

    /// Tells the delegate to pause its source, or to resume it, where that has changed.
    final func updateBlocked() {
        guard !isParted, isAttached, isHeadDelivered else { return }
        if waiting.count > Self.waitingBytesMax { isOverLimit = true }
        if waiting.count <= Self.waitingBytesMax / 2 { isOverLimit = false }
        let isBlocked = !isEndQueued && (isOverLimit || codec.isOutputBlocked)
        guard isBlocked != isBlockTold else { return }
        isBlockTold = isBlocked
        deliver(isBlocked: isBlocked)
    }

    /// A delegate that has not heard of its stream's head cannot pause anything.
    var isHeadDelivered: Bool { true }

    // MARK: Reset

    /// Tells the peer; the delegate is the caller's business.
    final func submitReset(_ code: HTTP2ErrorCode) {
        guard !isParted, !isClosedOnWire, !isGivenUp else { return }
        isGivenUp = true
        waiting.release()
        releaseHeld()
        reportWaiting()
        nghttp2_submit_rst_stream(codec.raw, 0, id, code.rawValue)
        codec.pump()
    }
}
