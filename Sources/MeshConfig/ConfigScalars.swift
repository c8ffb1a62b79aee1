/// A proto enum: a case per value, numbered as in the proto file.
package protocol ConfigEnum: RawRepresentable, CaseIterable where RawValue == Int {
    /// The proto value name. By default the case name in capitals: `roundRobin` → `ROUND_ROBIN`.
    var name: String { get }
}

extension ConfigEnum {
    package var name: String { ConfigObject.snakeCase(String(describing: self)).uppercased() }
}

/// The scalar fields of a message, in the forms ProtoJSON allows.
extension ConfigObject {
    // MARK: Strings and bytes

    package func string(_ key: String) -> String? {
        guard let node = node(key) else { return nil }
        guard case .string(let text) = node.content else {
            mismatch(key, "a string", node)
            return nil
        }
        return text
    }

    package func string(_ key: String, default fallback: String) -> String {
        string(key) ?? fallback
    }

    /// Absent or empty is an error.
    package func requiredString(_ key: String) -> String {
        guard isPresent(key) else {
            error("\(key) is required")
            return ""
        }
        guard let text = string(key) else { return "" }
        if text.isEmpty { error("\(key) must not be empty", at: key) }
        return text
    }

    package func strings(_ key: String) -> [String] {
        elements(key).compactMap { node in
            guard case .string(let text) = node.content else {
                mismatch(key, "a list of strings", node)
                return nil
            }
            return text
        }
    }

    /// Reports an error at the first element of list `key` that is the string `text`.
    package func error(_ message: String, at key: String, element text: String) {
        let index = elements(key).firstIndex { node in
            switch node.content {
            case .string(let value), .number(let value): value == text
            default: false
            }
        }
        guard let index else { return error(message, at: key) }
        diagnostics.error(
            message,
            path: path.member(key).element(index),
            at: elements(key)[index].position
        )
    }

    /// A map from strings to strings, in file order.
    package func stringEntries(_ key: String) -> [(key: String, value: String)] {
        entries(key).compactMap { name, value in
            guard case .string(let text) = value else {
                error(
                    "expected strings as values; \(ConfigNode.quoted(name)) has \(value)",
                    at: key
                )
                return nil
            }
            return (name, text)
        }
    }

    /// Base64, standard or URL-safe, with or without padding.
    package func bytes(_ key: String) -> [UInt8]? {
        guard let node = node(key) else { return nil }
        guard case .string(let text) = node.content, let bytes = Base64.decode(text) else {
            mismatch(key, "base64", node)
            return nil
        }
        return bytes
    }

    /// In quotes too, as Envoy's parser has it.
    package func bool(_ key: String) -> Bool? {
        if let wrapper = wrapper(key) { return wrapper.bool("value", default: false) }
        guard let node = node(key) else { return nil }
        switch node.content {
        case .bool(let value): return value
        case .string("true"): return true
        case .string("false"): return false
        default:
            mismatch(key, "true or false", node)
            return nil
        }
    }

    package func bool(_ key: String, default fallback: Bool) -> Bool { bool(key) ?? fallback }

    // MARK: Numbers

    /// A number, or a string that holds one. Integral decimals (`1.0`, `1e3`) are integers too. A
    /// wrapper may be spelled out: `{"value": 5}`.
    private func integer<I: FixedWidthInteger>(_ key: String, in range: ClosedRange<I>) -> I? {
        if let wrapper = wrapper(key) { return wrapper.integer("value", in: range) }
        guard let node = node(key) else { return nil }
        return integer(key, node, in: range)
    }

    /// The message in field `key`, where a number or a Boolean is given as `{"value": ...}` (envoy:
    /// google.protobuf.UInt32Value and the like, which Envoy reads in both forms).
    private func wrapper(_ key: String) -> ConfigObject? {
        guard case .object? = node(key)?.content else { return nil }
        return object(key)
    }

    private func integer<I: FixedWidthInteger>(
        _ key: String,
        _ node: ConfigNode,
        in range: ClosedRange<I>
    ) -> I? {
        let text: String
        switch node.content {
        case .number(let digits), .string(let digits): text = digits
        default:
            mismatch(key, "a whole number", node)
            return nil
        }
        // Swift reads "+5", which ProtoJSON does not know.
        if !text.hasPrefix("+"), let value = I(text) {
            if range.contains(value) { return value }
        } else if let value = Double(text), value.isFinite, !text.hasPrefix("+"),
            text.utf8.allSatisfy({ !($0 | 0x20 == UInt8(ascii: "x")) })
        {
            if value != value.rounded() {
                mismatch(key, "a whole number", node)
                return nil
            }
            if let exact = I(exactly: value), range.contains(exact) { return exact }
        } else {
            mismatch(key, "a whole number", node)
            return nil
        }
        mismatch(key, "a number from \(range.lowerBound) to \(range.upperBound)", node)
        return nil
    }

