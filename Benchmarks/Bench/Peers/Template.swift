/// Text with `@NAME@` where a value belongs.
package enum Template {
    /// The text with its values.
    ///
    /// - Parameter subject: where the text is from, for the error.
    /// - Throws: when a name has no value.
    package static func fill(
        _ text: String,
        with values: [String: String],
        subject: String
    ) throws -> String {
        var result = ""
        var rest = text[...]
        while let at = rest.firstIndex(of: "@") {
            result += rest[..<at]
            let after = rest[rest.index(after: at)...]
            let name = after.prefix { $0.isASCII && ($0.isUppercase || $0.isNumber || $0 == "_") }
            guard !name.isEmpty, after[name.endIndex...].first == "@" else {
                result += "@"
                rest = after
                continue
            }
            guard let value = values[String(name)] else {
                throw BenchError(
                    "unknown placeholder: \(subject): @\(name)@; "
                        + "there are \(values.keys.sorted().joined(separator: ", "))"
                )
            }
            result += value
            rest = after[after.index(after: name.endIndex)...]
        }
        return result + rest
    }
}
