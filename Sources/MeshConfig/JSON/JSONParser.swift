/// Reads strict JSON (RFC 8259) into a tree that knows where everything stood.
///
/// A file is read to its first syntax error; duplicate keys are reported and reading goes on.
package struct JSONParser {
    package struct Limits: Sendable {
        /// Nested lists and objects; keeps recursion within a thread's stack.
        package var depth = 200
        package var bytes = 64 << 20

        package init() {}
    }

    private struct SyntaxError: Error {
        let position: ConfigPosition
        let message: String
    }

    private let text: [UInt8]
    private let limits: Limits
    private let diagnostics: ConfigDiagnostics
    private var at = 0
    private var line = 1
    private var lineStart = 0
    /// UTF-8 continuation bytes seen in this line: columns count characters.
    private var continuations = 0

    private init(_ text: [UInt8], _ limits: Limits, _ diagnostics: ConfigDiagnostics) {
        self.text = text
        self.limits = limits
        self.diagnostics = diagnostics
    }

    /// The value in `text`, or nil after a syntax error, which `diagnostics` then holds.
    package static func parse(
        _ text: [UInt8],
        limits: Limits = Limits(),
        diagnostics: ConfigDiagnostics
    ) -> ConfigNode? {
        guard text.count <= limits.bytes else {
            diagnostics.error(
                "the file has \(text.count) bytes; the limit is \(limits.bytes)",
                at: .start
            )
            return nil
        }
        var parser = JSONParser(text, limits, diagnostics)
        do {
            return try parser.document()
        } catch {
            diagnostics.error(error.message, at: error.position)
            return nil
        }
    }

    private mutating func document() throws(SyntaxError) -> ConfigNode {
        if text.starts(with: [0xEF, 0xBB, 0xBF]) {
            at = 3
            lineStart = 3
        }
        skipSpace()
        let node = try value(depth: 0)
        skipSpace()
        if at < text.count {
            throw failure("expected the end of the file after the value, got \(seen)")
        }
        return node
    }

    // MARK: Values

    private mutating func value(depth: Int) throws(SyntaxError) -> ConfigNode {
        let start = position
        guard depth <= limits.depth else {
            throw failure("nested deeper than the limit of \(limits.depth) levels")
        }
        guard at < text.count else { throw failure("expected a value, got the end of the file") }
        switch text[at] {
        case UInt8(ascii: "{"): return ConfigNode(.object(try members(depth)), at: start)
        case UInt8(ascii: "["): return ConfigNode(.list(try elements(depth)), at: start)
        case UInt8(ascii: "\""): return ConfigNode(.string(try string()), at: start)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return ConfigNode(.number(try number()), at: start)
        case UInt8(ascii: "t") where word("true"): return ConfigNode(.bool(true), at: start)
        case UInt8(ascii: "f") where word("false"): return ConfigNode(.bool(false), at: start)
        case UInt8(ascii: "n") where word("null"): return ConfigNode(.null, at: start)
        default: throw failure("expected a value, got \(seen)")
        }
    }

    private mutating func members(_ depth: Int) throws(SyntaxError) -> [ConfigNode.Member] {
        at += 1
        var members: [ConfigNode.Member] = []
        var first: [String: ConfigPosition] = [:]
        skipSpace()
        if take("}") { return members }
        while true {
            let start = position
            guard at < text.count, text[at] == UInt8(ascii: "\"") else {
                let comma = members.isEmpty ? "" : " after the comma"
                throw failure("expected a key in double quotes\(comma), got \(seen)")
            }
            let key = try string()
            skipSpace()
            guard take(":") else {
                throw failure("expected \":\" after the key \(ConfigNode.quoted(key)), got \(seen)")
            }
            skipSpace()
            let node = try value(depth: depth + 1)
            if let earlier = first.updateValue(start, forKey: key) {
                diagnostics.error(
                    "the key \(ConfigNode.quoted(key)) appears twice in one object, first at "
                        + "\(earlier)",
                    at: start
                )
            } else {
                members.append(.init(key: key, keyPosition: start, node: node))
            }
            skipSpace()
            if take("}") { return members }
            guard take(",") else {
                throw failure("expected \",\" or \"}\" after a value, got \(seen)")
            }
            skipSpace()
        }
    }

    private mutating func elements(_ depth: Int) throws(SyntaxError) -> [ConfigNode] {
        at += 1
        var nodes: [ConfigNode] = []
        skipSpace()
        if take("]") { return nodes }
        while true {
            nodes.append(try value(depth: depth + 1))
            skipSpace()
            if take("]") { return nodes }
            guard take(",") else {
                throw failure("expected \",\" or \"]\" after an element, got \(seen)")
            }
            skipSpace()
        }
    }

    /// RFC 8259 §6. The text is kept; its range is judged by the field that reads it.
    private mutating func number() throws(SyntaxError) -> String {
        let start = at
        func isDigit(_ index: Int) -> Bool {
            index < text.count && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[index])
        }
        if text[at] == UInt8(ascii: "-") { at += 1 }
        guard isDigit(at) else { throw failure("expected a digit after \"-\", got \(seen)") }
        if text[at] == UInt8(ascii: "0"), isDigit(at + 1) {
            throw failure("a number must not begin with a zero")
        }
        while isDigit(at) { at += 1 }
        if at < text.count, text[at] == UInt8(ascii: ".") {
            at += 1
            guard isDigit(at) else { throw failure("expected a digit after \".\", got \(seen)") }
            while isDigit(at) { at += 1 }
        }
        if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < text.count, text[at] == UInt8(ascii: "+") || text[at] == UInt8(ascii: "-") {
                at += 1
            }
            guard isDigit(at) else { throw failure("expected an exponent, got \(seen)") }
            while isDigit(at) { at += 1 }
        }
        let digits = String(decoding: text[start..<at], as: UTF8.self)
        guard Double(digits)?.isFinite == true else {
            at = start
            throw failure("the number \(digits) is too large")
        }
        return digits
    }

    // MARK: Strings

    private mutating func string() throws(SyntaxError) -> String {
        let opening = position
        at += 1
        var bytes: [UInt8] = []
        var run = at
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "\""):
                bytes += text[run..<at]
                at += 1
                return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"):
                bytes += text[run..<at]
                try escape(into: &bytes)
                run = at
            case 0..<0x20:
                throw failure("a string holds an unescaped control character, \(seen)")
            case 0x80...:
                try character()
            default:
                at += 1
            }
        }
        throw SyntaxError(position: opening, message: "this string has no closing quote")
    }

    /// Steps over one multi-byte character, refusing what is not UTF-8 (RFC 3629 §4).
    private mutating func character() throws(SyntaxError) {
        let (count, second): (Int, ClosedRange<UInt8>) =
            switch text[at] {
            case 0xC2...0xDF: (2, 0x80...0xBF)
            case 0xE0: (3, 0xA0...0xBF)
            case 0xE1...0xEC, 0xEE...0xEF: (3, 0x80...0xBF)
            case 0xED: (3, 0x80...0x9F)
            case 0xF0: (4, 0x90...0xBF)
            case 0xF1...0xF3: (4, 0x80...0xBF)
            case 0xF4: (4, 0x80...0x8F)
            default: (0, 0...0)
            }
        guard count > 0, at + count <= text.count, second.contains(text[at + 1]),
            text[(at + 2)..<(at + count)].allSatisfy({ (0x80...0xBF).contains($0) })
        else { throw failure("the text is not UTF-8: \(seen)") }
        at += count
        continuations += count - 1
    }

    private mutating func escape(into bytes: inout [UInt8]) throws(SyntaxError) {
        let start = position
        at += 1
        guard at < text.count else { throw failure("the file ends inside a string") }
        let plain: Character?
        switch text[at] {
        case UInt8(ascii: "\""): plain = "\""
        case UInt8(ascii: "\\"): plain = "\\"
        case UInt8(ascii: "/"): plain = "/"
        case UInt8(ascii: "b"): plain = "\u{8}"
        case UInt8(ascii: "f"): plain = "\u{C}"
        case UInt8(ascii: "n"): plain = "\n"
        case UInt8(ascii: "r"): plain = "\r"
        case UInt8(ascii: "t"): plain = "\t"
        case UInt8(ascii: "u"): plain = nil
        default:
            throw SyntaxError(position: start, message: "unknown escape: \"\\\" before \(seen)")
        }
        at += 1
        if let plain {
            bytes += String(plain).utf8
            return
        }
        var code = UInt32(try hex4(start))
        if (0xD800...0xDBFF).contains(code), at + 1 < text.count, text[at] == UInt8(ascii: "\\"),
            text[at + 1] == UInt8(ascii: "u")
        {
            at += 2
            let low = UInt32(try hex4(start))
            // Anything but a low half leaves `code` a surrogate, which the check below refuses.
            if (0xDC00...0xDFFF).contains(low) {
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
        }
        guard let scalar = Unicode.Scalar(code) else {
            throw SyntaxError(position: start, message: "an unpaired surrogate is no character")
        }
        bytes += String(scalar).utf8
    }

    private mutating func hex4(_ start: ConfigPosition) throws(SyntaxError) -> UInt16 {
        guard at + 4 <= text.count else {
            throw SyntaxError(position: start, message: "\"\\u\" needs four hex digits")
        }
        var code: UInt16 = 0
        for byte in text[at..<(at + 4)] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw SyntaxError(position: start, message: "\"\\u\" needs four hex digits")
            }
            code = code << 4 | UInt16(digit)
        }
        at += 4
        return code
    }

    // MARK: Tokens

    private mutating func skipSpace() {
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "\n"):
                at += 1
                line += 1
                lineStart = at
                continuations = 0
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
                at += 1
            default:
                return
            }
        }
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard at < text.count, text[at] == UInt8(ascii: scalar) else { return false }
        at += 1
        return true
    }

    private mutating func word(_ word: String) -> Bool {
        guard text[at...].starts(with: word.utf8) else { return false }
        at += word.utf8.count
        return true
    }

    private var position: ConfigPosition {
        ConfigPosition(line: line, column: at - lineStart - continuations + 1)
    }

    /// What stands at the cursor, for a message.
    private var seen: String {
        guard at < text.count else { return "the end of the file" }
        let byte = text[at]
        if byte > 0x20, byte < 0x7F { return ConfigNode.quoted(String(Unicode.Scalar(byte))) }
        return "the byte 0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }

    private func failure(_ message: String) -> SyntaxError {
        SyntaxError(position: position, message: message)
    }
}
