import Glibc
import MeshNet

/// How a text is to look (envoy: type.matcher.v3.StringMatcher). Matching allocates nothing.
package struct StringMatch: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable {
        case exact, prefix, suffix, contains, safeRegex
    }

    /// One reference: matchers are copied on the request's way, and each reference costs a count.
    private let matcher: Matcher

    private final class Matcher: Sendable {
        let kind: Kind
        let pattern: String
        let ignoresCase: Bool
        /// What is compared: the pattern, in lower case where case is ignored.
        let literal: [UInt8]
        /// Set for `.safeRegex`.
        let regex: Regex?

        init(_ kind: Kind, _ pattern: String, ignoresCase: Bool, regex: Regex?) {
            self.kind = kind
            self.pattern = pattern
            self.ignoresCase = ignoresCase && kind != .safeRegex
            self.regex = regex
            literal = ignoresCase ? pattern.utf8.map(lowercased(ascii:)) : Array(pattern.utf8)
        }

        func matches(_ text: Bytes) -> Bool {
            if kind == .safeRegex { return regex?.fullMatch(text) ?? false }
            return literal.withUnsafeBytes { literal in
                guard text.count >= literal.count else { return false }
                switch kind {
                case .exact:
                    return text.count == literal.count && equal(text, literal, at: 0)
                case .prefix:
                    return equal(text, literal, at: 0)
                case .suffix:
                    return equal(text, literal, at: text.count &- literal.count)
                default:
                    return isContained(literal, in: text)
                }
            }
        }

        /// Compares the literal with the bytes of `text` from `start` on, of which there are enough.
        private func equal(_ text: Bytes, _ literal: Bytes, at start: Int) -> Bool {
            guard literal.count > 0, let left = text.baseAddress, let right = literal.baseAddress
            else {
                return true
            }
            if !ignoresCase { return memcmp(left + start, right, literal.count) == 0 }
            for at in 0..<literal.count where lowercased(ascii: text[start &+ at]) != literal[at] {
                return false
            }
            return true
        }

        private func isContained(_ literal: Bytes, in text: Bytes) -> Bool {
            guard let first = literal.first, let base = text.baseAddress else { return true }
            let last = text.count &- literal.count
            var at = 0
            while at <= last {
                if !ignoresCase {
                    guard let hit = memchr(base + at, Int32(first), last &- at &+ 1) else {
                        return false
                    }
                    at = UnsafeRawPointer(hit) - base
                }
                if equal(text, literal, at: at) { return true }
                at &+= 1
            }
            return false
        }
    }

    private init(_ kind: Kind, _ pattern: String, ignoresCase: Bool, regex: Regex?) {
        matcher = Matcher(kind, pattern, ignoresCase: ignoresCase, regex: regex)
    }

    package var kind: Kind { matcher.kind }
    /// The text wanted, or the expression, as it was written.
    package var pattern: String { matcher.pattern }
    /// ASCII letters compare without case. Has no effect on expressions.
    package var ignoresCase: Bool { matcher.ignoresCase }

    /// The same matcher in memory of its own. Workers make one each: two threads that count references
    /// of one object slow each other down more than the matching costs.
    package func workerCopy() -> StringMatch {
        StringMatch(kind, pattern, ignoresCase: ignoresCase, regex: matcher.regex?.workerCopy())
    }

    package static func == (left: StringMatch, right: StringMatch) -> Bool {
        left.kind == right.kind && left.ignoresCase == right.ignoresCase
            && left.pattern.utf8.elementsEqual(right.pattern.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        hasher.combine(ignoresCase)
        hasher.combine(pattern)
    }

    package static func exact(_ text: String, ignoresCase: Bool = false) -> StringMatch {
        StringMatch(.exact, text, ignoresCase: ignoresCase, regex: nil)
    }

    package static func prefix(_ text: String, ignoresCase: Bool = false) -> StringMatch {
        StringMatch(.prefix, text, ignoresCase: ignoresCase, regex: nil)
    }

    package static func suffix(_ text: String, ignoresCase: Bool = false) -> StringMatch {
        StringMatch(.suffix, text, ignoresCase: ignoresCase, regex: nil)
    }

    package static func contains(_ text: String, ignoresCase: Bool = false) -> StringMatch {
        StringMatch(.contains, text, ignoresCase: ignoresCase, regex: nil)
    }

    /// The expression must match the whole text.
    package static func safeRegex(_ regex: Regex) -> StringMatch {
        StringMatch(.safeRegex, regex.pattern, ignoresCase: false, regex: regex)
    }

    package init(_ object: ConfigObject) {
        let ignoresCase = object.bool("ignore_case", default: false)
        object.unsupported("custom", "there are no extensions that match strings")
        let chosen = object.exactlyOne(
            of: "exact",
            "prefix",
            "suffix",
            "contains",
            "safe_regex",
            "custom"
        )
        switch chosen {
        case "prefix":
            self = .prefix(object.requiredString("prefix"), ignoresCase: ignoresCase)
        case "suffix":
            self = .suffix(object.requiredString("suffix"), ignoresCase: ignoresCase)
        case "contains":
            self = .contains(object.requiredString("contains"), ignoresCase: ignoresCase)
        case "safe_regex":
            let regex = object.object("safe_regex").flatMap(Regex.decode)
            if ignoresCase {
                object.warning(
                    "has no effect on safe_regex; write (?i) into the expression",
                    at: "ignore_case"
                )
            }
            // An error was reported where there is no expression; decoding goes on.
            self = regex.map(StringMatch.safeRegex) ?? .exact("")
        default:
            self = .exact(object.string("exact", default: ""), ignoresCase: ignoresCase)
        }
    }

    package func matches(_ text: Bytes) -> Bool { matcher.matches(text) }

    package func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { matches(Bytes($0)) }
    }
}

extension StringMatch: CustomStringConvertible {
    /// In the configuration's words, e.g. `prefix "/api"`.
    package var description: String {
        let word =
            switch kind {
            case .exact: "exact"
            case .prefix: "prefix"
            case .suffix: "suffix"
            case .contains: "contains"
            case .safeRegex: "safe_regex"
            }
        return "\(word) \"\(pattern)\"\(ignoresCase ? " in any case" : "")"
    }
}

extension Regex {
    /// Reads a `type.matcher.v3.RegexMatcher`; nil after an error was reported.
    package static func decode(_ object: ConfigObject) -> Regex? {
        let pattern = object.requiredString("regex")
        let limit = object.object("google_re2")?.uint32("max_program_size")
        if pattern.isEmpty { return nil }
        do {
            return try Regex(pattern, programSizeMax: limit)
        } catch {
            object.error("invalid regular expression \"\(pattern)\": \(error)", at: "regex")
            return nil
        }
    }
}

/// ASCII only: what HTTP compares without case is ASCII (RFC 9110 §5.1, §4.2.3).
func lowercased(ascii byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }
