import MeshHTTP
import MeshNet

/// The wire of the second codec: streams multiplexed over one connection in length-prefixed frames.
/// Nobody speaks it; it exists to prove that nothing above a codec knows HTTP/1.
///
///     kind (1) · flags (1) · stream (4, big-endian) · length (4, big-endian) · payload
///
/// A head is its fields as `name\nvalue\n`.
package struct Frame {
    package enum Kind: UInt8 { case head = 1, data, trailers, reset, informational }

    package static let headerBytes = 10
    /// Longer frames are a broken peer.
    static let payloadBytesMax = 1 << 20

    package let kind: Kind
    package let stream: UInt32
    package let endStream: Bool
    package let payload: Bytes

    /// The first frame and how many bytes it takes; nil where more are needed.
    package enum Parsed {
        case frame(Frame, Int)
        case needsMore
        case broken
    }

    package static func parse(_ bytes: Bytes) -> Parsed {
        guard bytes.count >= headerBytes else { return .needsMore }
        func number(_ at: Int) -> Int {
            (0..<4).reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
        }
        let length = number(6)
        guard let kind = Kind(rawValue: bytes[0]), bytes[1] <= 1, length <= payloadBytesMax else {
            return .broken
        }
        guard bytes.count >= headerBytes + length else { return .needsMore }
        let frame = Frame(
            kind: kind,
            stream: UInt32(number(2)),
            endStream: bytes[1] == 1,
            payload: Bytes(rebasing: bytes[headerBytes..<headerBytes + length])
        )
        return .frame(frame, headerBytes + length)
    }

    static func append(
        _ kind: Kind,
        stream: UInt32,
        endStream: Bool,
        _ payload: Bytes,
        to output: inout ByteBuffer
    ) {
        output.append(byte: kind.rawValue)
        output.append(byte: endStream ? 1 : 0)
        for number in [stream, UInt32(payload.count)] {
            for shift in [24, 16, 8, 0] {
                output.append(byte: UInt8(truncatingIfNeeded: number >> UInt32(shift)))
            }
        }
        output.append(payload)
    }

    static func append(
        _ kind: Kind,
        stream: UInt32,
        endStream: Bool,
        _ fields: HeaderMap,
        to output: inout ByteBuffer
    ) {
        var text: [UInt8] = []
        fields.forEach { name, value in
            text += name
            text.append(0x0A)
            text += value
            text.append(0x0A)
        }
        text.withUnsafeBytes {
            append(kind, stream: stream, endStream: endStream, $0, to: &output)
        }
    }

    /// The fields of a head or trailer section.
    package func fields(into map: HeaderMap) {
        map.removeAll()
        let lines = payload.split(separator: 0x0A, omittingEmptySubsequences: false)
        for at in stride(from: 0, to: lines.count - 1, by: 2) {
            map.append(
                wireName: Bytes(rebasing: lines[at]),
                value: Bytes(rebasing: lines[at + 1])
            )
        }
    }
}

extension Frame {
    /// A frame as bytes, for scripts.
    package static func bytes(
        _ kind: Kind,
        stream: UInt32,
        endStream: Bool = false,
        fields: [(String, String)] = [],
        data: String = ""
    ) -> [UInt8] {
        var output = ByteBuffer()
        var text = data
        for (name, value) in fields { text += "\(name)\n\(value)\n" }
        text.withUTF8 {
            append(kind, stream: stream, endStream: endStream, Bytes($0), to: &output)
        }
        return Array(output.bytes)
    }
}
