/// One message of a configuration file while it is being decoded.
///
/// It remembers which fields were asked for. ``finish()`` on the root then refuses every other one,
/// there and in all objects handed out below it. Fields are asked for by their proto name
/// (`connect_timeout`); the file may also say `connectTimeout`. A null field is an absent one.
/// Getters never fail: what is wrong goes to ``diagnostics`` and a default or nil is returned.
package final class ConfigObject {
    package let path: ConfigPath
    package let position: ConfigPosition
    package let diagnostics: ConfigDiagnostics

    private let members: [ConfigNode.Member]
    /// Member index by key as written.
    private let indices: [String: Int]
    private var isRead: [Bool]
    /// Whether some key may be one of ProtoJSON's, `connectTimeout`: most files have none.
    private let mayBeCamelCase: Bool
    /// Every field this decoder asked for, for suggestions.
    private var known: [String] = []
    private var children: [String: ConfigObject] = [:]
    private var lists: [String: [ConfigObject]] = [:]
    private var isSkipped = false
    /// The value is no object, which was reported: nothing more is to be said about it.
    private var isBroken = false

    package init(
        _ node: ConfigNode,
        path: ConfigPath = .root,
        diagnostics: ConfigDiagnostics
    ) {
        self.path = path
        self.position = node.position
        self.diagnostics = diagnostics
        if case .object(let members) = node.content {
            self.members = members
        } else {
            diagnostics.error("expected an object, got \(node)", path: path, at: node.position)
            members = []
            isBroken = true
        }
        indices = Dictionary(
            members.enumerated().map { ($0.element.key, $0.offset) },
            uniquingKeysWith: min
        )
        isRead = Array(repeating: false, count: members.count)
        mayBeCamelCase = members.contains { member in
            member.key.utf8.contains {
                (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
            }
        }
    }

    // MARK: Finding fields

    /// The member index of `key`, which counts as read from now on; nil if absent or null.
    private func find(_ key: String, as use: ConfigDiagnostics.FieldUse = .read) -> Int? {
        known.append(key)
        diagnostics.fieldRecords?.append(.init(path: path, field: key, use: use))
        let written = indices[key]
        guard mayBeCamelCase else { return read(written) }
        let camel = Self.camelCase(key)
        let alternative = camel == key ? nil : indices[camel]
        if let written, let alternative, !isRead[alternative] {
            isRead[alternative] = true
            diagnostics.error(
                "\(ConfigNode.quoted(key)) is given twice, the other time as "
                    + ConfigNode.quoted(camel),
                path: path.member(key),
                at: members[max(written, alternative)].keyPosition
            )
        }
        return read(written ?? alternative)
    }

    private func read(_ index: Int?) -> Int? {
        guard let index else { return nil }
        isRead[index] = true
        return members[index].node.isNull ? nil : index
    }

    /// The node of `key` without interpretation; nil if absent or null.
    package func node(_ key: String) -> ConfigNode? { find(key).map { members[$0].node } }

    /// Where `key`'s value stands; the object's own place if it is absent.
    package func position(of key: String) -> ConfigPosition {
        (indices[key] ?? indices[Self.camelCase(key)]).map { members[$0].node.position } ?? position
    }

    package func isPresent(_ key: String) -> Bool { find(key) != nil }

    /// Which of `keys` the object has. They count as read: the caller deals with them.
    package func present(_ keys: String...) -> [String] { keys.filter { isPresent($0) } }

    /// The one of `keys` that is present: a required `oneof`.
    package func exactlyOne(of keys: String...) -> String? { exactlyOne(of: keys) }

    package func exactlyOne(of keys: [String]) -> String? {
        let found = atMostOne(of: keys)
        if found == nil {
            error("one of \(keys.joined(separator: ", ")) is required")
        }
        return found
    }

    /// The one of `keys` that is present, if any: an optional `oneof`.
    package func atMostOne(of keys: String...) -> String? { atMostOne(of: keys) }

    package func atMostOne(of keys: [String]) -> String? {
        let found = keys.filter { isPresent($0) }
        if found.count > 1 {
            error("only one of \(found.joined(separator: ", ")) may be given", at: found[1])
        }
        return found.first
    }

    // MARK: Messages and maps

    /// The message in field `key`. The same object is returned however often it is asked for.
    package func object(_ key: String) -> ConfigObject? {
        guard let index = find(key) else { return nil }
        if let child = children[key] { return child }
        let child = ConfigObject(
            members[index].node,
            path: path.member(key),
            diagnostics: diagnostics
        )
        children[key] = child
        return child
    }

    /// As ``object(_:)``; absent is an error.
    package func requiredObject(_ key: String) -> ConfigObject? {
        let child = object(key)
        if child == nil { error("\(key) is required") }
        return child
    }

    package func objects(_ key: String) -> [ConfigObject] {
        if let list = lists[key] { return list }
        let path = path.member(key)
        let list = elements(key).enumerated().map { index, node in
            ConfigObject(node, path: path.element(index), diagnostics: diagnostics)
        }
        lists[key] = list
        return list
    }

    /// A map from strings to messages, in file order.
    package func objectEntries(_ key: String) -> [(key: String, object: ConfigObject)] {
        guard let map = object(key) else { return [] }
        return map.members.compactMap { member in
            map.object(literal: member.key).map { (member.key, $0) }
        }
    }

    private func object(literal key: String) -> ConfigObject? {
        guard let index = indices[key] else { return nil }
        isRead[index] = true
        if let child = children[key] { return child }
        let child = ConfigObject(
            members[index].node,
            path: path.member(key),
            diagnostics: diagnostics
        )
        children[key] = child
        return child
    }

    /// A map or `google.protobuf.Struct`, in file order.
    package func entries(_ key: String) -> [(key: String, value: ConfigValue)] {
        guard let map = object(key) else { return [] }
        map.skip()
        return map.members.map { ($0.key, ConfigValue($0.node)) }
    }

    /// A free-form value (`google.protobuf.Value`, `Struct`).
    package func value(_ key: String) -> ConfigValue? { node(key).map { ConfigValue($0) } }

    /// The elements of list `key`; empty if absent. Null elements are errors. A single value is a list
    /// of one, as Envoy's parser has it.
    package func elements(_ key: String) -> [ConfigNode] {
        guard let node = node(key) else { return [] }
        guard case .list(let nodes) = node.content else { return [node] }
        for node in nodes where node.isNull {
            diagnostics.error(
                "a list must not contain null",
                path: path.member(key),
                at: node.position
            )
        }
        return nodes.filter { !$0.isNull }
    }

    /// What is written, in file order. Nothing of it counts as read.
    var writtenMembers: [ConfigNode.Member] { members }

    /// No field is written, not even a null.
    package var isEmpty: Bool { members.isEmpty }

    /// Nothing is written but the `@type` of an `Any`.
    package var hasOnlyType: Bool { members.allSatisfy { $0.key == "@type" } }

    /// An `Any`: the part of `@type` after the last slash, and the message beside it. A TypedStruct
    /// (udpa.type.v1, xds.type.v3) is opened: its `type_url` and `value` are returned.
    package func typedConfig(
        _ key: String = "typed_config"
    ) -> (type: String, object: ConfigObject)? {
        guard let any = object(key) else {
            error("\(key) is required")
            return nil
        }
        return any.openedAny()
    }

    /// This object as an `Any`; see ``typedConfig(_:)``.
    package func openedAny() -> (type: String, object: ConfigObject)? {
        guard let type = typeName("@type") else { return nil }
        if type == "xds.type.v3.TypedStruct" || type == "udpa.type.v1.TypedStruct" {
            guard let inner = typeName("type_url") else { return nil }
            return object("value").map { (inner, $0) }
        }
        return (type, self)
    }

    private func typeName(_ key: String) -> String? {
        guard let url = string(key), !url.isEmpty else {
            error(
                "\(ConfigNode.quoted(key)) is required: it names the message type, such as "
                    + "\"type.googleapis.com/envoy...\""
            )
            skip()
            return nil
        }
        guard let slash = url.utf8.lastIndex(of: UInt8(ascii: "/")) else {
            error(
                "\(ConfigNode.quoted(url)) is no type URL: it lacks \"type.googleapis.com/\"",
                at: key
            )
            return url
        }
        return String(url[url.index(after: slash)...])
    }

    // MARK: Known fields that are not implemented

    /// Known fields that change neither traffic nor policy: accepted with a warning.
    package func inert(_ keys: String...) {
        for key in keys where find(key, as: .inert) != nil {
            warning("\(key) is accepted but has no effect here", at: key)
        }
    }

    /// A known field that is refused, because ignoring it would change what the file means. Proto's
    /// defaults (false, 0, "", []) pass, and so does any value for which `isDefault` holds.
    package func unsupported(
        _ key: String,
        _ reason: String,
        unless isDefault: ((ConfigValue) -> Bool)? = nil
    ) {
        guard let index = find(key, as: .refused(reason: reason)) else { return }
        let node = members[index].node
        if node.isProtoDefault { return }
        if let isDefault, isDefault(ConfigValue(node)) { return }
        error("\(key) is not supported: \(reason)", at: key)
    }

    // MARK: Reporting

    /// Reports an error at field `key`, or at the object itself.
    package func error(_ message: String, at key: String? = nil) {
        if isBroken { return }
        diagnostics.error(
            message,
            path: key.map { path.member($0) } ?? path,
            at: key.map { position(of: $0) } ?? position
        )
    }

    package func warning(_ message: String, at key: String? = nil) {
        if isBroken { return }
        diagnostics.warning(
            message,
            path: key.map { path.member($0) } ?? path,
            at: key.map { position(of: $0) } ?? position
        )
    }

    package func mismatch(_ key: String, _ expected: String, _ node: ConfigNode) {
        diagnostics.error(
            "expected \(expected), got \(node)",
            path: path.member(key),
            at: node.position
        )
    }

    /// Accepts whatever this object still holds: after an error that makes its fields meaningless.
    package func skip() { isSkipped = true }

    /// Refuses the fields nobody asked for, here and below.
    package func finish() {
        if isSkipped { return }
        for (index, member) in members.enumerated() where !isRead[index] {
            let word = Self.snakeCase(member.key)
            diagnostics.error(
                "unknown field \(ConfigNode.quoted(member.key))"
                    + Suggestion.hint(for: word, among: known),
                path: path,
                at: member.keyPosition
            )
        }
        for child in children.values { child.finish() }
        for list in lists.values {
            for child in list { child.finish() }
        }
    }

    // MARK: Spelling

    /// Proto's JSON name: `connect_timeout` → `connectTimeout`.
    static func camelCase(_ key: String) -> String {
        guard key.utf8.contains(UInt8(ascii: "_")) else { return key }
        var out = ""
        var capitalise = false
        for character in key {
            if character == "_" {
                capitalise = true
            } else {
                out += capitalise ? character.uppercased() : String(character)
                capitalise = false
            }
        }
        return out
    }

    static func snakeCase(_ key: String) -> String {
        var out = ""
        for character in key {
            if character.isUppercase {
                out += "_" + character.lowercased()
            } else {
                out.append(character)
            }
        }
        return out
    }
}
