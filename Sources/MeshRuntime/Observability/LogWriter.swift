import MeshConfig
import MeshNet
import Synchronization

/// Writes what workers have formatted to files, on a thread of its own: a slow or full disk costs log
/// lines, never requests.
package final class LogWriter: Sendable {
    /// The longest that a worker keeps a line for company (envoy: --file-flush-interval-msec, 10 s there).
    package let flushInterval: Nanoseconds
    /// How long a process that ends waits for ``run(on:)`` to write the last lines: whoever reads them
    /// may have stopped reading.
    package static let endPatience = Nanoseconds.seconds(2)
    private let system: any LogFiles
    private let stats: FilesystemStats
    private let state = Mutex(State())

    private struct State {
        var files: [LogFile] = []
        var waker: (any Waker)?
        var isStopping = false
        var wantsReopen = false
    }

    /// Counts on the log writer's own cells.
    package init(
        _ system: any LogFiles,
        _ registry: StatsRegistry,
        flushInterval: Nanoseconds = .seconds(1)
    ) {
        self.flushInterval = flushInterval
        self.system = system
        stats = FilesystemStats(WorkerStats(registry, index: registry.logWriterIndex))
    }

    /// The file of a sink. Loggers that name one path share it.
    package func file(_ sink: AccessLogConfig.Sink) -> LogFile {
        state.withLock { state in
            if let known = state.files.first(where: { $0.sink == sink }) { return known }
            let file = LogFile(sink, writer: self)
            state.files.append(file)
            return file
        }
    }

    /// Opens the file now, to learn on the control thread whether it can be written.
    package func open(_ sink: AccessLogConfig.Sink) throws(SystemError) {
        try file(sink).open(system)
    }

    // MARK: Any thread

    /// Opens all files anew with the next write: after a rotation.
    package func reopen() {
        let waker = state.withLock { state in
            state.wantsReopen = true
            return state.waker
        }
        waker?.wake()
    }

    /// Ends ``run(on:)`` after everything handed over so far has been written.
    package func stop() {
        let waker = state.withLock { state in
            state.isStopping = true
            return state.waker
        }
        waker?.wake()
    }

    fileprivate func wake() { state.withLock { $0.waker }?.wake() }

    // MARK: The writer's thread

    /// Sleeps until there is something to write. Returns after ``stop()``.
    package func run(on system: any System) {
        state.withLock { $0.waker = system.waker }
        let events = UnsafeMutableBufferPointer<ReadyEvent>.allocate(capacity: 1)
        defer { events.deallocate() }
        while true {
            let isStopping = state.withLock { $0.isStopping }
            drain()
            if isStopping { return }
            _ = system.poll(for: nil, into: events)
        }
    }

    /// Writes everything that was handed over.
    package func drain() {
        let (files, wantsReopen) = state.withLock { state in
            defer { state.wantsReopen = false }
            return (state.files, state.wantsReopen)
        }
        for file in files {
            if wantsReopen {
                do throws(SystemError) { try file.reopen(system) } catch {
                    stats.reopenFailed.add()
                }
            }
            file.drain(system, stats)
        }
    }
}

/// Where lines of one file meet: workers append whole chunks, the writer takes all at once.
package final class LogFile: Sendable {
    fileprivate let sink: AccessLogConfig.Sink
    private unowned let writer: LogWriter
    private let waiting = Mutex(Waiting())
    /// -1 while closed. Only the writer's thread and, before it starts, the control thread use it.
    private let descriptor: Mutex<Int32>

    /// Unchecked: the buffer owns its bytes, whatever thread holds it.
    private struct Waiting: ~Copyable, @unchecked Sendable {
        var buffer = ByteBuffer()

        mutating func take() -> Waiting {
            var taken = Waiting()
            swap(&self, &taken)
            return taken
        }
    }

    /// Bytes that may wait for a slow disk; beyond it chunks are dropped and counted.
    package static let waitingBytesMax = 16 << 20

    fileprivate init(_ sink: AccessLogConfig.Sink, writer: LogWriter) {
        self.sink = sink
        self.writer = writer
        let initial: Int32 =
            switch sink {
            case .file: -1
            case .standardOutput: 1
            case .standardError: 2
            }
        descriptor = Mutex(initial)
    }

    /// Hands over complete lines, from any thread. Returns false where they were dropped: too much is
    /// waiting.
    @discardableResult
    package func submit(_ lines: Bytes) -> Bool {
        let isTaken = waiting.withLock { waiting in
            guard waiting.buffer.count + lines.count <= Self.waitingBytesMax else { return false }
            waiting.buffer.append(lines)
            return true
        }
        writer.wake()
        return isTaken
    }

    fileprivate func open(_ system: any LogFiles) throws(SystemError) {
        guard case .file(let path) = sink else { return }
        try descriptor.withLock { (descriptor: inout Int32) throws(SystemError) in
            if descriptor < 0 { descriptor = try system.open(path) }
        }
    }

    fileprivate func reopen(_ system: any LogFiles) throws(SystemError) {
        guard case .file(let path) = sink else { return }
        // The old file stays in use where the new one cannot be opened.
        let fresh = try system.open(path)
        let old = descriptor.withLock { descriptor in
            defer { descriptor = fresh }
            return descriptor
        }
        if old >= 0 { system.close(old) }
    }

    fileprivate func drain(_ system: any LogFiles, _ stats: FilesystemStats) {
        var taken = waiting.withLock { $0.take() }
        guard !taken.buffer.isEmpty else { return }
        stats.writeTotalBuffered.subtract(UInt64(taken.buffer.count))
        do throws(SystemError) {
            try open(system)
            let descriptor = descriptor.withLock { $0 }
            while !taken.buffer.isEmpty {
                taken.buffer.consume(try system.write(taken.buffer.bytes, to: descriptor))
            }
            stats.writeCompleted.add()
        } catch {
            // Lines that a disk refuses are lost; keeping them would only lose later ones.
            stats.writeFailed.add()
        }
    }
}

/// One worker's way to one file: lines gather here before they are handed over.
final class LogOutput {
    private let file: LogFile
    private let stats: FilesystemStats
    private var buffer = ByteBuffer()
    private var lines: UInt64 = 0

    /// A hand-over per 64 KiB keeps the lock and the wake-up out of the cost of a line.
    static let chunkBytes = 64 << 10

    init(_ file: LogFile, _ stats: FilesystemStats) {
        self.file = file
        self.stats = stats
    }

    /// `body` appends one line with its end.
    func write(_ body: (inout ByteBuffer) -> Void) {
        let before = buffer.count
        body(&buffer)
        lines += 1
        stats.writeBuffered.add()
        stats.writeTotalBuffered.add(UInt64(buffer.count - before))
        if buffer.count >= Self.chunkBytes { flush() }
    }

    func flush() {
        guard !buffer.isEmpty else { return }
        if !file.submit(buffer.bytes) {
            stats.writeDropped.add(lines)
            stats.writeTotalBuffered.subtract(UInt64(buffer.count))
        }
        lines = 0
        // An idle worker holds no buffer; a busy one keeps the one it has.
        if buffer.count < Self.chunkBytes / 4 { buffer.release() } else { buffer.clear() }
    }

    var isEmpty: Bool { buffer.isEmpty }
    func isFor(_ other: LogFile) -> Bool { file === other }
}
