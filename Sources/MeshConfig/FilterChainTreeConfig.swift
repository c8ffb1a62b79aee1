import MeshNet

/// Which filter chain a connection gets, by a tree of questions (envoy: Listener.filter_chain_matcher, an
/// xds.type.matcher.v3.Matcher whose actions name filter chains).
package indirect enum FilterChainTreeConfig: Hashable, Sendable {
    /// The first whose condition holds and that leads to a chain.
    case list([Entry], otherwise: FilterChainTreeConfig)
    /// By the whole value.
    case values(ConnectionInput, [String: FilterChainTreeConfig], otherwise: FilterChainTreeConfig)
    /// By the longest prefix of the value that leads to a chain.
    case prefixes(ConnectionInput, [Prefix], otherwise: FilterChainTreeConfig)
    /// By the narrowest network that has the address and leads to a chain.
    case networks(ConnectionInput, [Network], otherwise: FilterChainTreeConfig)
    case chain(String)
    case nothing

    package struct Entry: Hashable, Sendable {
        package let condition: ConnectionCondition
        package let then: FilterChainTreeConfig
    }

    package struct Prefix: Hashable, Sendable {
        package let text: String
        package let then: FilterChainTreeConfig
    }

    package struct Network: Hashable, Sendable {
        package let range: CIDR
        /// Not asked where a narrower one has the address, even if that leads to nothing.
        package let isExclusive: Bool
        package let then: FilterChainTreeConfig
    }
}

/// One thing that is known of a connection before its filter chain is chosen (envoy:
/// matching.common_inputs.network.v3).
package enum ConnectionInput: Hashable, Sendable {
    case destinationIP, destinationPort, sourceIP, sourcePort, directSourceIP
    /// `local` for a peer of this host.
    case sourceType
    case serverName, transportProtocol
    /// Each in quotation marks, with commas between: `'h2','http/1.1'`.
    case applicationProtocols
    case filterState(key: String)

    private static let prefix = "envoy.extensions.matching.common_inputs.network.v3."
    private static let inputs: [String: ConnectionInput] = [
        "DestinationIPInput": .destinationIP, "DestinationPortInput": .destinationPort,
        "SourceIPInput": .sourceIP, "SourcePortInput": .sourcePort,
        "DirectSourceIPInput": .directSourceIP, "SourceTypeInput": .sourceType,
        "ServerNameInput": .serverName, "TransportProtocolInput": .transportProtocol,
        "ApplicationProtocolInput": .applicationProtocols,
    ]

    /// Reads the TypedExtensionConfig in field `input`; nil after an error.
    static func decode(_ object: ConfigObject) -> ConnectionInput? {
        guard let input = object.requiredObject("input") else { return nil }
        _ = input.requiredString("name")
        guard let (type, options) = input.typedConfig() else { return nil }
        guard type.hasPrefix(prefix) else {
            options.skip()
            input.error(
                "\(ConfigNode.quoted(type)) is not supported; inputs are those of \(prefix)",
                at: "typed_config"
            )
            return nil
        }
        let name = String(type.dropFirst(prefix.count))
        if name == "FilterStateInput" { return .filterState(key: options.requiredString("key")) }
        if let input = inputs[name] { return input }
        options.skip()
        input.error(
            "\(name) is not supported" + Suggestion.hint(for: name, among: inputs.keys.sorted()),
            at: "typed_config"
        )
        return nil
    }
}

/// Whether a connection takes one branch.
package indirect enum ConnectionCondition: Hashable, Sendable {
    case value(ConnectionInput, StringMatch)
    case anyOf([ConnectionCondition])
    case all([ConnectionCondition])
    case not(ConnectionCondition)

    init(_ object: ConfigObject) {
        switch object.exactlyOne(
            of: "single_predicate",
            "or_matcher",
            "and_matcher",
            "not_matcher"
        ) {
        case "or_matcher": self = .anyOf(Self.list(object, "or_matcher"))
        case "and_matcher": self = .all(Self.list(object, "and_matcher"))
        case "not_matcher":
            self = object.object("not_matcher").map { .not(ConnectionCondition($0)) } ?? .all([])
        default:
            self = .all([])
            guard let single = object.object("single_predicate") else { return }
            single.object("custom_match")?.skip()
            single.unsupported("custom_match", "a condition compares text; use value_match")
            guard let input = ConnectionInput.decode(single),
                let match = single.requiredObject("value_match")
            else { return }
            self = .value(input, StringMatch(match))
        }
    }

    private static func list(_ object: ConfigObject, _ key: String) -> [ConnectionCondition] {
        guard let set = object.object(key) else { return [] }
        let members = set.objects("predicate").map { ConnectionCondition($0) }
        if members.count < 2 { set.error("needs at least two", at: "predicate") }
        return members
    }
}

