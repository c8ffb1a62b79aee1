import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import MeshSimulation
import Synchronization
import Testing

/// A disk in memory that can be full.
final class FakeLogFiles: LogFiles {
    struct State {
        var paths: [Int32: String] = [:]
        var contents: [Int32: String] = [:]
        var isFull = false
        var isReadOnly = false
        /// Most bytes one write takes.
        var writeMax = Int.max
    }

    let state = Mutex(State())

    func open(_ path: String) throws(SystemError) -> Int32 {
        let descriptor: Int32? = state.withLock { state in
            guard !state.isReadOnly else { return nil }
            let descriptor = Int32(state.paths.count + 10)
            state.paths[descriptor] = path
            state.contents[descriptor] = ""
            return descriptor
        }
        guard let descriptor else { throw SystemError(code: 30, call: "open") }
        return descriptor
    }

    func write(_ bytes: Bytes, to descriptor: Int32) throws(SystemError) -> Int {
        let count: Int? = state.withLock { state in
            guard !state.isFull else { return nil }
            let count = min(bytes.count, state.writeMax)
            state.contents[descriptor, default: ""] += String(
                decoding: bytes.prefix(count),
                as: UTF8.self
            )
            return count
        }
        guard let count else { throw SystemError(code: 28, call: "write") }
        return count
    }

    func close(_ descriptor: Int32) {}

    func contents(_ descriptor: Int32) -> String? { state.withLock { $0.contents[descriptor] } }
}

private let environment = FormatEnvironment(hostname: "vm") { _ in nil }

struct AccessLogTests {
    private let disk = FakeLogFiles()
    private let registry = StatsRegistry(workers: 1)
    private let writer: LogWriter
    private let logs: WorkerAccessLogs
    private let loop: EventLoop

    init() {
        writer = LogWriter(disk, registry)
        loop = Simulation(seed: 1).makeLoop()
        logs = WorkerAccessLogs(
            writer,
            loop: loop,
            stats: WorkerStats(registry, index: 0),
            environment: environment,
            random: FastRandom(seed: 1)
        )
    }

    private func logger(
        _ format: String,
        _ filter: AccessLogFilterConfig? = nil,
        sink: AccessLogConfig.Sink = .file(path: "/log"),
        runtime: RuntimeConfig = RuntimeConfig()
    ) throws -> AccessLogger {
        logs.logger(
            AccessLogConfig(
                sink: sink,
                format: SubstitutionFormatConfig(.text(try FormatStringConfig.parse(format))),
                filter: filter
            ),
            runtime: runtime
        )
    }

    private func stat(_ name: String) -> UInt64? { registry.view().value("filesystem.\(name)") }

    @Test func `lines reach the file after a flush`() throws {
        let logger = try logger("%RESPONSE_CODE%\n")
        logger.log(FinishedStream().context)
        logger.log(FinishedStream().context)
        writer.drain()
        #expect(disk.contents(10) == nil)
        #expect(stat("write_total_buffered") == 8)
        logs.flush()
        writer.drain()
        #expect(disk.contents(10) == "200\n200\n")
        #expect(stat("write_buffered") == 2)
        #expect(stat("write_completed") == 1)
        #expect(stat("write_total_buffered") == 0)
    }

    @Test func `a full buffer does not wait for the timer`() throws {
        let logger = try logger("%REQ(USER-AGENT)%\n")
        let finished = FinishedStream()
        finished.request.set(.userAgent, String(repeating: "x", count: 1023))
        for _ in 0..<64 { logger.log(finished.context) }
        writer.drain()
        #expect(disk.contents(10)?.utf8.count == 65_536)
    }

    @Test func `loggers of one path share its file, others have their own`() throws {
        let one = try logger("1\n")
        let two = try logger("2\n")
        let other = try logger("3\n", sink: .file(path: "/other"))
        one.log(FinishedStream().context)
        two.log(FinishedStream().context)
        other.log(FinishedStream().context)
        logs.flush()
        writer.drain()
        #expect(disk.contents(10) == "1\n2\n")
        #expect(disk.contents(11) == "3\n")
    }

    @Test func `short writes are continued`() throws {
        disk.state.withLock { $0.writeMax = 3 }
        try logger("0123456789\n").log(FinishedStream().context)
        logs.flush()
        writer.drain()
        #expect(disk.contents(10) == "0123456789\n")
    }

