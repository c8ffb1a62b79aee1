import MeshNet

/// When a name is asked for again (envoy: dns_refresh_rate and its companions).
struct DNSRefresh {
    struct Settings: Sendable {
        var interval = Nanoseconds.seconds(5)
        /// A random part of this is added to every wait after an answer.
        var jitter = Nanoseconds.zero
        /// After failures the wait is a random part of a span that doubles from the first to the second.
        var failure: (first: Nanoseconds, most: Nanoseconds)?
        /// The answer's time to live replaces ``interval``, but is not less than ``intervalMin``.
        var respectsTTL = false
        var intervalMin = Nanoseconds.zero
    }

    private let settings: Settings
    private var failureSpan: Nanoseconds

    /// Not more often than this, whatever chance says.
    private static let waitMin = Nanoseconds.milliseconds(1)

    init(_ settings: Settings) {
        self.settings = settings
        failureSpan = settings.failure?.first ?? .zero
    }

    /// - Parameter ttlSeconds: the smallest of the answer; nil or zero where it does not say.
    mutating func answered(ttlSeconds: Int?, random: UInt64) -> Nanoseconds {
        failureSpan = settings.failure?.first ?? .zero
        var wait = settings.interval
        if settings.respectsTTL, let ttlSeconds, ttlSeconds > 0 {
            wait = max(.seconds(Int64(ttlSeconds)), settings.intervalMin)
        }
        if settings.jitter > .zero {
            wait.count += Int64(random % UInt64(settings.jitter.count))
        }
        return max(wait, Self.waitMin)
    }

    mutating func failed(random: UInt64) -> Nanoseconds {
        guard let failure = settings.failure else { return settings.interval }
        let wait = Nanoseconds(Int64(random % UInt64(max(1, failureSpan.count))))
        let doubled = failureSpan.count.multipliedReportingOverflow(by: 2)
        failureSpan =
            doubled.overflow
            ? failure.most : min(Nanoseconds(doubled.partialValue), failure.most)
        return max(wait, Self.waitMin)
    }
}
