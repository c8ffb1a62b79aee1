import MeshConfig
import MeshHTTP
import MeshNet

/// What a format string may be asked about. Borrowed for one evaluation.
package struct FormatContext {
    package let stream: StreamInfo
    package var requestHead: HeaderMap?
    package var responseHead: HeaderMap?
    package var responseTrailers: HeaderMap?
    /// The present, for streams that have not ended and for `%EMIT_TIME%`.
    package let now: Instant
    package let wallNow: WallTime
    package var logType: AccessLogType

    package init(
        _ stream: StreamInfo,
        requestHead: HeaderMap? = nil,
        responseHead: HeaderMap? = nil,
        responseTrailers: HeaderMap? = nil,
        now: Instant,
        wallNow: WallTime,
        logType: AccessLogType = .notSet
    ) {
        self.stream = stream
        self.requestHead = requestHead
        self.responseHead = responseHead
        self.responseTrailers = responseTrailers
        self.now = now
        self.wallNow = wallNow
        self.logType = logType
    }
}

/// What format strings know of the process; fixed when they are compiled.
package struct FormatEnvironment: Sendable {
    package let hostname: String
    package let variable: @Sendable (_ name: String) -> String?
    /// Hears which points in time the formats compiled with this ask for.
    package private(set) var demand: TimePointDemand?

    package init(hostname: String, variable: @escaping @Sendable (_ name: String) -> String?) {
        self.hostname = hostname
        self.variable = variable
    }

    package func noting(_ demand: TimePointDemand) -> FormatEnvironment {
        var environment = self
        environment.demand = demand
        return environment
    }
}

/// How a value was written, which JSON must know.
enum FormatValueKind {
    /// Nothing was written: there is no value.
    case absent
    case text
    /// A number or other JSON; stands in JSON without quotation marks.
    case json
}

/// A format string compiled for one worker: a list of small steps that write into a buffer.
///
/// Evaluation allocates nothing in the common cases. Not `Sendable`; each worker compiles its own.
package final class FormatString {
    enum Step {
        case literal(offset: Int32, count: Int32)
        case absent
        case field(FormatField)
        case header(FormatHeaderSource, name: Int16, alternative: Int16, lengthMax: Int32)
        case time(FormatTime, format: Int16)
        case duration(from: FormatTimePoint, to: FormatTimePoint, FormatTimeUnit)
        /// One of ``rare``: operators that may cost more.
        case rare(Int16)
    }

    let steps: [Step]
    private let literals: [UInt8]
    let names: [HeaderName]
    let times: [TimeFormat]
    let rare: [FormatPart]
    private let omitsEmptyValues: Bool

    package init(
        _ config: FormatStringConfig,
        _ environment: FormatEnvironment,
        omitsEmptyValues: Bool = false
    ) {
        var compiler = Compiler(environment: environment)
        for part in config.parts { compiler.add(part) }
        steps = compiler.steps
        literals = compiler.literals
        names = compiler.names
        times = compiler.times
        rare = compiler.rare
        self.omitsEmptyValues = omitsEmptyValues
    }

    /// Appends the text. What has no value is written as `-`, or left out where the configuration
    /// says so.
    package func append(to buffer: inout ByteBuffer, _ context: FormatContext) {
        for step in steps {
            if case .absent = evaluate(step, context, &buffer), !omitsEmptyValues {
                buffer.append(byte: UInt8(ascii: "-"))
            }
        }
    }

    /// For cold paths and tests.
    package func string(_ context: FormatContext) -> String {
        var buffer = ByteBuffer()
        append(to: &buffer, context)
        return String(bytes: buffer.bytes)
    }

    func evaluate(
        _ step: Step,
        _ context: FormatContext,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        switch step {
        case .literal(let offset, let count):
            literals.withUnsafeBytes { bytes in
                buffer.append(Bytes(rebasing: bytes[Int(offset)..<Int(offset + count)]))
            }
            return .text
        case .absent:
            return .absent
        case .field(let field):
            return FormatValues.append(field, context, &buffer)
        case .header(let source, let name, let alternative, let lengthMax):
            return appendHeader(source, name, alternative, lengthMax, context, &buffer)
        case .time(let time, let format):
            guard let point = FormatValues.wallTime(time, context) else { return .absent }
            times[Int(format)].append(point, to: &buffer)
            return .text
        case .duration(let from, let to, let unit):
            guard let start = FormatValues.instant(from, context),
                let end = FormatValues.instant(to, context), end >= start
            else { return .absent }
            let span = (end - start).count
            switch unit {
            case .milliseconds: buffer.append(decimal: Int(span / 1_000_000))
            case .microseconds: buffer.append(decimal: Int(span / 1_000))
            case .nanoseconds: buffer.append(decimal: Int(span))
            }
            return .json
        case .rare(let index):
            return FormatValues.append(rare[Int(index)], context, &buffer)
        }
    }

    private func appendHeader(
        _ source: FormatHeaderSource,
        _ name: Int16,
        _ alternative: Int16,
        _ lengthMax: Int32,
        _ context: FormatContext,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        let map =
            switch source {
            case .request, .requestWithoutQuery: context.requestHead
            case .response: context.responseHead
            case .trailer: context.responseTrailers
            }
        guard let map,
            var value = map.first(names[Int(name)])
                ?? (alternative >= 0 ? map.first(names[Int(alternative)]) : nil)
        else { return .absent }
        if source == .requestWithoutQuery { value = PathMatch.withoutQuery(value) }
        buffer.append(Bytes(rebasing: value.prefix(Int(lengthMax))))
        return .text
    }
}

/// Turns parsed parts into steps: constants become literals, names are looked up once.
private struct Compiler {
    let environment: FormatEnvironment
    var steps: [FormatString.Step] = []
    var literals: [UInt8] = []
    var names: [HeaderName] = []
    var times: [TimeFormat] = []
    var rare: [FormatPart] = []

    mutating func add(_ part: FormatPart) {
        switch part {
        case .literal(let text): addLiteral(text)
        case .field(.hostname): addLiteral(environment.hostname)
        case .field(let field): steps.append(.field(field))
        case .header(let source, let name, let alternative, let lengthMax):
            let at = addName(name)
            steps.append(
                .header(
                    source,
                    name: at,
                    alternative: alternative.map { addName($0) } ?? -1,
                    lengthMax: Int32(clamping: lengthMax ?? .max)
                )
            )
        case .time(let time, let format):
            times.append(format)
            steps.append(.time(time, format: Int16(times.count - 1)))
        case .commonDuration(let from, let to, let unit):
            environment.demand?.note(from, to, unit)
            steps.append(.duration(from: from, to: to, unit))
        case .environment(let name, let lengthMax):
            guard let value = environment.variable(name) else { return steps.append(.absent) }
            addLiteral(String(decoding: value.utf8.prefix(lengthMax ?? .max), as: UTF8.self))
        default:
            rare.append(part)
            steps.append(.rare(Int16(rare.count - 1)))
        }
    }

    private mutating func addLiteral(_ text: String) {
        let offset = literals.count
        literals += Array(text.utf8)
        steps.append(
            .literal(offset: Int32(offset), count: Int32(literals.count - offset))
        )
    }

    private mutating func addName(_ name: String) -> Int16 {
        names.append(HeaderName(name))
        return Int16(names.count - 1)
    }
}
