import MeshConfig
import MeshHTTP
import MeshNet

/// Decides whether a stream is logged; compiled for one worker.
package struct AccessLogFilter {
    private indirect enum Node {
        case always
        case statusCode(AccessLogFilterConfig.Operation, Int64)
        case duration(AccessLogFilterConfig.Operation, Int64)
        case share(FractionalPercent, isIndependent: Bool)
        case all([Node])
        case any([Node])
        case header(HeaderMatcher)
        case flags(ResponseFlags)
        case anyFlag
        case grpcStatus([Int], isExcluded: Bool)
        case metadata(MetadataMatchConfig, matchesMissing: Bool)
        case logType([AccessLogType], isExcluded: Bool)
    }

    private let root: Node

    /// Runtime keys are looked up now: a new configuration, or a changed runtime, compiles anew.
    package init(_ config: AccessLogFilterConfig, runtime: RuntimeConfig) {
        root = Self.compile(config, runtime)
    }

    private static func compile(_ config: AccessLogFilterConfig, _ runtime: RuntimeConfig) -> Node {
        switch config {
        case .always: return .always
        case .statusCode(let comparison):
            return .statusCode(comparison.operation, value(comparison, runtime))
        case .duration(let comparison):
            return .duration(comparison.operation, value(comparison, runtime))
        case .runtime(let key, let share, let isIndependent):
            // The key holds a percentage; where it is set, the configured share is not used.
            guard let percent = runtime[key]?.numberValue else {
                return .share(share, isIndependent: isIndependent)
            }
            return .share(
                FractionalPercent(UInt32(max(0, min(100, percent)))),
                isIndependent: isIndependent
            )
        case .and(let operands): return .all(operands.map { compile($0, runtime) })
        case .or(let operands): return .any(operands.map { compile($0, runtime) })
        case .header(let match): return .header(HeaderMatcher(match))
        case .responseFlags(let names):
            guard !names.isEmpty else { return .anyFlag }
            var flags: ResponseFlags = []
            for (flag, short, _) in ResponseFlags.names where names.contains(short.description) {
                flags.insert(flag)
            }
            return .flags(flags)
        case .grpcStatus(let codes, let isExcluded):
            return .grpcStatus(codes, isExcluded: isExcluded)
        case .metadata(let match, let matchesMissing):
            guard let match else { return matchesMissing ? .always : .any([]) }
            return .metadata(match, matchesMissing: matchesMissing)
        case .logType(let types, let isExcluded): return .logType(types, isExcluded: isExcluded)
        }
    }

    private static func value(
        _ comparison: AccessLogFilterConfig.Comparison,
        _ runtime: RuntimeConfig
    ) -> Int64 {
        let override = runtime[comparison.value.runtimeKey]?.numberValue
        return override.map { Int64($0) } ?? Int64(comparison.value.defaultValue)
    }

    package func passes(_ context: FormatContext, random: () -> UInt64) -> Bool {
        Self.passes(root, context, random)
    }

    private static func passes(
        _ node: Node,
        _ context: FormatContext,
        _ random: () -> UInt64
    ) -> Bool {
        let stream = context.stream
        switch node {
        case .always: return true
        case .statusCode(let operation, let wanted):
            return compare(Int64(stream.responseCode), operation, wanted)
        case .duration(let operation, let wanted):
            let span = (stream.end ?? context.now) - stream.start
            return compare(span.milliseconds, operation, wanted)
        case .share(let share, let isIndependent):
            let stable = isIndependent ? nil : requestNumber(context.requestHead)
            return share.contains(random: stable ?? random())
        case .all(let operands): return operands.allSatisfy { passes($0, context, random) }
        case .any(let operands): return operands.contains { passes($0, context, random) }
        case .header(let matcher):
            return context.requestHead.map { matcher.matches($0) } ?? false
        case .flags(let flags): return !stream.flags.isDisjoint(with: flags)
        case .anyFlag: return !stream.flags.isEmpty
        case .grpcStatus(let codes, let isExcluded):
            // As in Envoy, of any request; without a response the status is UNKNOWN.
            let status = GRPCStatus.ofAny(context) ?? 2
            return codes.contains(status) != isExcluded
        case .metadata(let match, let matchesMissing):
            guard match.value(in: stream.dynamicMetadata) != nil else { return matchesMissing }
            return match.matches(stream.dynamicMetadata)
        case .logType(let types, let isExcluded):
            return types.contains(context.logType) != isExcluded
        }
    }

    private static func compare(
        _ value: Int64,
        _ operation: AccessLogFilterConfig.Operation,
        _ wanted: Int64
    ) -> Bool {
        switch operation {
        case .equal: value == wanted
        case .atLeast: value >= wanted
        case .atMost: value <= wanted
        case .notEqual: value != wanted
        }
    }

    /// The first eight hexadecimal digits of `x-request-id`: every proxy on the way of a request
    /// samples it alike.
    private static func requestNumber(_ head: HeaderMap?) -> UInt64? {
        guard let id = head?[.requestID], id.count >= 8 else { return nil }
        return UInt64(String(decoding: id.prefix(8), as: UTF8.self), radix: 16)
    }
}
