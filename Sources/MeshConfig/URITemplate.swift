import MeshNet

/// A path template (envoy: extensions.path.match.uri_template): segments that are literal, `{*}` for
/// one segment, `{**}` for any number of them, with variables as `{name}`, `{name=*}`, `{name=a/*/b}`.
///
/// Compiled to one linear-time expression over the path without its query.
package struct URITemplate: Hashable, Sendable {
    package let template: String
    private let regex: Regex

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// As Envoy's limits: a variable's name may have 16 characters, a template five variables.
    private static let nameLengthMax = 16
    private static let variablesMax = 5

    package init(_ template: String) throws(Failure) {
        var compiler = Compiler(text: Array(template.utf8))
        let pattern = try compiler.compile()
        self.template = template
        do {
            regex = try Regex(pattern)
        } catch {
            throw Failure(description: error.description)
        }
    }

    /// - Parameter path: `:path`; query and fragment are left aside.
    package func matches(_ path: Bytes) -> Bool { regex.fullMatch(PathMatch.withoutQuery(path)) }

    /// Reads the template. Knows no I/O and no matching.
    private struct Compiler {
        let text: [UInt8]
        var at = 0
        var variables: Set<String> = []
        /// A `**`, after which only literal segments may stand.
        var hasGlob = false

        mutating func compile() throws(Failure) -> String {
            guard text.first == UInt8(ascii: "/") else {
                throw Failure(description: "a template begins with \"/\"")
            }
            var pattern = ""
            while at < text.count {
                guard text[at] == UInt8(ascii: "/") else {
                    throw Failure(description: "expected \"/\" after a variable, at byte \(at)")
                }
                pattern += "/"
                at += 1
                if at < text.count { pattern += try segment() }
            }
            return pattern
        }

        private mutating func segment() throws(Failure) -> String {
            switch text[at] {
            case UInt8(ascii: "*"):
                return try wildcard()
            case UInt8(ascii: "{"):
                at += 1
                return try variable()
            default:
                return try literal(until: [UInt8(ascii: "/")])
            }
        }

        private mutating func wildcard() throws(Failure) -> String {
            let isGlob = at + 1 < text.count && text[at + 1] == UInt8(ascii: "*")
            if hasGlob {
                throw Failure(description: "nothing but literal segments may follow \"**\"")
            }
            hasGlob = isGlob
            at += isGlob ? 2 : 1
            let letters = "[\(Self.pathClass)]"
            return isGlob ? "[\(Self.pathClass)/]*" : "\(letters)+"
        }

        private mutating func variable() throws(Failure) -> String {
            if at < text.count, text[at] == UInt8(ascii: "*") {
                let pattern = try wildcard()
                try expect("}")
                return pattern
            }
            let name = try name()
            guard at < text.count else { throw Failure(description: "\"{\" is not closed") }
            if text[at] == UInt8(ascii: "}") {
                at += 1
                if hasGlob {
                    throw Failure(description: "nothing but literal segments may follow \"**\"")
                }
                return "[\(Self.pathClass)]+"
            }
            try expect("=")
            var pattern = ""
            if at < text.count, text[at] == UInt8(ascii: "}") {
                throw Failure(description: "variable \"\(name)\" has an empty pattern")
            }
            while at < text.count, text[at] != UInt8(ascii: "}") {
                switch text[at] {
                case UInt8(ascii: "*"): pattern += try wildcard()
                case UInt8(ascii: "/"):
                    pattern += "/"
                    at += 1
                case UInt8(ascii: "{"):
                    throw Failure(description: "variable \"\(name)\" holds another variable")
                default: pattern += try literal(until: [UInt8(ascii: "/"), UInt8(ascii: "}")])
                }
            }
            try expect("}")
            return pattern
        }

        private mutating func name() throws(Failure) -> String {
            let start = at
            while at < text.count, text[at] != UInt8(ascii: "}"), text[at] != UInt8(ascii: "=") { at += 1 }
            let name = String(decoding: text[start..<at], as: UTF8.self)
            let isWord = name.utf8.allSatisfy { byte in
                lowercased(ascii: byte) &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "_")
            }
            guard let first = name.utf8.first, isWord, lowercased(ascii: first) &- 0x61 < 26 else {
                throw Failure(description: "\"\(name)\" is not a variable name")
            }
            if name.utf8.count > URITemplate.nameLengthMax {
                throw Failure(
                    description: "variable name \"\(name)\" is longer than \(URITemplate.nameLengthMax)")
            }
            if !variables.insert(name).inserted {
                throw Failure(description: "variable \"\(name)\" is given twice")
            }
            if variables.count > URITemplate.variablesMax {
                throw Failure(description: "more than \(URITemplate.variablesMax) variables")
            }
            return name
        }

        private mutating func literal(until ends: [UInt8]) throws(Failure) -> String {
            var pattern = ""
            let start = at
            while at < text.count, !ends.contains(text[at]) {
                let byte = text[at]
                guard Self.isPathCharacter(byte) else {
                    let rest = String(decoding: text[start...], as: UTF8.self)
                    throw Failure(description: "\"\(rest)\" has a character that no segment may have")
                }
                if byte == UInt8(ascii: "*") {
                    throw Failure(description: "a wildcard must be a segment of its own")
                }
                let isWord = lowercased(ascii: byte) &- 0x61 < 26 || byte &- 0x30 < 10
                pattern += (isWord ? "" : "\\") + String(UnicodeScalar(byte))
                at += 1
            }
            return pattern
        }

        private mutating func expect(_ character: Character) throws(Failure) {
            guard at < text.count, String(UnicodeScalar(text[at])) == String(character) else {
                throw Failure(description: "expected \"\(character)\" at byte \(at)")
            }
            at += 1
        }

        /// What a segment may hold (RFC 3986 §3.3: pchar), as a character class without its brackets.
        private static let pathClass = "a-zA-Z0-9\\-._~%!$&'()+,;:@=*"

        private static func isPathCharacter(_ byte: UInt8) -> Bool {
            lowercased(ascii: byte) &- 0x61 < 26 || byte &- 0x30 < 10
                || "-._~%!$&'()+,;:@=*".utf8.contains(byte)
        }
    }
}

extension URITemplate: CustomStringConvertible {
    package var description: String { template }
}
