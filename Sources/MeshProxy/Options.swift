import MeshConfig
import MeshRuntime

/// The command line, in Envoy's words.
package struct Options: Hashable, Sendable {
    package enum Mode: String, CaseIterable, Sendable {
        case serve
        /// Check the configuration, and everything it names, and exit.
        case validate
    }

    package struct ComponentLevel: Hashable, Sendable {
        package let component: String
        package let level: LogLevel
    }

    /// What the command line asks for.
    package enum Action: Hashable, Sendable {
        case run(Options)
        /// Print this and exit with 0.
        case print(String)
        /// Print this to standard error and exit with 1.
        case refuse(String)
    }

    package var configPath = ""
    package var mode = Mode.serve
    /// Worker threads, at least 1; nil: one per processor.
    package var concurrency: Int?
    package var logLevel = LogLevel.info
    package var componentLogLevels: [ComponentLevel] = []
    /// As given, for `/server_info`; there is no hot restart.
    package private(set) var baseID = "0"
    /// How long in-flight requests have after a request to stop; nil: the agent's default.
    package var drainTime: Duration?
    /// The longest that an access-log line waits for company; nil: the log writer's default.
    package var logFlushInterval: Duration?
    /// Flags of Envoy's hot restart that were given: they have no effect, which a log line says.
    package var hotRestartFlags: [String] = []

    package init() {}

    /// Reads the arguments after the program's name. Pure: nothing is printed.
    package static func parse(_ arguments: [String], program: String, version: String) -> Action {
        var options = Options()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard let (flag, attached) = split(argument) else {
                return .refuse(unknown(argument))
            }
            var value = attached
            if flag.value != nil, value == nil {
                value = rest.popFirst()
                guard value != nil else {
                    return .refuse("the option \(argument) needs a value; see --help")
                }
            } else if flag.value == nil, attached != nil {
                return .refuse("the option --\(flag.name) takes no value")
            }
            switch flag.name {
            case "help": return .print(usage(program))
            case "version": return .print("\(program) \(version)\n")
            default:
                if let problem = options.set(flag.name, value ?? "") {
                    return .refuse("--\(flag.name): \(problem)")
                }
            }
        }
        if options.configPath.isEmpty {
            return .refuse("no configuration: -c names the file; see --help")
        }
        return .run(options)
    }

    /// Takes one option; what is wrong with its value, or nil.
    private mutating func set(_ name: String, _ value: String) -> String? {
        switch name {
        case "config-path":
            if value.isEmpty { return "the path is empty" }
            configPath = value
        case "mode":
            guard let mode = Mode(rawValue: value) else {
                let words = Mode.allCases.map(\.rawValue)
                return "\(Self.quoted(value)) is not one of \(words.joined(separator: ", "))"
                    + Suggestion.hint(for: value, among: words)
            }
            self.mode = mode
        case "concurrency":
            guard let count = UInt32(value), count <= 4096 else {
                return "\(Self.quoted(value)) is not a number from 1 to 4096"
            }
            // As in Envoy, 0 is 1.
            concurrency = max(1, Int(count))
        case "log-level":
            guard let level = LogLevel(name: value) else { return Self.unknownLevel(value) }
            logLevel = level
        case "component-log-level":
            for entry in value.split(separator: ",", omittingEmptySubsequences: false) {
                let parts = entry.split(separator: ":", omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[0].isEmpty else {
                    return "\(Self.quoted(String(entry))) is not of the form component:level"
                }
                guard let level = LogLevel(name: String(parts[1])) else {
                    return Self.unknownLevel(String(parts[1]))
                }
                let component = String(parts[0])
                guard LogComponent(component) != nil || LogComponent.unused.contains(component)
                else {
                    return "\(Self.quoted(component)) is not a component"
                        + Suggestion.hint(for: component, among: LogComponent.names)
                }
                componentLogLevels.append(.init(component: component, level: level))
            }
        case "drain-time-s":
            guard let seconds = UInt32(value) else {
                return "\(Self.quoted(value)) is not a number of seconds"
            }
            drainTime = .seconds(Int64(seconds))
        case "file-flush-interval-msec":
            guard let milliseconds = UInt32(value) else {
                return "\(Self.quoted(value)) is not a number of milliseconds"
            }
            logFlushInterval = .milliseconds(Int64(milliseconds))
        case "base-id":
            guard let number = UInt32(value) else {
                return "\(Self.quoted(value)) is not a number"
            }
            baseID = "\(number)"
            hotRestartFlags.append("--\(name)")
        default:
            hotRestartFlags.append("--\(name)")
        }
        return nil
    }

    private static func unknownLevel(_ value: String) -> String {
        let names = LogLevel.allCases.map(\.name)
        return "\(quoted(value)) is not one of \(names.joined(separator: ", "))"
            + Suggestion.hint(for: value, among: names)
    }

    private static func quoted(_ text: String) -> String { ConfigNode.quoted(text) }
}

