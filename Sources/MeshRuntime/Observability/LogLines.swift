import MeshConfig
import MeshNet

/// One worker's lines for one file, in whatever form the caller gives them: they gather in a buffer that
/// goes to the ``LogWriter`` when it is full, or ``LogWriter/flushInterval`` after its first line.
package final class LogLines: TimerTarget {
    private let writer: LogWriter
    private let loop: EventLoop
    private let stats: FilesystemStats
    private let output: LogOutput
    private var timer = TimerID.none

    package init(
        _ sink: AccessLogConfig.Sink,
        writer: LogWriter,
        loop: EventLoop,
        stats: WorkerStats
    ) {
        self.writer = writer
        self.loop = loop
        self.stats = FilesystemStats(stats)
        output = LogOutput(writer.file(sink), self.stats)
    }

    /// `body` appends one line with its end.
    package func write(_ body: (inout ByteBuffer) -> Void) {
        output.write(body)
        if timer.isNone { timer = loop.arm(self, after: writer.flushInterval) }
    }

    /// Hands over everything. The last thing a worker does.
    package func flush() {
        loop.cancel(&timer)
        output.flush()
    }

    package func timerFired(_ kind: UInt8) {
        timer = .none
        stats.flushedByTimer.add()
        output.flush()
    }
}
