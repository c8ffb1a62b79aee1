import MeshNet

/// What a value of metadata must be (envoy: type.matcher.v3.ValueMatcher).
package indirect enum ValueMatch: Hashable, Sendable {
    case null
    case exactNumber(Double)
    /// Half-open.
    case numberRange(start: Double, end: Double)
    case string(StringMatch)
    case bool(Bool)
    /// `false` never matches, as in Envoy.
    case present(Bool)
    /// A list with at least one element that matches.
    case anyElement(ValueMatch)
    case anyOf([ValueMatch])

    package init(_ object: ConfigObject) {
        let chosen = object.exactlyOne(
            of: "null_match",
            "double_match",
            "string_match",
            "bool_match",
            "present_match",
            "list_match",
            "or_match"
        )
        switch chosen {
        case "null_match": self = .null
        case "double_match": self = Self.number(object.object("double_match"))
        case "string_match":
            self = .string(object.object("string_match").map { StringMatch($0) } ?? .exact(""))
        case "bool_match": self = .bool(object.bool("bool_match", default: false))
        case "list_match":
            let list = object.object("list_match")
            _ = list?.exactlyOne(of: "one_of")
            self = .anyElement(list?.object("one_of").map { ValueMatch($0) } ?? .present(false))
        case "or_match":
            let set = object.object("or_match")
            let matchers = set?.objects("value_matchers").map { ValueMatch($0) } ?? []
            if matchers.count < 2 {
                set?.error("needs at least two matchers", at: "value_matchers")
            }
            self = .anyOf(matchers)
        default: self = .present(object.bool("present_match", default: false))
        }
    }

    private static func number(_ object: ConfigObject?) -> ValueMatch {
        guard let object else { return .present(false) }
        guard object.exactlyOne(of: "range", "exact") == "range" else {
            return .exactNumber(object.double("exact", default: 0))
        }
        let range = object.object("range")
        return .numberRange(
            start: range?.double("start", default: 0) ?? 0,
            end: range?.double("end", default: 0) ?? 0
        )
    }
}

extension ValueMatch: CustomStringConvertible {
    package var description: String {
        switch self {
        case .null: "null"
        case .exactNumber(let number): "\(number)"
        case .numberRange(let start, let end): "a number in \(start)..<\(end)"
        case .string(let match): match.description
        case .bool(let wanted): "\(wanted)"
        case .present(let wanted): wanted ? "present" : "present_match false, which never matches"
        case .anyElement(let match): "a list with an element \(match)"
        case .anyOf(let matches): matches.map(\.description).joined(separator: " or ")
        }
    }
}

/// Where to look in metadata, and for what (envoy: type.matcher.v3.MetadataMatcher).
package struct MetadataMatchConfig: Hashable, Sendable {
    /// The namespace: mostly the name of the filter that wrote it.
    package let filter: String
    /// Keys, outermost first; never empty.
    package let path: [String]
    package let value: ValueMatch
    package let isInverted: Bool

    package init(filter: String, path: [String], value: ValueMatch, isInverted: Bool = false) {
        self.filter = filter
        self.path = path
        self.value = value
        self.isInverted = isInverted
    }

    package init(_ object: ConfigObject) {
        filter = object.requiredString("filter")
        path = object.objects("path").map { $0.requiredString("key") }
        if path.isEmpty { object.error("needs at least one key", at: "path") }
        isInverted = object.bool("invert", default: false)
        if let wanted = object.object("value") {
            value = ValueMatch(wanted)
        } else {
            object.error("is required", at: "value")
            value = .present(false)
        }
    }
}

extension MetadataMatchConfig: CustomStringConvertible {
    package var description: String {
        "metadata \(filter) \(path.joined(separator: ".")) \(isInverted ? "not " : "")\(value)"
    }
}

/// What an object of the filter state must be (envoy: type.matcher.v3.FilterStateMatcher).
package struct FilterStateMatchConfig: Hashable, Sendable {
    package enum Specifier: Hashable, Sendable {
        case string(StringMatch)
        case address([CIDR], isInverted: Bool)
    }

    package let key: String
    package let specifier: Specifier

    package init(key: String, _ specifier: Specifier) {
        self.key = key
        self.specifier = specifier
    }

    package init(_ object: ConfigObject) {
        key = object.requiredString("key")
        if object.exactlyOne(of: "string_match", "address_match") == "address_match" {
            let address = object.object("address_match")
            let ranges = address?.objects("ranges").compactMap(CIDR.decode) ?? []
            specifier = .address(
                ranges,
                isInverted: address?.bool("invert_match", default: false) ?? false
            )
        } else {
            specifier = .string(object.object("string_match").map { StringMatch($0) } ?? .exact(""))
        }
    }
}

extension FilterStateMatchConfig: CustomStringConvertible {
    package var description: String {
        switch specifier {
        case .string(let match): "filter state \(key) \(match)"
        case .address(let ranges, let isInverted):
            "filter state \(key) \(isInverted ? "not " : "")in "
                + ranges.map(\.description).joined(separator: ", ")
        }
    }
}
