import MeshNet

/// One TCP connection to an ``Upstream``. The client's first byte, which is not part of what follows, says
/// what it is for:
///
///     E   what comes goes back
///     D   bytes are sent for ever
///     U   bytes are read for ever
final class UpstreamTCPConnection: ConnectionDelegate, SinkClient {
    private enum Service { case echo, download, upload }

    private let answers: UpstreamAnswers
    private var connection: Connection?
    private var service: Service?
    private var isBlocked = false

    /// Pieces written before other connections get their turn.
    private static let piecesPerTurn = 8

    init(_ answers: UpstreamAnswers) { self.answers = answers }

    func connectionEstablished(_ connection: Connection) { self.connection = connection }

    func connection(_ connection: Connection, received bytes: Bytes) -> Int {
        guard let service else {
            begin(connection, bytes[0])
            if self.service == .echo, bytes.count > 1 {
                connection.write(Bytes(rebasing: bytes[1...]))
            }
            return bytes.count
        }
        if service == .echo { connection.write(bytes) }
        return bytes.count
    }

    private func begin(_ connection: Connection, _ letter: UInt8) {
        switch letter {
        case UInt8(ascii: "E"): service = .echo
        case UInt8(ascii: "U"): service = .upload
        case UInt8(ascii: "D"):
            service = .download
            connection.client = self
            connection.wantTurn()
        default: connection.abort()
        }
    }

    func takeTurn() {
        guard let connection else { return }
        for _ in 0..<Self.piecesPerTurn where !isBlocked { connection.write(Bytes(answers.flood)) }
        if !isBlocked { connection.wantTurn() }
    }

    /// A download does not end with its client's direction.
    func connectionReadEnded(_ connection: Connection) {
        if service != .download { connection.closeAfterFlush() }
    }

    func connectionOutputBlocked(_ connection: Connection) {
        isBlocked = true
        if service == .echo { connection.pauseReading() }
    }

    func connectionOutputUnblocked(_ connection: Connection) {
        isBlocked = false
        if service == .echo { connection.resumeReading() } else { connection.wantTurn() }
    }

    func connectionClosed(_ connection: Connection, _ reason: ConnectionCloseReason) {
        connection.client = nil
        self.connection = nil
    }
}