    package func uint32(
        _ key: String,
        in range: ClosedRange<UInt32> = UInt32.min...UInt32.max
    ) -> UInt32? { integer(key, in: range) }

    package func uint32(
        _ key: String,
        default fallback: UInt32,
        in range: ClosedRange<UInt32> = UInt32.min...UInt32.max
    ) -> UInt32 { integer(key, in: range) ?? fallback }

    package func uint64(
        _ key: String,
        in range: ClosedRange<UInt64> = UInt64.min...UInt64.max
    ) -> UInt64? { integer(key, in: range) }

    package func uint64(_ key: String, default fallback: UInt64) -> UInt64 {
        uint64(key) ?? fallback
    }

    package func int32(
        _ key: String,
        in range: ClosedRange<Int32> = Int32.min...Int32.max
    ) -> Int32? { integer(key, in: range) }

    package func int32(_ key: String, default fallback: Int32) -> Int32 { int32(key) ?? fallback }

    package func int64(
        _ key: String,
        in range: ClosedRange<Int64> = Int64.min...Int64.max
    ) -> Int64? { integer(key, in: range) }

    package func int64(_ key: String, default fallback: Int64) -> Int64 { int64(key) ?? fallback }

    /// A list of unsigned numbers.
    package func uint32s(
        _ key: String,
        in range: ClosedRange<UInt32> = UInt32.min...UInt32.max
    ) -> [UInt32] { elements(key).compactMap { integer(key, $0, in: range) } }

    package func double(_ key: String) -> Double? {
        if let wrapper = wrapper(key) { return wrapper.double("value", default: 0) }
        guard let node = node(key) else { return nil }
        switch node.content {
        case .number(let text):
            if let value = Double(text), value.isFinite { return value }
        case .string("NaN"): return .nan
        case .string("Infinity"): return .infinity
        case .string("-Infinity"): return -.infinity
        case .string(let text):
            let plain = text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || "+-.eE".utf8.contains($0)
            }
            if plain, let value = Double(text), value.isFinite { return value }
        default: break
        }
        mismatch(key, "a number", node)
        return nil
    }

    package func double(_ key: String, in range: ClosedRange<Double>) -> Double? {
        guard let value = double(key) else { return nil }
        if range.contains(value) { return value }
        error("must be from \(range.lowerBound) to \(range.upperBound), got \(value)", at: key)
        return nil
    }

    package func double(_ key: String, default fallback: Double) -> Double {
        double(key) ?? fallback
    }

    // MARK: Durations and enums

    /// `"1.5s"`: decimal seconds, at most nine digits after the point. Negative is an error.
    package func duration(_ key: String) -> Duration? { duration(key, atLeast: .zero) }

    /// As ``duration(_:)``, and zero is an error.
    package func positiveDuration(_ key: String) -> Duration? {
        guard let value = duration(key) else { return nil }
        if value > .zero { return value }
        if let node = node(key) { mismatch(key, "a duration longer than zero", node) }
        return nil
    }

    package func duration(_ key: String, default fallback: Duration) -> Duration {
        duration(key) ?? fallback
    }

    package func duration(_ key: String, atLeast least: Duration) -> Duration? {
        guard let node = node(key) else { return nil }
        let given: Duration?
        switch node.content {
        case .string(let text): given = Duration(protoJSON: text)
        case .object: given = object(key)?.spelledOutDuration()
        default: given = nil
        }
        guard let value = given else {
            mismatch(key, "a duration such as \"1.5s\"", node, Self.durationHint(node))
            return nil
        }
        if value < .zero {
            mismatch(key, "a duration that is not negative", node)
            return nil
        }
        if value < least {
            mismatch(key, "a duration of at least \(least.protoJSON)", node)
            return nil
        }
        return value
    }

    /// Seconds without their unit, and milliseconds, are what people write.
    private static func durationHint(_ node: ConfigNode) -> String {
        let text: String
        switch node.content {
        case .number(let digits): text = digits
        case .string(let word): text = word
        default: return ""
        }
        let meant =
            text.hasSuffix("ms")
            ? Int64(text.dropLast(2)).map { Duration.milliseconds($0) }
            : Duration(protoJSON: text + "s")
        return meant.map { "; did you mean \"\($0.protoJSON)\"?" } ?? ""
    }

    /// This object as `{"seconds": 1, "nanos": 500000000}`, which Envoy reads too.
    private func spelledOutDuration() -> Duration? {
        let seconds = int64("seconds", in: -9_223_372_035...9_223_372_035)
        let nanoseconds = int32("nanos", in: -999_999_999...999_999_999)
        return .seconds(seconds ?? 0) + .nanoseconds(Int64(nanoseconds ?? 0))
    }

    /// A value name in any case, or its number, which may be in quotes.
    package func enumeration<E: ConfigEnum>(_ key: String, _ type: E.Type) -> E? {
        guard let node = node(key) else { return nil }
        return enumeration(key, node, type)
    }

    package func enumeration<E: ConfigEnum>(_ key: String, default fallback: E) -> E {
        enumeration(key, E.self) ?? fallback
    }

    package func enumerations<E: ConfigEnum>(_ key: String, _ type: E.Type) -> [E] {
        elements(key).compactMap { enumeration(key, $0, type) }
    }

    private func enumeration<E: ConfigEnum>(
        _ key: String,
        _ node: ConfigNode,
        _ type: E.Type
    ) -> E? {
        switch node.content {
        case .string(let text):
            let name = text.uppercased()
            if let match = E.allCases.first(where: { $0.name.uppercased() == name }) {
                return match
            }
            if let match = Int(text).flatMap({ E(rawValue: $0) }) { return match }
        case .number(let text):
            if let number = Double(text).flatMap({ Int(exactly: $0) }),
                let match = E(rawValue: number)
            {
                return match
            }
        default: break
        }
        let names = E.allCases.map(\.name)
        var hint = ""
        if case .string(let text) = node.content {
            hint = Suggestion.hint(for: text, among: names)
        }
        mismatch(key, "one of \(names.joined(separator: ", "))", node, hint)
        return nil
    }

    private func mismatch(_ key: String, _ expected: String, _ node: ConfigNode, _ hint: String) {
        diagnostics.error(
            "expected \(expected), got \(node)\(hint)",
            path: path.member(key),
            at: node.position
        )
    }
}

