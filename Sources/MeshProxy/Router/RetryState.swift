import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

/// What to do after an attempt has failed, or has been answered.
package enum RetryDecision: Equatable {
    /// Let it be: nothing asks for a retry.
    case no
    /// A retry was due but none is left (response flag URX, `upstream_rq_retry_limit_exceeded`).
    case limitExceeded
    /// Try again, if the circuit breaker has room for a retry.
    case retry(after: Nanoseconds, BackOff)

    package enum BackOff: Equatable {
        /// `upstream_rq_retry_backoff_exponential`
        case exponential
        /// `upstream_rq_retry_backoff_ratelimited`
        case rateLimited
    }
}

/// One request's retries: what is retried, how often, after how long. Knows no timers and no
/// connections; random numbers and times are given to it.
package struct RetryState {
    private let policy: RetryPolicy
    private var conditions: RetryPolicy.Conditions
    private var retriesLeft: Int
    /// The back-off's next upper limit.
    private var backOff: Nanoseconds
    /// From request headers, besides the policy's; empty for nearly all requests.
    private var extraStatusCodes: [Int] = []
    private var extraHeaderNames: [HeaderName] = []

    /// Nil where nothing can ever be retried. Takes the request headers that override the policy out
    /// of the head; outsiders' were removed before.
    package init?(_ policy: RetryPolicy?, request head: HeaderMap) {
        let asks = head.contains(.envoyRetryOn) || head.contains(.envoyRetryGRPCOn)
        guard let policy = policy ?? (asks ? .requested() : nil), asks || !policy.conditions.isEmpty
        else {
            Self.removeOverrides(head)
            return nil
        }
        self.policy = policy
        var wanted = policy.conditions
        retriesLeft = policy.retriesMax
        backOff = policy.backOffBase
        if asks {
            head.forEachValue(.envoyRetryOn) { words in
                wanted.formUnion(Self.parse(words, RetryPolicyConfig.Conditions.httpWords))
            }
            head.forEachValue(.envoyRetryGRPCOn) { words in
                wanted.formUnion(Self.parse(words, RetryPolicyConfig.Conditions.grpcWords))
            }
        }
        conditions = wanted
        if !policy.requestHeaders.isEmpty,
            !policy.requestHeaders.contains(where: { $0.matches(head) })
        {
            conditions = []
        }
        if !conditions.isEmpty, head.occurrences(.envoyMaxRetries) == 1,
            let most = head[.envoyMaxRetries].flatMap({ DecimalNumber.parse($0) })
        {
            retriesLeft = Int(clamping: most)
        }
        if head.contains(.envoyRetriableStatusCodes) {
            var codes: [Int] = []
            head.forEachValue(.envoyRetriableStatusCodes) { list in
                for code in list.split(separator: UInt8(ascii: ",")) {
                    guard let code = DecimalNumber.parse(Bytes(rebasing: code)) else { continue }
                    codes.append(Int(clamping: code))
                }
            }
            extraStatusCodes = codes
        }
        if head.contains(.envoyRetriableHeaderNames) {
            var names: [HeaderName] = []
            head.forEachValue(.envoyRetriableHeaderNames) { list in
                for name in list.split(separator: UInt8(ascii: ",")) {
                    let text = String(bytes: Bytes(rebasing: name))
                        .split(whereSeparator: { $0 == " " || $0 == "\t" }).joined()
                    if !text.isEmpty { names.append(HeaderName(text)) }
                }
            }
            extraHeaderNames = names
        }
        Self.removeOverrides(head)
        if conditions.isEmpty { return nil }
    }

    package var avoidsPreviousHosts: Bool { policy.avoidsPreviousHosts }
    package var hostSelectionAttemptsMax: Int { policy.hostSelectionAttemptsMax }

    // MARK: Events

    /// The final response head of an attempt has arrived.
    package mutating func responseHead(
        _ head: HeaderMap,
        random: UInt64,
        wallNow: WallTime
    ) -> RetryDecision {
        guard wantsRetry(head) else { return .no }
        guard takeOne() else { return .limitExceeded }
        // A millisecond or less is no wait.
        if let wait = resetInterval(head, wallNow), wait > .milliseconds(1) {
            // Between once and one and a half times what was asked for, so that not all come at once.
            let jitter = Int64(random % UInt64(wait.count / 2 + 1))
            return .retry(after: Nanoseconds(wait.count.addingSaturating(jitter)), .rateLimited)
        }
        return .retry(after: nextBackOff(random), .exponential)
    }

    /// An attempt ended without a response head. A per-try timeout is a `.localReset`.
    ///
    /// - Parameter requestStarted: whether any byte of the request was written upstream.
    package mutating func reset(
        _ reason: StreamResetReason,
        requestStarted: Bool,
        random: UInt64
    ) -> RetryDecision {
        guard wantsRetry(reason, requestStarted: requestStarted) else { return .no }
        guard takeOne() else { return .limitExceeded }
        return .retry(after: nextBackOff(random), .exponential)
    }

    // MARK: What is retried

    private func wantsRetry(_ head: HeaderMap) -> Bool {
        // Said by a proxy that does not want more of it now.
        if head.contains(.envoyRateLimited) { return conditions.contains(.envoyRateLimited) }
        let status = Int(clamping: head[.status].flatMap { DecimalNumber.parse($0) } ?? 0)
        if conditions.contains(.serverError), (500..<600).contains(status) { return true }
        if conditions.contains(.gatewayError), (502...504).contains(status) { return true }
        if conditions.contains(.retriable4xx), status == 409 { return true }
        if conditions.contains(.retriableStatusCodes),
            policy.statusCodes.contains(status) || extraStatusCodes.contains(status)
        {
            return true
        }
        if conditions.contains(.retriableHeaders) {
            if policy.retriableHeaders.contains(where: { $0.matches(head) }) { return true }
            if extraHeaderNames.contains(where: { head.first($0) != nil }) { return true }
        }
        if !conditions.isDisjoint(with: .grpc), let code = head[.grpcStatus] {
            return wantsRetry(grpcStatus: DecimalNumber.parse(code))
        }
        return false
    }

    private func wantsRetry(grpcStatus: UInt64?) -> Bool {
        switch grpcStatus {
        case 1: conditions.contains(.grpcCancelled)
        case 4: conditions.contains(.grpcDeadlineExceeded)
        case 8: conditions.contains(.grpcResourceExhausted)
        case 13: conditions.contains(.grpcInternal)
        case 14: conditions.contains(.grpcUnavailable)
        default: false
        }
    }

    private func wantsRetry(_ reason: StreamResetReason, requestStarted: Bool) -> Bool {
        // Our own limits are not overcome by asking again.
        if reason == .overflow { return false }
        if conditions.contains(.reset) { return true }
        if conditions.contains(.resetBeforeRequest), !requestStarted { return true }
        // A reset becomes a 503 or 504.
        if !conditions.isDisjoint(with: [.serverError, .gatewayError]) { return true }
        switch reason {
        case .remoteRefused: return conditions.contains(.refusedStream)
        case .localConnectionFailure, .remoteConnectionFailure, .connectionTimeout:
            return conditions.contains(.connectFailure)
        default: return false
        }
    }

    // MARK: How often and after how long

    private mutating func takeOne() -> Bool {
        if retriesLeft == 0 { return false }
        retriesLeft -= 1
        return true
    }

    /// Full jitter: anything below a limit that doubles.
    private mutating func nextBackOff(_ random: UInt64) -> Nanoseconds {
        let limit = max(1, backOff.count)
        backOff = Nanoseconds(min(policy.backOffMax.count, limit.addingSaturating(limit)))
        return Nanoseconds(Int64(random % UInt64(limit)))
    }

    /// What the first usable reset header says, if it is not longer than allowed.
    private func resetInterval(_ head: HeaderMap, _ wallNow: WallTime) -> Nanoseconds? {
        for header in policy.resetHeaders {
            guard let value = head.first(header.name).flatMap({ DecimalNumber.parse($0) }) else {
                continue
            }
            let seconds: Int64
            switch header.format {
            case .seconds: seconds = Int64(clamping: value)
            case .unixTimestamp:
                let at = Int64(clamping: value)
                if at <= wallNow.seconds { continue }
                seconds = at - wallNow.seconds
            }
            let (span, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
            if !overflow, Nanoseconds(span) <= policy.resetMax { return Nanoseconds(span) }
        }
        return nil
    }

    // MARK: Overrides

    private static func removeOverrides(_ head: HeaderMap) {
        head.remove(.envoyRetryOn)
        head.remove(.envoyRetryGRPCOn)
        head.remove(.envoyMaxRetries)
        head.remove(.envoyRetriableStatusCodes)
        head.remove(.envoyRetriableHeaderNames)
        head.remove(.envoyHedgeOnPerTryTimeout)
    }

    /// Unknown words in a header are passed over: they come from another proxy, not from our operator.
    private static func parse(
        _ list: Bytes,
        _ words: [(word: StaticString, condition: RetryPolicy.Conditions)]
    ) -> RetryPolicy.Conditions {
        var result: RetryPolicy.Conditions = []
        for part in list.split(separator: UInt8(ascii: ",")) {
            var word = part
            while let first = word.first, first == 0x20 { word = word.dropFirst() }
            while let last = word.last, last == 0x20 { word = word.dropLast() }
            let bytes = Bytes(rebasing: word)
            if let known = words.first(where: { bytes.equals($0.word) }) {
                result.insert(known.condition)
            }
        }
        return result
    }
}

/// The one repetition that needs no policy: of a request that died with an idle connection.
///
/// A server may close a kept-alive connection at the moment a request is sent on it; the request then
/// was most likely never seen. RFC 9110 §9.2.2 and RFC 9112 §9.3.1 allow a client to send it again if
/// it is idempotent, or if nothing of it was sent.
package enum IdleConnectionRace {
    /// - Parameters:
    ///   - isReused: whether the connection had served a request before.
    ///   - requestStarted: whether any byte of this request was written to it.
    ///   - responseStarted: whether any byte of a response came back.
    ///   - isReplayable: whether the whole request so far is still at hand.
    ///   - repeats: how often this request has been repeated for this reason already.
    package static func allowsRepeat(
        _ reason: StreamResetReason,
        method: Bytes?,
        isReused: Bool,
        requestStarted: Bool,
        responseStarted: Bool,
        isReplayable: Bool,
        repeats: Int
    ) -> Bool {
        guard !responseStarted, isReplayable, repeats < repeatsMax else { return false }
        switch reason {
        // The peer says that it has not looked at it (RFC 9113 §8.7).
        case .remoteRefused: return true
        case _ where !isReused: return false
        case .connectionTermination, .remoteReset: break
        default: return false
        }
        return !requestStarted || method.map { isIdempotent($0) } ?? false
    }

    /// After one race lost, the next attempt takes a new connection.
    private static let repeatsMax = 1

    /// RFC 9110 §9.2.2: the safe methods, PUT and DELETE.
    static func isIdempotent(_ method: Bytes) -> Bool {
        method.equals("GET") || method.equals("HEAD") || method.equals("OPTIONS")
            || method.equals("TRACE") || method.equals("PUT") || method.equals("DELETE")
    }
}

extension Int64 {
    func addingSaturating(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
