/// What went wrong, for people: *what failed: subject: reason; what to check*.
package struct BenchError: Error, CustomStringConvertible, Equatable {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }

    /// Ctrl-C, or SIGTERM: not a failure of anything.
    package static let interrupted = BenchError("interrupted")
}
