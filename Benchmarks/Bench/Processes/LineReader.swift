import Glibc

/// Reads lines from a child's output.
final class LineReader {
    private let descriptor: Int32
    private let interruption: Interruption
    private var bytes: [UInt8] = []
    private(set) var isAtEnd = false

    init(_ descriptor: Int32, _ interruption: Interruption) {
        self.descriptor = descriptor
        self.interruption = interruption
    }

    /// The next line; what comes before the end counts as one. Nil at the end, or after so many seconds.
    ///
    /// - Parameter meanwhile: called at least four times a second.
    func line(within seconds: Double, meanwhile: () -> Void = {}) throws -> String? {
        let deadline = Clock.seconds() + seconds
        while true {
            if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                defer { bytes.removeFirst(end + 1) }
                return String(decoding: bytes[..<end], as: UTF8.self)
            }
            if isAtEnd {
                defer { bytes.removeAll() }
                return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
            }
            let left = deadline - Clock.seconds()
            guard left > 0 else { return nil }
            if try interruption.isReadable(descriptor, within: min(left, 0.25)) {
                var room = [UInt8](repeating: 0, count: 65_536)
                let count = read(descriptor, &room, room.count)
                if count > 0 { bytes += room[..<count] } else { isAtEnd = true }
            }
            meanwhile()
        }
    }
}
