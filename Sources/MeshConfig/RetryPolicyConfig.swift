/// When an upstream request is tried again, and how (envoy: route.v3.RetryPolicy).
package struct RetryPolicyConfig: Sendable {
    /// Words of `retry_on`, HTTP's and gRPC's.
    package struct Conditions: OptionSet, Hashable, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }

        package static let serverError = Self(rawValue: 1 << 0)
        package static let gatewayError = Self(rawValue: 1 << 1)
        package static let reset = Self(rawValue: 1 << 2)
        package static let resetBeforeRequest = Self(rawValue: 1 << 3)
        package static let connectFailure = Self(rawValue: 1 << 4)
        package static let envoyRateLimited = Self(rawValue: 1 << 5)
        package static let retriable4xx = Self(rawValue: 1 << 6)
        package static let refusedStream = Self(rawValue: 1 << 7)
        package static let retriableStatusCodes = Self(rawValue: 1 << 8)
        package static let retriableHeaders = Self(rawValue: 1 << 9)
        package static let http3PostConnectFailure = Self(rawValue: 1 << 10)
        package static let grpcCancelled = Self(rawValue: 1 << 16)
        package static let grpcDeadlineExceeded = Self(rawValue: 1 << 17)
        package static let grpcInternal = Self(rawValue: 1 << 18)
        package static let grpcResourceExhausted = Self(rawValue: 1 << 19)
        package static let grpcUnavailable = Self(rawValue: 1 << 20)

        /// Those that ask for a `grpc-status`.
        package static let grpc: Self = [
            .grpcCancelled, .grpcDeadlineExceeded, .grpcInternal, .grpcResourceExhausted,
            .grpcUnavailable,
        ]

        /// The words of `retry_on` and `x-envoy-retry-on`.
        package static let httpWords: [(word: StaticString, condition: Conditions)] = [
            ("5xx", .serverError), ("gateway-error", .gatewayError), ("reset", .reset),
            ("reset-before-request", .resetBeforeRequest), ("connect-failure", .connectFailure),
            ("envoy-ratelimited", .envoyRateLimited), ("retriable-4xx", .retriable4xx),
            ("refused-stream", .refusedStream), ("retriable-status-codes", .retriableStatusCodes),
            ("retriable-headers", .retriableHeaders),
            ("http3-post-connect-failure", .http3PostConnectFailure),
        ]

        /// The words of `retry_on` and `x-envoy-retry-grpc-on`.
        package static let grpcWords: [(word: StaticString, condition: Conditions)] = [
            ("cancelled", .grpcCancelled), ("deadline-exceeded", .grpcDeadlineExceeded),
            ("internal", .grpcInternal), ("resource-exhausted", .grpcResourceExhausted),
            ("unavailable", .grpcUnavailable),
        ]
    }

    /// Exponential back-off with full jitter (envoy: RetryBackOff).
    package struct BackOff: Hashable, Sendable {
        package let baseInterval: Duration
        /// At least the base interval.
        package let maxInterval: Duration

        /// 25 ms, and ten times that at most.
        package static let standard = BackOff(
            baseInterval: .milliseconds(25),
            maxInterval: .milliseconds(250)
        )

        package init(baseInterval: Duration, maxInterval: Duration) {
            self.baseInterval = baseInterval
            self.maxInterval = maxInterval
        }

        init(_ object: ConfigObject) {
            let base = object.duration("base_interval")
            if base == nil { object.error("is required", at: "base_interval") }
            if base == .zero { object.error("must be greater than zero", at: "base_interval") }
            // Envoy counts in milliseconds and takes less than one as one.
            let interval = max(base ?? .milliseconds(25), .milliseconds(1))
            let most = object.duration("max_interval")
            if let most, most < (base ?? .zero) {
                object.error("must not be less than base_interval", at: "max_interval")
            }
            baseInterval = interval
            maxInterval = max(most ?? interval * 10, interval)
        }
    }

    /// A response header that says when to come back (envoy: ResetHeader).
    package struct ResetHeader: Sendable {
        package enum Format: Int, ConfigEnum {
            case seconds
            case unixTimestamp
        }

        /// Lower case.
        package let name: String
        package let format: Format

        init(_ object: ConfigObject) {
            let name = object.requiredString("name")
            if !name.isEmpty, let problem = HeaderNameRule.problem(name) {
                object.error(problem, at: "name")
            }
            self.name = name.lowercased()
            format = object.enumeration("format", Format.self) ?? .seconds
        }
    }

    /// Back-off told by the upstream (envoy: RateLimitedRetryBackOff).
    package struct RateLimitedBackOff: Sendable {
        package let resetHeaders: [ResetHeader]
        package let maxInterval: Duration

        init(_ object: ConfigObject) {
            resetHeaders = object.objects("reset_headers").map(ResetHeader.init)
            if resetHeaders.isEmpty {
                object.error("needs at least one entry", at: "reset_headers")
            }
            let interval = object.duration("max_interval")
            if interval == .zero { object.error("must be greater than zero", at: "max_interval") }
            maxInterval = interval ?? .seconds(300)
        }
    }

    package let retryOn: Conditions
    package let numRetries: Int
    /// Nil: the route's timeout alone limits an attempt.
    package let perTryTimeout: Duration?
    package let perTryIdleTimeout: Duration?
    package let backOff: BackOff
    package let rateLimitedBackOff: RateLimitedBackOff?
    package let retriableStatusCodes: [Int]
    /// Response headers that ask for a retry under `retriable-headers`.
    package let retriableHeaders: [HeaderMatchConfig]
    /// Where not empty, only requests that match one of these are retried.
    package let retriableRequestHeaders: [HeaderMatchConfig]
    /// Whether hosts tried before are passed over (envoy: previous_hosts).
    package let avoidsPreviousHosts: Bool
    /// How often a host is chosen anew because the predicate turned it down.
    package let hostSelectionAttemptsMax: Int

    package init(_ object: ConfigObject) {
        retryOn = Self.conditions(object)
        numRetries = Int(object.uint32("num_retries", default: 1))
        perTryTimeout = object.duration("per_try_timeout").flatMap { $0 == .zero ? nil : $0 }
        perTryIdleTimeout = object.duration("per_try_idle_timeout").flatMap {
            $0 == .zero ? nil : $0
        }
        backOff = object.object("retry_back_off").map(BackOff.init) ?? .standard
        rateLimitedBackOff = object.object("rate_limited_retry_back_off").map(
            RateLimitedBackOff.init
        )
        retriableStatusCodes = object.uint32s("retriable_status_codes").map { code in
            if !(100...599).contains(code) {
                object.error(
                    "\(code) is not a status code",
                    at: "retriable_status_codes",
                    element: "\(code)"
                )
            }
            return Int(code)
        }
        retriableHeaders = object.objects("retriable_headers").map(HeaderMatchConfig.init)
        retriableRequestHeaders = object.objects("retriable_request_headers").map(
            HeaderMatchConfig.init
        )
        avoidsPreviousHosts = Self.readHostPredicates(object)
        let attempts = object.int64("host_selection_retry_max_attempts") ?? 0
        if attempts < 0 {
            object.error("must not be negative", at: "host_selection_retry_max_attempts")
        }
        // Unset or 0 means one choice, as in Envoy.
        hostSelectionAttemptsMax = max(1, Int(clamping: attempts))
        object.unsupported("retry_priority", "priorities are not implemented")
        object.unsupported("retry_options_predicates", "no such extension is implemented")
        object.unsupported("refresh_cluster_on_retry", "a retry stays with its cluster")

        if retryOn.contains(.retriableStatusCodes), retriableStatusCodes.isEmpty {
            object.warning(
                "retriable-status-codes retries nothing: retriable_status_codes is empty",
                at: "retry_on"
            )
        }
        if retryOn.contains(.retriableHeaders), retriableHeaders.isEmpty {
            object.warning(
                "retriable-headers retries nothing: retriable_headers is empty",
                at: "retry_on"
            )
        }
    }

    /// Envoy takes any word silently; here a word that means nothing is an error, since the operator
    /// counts on it.
    private static func conditions(_ object: ConfigObject) -> Conditions {
        var result: Conditions = []
        let known = Conditions.httpWords + Conditions.grpcWords
        for part in object.string("retry_on", default: "").split(separator: ",") {
            let word = String(part.trimmingSpaces)
            if word.isEmpty { continue }
            if let found = known.first(where: { $0.word.description == word }) {
                result.insert(found.condition)
            } else if let status = Int(word), (100...599).contains(status) {
                object.error(
                    "\"\(word)\" is not a retry condition; use retriable-status-codes with"
                        + " retriable_status_codes: [\(status)]",
                    at: "retry_on"
                )
            } else {
                let near = Suggestion.nearest(to: word, among: known.map { $0.word.description })
                let hint = near.map { "; did you mean \"\($0)\"?" } ?? ""
                object.error("\"\(word)\" is not a retry condition\(hint)", at: "retry_on")
            }
        }
        if result.contains(.http3PostConnectFailure) {
            object.warning(
                "http3-post-connect-failure has no effect without HTTP/3",
                at: "retry_on"
            )
        }
        return result
    }

    private static func readHostPredicates(_ object: ConfigObject) -> Bool {
        var avoidsPrevious = false
        for predicate in object.objects("retry_host_predicate") {
            let name = predicate.string("name", default: "")
            let typed = predicate.present("typed_config").isEmpty ? nil : predicate.typedConfig()
            let type = typed?.type ?? ""
            let isPrevious =
                type == "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                || (typed == nil && name == "envoy.retry_host_predicates.previous_hosts")
            if isPrevious {
                avoidsPrevious = true
            } else {
                predicate.error(
                    "retry host predicate \"\(type.isEmpty ? name : type)\" is not implemented; only"
                        + " envoy.retry_host_predicates.previous_hosts is"
                )
            }
        }
        return avoidsPrevious
    }
}

extension Substring {
    /// Without spaces and tabs at either end.
    var trimmingSpaces: Substring {
        var rest = self
        while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
        return rest
    }
}
