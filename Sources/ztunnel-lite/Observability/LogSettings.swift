import MeshConfig
import MeshNet
import MeshRuntime
import Synchronization

/// What the log of the process looks like and how much of it there is: `LOG_FORMAT`, `RUST_LOG` and
/// `/logging`. Everything goes to standard output in one form, as ztunnel's does.
///
/// Workers ask for the level of scope `access`; the rest is the control thread's.
package final class LogSettings: Sendable {
    /// `LOG_FORMAT=json`
    package let isJSON: Bool
    private let log: Log
    private let accessLevel = Atomic(UInt8(LogLevel.info.rawValue))
    private let lost = Atomic(0)
    private let filter: Mutex<LogFilter>
    private let initial: LogFilter

    /// - Parameters:
    ///   - filter: nil for the level that the log has.
    ///   - log: of the process; its lines take the form and the levels.
    package init(isJSON: Bool, filter: LogFilter? = nil, log: Log = .shared) {
        self.isJSON = isJSON
        self.log = log
        let filter = filter ?? LogFilter(log.level(of: .main))
        initial = filter
        self.filter = Mutex(filter)
        apply(filter)
        log.redirect(to: style) { Log.writeToStandardOutput($0) }
    }

    private var style: LogStyle { isJSON ? .istioJSON : .istio }

    /// From here on lines of the process go the way of the workers' lines, which keeps them in order
    /// and whole: the writer's thread must be about to run.
    package func begin(_ writer: LogWriter) {
        let file = writer.file(.standardOutput)
        log.redirect(to: style) { [self] line in
            if !file.submit(line) { lost.add(1, ordering: .relaxed) }
        }
    }

    /// Lines are written at once again: the writer is about to stop.
    package func end() { log.redirect(to: style) { Log.writeToStandardOutput($0) } }

    /// Lines of the process that were dropped because too many waited; workers count theirs.
    package var droppedLines: UInt64 { UInt64(lost.load(ordering: .relaxed)) }

    // MARK: Levels

    func isAccessEnabled(_ level: LogLevel) -> Bool {
        level.rawValue >= Int(accessLevel.load(ordering: .relaxed))
    }

    /// As `RUST_LOG` would say it.
    package var filterText: String { filter.withLock { $0.description } }

    /// Adds directives to those in force, or to the ones the process began with.
    package func change(_ directives: LogFilter, resets: Bool) {
        let changed = filter.withLock { filter in
            if resets { filter = initial }
            filter.merge(directives)
            return filter
        }
        apply(changed)
        log.info(.admin, "new log filter is \(changed)")
    }

    private func apply(_ filter: LogFilter) {
        accessLevel.store(UInt8(filter.level(of: LogFilter.access).rawValue), ordering: .relaxed)
        for component in LogComponent.allCases {
            log.setLevel(filter.level(of: component.name), of: component)
        }
    }
}

/// Which lines are wanted: a level for all scopes and levels for some, as `RUST_LOG` has them,
/// `info,access=debug`.
package struct LogFilter: Hashable, Sendable {
    /// The scope of the lines about connections.
    static let access = "access"
    /// Scopes there are lines of.
    static let scopes = ([access] + LogComponent.names).sorted()

    /// Nil where nothing is said of it: `info` in the end.
    private var level: LogLevel?
    private var levels: [String: LogLevel] = [:]
    /// Scopes that the text names and that have no lines here, such as modules of ztunnel.
    package private(set) var unknownScopes: [String] = []

    package init() {}

    init(_ level: LogLevel) { self.level = level }

    /// Why a text is no filter.
    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    /// `level`, `scope=level` or `scope:level`, with commas between; later ones win. A scope may be
    /// written as ztunnel's path, `ztunnel::admin`.
    package init(_ text: String) throws(Problem) {
        for directive in text.split(separator: ",", omittingEmptySubsequences: true) {
            let (scope, name) = Self.halves(directive)
            guard let level = Self.level(name) else {
                throw Problem(
                    description: "\(directive): unknown level; off, error, warn, info, debug, trace"
                )
            }
            guard let scope else {
                self.level = level
                continue
            }
            if let known = Self.scope(scope) {
                levels[known] = level
            } else {
                unknownScopes.append(String(scope))
            }
        }
    }

    mutating func merge(_ other: LogFilter) {
        level = other.level ?? level
        levels.merge(other.levels) { $1 }
    }

    func level(of scope: String) -> LogLevel { levels[scope] ?? level ?? .info }

    private static func level(_ name: Substring) -> LogLevel? {
        switch name.lowercased() {
        case "off": .off
        case "error": .error
        case "warn", "warning": .warning
        case "info": .info
        case "debug": .debug
        case "trace": .trace
        default: nil
        }
    }

    private static func halves(_ directive: Substring) -> (scope: Substring?, level: Substring) {
        let at = directive.lastIndex(of: "=") ?? directive.lastIndex(of: ":")
        guard let at else { return (nil, directive) }
        return (directive[..<at], directive[directive.index(after: at)...])
    }

    private static func scope(_ name: Substring) -> String? {
        let prefix = "ztunnel::"
        let name = name.hasPrefix(prefix) ? name.dropFirst(prefix.count) : name
        return scopes.contains(String(name)) ? String(name) : nil
    }
}

extension LogFilter: CustomStringConvertible {
    /// Scopes first, as they win.
    package var description: String {
        (levels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.istioName)" }
            + ["\((level ?? .info).istioName)"]).joined(separator: ",")
    }
}
