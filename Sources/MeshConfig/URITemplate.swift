import MeshNet

/// A path template (envoy: extensions.path.match.uri_template): segments that are literal, `*` for
/// one segment, `**` for any number of them, or a variable: `{name}`, `{name=*}`, `{name=a/*/b}`.
/// A variable or wildcard may carry a literal suffix: `/{page}.html`.
///
/// Compiled to one linear-time expression over the path without its query.
package struct URITemplate: Hashable, Sendable {
    package let template: String
    private let regex: Regex

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    package init(_ template: String) throws(Failure) {
        var compiler = URITemplateCompiler()
        let pattern = try compiler.compile(Array(template.utf8)[...])
        self.template = template
        do {
            regex = try Regex(pattern)
        } catch {
            throw Failure(description: error.description)
        }
    }

    private init(template: String, regex: Regex) {
        self.template = template
        self.regex = regex
    }

    /// See ``StringMatch/workerCopy()``.
    package func workerCopy() -> URITemplate {
        URITemplate(template: template, regex: regex.workerCopy())
    }

    /// - Parameter path: `:path`; query and fragment are left aside.
    package func matches(_ path: Bytes) -> Bool { regex.fullMatch(PathMatch.withoutQuery(path)) }
}

extension URITemplate: CustomStringConvertible {
    package var description: String { template }
}

/// Translates a template into an expression.
private struct URITemplateCompiler {
    typealias Failure = URITemplate.Failure
    typealias Text = ArraySlice<UInt8>

    /// As Envoy's limits.
    private static let nameLengthMax = 16
    private static let variablesMax = 5

    private var variables: Set<String> = []
    /// The last wildcard was `**`: no further one may follow.
    private var hasGlob = false

    mutating func compile(_ text: Text) throws(Failure) -> String {
        guard text.first == UInt8(ascii: "/") else {
            throw Failure(description: "a template begins with \"/\"")
        }
        var pattern = "/"
        var rest = text.dropFirst()
        while let first = rest.first {
            switch first {
            case UInt8(ascii: "*"): pattern += try wildcard(&rest)
            case UInt8(ascii: "{"): pattern += try variable(&rest)
            default: pattern += try literal(&rest)
            }
            if let next = rest.first, next != UInt8(ascii: "/") { pattern += try literal(&rest) }
            guard !rest.isEmpty else { break }
            pattern += "/"
            rest = rest.dropFirst()
        }
        return pattern
    }

    private mutating func wildcard(_ rest: inout Text) throws(Failure) -> String {
        if hasGlob { throw Failure(description: "no wildcard may follow \"**\"") }
        hasGlob = rest.starts(with: "**".utf8)
        rest = rest.dropFirst(hasGlob ? 2 : 1)
        return hasGlob ? Self.anySegments : Self.oneSegment
    }

    private mutating func variable(_ rest: inout Text) throws(Failure) -> String {
        guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else {
            throw Failure(description: "\"{\" is not closed")
        }
        let inner = rest[rest.index(after: rest.startIndex)..<end]
        rest = rest[rest.index(after: end)...]
        guard let equals = inner.firstIndex(of: UInt8(ascii: "=")) else {
            try declare(inner)
            if hasGlob { throw Failure(description: "no wildcard may follow \"**\"") }
            return Self.oneSegment
        }
        try declare(inner[..<equals])
        return try variablePattern(inner[inner.index(after: equals)...])
    }

    private mutating func variablePattern(_ text: Text) throws(Failure) -> String {
        guard !text.isEmpty else { throw Failure(description: "a variable has an empty pattern") }
        var pattern = ""
        var rest = text
        while true {
            if rest.first == UInt8(ascii: "*") {
                pattern += try wildcard(&rest)
            } else {
                pattern += try literal(&rest)
            }
            guard let next = rest.first else { return pattern }
            guard next == UInt8(ascii: "/") else {
                throw Failure(description: "in a variable, a wildcard must be a segment of its own")
            }
            pattern += "/"
            rest = rest.dropFirst()
        }
    }

    private mutating func declare(_ text: Text) throws(Failure) {
        let name = String(decoding: text, as: UTF8.self)
        func isLetter(_ byte: UInt8) -> Bool { lowercased(ascii: byte) &- 0x61 < 26 }
        guard let first = text.first, isLetter(first),
            text.allSatisfy({ isLetter($0) || $0 &- 0x30 < 10 || $0 == UInt8(ascii: "_") })
        else {
            let hint = name == "*" || name == "**" ? "; write \(name) without braces" : ""
            throw Failure(description: "\"\(name)\" is not a variable name\(hint)")
        }
        if text.count > Self.nameLengthMax {
            throw Failure(
                description: "variable name \"\(name)\" is longer than \(Self.nameLengthMax)"
            )
        }
        guard variables.insert(name).inserted else {
            throw Failure(description: "variable \"\(name)\" is given twice")
        }
        if variables.count > Self.variablesMax {
            throw Failure(description: "there are more than \(Self.variablesMax) variables")
        }
    }

    /// Text up to the next slash: not empty, without wildcards.
    private func literal(_ rest: inout Text) throws(Failure) -> String {
        let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        let text = rest[..<end]
        rest = rest[end...]
        guard !text.isEmpty, text.allSatisfy(Self.isLiteral) else {
            throw Failure(
                description: "\"\(String(decoding: text, as: UTF8.self))\" is not a literal segment"
            )
        }
        var pattern = ""
        for byte in text {
            let isWord = lowercased(ascii: byte) &- 0x61 < 26 || byte &- 0x30 < 10
            pattern += (isWord ? "" : "\\") + String(UnicodeScalar(byte))
        }
        return pattern
    }

    // What a segment may hold (RFC 3986 appendix A, pchar).
    private static let oneSegment = "[a-zA-Z0-9\\-._~%!$&'()*+,;:@=]+"
    private static let anySegments = "[a-zA-Z0-9\\-._~%!$&'()*+,;:@=/]*"

    /// Not "*": Envoy takes it for a repetition there, which nobody can mean.
    private static func isLiteral(_ byte: UInt8) -> Bool {
        lowercased(ascii: byte) &- 0x61 < 26 || byte &- 0x30 < 10
            || "-._~%!$&'()+,;:@=".utf8.contains(byte)
    }
}

extension URITemplate {
    /// Reads a `core.v3.TypedExtensionConfig` that holds a template; nil after an error was reported.
    package static func decode(_ object: ConfigObject) -> URITemplate? {
        _ = object.requiredString("name")
        guard let (type, config) = object.typedConfig() else { return nil }
        guard type == "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig" else {
            object.error("\(type) is not a path matcher we have; use UriTemplateMatchConfig")
            config.skip()
            return nil
        }
        let text = config.requiredString("path_template")
        if text.isEmpty { return nil }
        do {
            return try URITemplate(text)
        } catch {
            config.error("invalid template \"\(text)\": \(error)", at: "path_template")
            return nil
        }
    }
}
