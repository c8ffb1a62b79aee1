import MeshNet

/// A raw connection that carries bytes one way, as many as it can.
final class BulkLane: LoadLane, DeferredWork {
    private var isBlocked = false
    private var isDeferred = false

    /// Written at one go: enough to bypass the connection's buffer.
    private static let pieceBytes = 65_536
    /// Written before others get their turn: a fast reader never lets the connection block.
    private static let piecesPerTurn = 16
    private static let piece = RepeatedBytes(count: pieceBytes)

    private var isUpload: Bool { generator.plan.traffic == .tcpUpload }

    override func established(_ connection: Connection) {
        isBlocked = false
        // Two pieces: one on its way to the kernel, one behind it.
        connection.outputHighWatermark = 2 * Self.pieceBytes
        connection.output.append(
            byte: isUpload ? EchoLane.Service.upload : EchoLane.Service.download
        )
        connection.outputGrew()
        if isUpload { fill() }
    }

    override func received(_ bytes: Bytes) -> Int {
        isProductive = true
        return bytes.count
    }

    override func outputBlocked() { isBlocked = true }

    override func outputUnblocked() {
        isBlocked = false
        isProductive = true
        fill()
    }

    override func lost(_ fault: LoadFault) { generator.count(fault) }

    private func fill() {
        for _ in 0..<Self.piecesPerTurn {
            guard !isBlocked, isOpen, generator.phase != .done, let connection else { return }
            connection.write(Self.piece.bytes)
        }
        guard !isBlocked, !isDeferred else { return }
        isDeferred = true
        generator.loop.deferWork(self)
    }

    func runDeferred() {
        isDeferred = false
        fill()
    }
}

/// Bytes that nobody looks at, for ever.
private final class RepeatedBytes: Sendable {
    // Written once, before anybody reads.
    nonisolated(unsafe) let bytes: Bytes

    init(count: Int) {
        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        storage.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "x"))
        bytes = Bytes(storage)
    }

    deinit { bytes.deallocate() }
}