extension Duration {
    /// ProtoJSON's form, `-?digits[.digits]s`, within ±292 years (64 bits of nanoseconds, which is as
    /// far as Envoy goes); nil for anything else.
    package init?(protoJSON text: String) {
        var digits = Substring(text)
        guard digits.popLast() == "s" else { return nil }
        let negative = digits.first == "-"
        if negative { digits = digits.dropFirst() }
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        func isNumber(_ part: Substring) -> Bool {
            !part.isEmpty
                && part.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        }
        guard (1...2).contains(parts.count), parts.allSatisfy(isNumber),
            let seconds = Int64(parts[0]), seconds < 9_223_372_036
        else { return nil }
        var nanoseconds: Int64 = 0
        if parts.count == 2 {
            guard parts[1].count <= 9, let fraction = Int64(parts[1]) else { return nil }
            nanoseconds = (parts[1].count..<9).reduce(fraction) { scaled, _ in scaled * 10 }
        }
        let value = Duration.seconds(seconds) + .nanoseconds(nanoseconds)
        self = negative ? .zero - value : value
    }

    /// `1.5s`
    package var protoJSON: String {
        let (seconds, attoseconds) = components
        let nanoseconds = abs(attoseconds / 1_000_000_000)
        if nanoseconds == 0 { return "\(seconds)s" }
        let digits = String(nanoseconds)
        var fraction = String(repeating: "0", count: 9 - digits.count) + digits
        while fraction.hasSuffix("0") { fraction.removeLast() }
        let sign = seconds == 0 && attoseconds < 0 ? "-" : ""
        return "\(sign)\(seconds).\(fraction)s"
    }
}

/// RFC 4648 §4 and §5.
package enum Base64 {
    /// Accepts both alphabets, with or without padding; nil for anything else.
    package static func decode(_ text: String) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(text.utf8.count / 4 * 3)
        var bits: UInt32 = 0
        var count = 0
        var padding = 0
        for byte in text.utf8 {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit = byte - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): digit = byte - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"), UInt8(ascii: "-"): digit = 62
            case UInt8(ascii: "/"), UInt8(ascii: "_"): digit = 63
            case UInt8(ascii: "="):
                padding += 1
                continue
            default: return nil
            }
            guard padding == 0 else { return nil }
            bits = bits << 6 | UInt32(digit)
            count += 1
            if count % 4 != 1 {
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(6 - 2 * ((count - 1) % 4))))
            }
        }
        guard count % 4 != 1, padding == 0 || (count + padding) % 4 == 0, padding <= 2 else {
            return nil
        }
        return out
    }
}
