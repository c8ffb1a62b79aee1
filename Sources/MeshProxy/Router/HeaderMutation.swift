import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Header removals and additions of one level, ready to run (envoy: HeaderParser).
///
/// Removals come first. Values are evaluated before anything is added, then replacements are made,
/// then additions: no entry sees what another one did. Literal values allocate nothing.
package final class HeaderMutation {
    private enum Value {
        case literal([UInt8])
        case format(FormatString)
    }

    private struct Addition {
        let name: HeaderName
        let value: Value
        let action: HeaderValueOption.Action
        let keepsEmpty: Bool
    }

    private let removals: [HeaderName]
    private let additions: [Addition]
    private let isLiteral: Bool

    package init(
        add: [HeaderValueOption],
        remove: [String] = [],
        _ environment: FormatEnvironment
    ) {
        removals = remove.map { HeaderName($0) }
        additions = add.map { option in
            let value: Value
            if option.value.isLiteral {
                var text: [UInt8] = []
                for case .literal(let part) in option.value.parts { text += Array(part.utf8) }
                value = .literal(text)
            } else {
                // A value that is not there is empty, not a dash.
                value = .format(FormatString(option.value, environment, omitsEmptyValues: true))
            }
            return Addition(
                name: HeaderName(option.name),
                value: value,
                action: option.action,
                keepsEmpty: option.keepEmptyValue
            )
        }
        isLiteral = additions.allSatisfy { if case .literal = $0.value { true } else { false } }
    }

    package var isEmpty: Bool { removals.isEmpty && additions.isEmpty }

    /// - Parameter context: asked for only where a value depends on the stream.
    package func apply(to head: HeaderMap, context: () -> FormatContext) {
        for name in removals { head.remove(name) }
        if additions.isEmpty { return }
        if additions.count == 1, case .literal(let text) = additions[0].value {
            text.withUnsafeBytes { write($0, additions[0], to: head, isPresent: nil) }
            return
        }
        applyAll(to: head, context: context)
    }

    private func applyAll(to head: HeaderMap, context: () -> FormatContext) {
        var buffer = ByteBuffer()
        withUnsafeTemporaryAllocation(
            of: (end: Int, isPresent: Bool).self,
            capacity: additions.count
        ) {
            values in
            let formats: FormatContext? = isLiteral ? nil : context()
            for at in additions.indices {
                switch additions[at].value {
                case .literal(let text): text.withUnsafeBytes { buffer.append($0) }
                case .format(let format): if let formats { format.append(to: &buffer, formats) }
                }
                let isPresent = head.first(additions[at].name) != nil
                values.initializeElement(at: at, to: (buffer.count, isPresent))
            }
            for isReplacing in [true, false] {
                var start = 0
                for at in additions.indices {
                    let value = Bytes(rebasing: buffer.bytes[start..<values[at].end])
                    start = values[at].end
                    if Self.isReplacing(additions[at].action) == isReplacing {
                        write(value, additions[at], to: head, isPresent: values[at].isPresent)
                    }
                }
            }
        }
    }

    private static func isReplacing(_ action: HeaderValueOption.Action) -> Bool {
        action == .overwriteIfExists || action == .overwriteIfExistsOrAdd
    }

    /// - Parameter isPresent: whether the header was there before; nil: look now.
    private func write(_ value: Bytes, _ addition: Addition, to head: HeaderMap, isPresent: Bool?) {
        if value.isEmpty, !addition.keepsEmpty { return }
        func present() -> Bool { isPresent ?? (head.first(addition.name) != nil) }
        switch addition.action {
        case .appendIfExistsOrAdd: head.append(addition.name, value)
        case .addIfAbsent: if !present() { head.append(addition.name, value) }
        case .overwriteIfExistsOrAdd: head.set(addition.name, value)
        case .overwriteIfExists: if present() { head.set(addition.name, value) }
        }
    }
}

/// The mutations of all levels of one route in the order in which they are applied; the later ones
/// win.
struct HeaderMutationLevels {
    private let levels: [HeaderMutation]

    /// - Parameter levels: from the route to the table. They are applied in this order, so that the
    ///   table wins, unless `mostSpecificWins`.
    init(_ levels: [HeaderMutation], mostSpecificWins: Bool) {
        let inOrder = mostSpecificWins ? levels.reversed() : levels
        self.levels = inOrder.filter { !$0.isEmpty }
    }

    var isEmpty: Bool { levels.isEmpty }

    func apply(to head: HeaderMap, context: () -> FormatContext) {
        guard !levels.isEmpty else { return }
        for level in levels { level.apply(to: head, context: context) }
    }
}
