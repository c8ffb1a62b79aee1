/// A free-form value: what `google.protobuf.Value` and `Struct` hold (metadata, JSON log formats).
package enum ConfigValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case list([ConfigValue])
    case object(Fields)

    /// Members in file order, looked up by name in linear time: structs are small.
    package struct Fields: Hashable, Sendable, RandomAccessCollection {
        package struct Field: Hashable, Sendable {
            package let key: String
            package let value: ConfigValue

            package init(key: String, value: ConfigValue) {
                self.key = key
                self.value = value
            }
        }

        package let fields: [Field]

        package init(_ fields: [Field]) { self.fields = fields }

        package var startIndex: Int { fields.startIndex }
        package var endIndex: Int { fields.endIndex }
        package subscript(index: Int) -> Field { fields[index] }
        package subscript(key: String) -> ConfigValue? { fields.first { $0.key == key }?.value }
    }

    package init(_ node: ConfigNode) {
        switch node.content {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .number(let text): self = .number(Double(text) ?? 0)
        case .string(let text): self = .string(text)
        case .list(let nodes): self = .list(nodes.map { ConfigValue($0) })
        case .object(let members):
            self = .object(Fields(members.map { .init(key: $0.key, value: ConfigValue($0.node)) }))
        }
    }

    /// The member `key` of an object; nil for any other kind.
    package subscript(key: String) -> ConfigValue? {
        if case .object(let fields) = self { fields[key] } else { nil }
    }

    package var stringValue: String? {
        if case .string(let text) = self { text } else { nil }
    }

    package var numberValue: Double? {
        if case .number(let value) = self { value } else { nil }
    }

    package var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }
}

extension ConfigValue: CustomStringConvertible {
    /// Compact JSON.
    package var description: String {
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .number(let value):
            return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\(value)"
        case .string(let text): return Self.json(text)
        case .list(let values):
            return "[" + values.map(\.description).joined(separator: ",") + "]"
        case .object(let fields):
            let members = fields.map { Self.json($0.key) + ":" + $0.value.description }
            return "{" + members.joined(separator: ",") + "}"
        }
    }

    /// `text` as a JSON string, quotes included.
    package static func json(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
