import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// Counts calls and messages by cluster, method and status (envoy.filters.http.grpc_stats).
final class GRPCStatsFilterFactory: HTTPFilterFactory {
    static let stateName = "envoy.filters.http.grpc_stats"

    let name: String
    let isDisabled: Bool
    fileprivate let config: GRPCStatsFilterConfig
    private let table: GRPCStatsTable
    private let naming: GRPCStatsTable.Naming

    init(_ config: GRPCStatsFilterConfig, name: String, isDisabled: Bool, stats: WorkerStats) {
        self.config = config
        self.name = name
        self.isDisabled = isDisabled
        table = GRPCStatsTable(stats, word: "grpc")
        switch config.methods {
        case .none: naming = { _, _ in nil }
        case .listed(let methods):
            let known = Set(methods.map { "\($0.service).\($0.method)" })
            naming = { service, method in
                let name = "\(service).\(method)"
                return known.contains(name) ? name : nil
            }
        case .all:
            let replacesDots = config.replacesDots
            naming = { service, method in
                let service = replacesDots ? String(service.map { $0 == "." ? "_" : $0 }) : service
                return "\(service).\(method)"
            }
        }
    }

    func filter(for stream: HTTPStream) -> (any HTTPFilter)? {
        // A filter before this one may make gRPC of gRPC-Web.
        GRPC.hasFamilyType(stream.request) ? GRPCStatsFilter(self) : nil
    }

    func setting(_ override: FilterOverridesConfig.Override) -> FilterSetting {
        if case .enabled(let isEnabled) = override { return isEnabled ? .enabled : .disabled }
        return .chain
    }

    func explain(
        _ head: HeaderMap,
        _ stream: StreamInfo,
        _ setting: FilterSetting
    ) -> Explanation.Filter? { nil }

    fileprivate func stats(_ head: HeaderMap, _ stream: HTTPStream) -> GRPCMethodStats? {
        guard let cluster = stream.info.cluster, let path = head[.path] else { return nil }
        return table.find(path: path, cluster, naming: naming)
    }
}

/// One call's part of it.
private final class GRPCStatsFilter: HTTPBodyFilter {
    private let factory: GRPCStatsFilterFactory
    private var stats: GRPCMethodStats?
    private var isCall = false
    private var isAnsweredInMessages = false
    private var requests = GRPCFrames()
    private var responses = GRPCFrames()

    init(_ factory: GRPCStatsFilterFactory) { self.factory = factory }

    func requestHead(_ head: HeaderMap, endStream: Bool, of stream: HTTPStream) -> FilterVerdict {
        isCall = GRPC.isRequest(head)
        if isCall { stats = factory.stats(head, stream) }
        return .proceed
    }

    func requestData(
        _ bytes: Bytes,
        endStream: Bool,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict {
        guard isCall else { return .unchanged }
        let begun = requests.takeAll(bytes)
        if begun > 0 { stats?.record(requestMessages: begun) }
        return .unchanged
    }

    func requestTrailers(_ trailers: HeaderMap, of stream: HTTPStream) -> BodyVerdict { .unchanged }

    func responseHead(_ head: HeaderMap, endStream: Bool, of stream: HTTPStream) -> FilterVerdict {
        isAnsweredInMessages = GRPC.isResponse(head, endStream: endStream)
        if let status = head[.grpcStatus] { stats?.record(status: status) }
        if endStream { recordTime(stream) }
        return .proceed
    }

    func responseData(
        _ bytes: Bytes,
        endStream: Bool,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict {
        guard isAnsweredInMessages else { return .unchanged }
        let begun = responses.takeAll(bytes)
        if begun > 0 { stats?.record(responseMessages: begun) }
        return .unchanged
    }

    func responseTrailers(
        _ trailers: HeaderMap,
        into output: inout ByteBuffer,
        of stream: HTTPStream
    ) -> BodyVerdict {
        if let status = trailers[.grpcStatus] { stats?.record(status: status) }
        recordTime(stream)
        return .unchanged
    }

    private func recordTime(_ stream: HTTPStream) {
        guard factory.config.recordsUpstreamTime, let stats,
            let sent = stream.info.lastUpstreamByteSent,
            let received = stream.info.lastUpstreamByteReceived
        else { return }
        stats.record(upstreamMilliseconds: UInt64(max(0, (received - sent).milliseconds)))
    }

    func streamEnded(_ stream: HTTPStream) {
        guard factory.config.emitsFilterState, requests.count > 0 || responses.count > 0 else {
            return
        }
        stream.info.filterState[GRPCStatsFilterFactory.stateName] = FilterStateObject(
            "\(requests.count),\(responses.count)",
            json: Self.json(requests: requests.count, responses: responses.count)
        )
    }

    /// As protobuf writes it: numbers of 64 bits are strings, zeros are left out.
    private static func json(requests: UInt64, responses: UInt64) -> String {
        let fields = [("request_message_count", requests), ("response_message_count", responses)]
        let shown = fields.filter { $0.1 > 0 }.map { "\"\($0.0)\":\"\($0.1)\"" }
        return "{\(shown.joined(separator: ","))}"
    }
}
