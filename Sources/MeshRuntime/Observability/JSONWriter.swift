import Glibc
import MeshNet

/// Appends one JSON text (RFC 8259) to a buffer it owns. Commas and colons are its business, the
/// balance of ``beginObject()`` and ``endObject()`` the caller's.
///
/// Text is escaped; ill-formed UTF-8 becomes U+FFFD, so that what comes out is always JSON, whatever
/// a peer sent. It allocates only as its buffer grows.
package struct JSONWriter: ~Copyable {
    package var buffer: ByteBuffer
    /// Spaces per level; zero writes everything on one line.
    private let indentation: Int
    private var depth = 0
    /// What stands before the next token.
    private var needsComma = false
    private var followsKey = false

    package init(_ buffer: consuming ByteBuffer = ByteBuffer(), indentation: Int = 0) {
        self.buffer = buffer
        self.indentation = indentation
    }

    /// Gives up the writer for what it has written.
    package consuming func finish() -> ByteBuffer { buffer }

    package mutating func beginObject() { open(UInt8(ascii: "{")) }
    package mutating func endObject() { close(UInt8(ascii: "}")) }
    package mutating func beginArray() { open(UInt8(ascii: "[")) }
    package mutating func endArray() { close(UInt8(ascii: "]")) }

    package mutating func key(_ name: StaticString) {
        key(Bytes(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    package mutating func key(_ name: String) {
        var name = name
        name.withUTF8 { key(Bytes($0)) }
    }

    package mutating func key(_ name: Bytes) {
        separate()
        quote(name)
        buffer.append(byte: UInt8(ascii: ":"))
        if indentation > 0 { buffer.append(byte: UInt8(ascii: " ")) }
        followsKey = true
    }

    package mutating func null() { literal("null") }
    package mutating func bool(_ value: Bool) { literal(value ? "true" : "false") }

    package mutating func string(_ text: StaticString) {
        string(Bytes(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    package mutating func string(_ text: String) {
        var text = text
        text.withUTF8 { string(Bytes($0)) }
    }

    package mutating func string(_ text: Bytes) {
        separate()
        quote(text)
        needsComma = true
    }

    package mutating func number(_ value: Int) {
        separate()
        buffer.append(decimal: value)
        needsComma = true
    }

    /// JSON has no NaN and no infinity: they become null. Whole numbers are written without fraction.
    package mutating func number(_ value: Double) {
        guard value.isFinite else { return null() }
        if let whole = Int(exactly: value), abs(value) < 9_007_199_254_740_992 {
            return number(whole)
        }
        separate()
        buffer.append(value.description)
        needsComma = true
    }

    /// A text that is JSON already, e.g. by another writer.
    package mutating func raw(_ json: Bytes) {
        separate()
        buffer.append(json)
        needsComma = true
    }

    // MARK: Members, the common case

    package mutating func member(_ name: StaticString, _ value: String) {
        key(name)
        string(value)
    }

    package mutating func member(_ name: StaticString, _ value: Bytes) {
        key(name)
        string(value)
    }

    package mutating func member(_ name: StaticString, _ value: Int) {
        key(name)
        number(value)
    }

    package mutating func member(_ name: StaticString, _ value: Double) {
        key(name)
        number(value)
    }

    package mutating func member(_ name: StaticString, _ value: Bool) {
        key(name)
        bool(value)
    }

    // MARK: Layout

    private mutating func literal(_ text: StaticString) {
        separate()
        buffer.append(text)
        needsComma = true
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        buffer.append(byte: bracket)
        depth += 1
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        depth -= 1
        // An empty object or array stays on its line.
        if needsComma { newLine() }
        buffer.append(byte: bracket)
        needsComma = true
        followsKey = false
    }

    private mutating func separate() {
        if followsKey {
            followsKey = false
            return
        }
        if needsComma { buffer.append(byte: UInt8(ascii: ",")) }
        needsComma = false
        if depth > 0 { newLine() }
    }

    private mutating func newLine() {
        guard indentation > 0 else { return }
        buffer.append(byte: UInt8(ascii: "\n"))
        for _ in 0..<(depth * indentation) { buffer.append(byte: UInt8(ascii: " ")) }
    }

    private mutating func quote(_ text: Bytes) {
        buffer.append(byte: UInt8(ascii: "\""))
        Self.appendEscaped(text, to: &buffer)
        buffer.append(byte: UInt8(ascii: "\""))
    }

    /// Escapes a text for a place between quotation marks; for writers of single lines, too.
    package static func appendEscaped(_ text: Bytes, to buffer: inout ByteBuffer) {
        var clean = 0
        var at = 0
        while at < text.count {
            let byte = text[at]
            if byte < 0x80 {
                guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else {
                    at &+= 1
                    continue
                }
                buffer.append(Bytes(rebasing: text[clean..<at]))
                appendEscape(of: byte, to: &buffer)
                at &+= 1
                clean = at
                continue
            }
            let length = sequenceLength(text, at)
            if length > 0 {
                at &+= length
                continue
            }
            buffer.append(Bytes(rebasing: text[clean..<at]))
            buffer.append("\u{FFFD}" as StaticString)
            at &+= 1
            clean = at
        }
        buffer.append(Bytes(rebasing: text[clean...]))
    }

    private static func appendEscape(of byte: UInt8, to buffer: inout ByteBuffer) {
        switch byte {
        case UInt8(ascii: "\""): buffer.append("\\\"" as StaticString)
        case UInt8(ascii: "\\"): buffer.append("\\\\" as StaticString)
        case 0x08: buffer.append("\\b" as StaticString)
        case 0x0C: buffer.append("\\f" as StaticString)
        case 0x0A: buffer.append("\\n" as StaticString)
        case 0x0D: buffer.append("\\r" as StaticString)
        case 0x09: buffer.append("\\t" as StaticString)
        default:
            buffer.append("\\u00" as StaticString)
            buffer.append(byte: 0x30 + byte >> 4)
            let low = byte & 15
            buffer.append(byte: low < 10 ? 0x30 + low : 0x57 + low)
        }
    }

    /// Length of the well-formed UTF-8 sequence that begins here, or 0 (Unicode 15 table 3-7).
    private static func sequenceLength(_ text: Bytes, _ at: Int) -> Int {
        func isContinuation(_ offset: Int, _ range: ClosedRange<UInt8> = 0x80...0xBF) -> Bool {
            at &+ offset < text.count && range.contains(text[at &+ offset])
        }
        switch text[at] {
        case 0xC2...0xDF: return isContinuation(1) ? 2 : 0
        case 0xE0: return isContinuation(1, 0xA0...0xBF) && isContinuation(2) ? 3 : 0
        case 0xED: return isContinuation(1, 0x80...0x9F) && isContinuation(2) ? 3 : 0
        case 0xE1...0xEF: return isContinuation(1) && isContinuation(2) ? 3 : 0
        case 0xF0:
            return isContinuation(1, 0x90...0xBF) && isContinuation(2) && isContinuation(3) ? 4 : 0
        case 0xF1...0xF3: return isContinuation(1) && isContinuation(2) && isContinuation(3) ? 4 : 0
        case 0xF4:
            return isContinuation(1, 0x80...0x8F) && isContinuation(2) && isContinuation(3) ? 4 : 0
        default: return 0
        }
    }
}
