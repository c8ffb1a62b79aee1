import MeshConfig
import MeshNet

/// How lines of the process's own log look.
package enum LogStyle: Sendable {
    /// `[date time][thread][level][component] message`
    case envoy
    /// `time level scope message key=value …`, the first four set apart by tabs
    case istio
    /// An object with `level`, `time`, `scope`, `message` and the keys
    case istioJSON
}

/// One line as Istio's agents log it, in text or JSON. The caller gives the buffer to each step, as it
/// owns it; ``begin(_:_:_:message:at:)`` comes first and ``end(_:)`` last.
///
/// What a peer has sent can stand in any value: nothing of it can end the line or its quotes.
package struct IstioLogLine {
    private let isJSON: Bool
    private var hasFields = false

    package init(isJSON: Bool) { self.isJSON = isJSON }

    package mutating func begin(
        _ buffer: inout ByteBuffer,
        _ level: LogLevel,
        _ scope: StaticString,
        message: StaticString,
        at time: WallTime
    ) {
        head(&buffer, level, scope.description, at: time)
        buffer.append(message)
        if isJSON { buffer.append("\"" as StaticString) }
    }

    package mutating func begin(
        _ buffer: inout ByteBuffer,
        _ level: LogLevel,
        _ scope: String,
        message: String,
        at time: WallTime
    ) {
        head(&buffer, level, scope, at: time)
        if isJSON {
            appendJSON(message, to: &buffer)
            buffer.append("\"" as StaticString)
        } else {
            // A peer's text must not look like a line of ours.
            for byte in message.utf8 { buffer.append(byte: byte < 0x20 ? UInt8(ascii: " ") : byte) }
        }
    }

    private mutating func head(
        _ buffer: inout ByteBuffer,
        _ level: LogLevel,
        _ scope: String,
        at time: WallTime
    ) {
        hasFields = false
        if isJSON {
            buffer.append("{\"level\":\"" as StaticString)
            buffer.append(level.istioName)
            buffer.append("\",\"time\":\"" as StaticString)
            Self.timeFormat.append(time, to: &buffer)
            buffer.append("\",\"scope\":\"" as StaticString)
            buffer.append(scope)
            buffer.append("\",\"message\":\"" as StaticString)
        } else {
            Self.timeFormat.append(time, to: &buffer)
            buffer.append("\t" as StaticString)
            buffer.append(level.istioName)
            buffer.append("\t" as StaticString)
            buffer.append(scope)
            buffer.append("\t" as StaticString)
        }
    }

    /// A value in quotes.
    package mutating func field(_ buffer: inout ByteBuffer, _ key: StaticString, _ value: String) {
        begin(&buffer, key)
        buffer.append("\"" as StaticString)
        if isJSON { appendJSON(value, to: &buffer) } else { Self.appendQuoted(value, to: &buffer) }
        buffer.append("\"" as StaticString)
    }

    package mutating func field(
        _ buffer: inout ByteBuffer,
        _ key: StaticString,
        _ value: StaticString
    ) {
        begin(&buffer, key)
        buffer.append("\"" as StaticString)
        buffer.append(value)
        buffer.append("\"" as StaticString)
    }

    package mutating func field(_ buffer: inout ByteBuffer, _ key: StaticString, _ value: UInt64) {
        begin(&buffer, key)
        buffer.append(decimal: value)
    }

    /// A value that text leaves without quotes, such as an address, unless it has something in it that
    /// no address has.
    package mutating func bareField(
        _ buffer: inout ByteBuffer,
        _ key: StaticString,
        _ value: String
    ) {
        guard !isJSON, !value.isEmpty, value.utf8.allSatisfy(Self.isBare) else {
            return field(&buffer, key, value)
        }
        begin(&buffer, key)
        buffer.append(value)
    }

    package func end(_ buffer: inout ByteBuffer) {
        if isJSON { buffer.append("}" as StaticString) }
        buffer.append("\n" as StaticString)
    }

    private mutating func begin(_ buffer: inout ByteBuffer, _ key: StaticString) {
        if isJSON {
            buffer.append(",\"" as StaticString)
            buffer.append(key)
            buffer.append("\":" as StaticString)
        } else {
            buffer.append(byte: hasFields ? UInt8(ascii: " ") : UInt8(ascii: "\t"))
            buffer.append(key)
            buffer.append("=" as StaticString)
        }
        hasFields = true
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: ":"),
            UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "["), UInt8(ascii: "]"),
            UInt8(ascii: "/"), UInt8(ascii: "@"):
            true
        default: false
        }
    }

    private func appendJSON(_ text: String, to buffer: inout ByteBuffer) {
        var text = text
        text.withUTF8 { JSONWriter.appendEscaped(Bytes($0), to: &buffer) }
    }

    /// Rust's quoting, which readers of ztunnel's lines undo: `\"`, `\\`, `\n`, and `\u{1b}` for what
    /// has no form on paper.
    static func appendQuoted(_ text: String, to buffer: inout ByteBuffer) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": buffer.append("\\\"" as StaticString)
            case "\\": buffer.append("\\\\" as StaticString)
            case "\n": buffer.append("\\n" as StaticString)
            case "\r": buffer.append("\\r" as StaticString)
            case "\t": buffer.append("\\t" as StaticString)
            case "\0": buffer.append("\\0" as StaticString)
            case " "..."~": buffer.append(byte: UInt8(truncatingIfNeeded: scalar.value))
            default:
                if isPrintable(scalar) {
                    buffer.append(String(scalar))
                } else {
                    buffer.append("\\u{" as StaticString)
                    buffer.append(hexadecimal: Int(scalar.value))
                    buffer.append("}" as StaticString)
                }
            }
        }
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.properties.isGraphemeExtend { return false }
        return switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator, .spaceSeparator:
            false
        default: true
        }
    }

    /// `2024-04-11T15:38:42.182974Z`
    private static let timeFormat = TimeFormat(parts: [
        .year, .literal("-"), .month, .literal("-"), .day, .literal("T"), .hour, .literal(":"),
        .minute, .literal(":"), .second, .literal("."), .fraction(digits: 6), .literal("Z"),
    ])
}

extension LogLevel {
    /// As Istio writes it; it has five.
    package var istioName: StaticString {
        switch self {
        case .trace: "trace"
        case .debug: "debug"
        case .info: "info"
        case .warning: "warn"
        case .error, .critical: "error"
        case .off: "off"
        }
    }
}
