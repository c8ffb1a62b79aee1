import MeshNet

/// A raw connection whose messages come back. The first byte asks for that, and does not come back itself.
final class EchoLane: LoadLane {
    /// Of the message under way.
    fileprivate var remaining = 0

    /// What a raw server does with a connection, by its first byte.
    enum Service {
        static let echo = UInt8(ascii: "E")
        static let download = UInt8(ascii: "D")
        static let upload = UInt8(ascii: "U")
    }

    override init(_ generator: LoadGenerator, index: Int) {
        super.init(generator, index: index)
        slots = [EchoSlot(echo: self)]
    }

    override func established(_ connection: Connection) {
        connection.output.append(byte: Service.echo)
        connection.outputGrew()
        if !generator.isChurn { offerSlots() }
    }

    override func received(_ bytes: Bytes) -> Int {
        let slot = slots[0]
        guard slot.isUnderWay, bytes.count <= remaining else {
            // More than was sent: whatever it is, it is no echo.
            if slot.isUnderWay {
                generator.failed(slot, .wrongEcho)
            } else {
                generator.count(.wrongEcho)
            }
            connection?.abort()
            return bytes.count
        }
        remaining -= bytes.count
        guard remaining == 0 else { return bytes.count }
        answered(slot)
        // FIN, as clients do: RST would reset a tunnel's stream, and HTTP/2 takes a thousand of these for an attack.
        if generator.isChurn { connection?.closeAfterFlush() } else { offerSlots() }
        return bytes.count
    }
}

private final class EchoSlot: RequestSlot {
    // Unchecked: it owns us.
    private unowned(unsafe) let echo: EchoLane

    init(echo: EchoLane) {
        self.echo = echo
        super.init(lane: echo)
    }

    override func send() -> Bool {
        guard let connection = echo.connection else { return false }
        let message = lane.generator.target.request.body
        echo.remaining = message.count
        connection.write(message)
        return true
    }
}
