import MeshConfig
import MeshNet

/// One worker's access logs: its loggers write into buffers that go to the ``LogWriter`` when they
/// are full, or ``LogWriter/flushInterval`` after their first line.
package final class WorkerAccessLogs: TimerTarget {
    private let writer: LogWriter
    private let loop: EventLoop
    private let stats: FilesystemStats
    private let environment: FormatEnvironment
    private var outputs: [LogOutput] = []
    private var timer = TimerID.none
    private var random: FastRandom

    package init(
        _ writer: LogWriter,
        loop: EventLoop,
        stats: WorkerStats,
        environment: FormatEnvironment,
        random: FastRandom
    ) {
        self.writer = writer
        self.loop = loop
        self.stats = FilesystemStats(stats)
        self.environment = environment
        self.random = random
    }

    /// Compiles a logger. `runtime` gives the value of a runtime key; sources of formats must have been
    /// resolved on the control thread; `demand` hears what the format wants to be measured.
    package func logger(
        _ config: AccessLogConfig,
        runtime: RuntimeConfig,
        noting demand: TimePointDemand? = nil
    ) -> AccessLogger {
        let file = writer.file(config.sink)
        let output: LogOutput
        if let known = outputs.first(where: { $0.isFor(file) }) {
            output = known
        } else {
            output = LogOutput(file, stats)
            outputs.append(output)
        }
        return AccessLogger(
            BodyFormat(config.format, demand.map(environment.noting) ?? environment),
            config.filter.map { AccessLogFilter($0, runtime: runtime) },
            output,
            self
        )
    }

    /// Hands over everything. The last thing a worker does.
    package func flush() {
        loop.cancel(&timer)
        for output in outputs { output.flush() }
    }

    package func timerFired(_ kind: UInt8) {
        timer = .none
        stats.flushedByTimer.add()
        for output in outputs { output.flush() }
    }

    fileprivate func lineWritten() {
        if timer.isNone { timer = loop.arm(self, after: writer.flushInterval) }
    }

    fileprivate func nextRandom() -> UInt64 { random.next() }
}

/// Logs streams to one file in one format, if they pass its filter.
package final class AccessLogger {
    private let format: BodyFormat
    private let filter: AccessLogFilter?
    private let output: LogOutput
    private unowned let owner: WorkerAccessLogs

    fileprivate init(
        _ format: BodyFormat,
        _ filter: AccessLogFilter?,
        _ output: LogOutput,
        _ owner: WorkerAccessLogs
    ) {
        self.format = format
        self.filter = filter
        self.output = output
        self.owner = owner
    }

    package func log(_ context: FormatContext) {
        if let filter, !filter.passes(context, random: { owner.nextRandom() }) { return }
        output.write { format.append(to: &$0, context, endsLine: true) }
        owner.lineWritten()
    }
}

/// A text or JSON format compiled for one worker: of access logs and of local replies.
package final class BodyFormat {
    private enum Body {
        case text(FormatString)
        case json(FormatTemplateWriter)
    }

    private let body: Body
    /// `content_type`, or what is usual for the kind of body.
    package let contentType: String

    package init(_ config: SubstitutionFormatConfig, _ environment: FormatEnvironment) {
        switch config.body {
        case .text(let format):
            body = .text(
                FormatString(format, environment, omitsEmptyValues: config.omitsEmptyValues)
            )
            contentType = config.contentType ?? "text/plain"
        case .json(let template):
            body = .json(
                FormatTemplateWriter(
                    template,
                    environment,
                    omitsEmptyValues: config.omitsEmptyValues
                )
            )
            contentType = config.contentType ?? "application/json"
        case .source:
            preconditionFailure("a format's source must be read before it is compiled")
        }
    }

    /// Appends the body; JSON ends in a newline where it is a line of a log.
    package func append(
        to buffer: inout ByteBuffer,
        _ context: FormatContext,
        endsLine: Bool = false
    ) {
        switch body {
        case .text(let format): format.append(to: &buffer, context)
        case .json(let template):
            template.append(to: &buffer, context)
            if endsLine { buffer.append(byte: UInt8(ascii: "\n")) }
        }
    }
}