/// Reads the tree of one listener.
struct FilterChainTreeDecoder {
    /// Names of the listener's chains.
    let chains: Set<String>

    func tree(_ object: ConfigObject) -> FilterChainTreeConfig {
        let otherwise = object.object("on_no_match").map(then) ?? .nothing
        switch object.atMostOne(of: "matcher_list", "matcher_tree") {
        case "matcher_list":
            let entries = object.object("matcher_list")?.objects("matchers") ?? []
            if entries.isEmpty { object.error("needs at least one matcher", at: "matcher_list") }
            return .list(
                entries.compactMap { entry in
                    guard let condition = entry.requiredObject("predicate"),
                        let match = entry.requiredObject("on_match")
                    else { return nil }
                    return .init(condition: ConnectionCondition(condition), then: then(match))
                },
                otherwise: otherwise
            )
        case "matcher_tree":
            return object.object("matcher_tree").map { branches($0, otherwise) } ?? otherwise
        default: return otherwise
        }
    }

    private func branches(
        _ object: ConfigObject,
        _ otherwise: FilterChainTreeConfig
    ) -> FilterChainTreeConfig {
        let input = ConnectionInput.decode(object)
        switch object.exactlyOne(of: "exact_match_map", "prefix_match_map", "custom_match") {
        case "exact_match_map":
            let map = map(object, "exact_match_map")
            return .values(
                input ?? .serverName,
                Dictionary(map) { $1 },
                otherwise: otherwise
            )
        case "prefix_match_map":
            let prefixes = map(object, "prefix_match_map").map { text, then in
                FilterChainTreeConfig.Prefix(text: text, then: then)
            }
            return .prefixes(
                input ?? .serverName,
                prefixes.sorted { $0.text.utf8.count > $1.text.utf8.count },
                otherwise: otherwise
            )
        default:
            let networks = object.object("custom_match").map(networks) ?? []
            return .networks(
                input ?? .destinationIP,
                networks.sorted { $0.range.prefixLength > $1.range.prefixLength },
                otherwise: otherwise
            )
        }
    }

    private func map(_ object: ConfigObject, _ key: String) -> [(String, FilterChainTreeConfig)] {
        let entries = object.object(key)?.objectEntries("map") ?? []
        if entries.isEmpty { object.error("needs at least one entry", at: key) }
        return entries.map { ($0.key, then($0.object)) }
    }

    private func networks(_ object: ConfigObject) -> [FilterChainTreeConfig.Network] {
        _ = object.requiredString("name")
        guard let (type, options) = object.typedConfig() else { return [] }
        guard type == "xds.type.matcher.v3.IPMatcher" else {
            options.skip()
            object.error(
                "\(ConfigNode.quoted(type)) is not supported; the one custom matcher is"
                    + " xds.type.matcher.v3.IPMatcher",
                at: "typed_config"
            )
            return []
        }
        return options.objects("range_matchers").flatMap { entry in
            let isExclusive = entry.bool("exclusive", default: false)
            let ranges = entry.objects("ranges")
            if ranges.isEmpty { entry.error("needs at least one range", at: "ranges") }
            let then = entry.requiredObject("on_match").map(then) ?? .nothing
            return ranges.compactMap(CIDR.decode).map {
                FilterChainTreeConfig.Network(range: $0, isExclusive: isExclusive, then: then)
            }
        }
    }

    private func then(_ object: ConfigObject) -> FilterChainTreeConfig {
        object.unsupported("keep_matching", "the first match decides")
        guard object.exactlyOne(of: "matcher", "action") == "action" else {
            return object.object("matcher").map(tree) ?? .nothing
        }
        guard let action = object.object("action") else { return .nothing }
        _ = action.requiredString("name")
        guard let (type, value) = action.typedConfig() else { return .nothing }
        guard type == "google.protobuf.StringValue" else {
            value.skip()
            action.error(
                "an action is the name of a filter chain, a google.protobuf.StringValue",
                at: "typed_config"
            )
            return .nothing
        }
        let name = value.requiredString("value")
        if !name.isEmpty, !chains.contains(name) {
            value.error(
                "unknown filter chain \(ConfigNode.quoted(name))"
                    + Suggestion.hint(for: name, among: chains.sorted()),
                at: "value"
            )
        }
        return .chain(name)
    }
}
