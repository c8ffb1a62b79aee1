import MeshNet

/// Base64 (RFC 4648 §4) of bytes that come in pieces.
struct Base64Encoder {
    private static let alphabet: StaticString =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    private var bits: UInt32 = 0
    private var kept = 0

    /// Writes what is complete; up to two bytes wait for more.
    mutating func append(_ bytes: Bytes, to output: inout ByteBuffer) {
        let room = output.reserve((bytes.count + kept) / 3 * 4)
        var at = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            kept += 1
            guard kept == 3 else { continue }
            for shift in stride(from: 18, through: 0, by: -6) {
                room[at] = Self.letter(bits >> UInt32(shift))
                at += 1
            }
            bits = 0
            kept = 0
        }
        output.commit(at)
    }

    /// Ends a text: what was kept goes out, padded.
    mutating func finish(to output: inout ByteBuffer) {
        guard kept > 0 else { return }
        let aligned = bits << UInt32(24 - 8 * kept)
        for place in 0..<4 {
            output.append(
                byte: place <= kept
                    ? Self.letter(aligned >> UInt32(18 - 6 * place)) : UInt8(ascii: "=")
            )
        }
        bits = 0
        kept = 0
    }

    private static func letter(_ bits: UInt32) -> UInt8 { alphabet.utf8Start[Int(bits & 63)] }
}

/// Reads what ``Base64Encoder`` writes; texts with their padding may follow one another.
struct Base64Decoder {
    private var bits: UInt32 = 0
    private var kept = 0
    private var padding = 0

    /// No group of four is half read.
    var isBetween: Bool { kept == 0 }

    /// False where the bytes are no base64; `output` then holds what was read before.
    mutating func append(_ bytes: Bytes, to output: inout ByteBuffer) -> Bool {
        for byte in bytes {
            if byte == UInt8(ascii: "=") {
                guard kept >= 2 else { return false }
                padding += 1
                bits <<= 6
            } else {
                guard padding == 0, let value = Self.value(byte) else { return false }
                bits = bits << 6 | value
            }
            kept += 1
            guard kept == 4 else { continue }
            for place in 0..<(3 - padding) {
                output.append(byte: UInt8(truncatingIfNeeded: bits >> UInt32(16 - 8 * place)))
            }
            self = Base64Decoder()
        }
        return true
    }

    private static func value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte) - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte) + 4
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
