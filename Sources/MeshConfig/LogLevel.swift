/// How important a line of the process's own log is; with Envoy's names.
package enum LogLevel: Int, Comparable, CaseIterable, Sendable {
    case trace = 0
    case debug
    case info
    case warning
    case error
    case critical
    case off

    /// Envoy also says `warn`.
    package init?(name: String) {
        if name == "warn" {
            self = .warning
        } else if let match = Self.allCases.first(where: { $0.name == name }) {
            self = match
        } else {
            return nil
        }
    }

    package var name: String { "\(self)" }

    package static func < (left: LogLevel, right: LogLevel) -> Bool {
        left.rawValue < right.rawValue
    }
}
