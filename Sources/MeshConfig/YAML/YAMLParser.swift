import CYAML

/// Reads one YAML document into the tree that JSON has.
///
/// Plain scalars follow YAML 1.2's core schema, as ProtoJSON expects them: quoted ones stay strings,
/// and `yes`, `on` and dates are words. Duplicate keys and merge keys are refused. A key tagged
/// `!ignore` is left out with its value: a place for anchors, as in Envoy.
package struct YAMLParser: ~Copyable {
    package struct Limits: Sendable {
        /// Nested lists and objects; keeps recursion within a thread's stack.
        package var depth = 200
        package var bytes = 64 << 20
        /// Values after aliases are expanded: a short file can name a tree of any size.
        package var values = 1 << 20

        package init() {}
    }

    private struct SyntaxError: Error {
        let position: ConfigPosition
        let message: String
    }

    /// A subtree under an anchor, and how many values it has.
    private struct Anchor {
        let node: ConfigNode
        let values: Int
    }

    private struct Tags {
        static let ignore = "!ignore"
        static let prefix = "tag:yaml.org,2002:"
    }

    /// libyaml keeps pointers into it: it must not move.
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let limits: Limits
    /// `!Exact a` is `{"Exact": "a"}`.
    private let variantTags: Set<String>
    private let diagnostics: ConfigDiagnostics
    private var anchors: [String: Anchor] = [:]
    private var values = 0

    /// The document in `text`, or nil after a syntax error, which `diagnostics` then holds.
    ///
    /// - Parameter variantTags: tags, with their `!`, that make of a value an object with one member,
    ///   named as the tag. A variant without a value has an empty list.
    package static func parse(
        _ text: [UInt8],
        limits: Limits = Limits(),
        variantTags: Set<String> = [],
        diagnostics: ConfigDiagnostics
    ) -> ConfigNode? {
        guard text.count <= limits.bytes else {
            diagnostics.error(
                "the file has \(text.count) bytes; the limit is \(limits.bytes)",
                at: .start
            )
            return nil
        }
        return text.withUnsafeBufferPointer { bytes -> ConfigNode? in
            guard var parser = YAMLParser(bytes, limits, variantTags, diagnostics)
            else {
                diagnostics.error("no memory for a YAML parser", at: .start)
                return nil
            }
            do throws(SyntaxError) {
                return try parser.document()
            } catch {
                diagnostics.error(error.message, at: error.position)
                return nil
            }
        }
    }

    private init?(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ limits: Limits,
        _ variantTags: Set<String>,
        _ diagnostics: ConfigDiagnostics
    ) {
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            return nil
        }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
        self.parser = parser
        self.limits = limits
        self.variantTags = variantTags
        self.diagnostics = diagnostics
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    // MARK: Events

    /// What of an event is needed after libyaml has freed it.
    private struct Event {
        enum Kind {
            case streamStart, streamEnd, documentStart, documentEnd
            case alias(String)
            case scalar(text: String, isPlain: Bool)
            case sequenceStart, sequenceEnd, mappingStart, mappingEnd
        }

        let kind: Kind
        let position: ConfigPosition
        var anchor: String?
        var tag: String?

        /// The variant that its tag names, which is then gone.
        mutating func takeVariant(_ known: Set<String>) -> String? {
            guard let tag, known.contains(tag) else { return nil }
            self.tag = nil
            return String(tag.dropFirst())
        }
    }

    private mutating func next() throws(SyntaxError) -> Event {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw parserError() }
        defer { yaml_event_delete(&event) }
        let position = Self.position(event.start_mark)
        func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
            pointer.map { String(cString: $0) }
        }
        switch event.type {
        case YAML_STREAM_START_EVENT: return Event(kind: .streamStart, position: position)
        case YAML_DOCUMENT_START_EVENT: return Event(kind: .documentStart, position: position)
        case YAML_DOCUMENT_END_EVENT: return Event(kind: .documentEnd, position: position)
        case YAML_ALIAS_EVENT:
            return Event(kind: .alias(text(event.data.alias.anchor) ?? ""), position: position)
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            return Event(
                kind: .scalar(
                    text: String(decoding: bytes, as: UTF8.self),
                    isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE
                ),
                position: position,
                anchor: text(scalar.anchor),
                tag: text(scalar.tag)
            )
        case YAML_SEQUENCE_START_EVENT:
            let start = event.data.sequence_start
            return Event(
                kind: .sequenceStart,
                position: position,
                anchor: text(start.anchor),
                tag: text(start.tag)
            )
        case YAML_SEQUENCE_END_EVENT: return Event(kind: .sequenceEnd, position: position)
        case YAML_MAPPING_START_EVENT:
            let start = event.data.mapping_start
            return Event(
                kind: .mappingStart,
                position: position,
                anchor: text(start.anchor),
                tag: text(start.tag)
            )
        case YAML_MAPPING_END_EVENT: return Event(kind: .mappingEnd, position: position)
        default: return Event(kind: .streamEnd, position: position)
        }
    }

    private static func position(_ mark: yaml_mark_t) -> ConfigPosition {
        ConfigPosition(line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }

    private func parserError() -> SyntaxError {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "the YAML is broken"
        let context = state.context.map { String(cString: $0) + ": " } ?? ""
        // The reader, below the scanner, knows bytes but no lines.
        if state.error == YAML_READER_ERROR {
            return SyntaxError(
                position: Self.position(state.mark),
                message: "\(problem) (byte \(state.problem_offset))"
            )
        }
        return SyntaxError(
            position: Self.position(state.problem_mark),
            message: context + problem
        )
    }

    // MARK: Values

    private mutating func document() throws(SyntaxError) -> ConfigNode {
        _ = try next()
        let start = try next()
        guard case .documentStart = start.kind else {
            throw SyntaxError(position: .start, message: "the file holds no document")
        }
        let node = try value(try next(), depth: 0)
        _ = try next()
        let after = try next()
        guard case .streamEnd = after.kind else {
            throw SyntaxError(
                position: after.position,
                message: "a second document begins here; one is allowed"
            )
        }
        return node
    }

    private mutating func value(_ event: Event, depth: Int) throws(SyntaxError) -> ConfigNode {
        guard depth <= limits.depth else {
            throw SyntaxError(
                position: event.position,
                message: "nested deeper than the limit of \(limits.depth) levels"
            )
        }
        if case .alias(let name) = event.kind { return try expand(name, event) }
        let before = values
        try count(1, event)
        var event = event
        let variant = event.takeVariant(variantTags)
        var node: ConfigNode
        switch event.kind {
        case .scalar(let text, let isPlain):
            node = ConfigNode(try scalar(text, isPlain, event), at: event.position)
        case .sequenceStart:
            try check(event, is: "seq")
            node = ConfigNode(.list(try elements(depth)), at: event.position)
        case .mappingStart:
            try check(event, is: "map")
            node = ConfigNode(.object(try members(depth)), at: event.position)
        default:
            throw SyntaxError(position: event.position, message: "expected a value")
        }
        if let variant { node = Self.variant(variant, of: node) }
        if let anchor = event.anchor {
            anchors[anchor] = Anchor(node: node, values: values - before)
        }
        return node
    }

    private static func variant(_ name: String, of node: ConfigNode) -> ConfigNode {
        let value = node.isNull ? ConfigNode(.list([]), at: node.position) : node
        return ConfigNode(
            .object([.init(key: name, keyPosition: node.position, node: value)]),
            at: node.position
        )
    }

    /// An anchor is known once its value is complete: a value cannot contain itself.
    private mutating func expand(_ name: String, _ event: Event) throws(SyntaxError) -> ConfigNode {
        guard let anchor = anchors[name] else {
            throw SyntaxError(
                position: event.position,
                message: "the alias *\(name) names no anchor before it"
                    + Suggestion.hint(for: name, among: anchors.keys)
            )
        }
        try count(anchor.values, event)
        return anchor.node
    }

    private mutating func count(_ added: Int, _ event: Event) throws(SyntaxError) {
        values += added
        if values > limits.values {
            throw SyntaxError(
                position: event.position,
                message: "with its aliases expanded the file has more than \(limits.values) values"
            )
        }
    }

    private mutating func elements(_ depth: Int) throws(SyntaxError) -> [ConfigNode] {
        var nodes: [ConfigNode] = []
        while true {
            let event = try next()
            if case .sequenceEnd = event.kind { return nodes }
            nodes.append(try value(event, depth: depth + 1))
        }
    }

    private mutating func members(_ depth: Int) throws(SyntaxError) -> [ConfigNode.Member] {
        var members: [ConfigNode.Member] = []
        var first: [String: ConfigPosition] = [:]
        while true {
            let event = try next()
            if case .mappingEnd = event.kind { return members }
            let key = try key(event)
            let node = try value(try next(), depth: depth + 1)
            if event.tag == Tags.ignore { continue }
            if let earlier = first.updateValue(event.position, forKey: key) {
                diagnostics.error(
                    "the key \(ConfigNode.quoted(key)) appears twice in one object, first at "
                        + "\(earlier)",
                    at: event.position
                )
            } else {
                members.append(.init(key: key, keyPosition: event.position, node: node))
            }
        }
    }

    private mutating func key(_ event: Event) throws(SyntaxError) -> String {
        var content: ConfigNode.Content = .null
        switch event.kind {
        case .scalar(let text, let isPlain):
            if isPlain, text == "<<" {
                throw SyntaxError(
                    position: event.position,
                    message: "the merge key << is not part of YAML 1.2; repeat the members"
                )
            }
            if event.tag == Tags.ignore { return text }
            content = .string(text)
            if let anchor = event.anchor {
                anchors[anchor] = Anchor(
                    node: ConfigNode(content, at: event.position),
                    values: 1
                )
            }
        case .alias(let name): content = try expand(name, event).content
        default: break
        }
        guard case .string(let text) = content else {
            throw SyntaxError(position: event.position, message: "a key must be a string")
        }
        return text
    }

    private func check(_ event: Event, is kind: String) throws(SyntaxError) {
        guard let tag = event.tag, tag != Tags.prefix + kind, tag != "!" else { return }
        throw SyntaxError(
            position: event.position,
            message: "the tag \(ConfigNode.quoted(tag)) is not known for this value"
        )
    }

    private func scalar(
        _ text: String,
        _ isPlain: Bool,
        _ event: Event
    ) throws(SyntaxError) -> ConfigNode.Content {
        switch event.tag {
        case nil: return isPlain ? YAMLScalar.resolve(text) : .string(text)
        case "!", Tags.prefix + "str": return .string(text)
        case Tags.prefix + "int", Tags.prefix + "float":
            if case .number = YAMLScalar.resolve(text) { return YAMLScalar.resolve(text) }
        case Tags.prefix + "bool":
            if case .bool = YAMLScalar.resolve(text) { return YAMLScalar.resolve(text) }
        case Tags.prefix + "null":
            if case .null = YAMLScalar.resolve(text) { return .null }
        default: break
        }
        throw SyntaxError(
            position: event.position,
            message: "\(ConfigNode.quoted(text)) does not have the type of its tag "
                + ConfigNode.quoted(event.tag ?? "")
        )
    }
}
