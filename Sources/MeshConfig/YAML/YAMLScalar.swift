/// What a plain scalar means (YAML 1.2.2 §10.3.2, the core schema).
enum YAMLScalar {
    static func resolve(_ text: String) -> ConfigNode.Content {
        switch text {
        case "", "~", "null", "Null", "NULL": .null
        case "true", "True", "TRUE": .bool(true)
        case "false", "False", "FALSE": .bool(false)
        // ProtoJSON writes these as strings.
        case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": .string("Infinity")
        case "-.inf", "-.Inf", "-.INF": .string("-Infinity")
        case ".nan", ".NaN", ".NAN": .string("NaN")
        default: number(text).map { .number($0) } ?? .string(text)
        }
    }

    /// The digits as JSON writes them; nil where `text` is no number.
    private static func number(_ text: String) -> String? {
        if text.hasPrefix("0o") { return integer(text.dropFirst(2), radix: 8) }
        if text.hasPrefix("0x") { return integer(text.dropFirst(2), radix: 16) }
        var rest = Substring(text)
        var sign = ""
        if let first = rest.first, first == "-" || first == "+" {
            if first == "-" { sign = "-" }
            rest = rest.dropFirst()
        }
        let whole = takeDigits(&rest)
        var fraction: Substring = ""
        if rest.first == "." {
            rest = rest.dropFirst()
            fraction = takeDigits(&rest)
        }
        guard !whole.isEmpty || !fraction.isEmpty else { return nil }
        var exponent = ""
        if let mark = rest.first, mark == "e" || mark == "E" {
            rest = rest.dropFirst()
            exponent = "e"
            if let first = rest.first, first == "-" || first == "+" {
                exponent.append(first)
                rest = rest.dropFirst()
            }
            let digits = takeDigits(&rest)
            guard !digits.isEmpty else { return nil }
            exponent += digits
        }
        guard rest.isEmpty else { return nil }
        let trimmed = whole.drop { $0 == "0" }
        return sign + (trimmed.isEmpty ? "0" : trimmed) + (fraction.isEmpty ? "" : ".\(fraction)")
            + exponent
    }

    private static func takeDigits(_ text: inout Substring) -> Substring {
        let digits = text.prefix { ("0"..."9").contains($0) && $0.isASCII }
        text = text.dropFirst(digits.count)
        return digits
    }

    private static func integer(_ digits: Substring, radix: Int) -> String? {
        guard let first = digits.first, first != "+", first != "-" else { return nil }
        return UInt64(digits, radix: radix).map { "\($0)" }
    }
}