    @Test func `a full disk loses lines, is counted, and is forgotten when there is room`() throws {
        let logger = try logger("a\n")
        disk.state.withLock { $0.isFull = true }
        logger.log(FinishedStream().context)
        logs.flush()
        writer.drain()
        #expect(stat("write_failed") == 1)
        #expect(stat("write_total_buffered") == 0)
        disk.state.withLock { $0.isFull = false }
        logger.log(FinishedStream().context)
        logs.flush()
        writer.drain()
        #expect(disk.contents(10) == "a\n")
    }

    @Test func `what a stalled writer cannot take is dropped and counted, not kept`() throws {
        let logger = try logger("%REQ(USER-AGENT)%\n")
        let finished = FinishedStream()
        finished.request.set(.userAgent, String(repeating: "x", count: 16_383))
        for _ in 0..<1100 { logger.log(finished.context) }
        logs.flush()
        // 1024 lines of 16 KiB fill the 16 MiB that may wait.
        #expect(stat("write_dropped") == 76)
        #expect(stat("write_total_buffered") == UInt64(LogFile.waitingBytesMax))
    }

    @Test func `reopening moves to a new file and keeps the old one where that fails`() throws {
        let logger = try logger("a\n")
        func log() {
            logger.log(FinishedStream().context)
            logs.flush()
            writer.drain()
        }
        log()
        writer.reopen()
        log()
        #expect(disk.contents(11) == "a\n")
        disk.state.withLock { $0.isReadOnly = true }
        writer.reopen()
        log()
        #expect(disk.contents(11) == "a\na\n")
        #expect(stat("reopen_failed") == 1)
    }

    @Test func `a file that cannot be opened is an error on the control thread`() {
        disk.state.withLock { $0.isReadOnly = true }
        #expect(throws: SystemError.self) { try writer.open(.file(path: "/log")) }
        #expect(throws: Never.self) { try writer.open(.standardOutput) }
    }

    // MARK: Filters

    private func passes(
        _ filter: AccessLogFilterConfig,
        _ finished: FinishedStream,
        runtime: RuntimeConfig = RuntimeConfig()
    ) throws -> Bool {
        let before = stat("write_buffered") ?? 0
        try logger("x\n", filter, runtime: runtime).log(finished.context)
        return (stat("write_buffered") ?? 0) > before
    }

    private func status(
        _ operation: AccessLogFilterConfig.Operation,
        _ value: UInt32
    ) -> AccessLogFilterConfig {
        .statusCode(.init(operation: operation, value: RuntimeUInt32(value, runtimeKey: "k")))
    }

    @Test func `filters choose by status, duration, flags, headers and kind`() throws {
        var finished = FinishedStream()
        finished.stream.responseCode = 503
        finished.stream.flags = [.upstreamOverflow]
        #expect(try passes(status(.atLeast, 500), finished))
        #expect(try !passes(status(.equal, 500), finished))
        #expect(try passes(status(.notEqual, 500), finished))
        #expect(try !passes(status(.atMost, 500), finished))
        let slow = AccessLogFilterConfig.Comparison(
            operation: .atLeast,
            value: RuntimeUInt32(43, runtimeKey: "k")
        )
        #expect(try passes(.duration(slow), finished))
        #expect(try passes(.responseFlags(["UF", "UO"]), finished))
        #expect(try passes(.responseFlags([]), finished))
        #expect(try !passes(.responseFlags(["UF"]), finished))
        let curl = HeaderMatchConfig(name: "user-agent", .value(.prefix("curl")), isInverted: false)
        #expect(try passes(.header(curl), finished))
        #expect(try !passes(.and([.header(curl), status(.equal, 200)]), finished))
        #expect(try passes(.or([.header(curl), status(.equal, 200)]), finished))
        #expect(try passes(.logType([.downstreamEnd], isExcluded: false), finished))
        finished.logType = .downstreamStart
        #expect(try !passes(.logType([.downstreamEnd], isExcluded: false), finished))
        #expect(try passes(.logType([.downstreamEnd], isExcluded: true), finished))
    }

    @Test func `a share is taken by the request id, alike on every proxy`() throws {
        let finished = FinishedStream()
        let tenth = FractionalPercent(10)
        // The first eight digits are the number: 5 of 100 is within a tenth, 50 is not.
        finished.request.set(.requestID, "00000005-0000-4000-8000-000000000000")
        let filter = AccessLogFilterConfig.runtime(key: "k", share: tenth, isIndependent: false)
        #expect(try passes(filter, finished))
        finished.request.set(.requestID, "00000032-0000-4000-8000-000000000000")
        #expect(try !passes(filter, finished))
        let all = AccessLogFilterConfig.runtime(
            key: "k",
            share: FractionalPercent(100),
            isIndependent: true
        )
        #expect(try passes(all, finished))
    }
}
