import Glibc
import MeshNet

// Matchers that several parts of the configuration share. Those that need only bytes or numbers
// match here; those that need a header map or metadata are evaluated in MeshRuntime/Policy.

/// What a header must be (envoy: config.route.v3.HeaderMatcher).
package struct HeaderMatchConfig: Hashable, Sendable {
    package enum Specifier: Hashable, Sendable {
        /// The field is present (`true`) or absent.
        case present(Bool)
        case value(StringMatch)
        /// A decimal number in the half-open range.
        case range(Int64Range)
    }

    /// In lower case, as written; `host` means `:authority`.
    package let name: String
    package let specifier: Specifier
    package let isInverted: Bool
    /// A missing field is matched as an empty value instead of failing.
    package let treatsMissingAsEmpty: Bool

    package init(
        name: String,
        _ specifier: Specifier,
        isInverted: Bool = false,
        treatsMissingAsEmpty: Bool = false
    ) {
        self.name = name.lowercased()
        self.specifier = specifier
        self.isInverted = isInverted
        self.treatsMissingAsEmpty = treatsMissingAsEmpty
    }

    package init(_ object: ConfigObject) {
        let name = object.requiredString("name")
        if !name.isEmpty, !Self.isFieldName(name) {
            object.error("\"\(name)\" is not a header name", at: "name")
        }
        let chosen = object.atMostOne(
            of: "exact_match",
            "safe_regex_match",
            "range_match",
            "present_match",
            "prefix_match",
            "suffix_match",
            "contains_match",
            "string_match"
        )
        self.init(
            name: name,
            Self.specifier(object, chosen),
            isInverted: object.bool("invert_match", default: false),
            treatsMissingAsEmpty: object.bool("treat_missing_header_as_empty", default: false)
        )
    }

    private static func specifier(_ object: ConfigObject, _ chosen: String?) -> Specifier {
        switch chosen {
        case "string_match":
            return .value(object.object("string_match").map { StringMatch($0) } ?? .exact(""))
        case "exact_match":
            // Envoy: an empty exact_match accepts every value; string_match's exact does not.
            let text = object.string("exact_match", default: "")
            return .value(text.isEmpty ? .prefix("") : .exact(text))
        case "prefix_match": return .value(.prefix(object.requiredString("prefix_match")))
        case "suffix_match": return .value(.suffix(object.requiredString("suffix_match")))
        case "contains_match": return .value(.contains(object.requiredString("contains_match")))
        case "safe_regex_match":
            let regex = object.object("safe_regex_match").flatMap(Regex.decode)
            return .value(regex.map(StringMatch.safeRegex) ?? .exact(""))
        case "range_match":
            return .range(object.object("range_match").map { Int64Range($0) } ?? Int64Range(0, 0))
        case "present_match": return .present(object.bool("present_match", default: false))
        default: return .present(true)
        }
    }

    /// A token (RFC 9110 §5.6.2), or a pseudo-header: a colon and a token.
    private static func isFieldName(_ name: String) -> Bool {
        let token = name.utf8.first == UInt8(ascii: ":") ? name.utf8.dropFirst() : name.utf8[...]
        return !token.isEmpty
            && token.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"),
                    UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
                    UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
                    UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
                    true
                default: false
                }
            }
    }
}

extension HeaderMatchConfig {
    /// See ``StringMatch/workerCopy()``.
    package func workerCopy() -> HeaderMatchConfig {
        guard case .value(let match) = specifier else { return self }
        return HeaderMatchConfig(
            name: name,
            .value(match.workerCopy()),
            isInverted: isInverted,
            treatsMissingAsEmpty: treatsMissingAsEmpty
        )
    }
}

extension HeaderMatchConfig: CustomStringConvertible {
    /// E.g. `header x-canary exact "true"`.
    package var description: String {
        let wanted =
            switch specifier {
            case .present(let isPresent): isPresent ? "present" : "absent"
            case .value(let match): match.description
            case .range(let range): "a number in \(range)"
            }
        return "header \(name) \(isInverted ? "not " : "")\(wanted)"
    }
}

/// What a query parameter must be (envoy: config.route.v3.QueryParameterMatcher). The first of
/// repeated parameters counts; nothing is percent-decoded.
package struct QueryParameterMatchConfig: Hashable, Sendable {
    package enum Specifier: Hashable, Sendable {
        case present(Bool)
        case value(StringMatch)
    }

    package let name: String
    package let specifier: Specifier
    private let nameBytes: [UInt8]

    package init(name: String, _ specifier: Specifier) {
        self.name = name
        self.specifier = specifier
        nameBytes = Array(name.utf8)
    }

    package init(_ object: ConfigObject) {
        let name = object.requiredString("name")
        if name.utf8.count > 1024 { object.error("is longer than 1024 bytes", at: "name") }
        let specifier: Specifier =
            switch object.atMostOne(of: "string_match", "present_match") {
            case "string_match":
                .value(object.object("string_match").map { StringMatch($0) } ?? .exact(""))
            case "present_match": .present(object.bool("present_match", default: false))
            default: .present(true)
            }
        self.init(name: name, specifier)
    }

    /// - Parameter query: what stands between `?` and `#` of the path.
    package func matches(query: Bytes) -> Bool {
        let value = Self.value(of: nameBytes, in: query)
        switch specifier {
        case .present(let wanted): return (value != nil) == wanted
        case .value(let match): return value.map { match.matches($0) } ?? false
        }
    }

    /// The first value of a parameter; empty where it has no "=".
    private static func value(of name: [UInt8], in query: Bytes) -> Bytes? {
        name.withUnsafeBytes { name in
            var rest = query[...]
            while !rest.isEmpty {
                let end = rest.firstIndex(of: UInt8(ascii: "&")) ?? rest.endIndex
                let pair = rest[..<end]
                let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? end
                if Bytes(rebasing: pair[..<equals]).equals(name) {
                    return Bytes(rebasing: equals < end ? pair[(equals + 1)...] : pair[end...])
                }
                rest = end < rest.endIndex ? rest[(end + 1)...] : rest[rest.endIndex...]
            }
            return nil
        }
    }
}

