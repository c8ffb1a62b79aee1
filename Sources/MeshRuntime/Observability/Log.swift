import CLinux
import MeshConfig
import MeshNet
import Synchronization

/// Whose line it is; Envoy's names, so that `--component-log-level` works unchanged.
package enum LogComponent: UInt8, CaseIterable, Sendable {
    case admin, config, connection, connHandler, dns, file, filter, http, main, pool, rbac, router
    case runtime, secret, stats, upstream

    package var name: String {
        switch self {
        case .connHandler: "conn_handler"
        default: "\(self)"
        }
    }

    package init?(_ name: String) {
        guard let component = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = component
    }

    /// Of the components that have lines here.
    package static var names: [String] { allCases.map(\.name) }

    /// Components of Envoy that have no lines here: a level for them is accepted and changes nothing.
    package static let unused: Set<String> = [
        "a2a", "ai_protocol_manager", "alternate_protocols_cache", "assert", "aws", "backtrace",
        "basic_auth", "cache_filter", "client", "compression", "credential_injector",
        "decompression", "dubbo", "dynamic_modules", "envoy_bug", "ext_authz", "ext_proc",
        "forward_proxy", "geolocation", "golang", "grpc", "happy_eyeballs", "hc", "health_checker",
        "http2", "hystrix", "init", "io", "ip_tagging", "json_rpc", "jwt", "kafka",
        "key_value_store", "local_rate_limit", "lua", "matcher", "mcp", "misc", "mongo",
        "multi_connection", "notification", "oauth2", "quic", "quic_stream", "rate_limit_quota",
        "rds", "redis", "rocketmq", "sse", "stats_sinks", "tap", "testing", "thrift", "tracing",
        "udp", "wasm", "websocket",
    ]
}

/// The application log: one line per event, on standard error in Envoy's form unless
/// ``redirect(to:_:)`` says otherwise.
///
/// Any thread may write; a line is one system call. What a level leaves out costs one relaxed load.
package final class Log: Sendable {
    package static let shared = Log()

    private let levels: LogLevels
    private let sink: Mutex<Sink>

    private struct Sink {
        var style = LogStyle.envoy
        var clock: @Sendable () -> WallTime
        var output: @Sendable (Bytes) -> Void
    }

    /// Lines before ``start(clock:)`` have no true time.
    package init(
        clock: @escaping @Sendable () -> WallTime = { WallTime(nanoseconds: 0) },
        output: @escaping @Sendable (Bytes) -> Void = { Log.writeToStandardError($0) }
    ) {
        levels = LogLevels()
        sink = Mutex(Sink(clock: clock, output: output))
    }

    /// Gives the log its clock. To be called once, early.
    package func start(clock: @escaping @Sendable () -> WallTime) {
        sink.withLock { $0.clock = clock }
    }

    /// Has lines in another form go elsewhere. `output` is called from any thread.
    package func redirect(to style: LogStyle, _ output: @escaping @Sendable (Bytes) -> Void) {
        sink.withLock {
            $0.style = style
            $0.output = output
        }
    }

    package func setLevel(_ level: LogLevel) {
        for component in LogComponent.allCases { setLevel(level, of: component) }
    }

    package func setLevel(_ level: LogLevel, of component: LogComponent) {
        levels.set(level, component)
    }

    package func level(of component: LogComponent) -> LogLevel { levels.get(component) }

    package func isEnabled(_ level: LogLevel, _ component: LogComponent) -> Bool {
        level >= levels.get(component) && level != .off
    }

    package func trace(_ component: LogComponent, _ message: @autoclosure () -> String) {
        if isEnabled(.trace, component) { write(.trace, component, message()) }
    }

    package func debug(_ component: LogComponent, _ message: @autoclosure () -> String) {
        if isEnabled(.debug, component) { write(.debug, component, message()) }
    }

    package func info(_ component: LogComponent, _ message: @autoclosure () -> String) {
        if isEnabled(.info, component) { write(.info, component, message()) }
    }

    package func warning(_ component: LogComponent, _ message: @autoclosure () -> String) {
        if isEnabled(.warning, component) { write(.warning, component, message()) }
    }

    package func error(_ component: LogComponent, _ message: @autoclosure () -> String) {
        if isEnabled(.error, component) { write(.error, component, message()) }
    }

    package func critical(_ component: LogComponent, _ message: @autoclosure () -> String) {
        if isEnabled(.critical, component) { write(.critical, component, message()) }
    }

    private func write(_ level: LogLevel, _ component: LogComponent, _ message: String) {
        let sink = sink.withLock { $0 }
        var line = ByteBuffer()
        switch sink.style {
        case .envoy: Self.appendEnvoyLine(to: &line, level, component, message, sink.clock())
        case .istio, .istioJSON:
            var istio = IstioLogLine(isJSON: sink.style == .istioJSON)
            istio.begin(&line, level, component.name, message: message, at: sink.clock())
            istio.end(&line)
        }
        sink.output(line.bytes)
    }

    /// `[date time][thread][level][component] message`
    private static func appendEnvoyLine(
        to line: inout ByteBuffer,
        _ level: LogLevel,
        _ component: LogComponent,
        _ message: String,
        _ time: WallTime
    ) {
        line.append(byte: UInt8(ascii: "["))
        dateFormat.append(time, to: &line)
        line.append("][" as StaticString)
        line.append(decimal: Int(clinux_thread_id()))
        line.append("][" as StaticString)
        line.append(level.name)
        line.append("][" as StaticString)
        line.append(component.name)
        line.append("] " as StaticString)
        // A peer's text must not look like a line of ours.
        for byte in message.utf8 { line.append(byte: byte < 0x20 ? UInt8(ascii: " ") : byte) }
        line.append(byte: UInt8(ascii: "\n"))
    }

    private static let dateFormat = TimeFormat(parts: [
        .year, .literal("-"), .month, .literal("-"), .day, .literal(" "), .hour, .literal(":"),
        .minute, .literal(":"), .second, .literal("."), .fraction(digits: 3),
    ])

    /// A line that cannot be written is lost: there is nowhere to say so.
    package static func writeToStandardError(_ line: Bytes) {
        _ = try? SystemLogFiles().write(line, to: 2)
    }

    /// The same for standard output.
    package static func writeToStandardOutput(_ line: Bytes) {
        _ = try? SystemLogFiles().write(line, to: 1)
    }
}

