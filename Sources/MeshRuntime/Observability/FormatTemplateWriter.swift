import MeshConfig
import MeshNet

/// JSON with format strings in it, compiled for one worker (envoy: `json_format`).
///
/// A string that is one operator keeps the operator's type: numbers stay numbers, what is absent is
/// null. Where empty values are left out, so are their keys.
package final class FormatTemplateWriter {
    private indirect enum Node {
        /// Ready-made JSON.
        case fixed([UInt8])
        case value(FormatString)
        case list([Node])
        case object([(key: [UInt8], value: Node)])
    }

    private let root: Node
    private let omitsEmptyValues: Bool
    /// One value before it is escaped. Kept, so that lines allocate nothing.
    private var scratch = ByteBuffer()

    package init(
        _ template: FormatTemplate,
        _ environment: FormatEnvironment,
        omitsEmptyValues: Bool
    ) {
        root = Self.compile(template, environment, omitsEmptyValues)
        self.omitsEmptyValues = omitsEmptyValues
    }

    private static func compile(
        _ template: FormatTemplate,
        _ environment: FormatEnvironment,
        _ omits: Bool
    ) -> Node {
        switch template {
        case .null: return .fixed(Array("null".utf8))
        case .bool(let value): return .fixed(Array((value ? "true" : "false").utf8))
        case .number(let value):
            return .fixed(render { $0.number(value) })
        case .text(let format):
            return .value(FormatString(format, environment, omitsEmptyValues: omits))
        case .list(let elements):
            return .list(elements.map { compile($0, environment, omits) })
        case .object(let members):
            return .object(
                members.map { member in
                    (render { $0.string(member.key) }, compile(member.value, environment, omits))
                }
            )
        }
    }

    private static func render(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter()
        body(&json)
        let written = json.finish()
        return Array(written.bytes)
    }

    /// Appends the JSON, without a line end.
    package func append(to buffer: inout ByteBuffer, _ context: FormatContext) {
        append(root, key: nil, needsComma: false, to: &buffer, context)
    }

    /// Returns whether anything was written.
    @discardableResult
    private func append(
        _ node: Node,
        key: [UInt8]?,
        needsComma: Bool,
        to buffer: inout ByteBuffer,
        _ context: FormatContext
    ) -> Bool {
        func begin(_ buffer: inout ByteBuffer) {
            if needsComma { buffer.append(byte: UInt8(ascii: ",")) }
            guard let key else { return }
            key.withUnsafeBytes { buffer.append($0) }
            buffer.append(byte: UInt8(ascii: ":"))
        }
        switch node {
        case .fixed(let json):
            begin(&buffer)
            json.withUnsafeBytes { buffer.append($0) }
        case .value(let format):
            scratch.clear()
            let kind: FormatValueKind
            if let step = format.steps.first, format.steps.count == 1 {
                kind = format.evaluate(step, context, &scratch)
            } else {
                format.append(to: &scratch, context)
                kind = .text
            }
            if case .absent = kind {
                if omitsEmptyValues { return false }
                begin(&buffer)
                buffer.append("null" as StaticString)
                return true
            }
            begin(&buffer)
            if case .json = kind {
                buffer.append(scratch.bytes)
            } else {
                buffer.append(byte: UInt8(ascii: "\""))
                JSONWriter.appendEscaped(scratch.bytes, to: &buffer)
                buffer.append(byte: UInt8(ascii: "\""))
            }
        case .list(let elements):
            begin(&buffer)
            buffer.append(byte: UInt8(ascii: "["))
            var isFirst = true
            for element in elements
            where append(element, key: nil, needsComma: !isFirst, to: &buffer, context) {
                isFirst = false
            }
            buffer.append(byte: UInt8(ascii: "]"))
        case .object(let members):
            begin(&buffer)
            buffer.append(byte: UInt8(ascii: "{"))
            var isFirst = true
            for member in members
            where append(
                member.value,
                key: member.key,
                needsComma: !isFirst,
                to: &buffer,
                context
            ) {
                isFirst = false
            }
            buffer.append(byte: UInt8(ascii: "}"))
        }
        return true
    }
}
