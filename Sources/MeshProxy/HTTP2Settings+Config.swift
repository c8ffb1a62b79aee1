import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

extension HTTP2Settings {
    /// What a connection manager's clients may send, and how it answers them.
    init(downstream config: HTTPConnectionManagerConfig, runtime: RuntimeConfig) {
        self.init(config.http2)
        maxHeadersKB = UInt32(config.requestHeadersKilobytesMax)
        maxHeadersCount = config.protocolOptions.maxHeadersCount ?? 100
        flushTimeout = Nanoseconds(config.streamIdleTimeout)
        if let count = Self.number(runtime, "overload.premature_reset_total_stream_count") {
            prematureResetTotalStreamCount = count
        }
        if let seconds = Self.number(
            runtime,
            "overload.premature_reset_min_stream_lifetime_seconds"
        ) {
            prematureResetMinStreamLifetime = .seconds(Int64(seconds))
        }
    }

    private static func number(_ runtime: RuntimeConfig, _ key: String) -> UInt32? {
        runtime[key]?.numberValue.flatMap { UInt32(exactly: $0) }
    }
}
