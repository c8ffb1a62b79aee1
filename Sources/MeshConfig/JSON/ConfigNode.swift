/// Where a value or key stands in its file. Both count from 1; columns count characters, not bytes.
package struct ConfigPosition: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let line: Int
    package let column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package static let start = ConfigPosition(line: 1, column: 1)

    package static func < (left: ConfigPosition, right: ConfigPosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }

    package var description: String { "\(line):\(column)" }
}

/// One value of a configuration file with its place, the same whether read from JSON or YAML.
package struct ConfigNode: Sendable {
    package enum Content: Sendable {
        case null
        case bool(Bool)
        /// The digits as written: 64-bit integers must not pass through a `Double`.
        case number(String)
        case string(String)
        case list([ConfigNode])
        case object([Member])
    }

    package struct Member: Sendable {
        package let key: String
        package let keyPosition: ConfigPosition
        package let node: ConfigNode

        package init(key: String, keyPosition: ConfigPosition, node: ConfigNode) {
            self.key = key
            self.keyPosition = keyPosition
            self.node = node
        }
    }

    package let content: Content
    package let position: ConfigPosition

    package init(_ content: Content, at position: ConfigPosition) {
        self.content = content
        self.position = position
    }

    package var isNull: Bool {
        if case .null = content { true } else { false }
    }

    /// Equal to what proto3 leaves unset: null, false, zero, the empty string or list.
    package var isProtoDefault: Bool {
        switch content {
        case .null: true
        case .bool(let value): !value
        case .number(let text): Double(text) == 0
        case .string(let text): text.isEmpty
        case .list(let nodes): nodes.isEmpty
        case .object: false
        }
    }
}

extension ConfigNode: CustomStringConvertible {
    /// The value as a message shows it: short scalars whole, long ones and containers abridged.
    package var description: String {
        switch content {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let text): Self.abridged(text)
        case .string(let text): ConfigNode.quoted(text)
        case .list(let nodes): nodes.isEmpty ? "an empty list" : "a list"
        case .object(let members): members.isEmpty ? "an empty object" : "an object"
        }
    }

    /// `text` in quotes, control characters escaped, cut at 80 characters.
    package static func quoted(_ text: String) -> String {
        var escaped = "\""
        for scalar in abridged(text).unicodeScalars {
            switch scalar {
            case "\"", "\\": escaped += "\\\(scalar)"
            case "\n": escaped += "\\n"
            case "\t": escaped += "\\t"
            case "\r": escaped += "\\r"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let hex = String(scalar.value, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped + "\""
    }

    private static func abridged(_ text: String) -> String {
        text.count <= 80 ? text : text.prefix(77) + "..."
    }
}
