/// Which time an upstream has let pass.
enum UpstreamTimeout {
    /// Of the whole exchange with its retries (envoy: RouteAction.timeout).
    case route
    case perTry
    /// Within one attempt, between two signs of life.
    case perTryIdle
    /// Of one attempt from its begin to the response's end, as `x-envoy-upstream-stream-duration-ms`
    /// says.
    case streamDuration

    /// `%RESPONSE_CODE_DETAILS%`.
    var details: StaticString {
        switch self {
        case .route: "response_timeout"
        case .perTry: "upstream_per_try_timeout"
        case .perTryIdle: "upstream_per_try_idle_timeout"
        case .streamDuration: "upstream_max_stream_duration_reached"
        }
    }

    /// What the client reads, where the response has not begun.
    var body: StaticString {
        self == .streamDuration
            ? "upstream max stream duration reached" : "upstream request timeout"
    }
}
