import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What a filter says after it has seen a part of a message.
package enum FilterVerdict: Sendable {
    /// The next filter, or the router, is to see it.
    case proceed
    /// Nothing goes further until ``HTTPStream/resumeRequest()`` (or ``HTTPStream/resumeResponse()``):
    /// the filter waits for an answer from elsewhere. What arrives meanwhile is held, within a limit.
    /// Also the verdict of a filter that has sent a local reply.
    case suspend
}

/// One step between the codec and the router, in both directions. Sees heads, and bodies and trailers
/// where it is an ``HTTPBodyFilter``; knows no codec. Requests pass filters in the configuration's order, responses in reverse.
package protocol HTTPFilter: AnyObject {
    func requestHead(_ head: HeaderMap, endStream: Bool, of stream: HTTPStream) -> FilterVerdict
    func responseHead(_ head: HeaderMap, endStream: Bool, of stream: HTTPStream) -> FilterVerdict
    /// The stream is over, however it ended. A filter that waits for something forgets it now.
    func streamEnded(_ stream: HTTPStream)
    /// Itself, where it wants to see bodies and trailers of this stream.
    var body: (any HTTPBodyFilter)? { get }
}

extension HTTPFilter {
    package func responseHead(
        _ head: HeaderMap,
        endStream: Bool,
        of stream: HTTPStream
    ) -> FilterVerdict { .proceed }

    package func streamEnded(_ stream: HTTPStream) {}

    package var body: (any HTTPBodyFilter)? { nil }
}

/// Makes the filter of one stream. A filter without per-stream state gives itself.
package protocol HTTPFilterFactory: AnyObject {
    /// The filter's name in the configuration, e.g. `envoy.filters.http.rbac`.
    var name: String { get }
    /// Off unless a route turns it on (envoy: HttpFilter.disabled).
    var isDisabled: Bool { get }
    /// Nil where the stream's request is none of its business. Earlier filters have not seen the head yet.
    func filter(for stream: HTTPStream) -> (any HTTPFilter)?
    /// Compiles what a route says of this filter (envoy: typed_per_filter_config).
    func setting(_ override: FilterOverridesConfig.Override) -> FilterSetting
    /// What it would decide, and why; nil for filters that decide nothing. Changes nothing.
    func explain(
        _ head: HeaderMap,
        _ stream: StreamInfo,
        _ setting: FilterSetting
    ) -> Explanation.Filter?
}

extension HTTPFilterFactory {
    /// Whether requests of a route pass it by.
    package func isSkipped(_ setting: FilterSetting) -> Bool {
        switch setting {
        case .disabled: true
        case .chain: isDisabled
        case .enabled, .own: false
        }
    }
}