/// The level of each component, readable from any thread without a lock.
private final class LogLevels: @unchecked Sendable {
    // Unchecked: the pointer is constant and what it points at are atomics.
    private let cells: UnsafeMutablePointer<Atomic<UInt8>>

    init() {
        cells = .allocate(capacity: LogComponent.allCases.count)
        for component in LogComponent.allCases {
            (cells + Int(component.rawValue)).initialize(to: Atomic(UInt8(LogLevel.info.rawValue)))
        }
    }

    deinit { cells.deallocate() }

    func set(_ level: LogLevel, _ component: LogComponent) {
        cells[Int(component.rawValue)].store(UInt8(level.rawValue), ordering: .relaxed)
    }

    func get(_ component: LogComponent) -> LogLevel {
        LogLevel(rawValue: Int(cells[Int(component.rawValue)].load(ordering: .relaxed))) ?? .off
    }
}

/// Keeps lines that peers can cause at will from filling the disk: so many a second, and then one
/// that says how many were left out. A value; its owner asks before it writes.
package struct LogRateLimit {
    private let linesPerSecond: Int
    private var second = Instant(nanoseconds: 0)
    private var written = 0
    private var suppressed = 0

    package enum Verdict: Hashable, Sendable {
        /// Write; so many lines were left out since the last one.
        case write(suppressed: Int)
        case suppress
    }

    package init(linesPerSecond: Int = 10) { self.linesPerSecond = linesPerSecond }

    package mutating func lineWanted(now: Instant) -> Verdict {
        if now - second >= .seconds(1) {
            second = now
            written = 0
        }
        guard written < linesPerSecond else {
            suppressed += 1
            return .suppress
        }
        written += 1
        defer { suppressed = 0 }
        return .write(suppressed: suppressed)
    }
}
