/// What went wrong with a stream or connection, as `%RESPONSE_FLAGS%` prints it.
package struct ResponseFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let failedLocalHealthCheck = Self(rawValue: 1 << 0)
    package static let noHealthyUpstream = Self(rawValue: 1 << 1)
    package static let upstreamRequestTimeout = Self(rawValue: 1 << 2)
    package static let localReset = Self(rawValue: 1 << 3)
    package static let upstreamRemoteReset = Self(rawValue: 1 << 4)
    package static let upstreamConnectionFailure = Self(rawValue: 1 << 5)
    package static let upstreamConnectionTermination = Self(rawValue: 1 << 6)
    package static let upstreamOverflow = Self(rawValue: 1 << 7)
    package static let noRouteFound = Self(rawValue: 1 << 8)
    package static let delayInjected = Self(rawValue: 1 << 9)
    package static let faultInjected = Self(rawValue: 1 << 10)
    package static let rateLimited = Self(rawValue: 1 << 11)
    package static let unauthorizedExternalService = Self(rawValue: 1 << 12)
    package static let rateLimitServiceError = Self(rawValue: 1 << 13)
    package static let downstreamConnectionTermination = Self(rawValue: 1 << 14)
    package static let upstreamRetryLimitExceeded = Self(rawValue: 1 << 15)
    package static let streamIdleTimeout = Self(rawValue: 1 << 16)
    package static let invalidEnvoyRequestHeaders = Self(rawValue: 1 << 17)
    package static let downstreamProtocolError = Self(rawValue: 1 << 18)
    package static let upstreamMaxStreamDurationReached = Self(rawValue: 1 << 19)
    package static let responseFromCacheFilter = Self(rawValue: 1 << 20)
    package static let noFilterConfigFound = Self(rawValue: 1 << 21)
    package static let durationTimeout = Self(rawValue: 1 << 22)
    package static let upstreamProtocolError = Self(rawValue: 1 << 23)
    package static let noClusterFound = Self(rawValue: 1 << 24)
    package static let overloadManager = Self(rawValue: 1 << 25)
    package static let dnsResolutionFailed = Self(rawValue: 1 << 26)
    package static let dropOverload = Self(rawValue: 1 << 27)
    package static let downstreamRemoteReset = Self(rawValue: 1 << 28)

    /// Short and long name in bit order (envoy: StreamInfo::ResponseFlagUtils).
    package static let names: [(flag: ResponseFlags, short: StaticString, long: StaticString)] = [
        (.failedLocalHealthCheck, "LH", "FailedLocalHealthCheck"),
        (.noHealthyUpstream, "UH", "NoHealthyUpstream"),
        (.upstreamRequestTimeout, "UT", "UpstreamRequestTimeout"),
        (.localReset, "LR", "LocalReset"),
        (.upstreamRemoteReset, "UR", "UpstreamRemoteReset"),
        (.upstreamConnectionFailure, "UF", "UpstreamConnectionFailure"),
        (.upstreamConnectionTermination, "UC", "UpstreamConnectionTermination"),
        (.upstreamOverflow, "UO", "UpstreamOverflow"),
        (.noRouteFound, "NR", "NoRouteFound"),
        (.delayInjected, "DI", "DelayInjected"),
        (.faultInjected, "FI", "FaultInjected"),
        (.rateLimited, "RL", "RateLimited"),
        (.unauthorizedExternalService, "UAEX", "UnauthorizedExternalService"),
        (.rateLimitServiceError, "RLSE", "RateLimitServiceError"),
        (.downstreamConnectionTermination, "DC", "DownstreamConnectionTermination"),
        (.upstreamRetryLimitExceeded, "URX", "UpstreamRetryLimitExceeded"),
        (.streamIdleTimeout, "SI", "StreamIdleTimeout"),
        (.invalidEnvoyRequestHeaders, "IH", "InvalidEnvoyRequestHeaders"),
        (.downstreamProtocolError, "DPE", "DownstreamProtocolError"),
        (.upstreamMaxStreamDurationReached, "UMSDR", "UpstreamMaxStreamDurationReached"),
        (.responseFromCacheFilter, "RFCF", "ResponseFromCacheFilter"),
        (.noFilterConfigFound, "NFCF", "NoFilterConfigFound"),
        (.durationTimeout, "DT", "DurationTimeout"),
        (.upstreamProtocolError, "UPE", "UpstreamProtocolError"),
        (.noClusterFound, "NC", "NoClusterFound"),
        (.overloadManager, "OM", "OverloadManagerTerminated"),
        (.dnsResolutionFailed, "DF", "DnsResolutionFailed"),
        (.dropOverload, "DO", "DropOverload"),
        (.downstreamRemoteReset, "DR", "DownstreamRemoteReset"),
    ]
}
