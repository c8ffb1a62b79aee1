import CRE2
import Glibc
import MeshNet

/// Why an expression, or a rewrite of its matches, was refused; in the engine's words.
package struct RegexError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}

/// A compiled regular expression: RE2, hence linear in the length of the text.
///
/// Compiled once while the configuration is read, shared by all workers; matching allocates nothing
/// that outlives the call.
package final class Regex: @unchecked Sendable {
    // Unchecked: RE2's programs are immutable to callers, and its inner cache has its own lock.
    private let program: OpaquePointer
    package let pattern: String

    /// - Parameter programSizeMax: refuse a program larger than this (envoy: google_re2.max_program_size).
    package init(_ pattern: String, programSizeMax: UInt32? = nil) throws(RegexError) {
        var reason = ""
        var text = pattern
        let compiled = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { pattern in
                Self.collectingReason(&reason) {
                    cre2_compile(pattern.baseAddress, pattern.count, $0, $1)
                }
            }
        }
        guard let compiled else { throw RegexError(description: reason) }
        program = compiled
        self.pattern = pattern
        let size = cre2_program_size(compiled)
        if let programSizeMax, size > Int32(clamping: programSizeMax) {
            throw RegexError(
                description:
                    "its program size of \(size) exceeds max_program_size \(programSizeMax)"
            )
        }
    }

    deinit { cre2_free(program) }

    /// The same expression compiled anew; see ``StringMatch/workerCopy()``. The engine's inner cache has a
    /// lock, which workers then do not share either.
    package func workerCopy() -> Regex { (try? Regex(pattern)) ?? self }

    /// How many capturing groups there are.
    package var groupCount: Int { Int(cre2_group_count(program)) }

    /// Whether the expression matches all of the bytes.
    package func fullMatch(_ bytes: Bytes) -> Bool {
        cre2_full_match(
            program,
            bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
            bytes.count
        )
    }

    /// Whether the expression matches some part of the bytes.
    package func partialMatch(_ bytes: Bytes) -> Bool {
        cre2_partial_match(
            program,
            bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
            bytes.count
        )
    }

    /// Whether a rewrite names only groups that exist.
    package func check(rewrite: String) throws(RegexError) {
        var reason = ""
        var text = rewrite
        let fits = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { rewrite in
                Self.collectingReason(&reason) {
                    cre2_check_rewrite(program, rewrite.baseAddress, rewrite.count, $0, $1)
                }
            }
        }
        if !fits { throw RegexError(description: reason) }
    }

    /// Replaces every match, `\1` standing for its first group (envoy: RegexMatchAndSubstitute).
    /// `body` gets the result, borrowed.
    package func replaceAll<R>(in text: Bytes, with rewrite: Bytes, _ body: (Bytes) -> R) -> R {
        var length = 0
        let result = cre2_replace_all(
            program,
            text.baseAddress?.assumingMemoryBound(to: CChar.self),
            text.count,
            rewrite.baseAddress?.assumingMemoryBound(to: CChar.self),
            rewrite.count,
            &length
        )
        guard let result else { fatalError("out of memory: regular-expression rewrite") }
        defer { free(result) }
        return body(Bytes(start: result, count: length))
    }

    package func replaceAll(in text: Bytes, with rewrite: Bytes, into buffer: inout ByteBuffer) {
        replaceAll(in: text, with: rewrite) { buffer.append($0) }
    }

    package func replaceAll(in text: Bytes, with rewrite: Bytes) -> [UInt8] {
        replaceAll(in: text, with: rewrite) { Array($0) }
    }

    /// RE2's reasons quote a part of the pattern; a longer text is cut.
    private static let reasonBytesMax = 512

    private static func collectingReason<R>(
        _ reason: inout String,
        _ call: (UnsafeMutablePointer<CChar>?, Int) -> R
    ) -> R {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: reasonBytesMax) { buffer in
            buffer.initialize(repeating: 0)
            let result = call(buffer.baseAddress, buffer.count)
            reason = buffer.withMemoryRebound(to: UInt8.self) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            return result
        }
    }
}

extension Regex: Hashable {
    package static func == (left: Regex, right: Regex) -> Bool { left.pattern == right.pattern }
    package func hash(into hasher: inout Hasher) { hasher.combine(pattern) }
}

extension Regex: CustomStringConvertible {
    package var description: String { pattern }
}
