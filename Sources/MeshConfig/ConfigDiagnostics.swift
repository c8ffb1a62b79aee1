/// The way from a file's root to a value, printed `static_resources.listeners[0].name`.
package struct ConfigPath: Hashable, Sendable, CustomStringConvertible {
    package let description: String

    private init(_ text: String) { description = text }

    package static let root = ConfigPath("")

    /// The member `key`; keys that are not plain words are quoted in brackets.
    package func member(_ key: String) -> ConfigPath {
        let isWord =
            !key.isEmpty
            && key.utf8.allSatisfy {
                $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "@") || $0 == UInt8(ascii: "-")
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20)
            }
        guard isWord else { return ConfigPath("\(description)[\(ConfigNode.quoted(key))]") }
        return ConfigPath(description.isEmpty ? key : "\(description).\(key)")
    }

    package func element(_ index: Int) -> ConfigPath { ConfigPath("\(description)[\(index)]") }
}

/// One thing wrong with a configuration file.
package struct ConfigDiagnostic: Hashable, Sendable, CustomStringConvertible {
    package let path: ConfigPath
    package let position: ConfigPosition
    package let message: String

    package var line: Int { position.line }
    package var column: Int { position.column }

    /// `12:7: static_resources.clusters[0].name: message`
    package var description: String {
        path == .root ? "\(position): \(message)" : "\(position): \(path): \(message)"
    }
}

/// Collects every problem of one file.
///
/// Nothing throws: decoding goes on with a default value, so that one run finds all errors.
package final class ConfigDiagnostics {
    private var collectedErrors: [ConfigDiagnostic] = []
    private var collectedWarnings: [ConfigDiagnostic] = []

    /// What a decoder does with a field it knows.
    package enum FieldUse: Hashable, Sendable {
        case read
        case inert
        case refused(reason: String)
    }

    package struct FieldRecord: Hashable, Sendable {
        /// Of the object that has the field.
        package let path: ConfigPath
        package let field: String
        package let use: FieldUse
    }

    /// Every field asked for, whether present or not. Off unless set to an empty list: it is what
    /// docs/config.md is checked against.
    package var fieldRecords: [FieldRecord]?

    /// Names of runtime values that something in the file reads.
    var runtimeKeys: Set<String> = []

    package init() {}

    /// Sorted by position; what no file may have if it is to run.
    package var errors: [ConfigDiagnostic] { Self.sorted(collectedErrors) }
    /// Sorted by position; what the file may have but probably should not.
    package var warnings: [ConfigDiagnostic] { Self.sorted(collectedWarnings) }
    package var hasErrors: Bool { !collectedErrors.isEmpty }

    /// Whether something is wrong with the value at this path, or with anything in it.
    package func hasErrors(under path: ConfigPath) -> Bool {
        let start = path.description
        return collectedErrors.contains { error in
            let place = error.path.description
            return place == start || place.hasPrefix(start + ".") || place.hasPrefix(start + "[")
        }
    }

    package func error(
        _ message: String,
        path: ConfigPath = .root,
        at position: ConfigPosition
    ) {
        collectedErrors.append(.init(path: path, position: position, message: message))
    }

    package func warning(
        _ message: String,
        path: ConfigPath = .root,
        at position: ConfigPosition
    ) {
        collectedWarnings.append(.init(path: path, position: position, message: message))
    }

    /// One line per problem, errors first: `FILE:LINE:COLUMN: error: PATH: MESSAGE`.
    package func report(fileName: String) -> [String] {
        func lines(_ list: [ConfigDiagnostic], _ word: String) -> [String] {
            list.map { problem in
                let path = problem.path == .root ? "" : "\(problem.path): "
                return "\(fileName):\(problem.position): \(word): \(path)\(problem.message)"
            }
        }
        return lines(errors, "error") + lines(warnings, "warning")
    }

    /// A stable order with repetitions removed: two rules may find the same fault.
    private static func sorted(_ list: [ConfigDiagnostic]) -> [ConfigDiagnostic] {
        var seen: Set<ConfigDiagnostic> = []
        return list.enumerated().sorted {
            ($0.element.position, $0.offset) < ($1.element.position, $1.offset)
        }.map(\.element).filter { seen.insert($0).inserted }
    }
}

/// Finds the word somebody probably meant.
package enum Suggestion {
    /// `; did you mean "x"?` for the nearest of `candidates`, or the empty string.
    package static func hint<S: Sequence>(for word: String, among candidates: S) -> String
    where S.Element == String {
        guard let near = nearest(to: word, among: candidates) else { return "" }
        return "; did you mean \(ConfigNode.quoted(near))?"
    }

    /// The candidate with the fewest edits, if these are few for the word's length.
    package static func nearest<S: Sequence>(to word: String, among candidates: S) -> String?
    where S.Element == String {
        let limit = max(1, min(4, word.utf8.count / 3))
        let folded = Array(word.lowercased().utf8)
        var best: (word: String, distance: Int)?
        for candidate in candidates.sorted() {
            let other = Array(candidate.lowercased().utf8)
            guard abs(other.count - folded.count) <= limit else { continue }
            let distance = editDistance(folded, other)
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.word ?? completion(of: word.lowercased(), among: candidates)
    }

    /// The only candidate that begins with `word`, or ends with it after an underscore.
    private static func completion<S: Sequence>(of word: String, among candidates: S) -> String?
    where S.Element == String {
        guard word.utf8.count >= 4 else { return nil }
        let matches = Set(
            candidates.filter {
                let candidate = $0.lowercased()
                return candidate.hasPrefix(word) || candidate.hasSuffix("_" + word)
            }
        )
        return matches.count == 1 ? matches.first : nil
    }

    /// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
    static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for i in left.indices {
            var row = [i + 1]
            for j in right.indices {
                var cost = min(
                    last[j + 1] + 1,
                    row[j] + 1,
                    last[j] + (left[i] == right[j] ? 0 : 1)
                )
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    cost = min(cost, beforeLast[j - 1] + 1)
                }
                row.append(cost)
            }
            beforeLast = last
            last = row
        }
        return last[right.count]
    }
}
