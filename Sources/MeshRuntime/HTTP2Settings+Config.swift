import MeshConfig
import MeshHTTP
import MeshNet

extension HTTP2Settings {
    /// What the file says; Envoy's defaults for the rest.
    package init(_ config: HTTP2ProtocolConfig) {
        self.init()
        func set<Value>(_ setting: inout Value, _ value: Value?) {
            if let value { setting = value }
        }
        set(&hpackTableBytes, config.hpackTableSize)
        set(&maxConcurrentStreams, config.maxConcurrentStreams)
        set(&initialStreamWindowBytes, config.initialStreamWindowSize)
        set(&initialConnectionWindowBytes, config.initialConnectionWindowSize)
        set(&maxOutboundFrames, config.maxOutboundFrames)
        set(&maxOutboundControlFrames, config.maxOutboundControlFrames)
        set(&maxConsecutiveInboundFramesWithEmptyPayload, config.maxEmptyFrames)
        set(&maxInboundPriorityFramesPerStream, config.maxPriorityFramesPerStream)
        set(&maxInboundWindowUpdateFramesPerDataFrameSent, config.maxWindowUpdatesPerDataFrame)
        allowConnect = config.allowsConnect
        endsOnlyStreamOnInvalidMessage = config.endsOnlyStreamOnInvalidMessage
        keepalive = config.keepalive.map { options in
            var keepalive = Keepalive(
                interval: options.interval.map { Nanoseconds($0) } ?? .zero,
                timeout: Nanoseconds(options.timeout)
            )
            set(&keepalive.intervalJitterPercent, options.jitterPercent)
            if let idle = options.connectionIdleInterval {
                keepalive.connectionIdleInterval = Nanoseconds(idle)
            }
            return keepalive
        }
    }

    /// What a cluster's servers may send.
    package init(upstream config: UpstreamHTTPConfig) {
        self.init(config.http2)
        maxHeadersKB = config.common.maxResponseHeadersKilobytes ?? 60
        maxHeadersCount = config.common.maxHeadersCount ?? 100
    }
}
