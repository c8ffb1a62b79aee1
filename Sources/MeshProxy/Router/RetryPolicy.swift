import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// A retry policy, compiled for one worker. Immutable; see ``RetryState`` for one request's retries.
package final class RetryPolicy {
    package typealias Conditions = RetryPolicyConfig.Conditions

    struct ResetHeader {
        let name: HeaderName
        let format: RetryPolicyConfig.ResetHeader.Format
    }

    let conditions: Conditions
    let retriesMax: Int
    /// Zero is none.
    package let perTryTimeout: Nanoseconds
    package let perTryIdleTimeout: Nanoseconds
    let backOffBase: Nanoseconds
    let backOffMax: Nanoseconds
    let resetHeaders: [ResetHeader]
    let resetMax: Nanoseconds
    let statusCodes: [Int]
    let retriableHeaders: [HeaderMatcher]
    let requestHeaders: [HeaderMatcher]
    package let avoidsPreviousHosts: Bool
    /// As often as this a host is chosen anew because it was tried before.
    package let hostSelectionAttemptsMax: Int

    /// What `x-envoy-retry-on` falls back on where the route has no policy of its own.
    package static func requested() -> RetryPolicy { RetryPolicy() }

    private init() {
        conditions = []
        retriesMax = 1
        perTryTimeout = .zero
        perTryIdleTimeout = .zero
        backOffBase = Nanoseconds(RetryPolicyConfig.BackOff.standard.baseInterval)
        backOffMax = Nanoseconds(RetryPolicyConfig.BackOff.standard.maxInterval)
        resetHeaders = []
        resetMax = .seconds(300)
        statusCodes = []
        retriableHeaders = []
        requestHeaders = []
        avoidsPreviousHosts = false
        hostSelectionAttemptsMax = 1
    }

    package init(_ config: RetryPolicyConfig) {
        conditions = config.retryOn
        retriesMax = config.numRetries
        perTryTimeout = config.perTryTimeout.map { Nanoseconds($0) } ?? .zero
        perTryIdleTimeout = config.perTryIdleTimeout.map { Nanoseconds($0) } ?? .zero
        backOffBase = Nanoseconds(config.backOff.baseInterval)
        backOffMax = Nanoseconds(config.backOff.maxInterval)
        resetHeaders = (config.rateLimitedBackOff?.resetHeaders ?? []).map {
            ResetHeader(name: HeaderName($0.name), format: $0.format)
        }
        resetMax = config.rateLimitedBackOff.map { Nanoseconds($0.maxInterval) } ?? .seconds(300)
        statusCodes = config.retriableStatusCodes
        retriableHeaders = config.retriableHeaders.map { HeaderMatcher($0) }
        requestHeaders = config.retriableRequestHeaders.map { HeaderMatcher($0) }
        avoidsPreviousHosts = config.avoidsPreviousHosts
        hostSelectionAttemptsMax = config.hostSelectionAttemptsMax
    }
}