extension QueryParameterMatchConfig: CustomStringConvertible {
    package var description: String {
        switch specifier {
        case .present(let isPresent): "query parameter \(name) \(isPresent ? "present" : "absent")"
        case .value(let match): "query parameter \(name) \(match)"
        }
    }
}

/// What a path must be, query and fragment left aside (envoy: type.matcher.v3.PathMatcher).
package struct PathMatch: Hashable, Sendable {
    package let match: StringMatch

    package init(_ match: StringMatch) { self.match = match }

    package init(_ object: ConfigObject) {
        _ = object.exactlyOne(of: "path")
        match = object.object("path").map { StringMatch($0) } ?? .exact("")
    }

    /// - Parameter path: `:path`, query included.
    package func matches(_ path: Bytes) -> Bool { match.matches(Self.withoutQuery(path)) }

    /// The part of `:path` before the first `?` or `#`.
    package static func withoutQuery(_ path: Bytes) -> Bytes {
        guard let base = path.baseAddress else { return path }
        var end = path.count
        if let hit = memchr(base, Int32(UInt8(ascii: "?")), end) {
            end = UnsafeRawPointer(hit) - base
        }
        if let hit = memchr(base, Int32(UInt8(ascii: "#")), end) {
            end = UnsafeRawPointer(hit) - base
        }
        return Bytes(rebasing: path[..<end])
    }
}

extension PathMatch: CustomStringConvertible {
    package var description: String { match.description }
}

extension CIDR {
    /// Reads a `core.v3.CidrRange`; nil after an error was reported.
    package static func decode(_ object: ConfigObject) -> CIDR? {
        let text = object.requiredString("address_prefix")
        // Envoy: an absent prefix_len is zero, which is every address of the family.
        var length = Int(object.uint32("prefix_len", default: 0))
        if text.isEmpty { return nil }
        guard let address = IPAddress(text) else {
            object.error("\"\(text)\" is not an IP address", at: "address_prefix")
            return nil
        }
        // An IPv4-mapped prefix is kept as IPv4, like every address it is compared with.
        if !address.isIPv6, text.utf8.contains(UInt8(ascii: ":")), length >= 96 { length -= 96 }
        guard let range = CIDR(address, prefixLength: length) else {
            object.error(
                "\(length) exceeds the \(address.bitWidth) bits of the address",
                at: "prefix_len"
            )
            return nil
        }
        return range
    }
}

/// A half-open range of integers (envoy: type.v3.Int64Range).
package struct Int64Range: Hashable, Sendable, CustomStringConvertible {
    package let start: Int64
    package let end: Int64

    package init(_ start: Int64, _ end: Int64) {
        self.start = start
        self.end = end
    }

    package init(_ object: ConfigObject) {
        start = object.int64("start", default: 0)
        end = object.int64("end", default: 0)
        if start >= end {
            object.warning("the range \(start)..<\(end) is empty: it matches nothing", at: "end")
        }
    }

    package func contains(_ value: Int64) -> Bool { start <= value && value < end }

    package var description: String { "\(start)..<\(end)" }
}

/// A share of all requests (envoy: type.v3.FractionalPercent).
package struct FractionalPercent: Hashable, Sendable {
    package enum Denominator: Int, ConfigEnum {
        case hundred = 0, tenThousand, million

        package var name: String {
            switch self {
            case .hundred: "HUNDRED"
            case .tenThousand: "TEN_THOUSAND"
            case .million: "MILLION"
            }
        }

        package var value: UInt64 {
            switch self {
            case .hundred: 100
            case .tenThousand: 10_000
            case .million: 1_000_000
            }
        }
    }

    package let numerator: UInt32
    package let denominator: Denominator

    package init(_ numerator: UInt32, _ denominator: Denominator = .hundred) {
        self.numerator = numerator
        self.denominator = denominator
    }

    package init(_ object: ConfigObject) {
        numerator = object.uint32("numerator", default: 0)
        denominator = object.enumeration("denominator", Denominator.self) ?? .hundred
        if UInt64(numerator) > denominator.value {
            object.warning("\(numerator) of \(denominator.value) is more than all", at: "numerator")
        }
    }

    /// Whether the request that drew this random number is one of the share.
    package func contains(random: UInt64) -> Bool { random % denominator.value < UInt64(numerator) }
}

extension FractionalPercent: CustomStringConvertible {
    package var description: String { "\(numerator) of \(denominator.value)" }
}

/// A share that a runtime key may override (envoy: core.v3.RuntimeFractionalPercent).
package struct RuntimeFractionalPercent: Hashable, Sendable {
    package let defaultValue: FractionalPercent
    /// Empty where there is none.
    package let runtimeKey: String

    package init(_ defaultValue: FractionalPercent, runtimeKey: String = "") {
        self.defaultValue = defaultValue
        self.runtimeKey = runtimeKey
    }

    package init(_ object: ConfigObject) {
        runtimeKey = object.runtimeKey("runtime_key")
        if let share = object.object("default_value") {
            defaultValue = FractionalPercent(share)
        } else {
            object.error("is required", at: "default_value")
            defaultValue = FractionalPercent(0)
        }
    }
}