extension Options {
    private struct Flag {
        let name: String
        var short: Character?
        /// What its value is called in the usage; nil: it has none.
        var value: String?
        let help: String
    }

    private static let flags = [
        Flag(
            name: "config-path",
            short: "c",
            value: "FILE",
            help: "Envoy v3 bootstrap: YAML if it ends in .yaml or .yml, else JSON"
        ),
        Flag(
            name: "mode",
            value: "serve|validate",
            help: "validate: check the configuration and all it names, and exit"
        ),
        Flag(
            name: "concurrency",
            value: "N",
            help: "worker threads; by default one per processor"
        ),
        Flag(
            name: "log-level",
            short: "l",
            value: "LEVEL",
            help: "trace, debug, info (default), warning, error, critical or off"
        ),
        Flag(
            name: "component-log-level",
            value: "NAME:LEVEL,...",
            help: "levels of single components"
        ),
        Flag(
            name: "drain-time-s",
            value: "SECONDS",
            help: "how long requests in flight have after SIGTERM"
        ),
        Flag(
            name: "file-flush-interval-msec",
            value: "MILLISECONDS",
            help: "the longest that a line of an access log waits for company (1000)"
        ),
        Flag(name: "disable-hot-restart", help: "accepted for Envoy's sake; no effect"),
        Flag(name: "base-id", value: "N", help: "accepted for Envoy's sake; no effect"),
        Flag(name: "use-dynamic-base-id", help: "accepted for Envoy's sake; no effect"),
        Flag(name: "version", help: "print the version"),
        Flag(name: "help", short: "h", help: "print this"),
    ]

    private static func unknown(_ argument: String) -> String {
        guard argument.hasPrefix("-") else {
            return "unexpected argument \(quoted(argument)): options begin with a dash; see --help"
        }
        let name = argument.drop { $0 == "-" }.prefix { $0 != "=" }
        let near = Suggestion.nearest(to: String(name), among: flags.map(\.name))
        return "unknown option \(quoted(argument))"
            + (near.map { "; did you mean --\($0)?" } ?? "; see --help")
    }

    /// The flag an argument names, and a value attached to it: `--name=value`, `-cvalue`; nil where
    /// there is no such flag.
    private static func split(_ argument: String) -> (Flag, String?)? {
        if argument.hasPrefix("--") {
            let body = argument.dropFirst(2)
            let end = body.firstIndex(of: "=")
            let name = body[..<(end ?? body.endIndex)]
            guard let flag = flags.first(where: { $0.name == name }) else { return nil }
            return (flag, end.map { String(body[body.index(after: $0)...]) })
        }
        guard argument.hasPrefix("-"), let letter = argument.dropFirst().first,
            let flag = flags.first(where: { $0.short == letter })
        else { return nil }
        let attached = argument.dropFirst(2)
        return (flag, attached.isEmpty ? nil : String(attached))
    }

    private static func usage(_ program: String) -> String {
        var text = "usage: \(program) -c FILE [options]\n\n"
        for flag in flags {
            let short = flag.short.map { "-\($0), " } ?? "    "
            let form = short + "--\(flag.name)" + (flag.value.map { " \($0)" } ?? "")
            text += "  \(form)\n          \(flag.help)\n"
        }
        return text
    }
}
