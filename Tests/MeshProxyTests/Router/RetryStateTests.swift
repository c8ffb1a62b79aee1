import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

@testable import MeshProxy

/// What an upstream does to every attempt.
enum UpstreamBehaviour: String, CaseIterable {
    case status500, status503, status504, status409, status429
    /// The connection is closed after the request was read.
    case close
    case rateLimited503, overloaded503
    /// 200 with `x-again: 1`.
    case header

    func outcome(_ state: inout RetryState) -> RetryDecision {
        let wallNow = WallTime(nanoseconds: 0)
        func head(_ status: Int, _ fields: [(String, String)] = []) -> RetryDecision {
            state.responseHead(.response(status, fields), random: 0, wallNow: wallNow)
        }
        switch self {
        case .status500: return head(500)
        case .status503: return head(503)
        case .status504: return head(504)
        case .status409: return head(409)
        case .status429: return head(429)
        case .close: return state.reset(.connectionTermination, requestStarted: true, random: 0)
        case .rateLimited503: return head(503, [("x-envoy-ratelimited", "true")])
        case .overloaded503: return head(503, [("x-envoy-overloaded", "true")])
        case .header: return head(200, [("x-again", "1")])
        }
    }
}

/// How many attempts are made, and whether the limit was what ended them.
private func attempts(
    _ state: RetryState?,
    _ outcome: (inout RetryState) -> RetryDecision
) -> (count: Int, isLimited: Bool) {
    guard var state else { return (1, false) }
    var count = 1
    while count < 100 {
        switch outcome(&state) {
        case .no: return (count, false)
        case .limitExceeded: return (count, true)
        case .retry: count += 1
        }
    }
    return (count, false)
}

@Suite struct RetryStateTests {
    // Attempts that Envoy 1.40 made, upstream behaviours in the order of the enumeration.
    @Test(arguments: [
        ("5xx", [3, 3, 3, 1, 1, 3, 1, 3, 1]),
        ("gateway-error", [1, 3, 3, 1, 1, 3, 1, 3, 1]),
        ("reset", [1, 1, 1, 1, 1, 3, 1, 1, 1]),
        ("reset-before-request", [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("connect-failure", [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("envoy-ratelimited", [1, 1, 1, 1, 1, 1, 3, 1, 1]),
        ("retriable-4xx", [1, 1, 1, 3, 1, 1, 1, 1, 1]),
        ("refused-stream", [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("retriable-status-codes", [1, 1, 1, 1, 3, 1, 1, 1, 1]),
        ("retriable-headers", [1, 1, 1, 1, 1, 1, 1, 1, 3]),
        ("5xx,envoy-ratelimited", [3, 3, 3, 1, 1, 3, 3, 3, 1]),
    ])
    func `each condition retries what Envoy retries`(words: String, counts: [Int]) throws {
        let policy = try Compile.retryPolicy(
            #"{"retry_on":"\#(words)","num_retries":2,"retriable_status_codes":[429],"retriable_headers":[{"name":"x-again","present_match":true}]}"#
        )
        for (behaviour, wanted) in zip(UpstreamBehaviour.allCases, counts) {
            let state = RetryState(policy, request: .request("/"))
            let found = attempts(state) { behaviour.outcome(&$0) }
            #expect(found.count == wanted, "\(words) \(behaviour)")
            #expect(found.isLimited == (wanted > 1), "\(words) \(behaviour)")
        }
    }

    @Test(arguments: [
        ("cancelled", "1"), ("deadline-exceeded", "4"), ("resource-exhausted", "8"),
        ("internal", "13"), ("unavailable", "14"),
    ])
    func `gRPC conditions look at grpc-status`(word: String, code: String) throws {
        let policy = try Compile.retryPolicy(#"{"retry_on":"\#(word)"}"#)
        for status in ["1", "4", "8", "13", "14", "0", "x"] {
            let state = RetryState(policy, request: .request("/"))
            let found = attempts(state) {
                $0.responseHead(
                    .response(200, [("grpc-status", status)]),
                    random: 0,
                    wallNow: WallTime(nanoseconds: 0)
                )
            }
            #expect(found.count == (status == code ? 2 : 1))
        }
    }

    @Test(arguments: [
        ("connect-failure", StreamResetReason.remoteConnectionFailure, false, true),
        ("connect-failure", .localConnectionFailure, false, true),
        ("connect-failure", .connectionTimeout, false, true),
        ("connect-failure", .connectionTermination, true, false),
        ("refused-stream", .remoteRefused, true, true),
        ("refused-stream", .remoteReset, true, false),
        ("reset-before-request", .connectionTermination, false, true),
        ("reset-before-request", .connectionTermination, true, false),
        ("reset", .localReset, true, true),
        ("gateway-error", .protocolError, true, true),
        ("5xx", .overflow, false, false),
        ("reset", .overflow, false, false),
    ])
    func `resets are retried by their reason`(
        word: String,
        reason: StreamResetReason,
        requestStarted: Bool,
        isRetried: Bool
    ) throws {
        let policy = try Compile.retryPolicy(#"{"retry_on":"\#(word)"}"#)
        let state = RetryState(policy, request: .request("/"))
        let found = attempts(state) {
            $0.reset(reason, requestStarted: requestStarted, random: 0)
        }
        #expect((found.count > 1) == isRetried)
    }

    // As Envoy 1.40 with the same headers.
    @Test(arguments: [
        (nil, 503, [("x-envoy-retry-on", "5xx")], 2),
        (nil, 503, [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "3")], 4),
        (nil, 409, [("x-envoy-retry-on", " 5xx , retriable-4xx")], 2),
        (nil, 503, [("x-envoy-max-retries", "2")], 1),
        ("5xx", 503, [("x-envoy-max-retries", "0")], 1),
        ("5xx", 503, [("x-envoy-max-retries", "abc")], 3),
        (
            "5xx", 418,
            [
                ("x-envoy-retry-on", "retriable-status-codes"),
                ("x-envoy-retriable-status-codes", "429, 418"),
            ], 3
        ),
        ("5xx", 409, [("x-envoy-retry-on", "bogus")], 1),
    ])
    func `request headers override the policy and are taken away`(
        words: String?,
        status: Int,
        fields: [(String, String)],
        wanted: Int
    ) throws {
        let policy = try words.map {
            try Compile.retryPolicy(#"{"retry_on":"\#($0)","num_retries":2}"#)
        }
        let head = HeaderMap.request("/", fields)
        let state = RetryState(policy, request: head)
        let found = attempts(state) {
            $0.responseHead(.response(status), random: 0, wallNow: WallTime(nanoseconds: 0))
        }
        #expect(found.count == wanted)
        #expect(!head.fields.contains { $0.hasPrefix("x-envoy-") })
    }

    @Test func `retriable request headers decide whether anything is retried`() throws {
        let policy = try Compile.retryPolicy(
            #"{"retry_on":"5xx","retriable_request_headers":[{"name":"x-ok","present_match":true}]}"#
        )
        #expect(RetryState(policy, request: .request("/")) == nil)
        #expect(RetryState(policy, request: .request("/", [("x-ok", "1")])) != nil)
        #expect(RetryState(nil, request: .request("/")) == nil)
    }

    @Test func `back-off is anything below a limit that doubles up to its maximum`() throws {
        let policy = try Compile.retryPolicy(
            #"{"retry_on":"5xx","num_retries":9,"retry_back_off":{"base_interval":"0.1s","max_interval":"0.3s"}}"#
        )
        var state = try #require(RetryState(policy, request: .request("/")))
        var waits: [Int64] = []
        for limit in [100, 200, 300, 300] as [UInt64] {
            // One below the limit is the longest wait there is.
            let random = limit * 1_000_000 - 1
            if case .retry(let wait, .exponential) = state.responseHead(
                .response(503),
                random: random,
                wallNow: WallTime(nanoseconds: 0)
            ) {
                waits.append(wait.count)
            }
        }
        #expect(waits == [99_999_999, 199_999_999, 299_999_999, 299_999_999])
    }

    @Test func `a reset header tells how long to wait, within the maximum`() throws {
        let policy = try Compile.retryPolicy(
            #"""
            {"retry_on":"5xx","num_retries":9,"rate_limited_retry_back_off":{"max_interval":"60s","reset_headers":[
              {"name":"Retry-After","format":"SECONDS"},{"name":"x-reset","format":"UNIX_TIMESTAMP"}]}}
            """#
        )
        let wallNow = WallTime(nanoseconds: 1_000_000_000_000)
        func decision(_ fields: [(String, String)], random: UInt64 = 0) throws -> RetryDecision {
            var state = try #require(RetryState(policy, request: .request("/")))
            return state.responseHead(.response(503, fields), random: random, wallNow: wallNow)
        }
        #expect(try decision([("retry-after", "2")]) == .retry(after: .seconds(2), .rateLimited))
        #expect(
            try decision([("retry-after", "2")], random: 1_000_000_000)
                == .retry(after: .seconds(3), .rateLimited)
        )
        #expect(try decision([("x-reset", "1010")]) == .retry(after: .seconds(10), .rateLimited))
        // Too long, past, or no number: as if it were not there.
        #expect(try decision([("retry-after", "61")]) == .retry(after: .zero, .exponential))
        #expect(try decision([("x-reset", "999")]) == .retry(after: .zero, .exponential))
        #expect(try decision([("retry-after", "soon")]) == .retry(after: .zero, .exponential))
        #expect(
            try decision([("retry-after", "61"), ("x-reset", "1001")])
                == .retry(after: .seconds(1), .rateLimited)
        )
    }

    @Test(arguments: [
        ("GET", true, true, false, true, 0, true), ("POST", true, true, false, true, 0, false),
        ("POST", true, false, false, true, 0, true), ("GET", false, true, false, true, 0, false),
        ("GET", true, true, true, true, 0, false), ("GET", true, true, false, false, 0, false),
        ("GET", true, true, false, true, 1, false), ("DELETE", true, true, false, true, 0, true),
        ("PATCH", true, true, false, true, 0, false),
    ])
    func `a request lost with an idle connection is repeated only where that is safe`(
        method: String,
        isReused: Bool,
        requestStarted: Bool,
        responseStarted: Bool,
        isReplayable: Bool,
        repeats: Int,
        wanted: Bool
    ) {
        var method = method
        let found = method.withUTF8 { method in
            IdleConnectionRace.allowsRepeat(
                .connectionTermination,
                method: Bytes(method),
                isReused: isReused,
                requestStarted: requestStarted,
                responseStarted: responseStarted,
                isReplayable: isReplayable,
                repeats: repeats
            )
        }
        #expect(found == wanted)
    }
}

@Suite struct RequestTimeoutsTests {
    private func timeouts(
        _ action: String,
        _ fields: [(String, String)] = [],
        router: String = "{}"
    ) throws -> (RequestTimeouts, HeaderMap) {
        let table = try Compile.table(
            routes: #"{"match":{"prefix":"/"},"route":{"cluster":"c",\#(action)}}"#
        )
        let head = HeaderMap.request("/", fields)
        guard case .route(let selection) = table.route(head, .test(), random: 0),
            case .forward(let forward) = selection.route.action
        else { throw ConfigFileError("route", "none") }
        let (object, _) = try Compile.object(router)
        return (RequestTimeouts(forward, RouterConfig(object), request: head), head)
    }

    // Values of x-envoy-expected-rq-timeout-ms as Envoy 1.40 sends them.
    @Test(
        arguments: [
            (#""timeout":"5s""#, [], "5000"),
            (#""timeout":"0s""#, [], nil),
            (
                #""timeout":"5s","retry_policy":{"retry_on":"5xx","per_try_timeout":"1s"}"#, [],
                "1000"
            ),
            (
                #""timeout":"5s","retry_policy":{"retry_on":"5xx","per_try_timeout":"9s"}"#, [],
                "5000"
            ),
            (
                #""timeout":"0s","retry_policy":{"retry_on":"5xx","per_try_timeout":"9s"}"#, [],
                "9000"
            ),
            (#""timeout":"5s""#, [("x-envoy-upstream-rq-timeout-ms", "2000")], "2000"),
            (#""timeout":"5s""#, [("x-envoy-upstream-rq-timeout-ms", "abc")], "5000"),
            (#""timeout":"5s""#, [("x-envoy-upstream-rq-timeout-ms", "0")], nil),
            (#""timeout":"5s""#, [("x-envoy-upstream-rq-per-try-timeout-ms", "700")], "700"),
            (#""timeout":"5s""#, [("x-envoy-upstream-rq-per-try-timeout-ms", "70000")], "5000"),
            (#""timeout":"5s","max_stream_duration":{"max_stream_duration":"3s"}"#, [], nil),
            (
                #""timeout":"5s","max_grpc_timeout":"10s""#,
                [("content-type", "application/grpc"), ("grpc-timeout", "4S")], "4000"
            ),
            (
                #""timeout":"5s","max_grpc_timeout":"10s""#,
                [("content-type", "application/grpc"), ("grpc-timeout", "400S")], "10000"
            ),
        ] as [(String, [(String, String)], String?)]
    )
    func `the upstream is told how long we wait`(
        action: String,
        fields: [(String, String)],
        wanted: String?
    ) throws {
        let (_, head) = try timeouts(action, fields)
        #expect(head.string(.envoyExpectedRequestTimeout) == wanted)
        #expect(!head.contains(.envoyUpstreamRequestTimeout))
        #expect(!head.contains(.envoyUpstreamRequestPerTryTimeout))
    }

    @Test func `a retry is told what is left, never nothing`() throws {
        let table = try Compile.table(
            routes: #"{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"5s"}}"#
        )
        let head = HeaderMap.request("/")
        guard case .route(let selection) = table.route(head, .test(), random: 0),
            case .forward(let forward) = selection.route.action
        else { return }
        let (object, _) = try Compile.object("{}")
        let router = RouterConfig(object)
        let timeouts = RequestTimeouts(forward, router, request: head)
        timeouts.setHeaders(head, forward, router, elapsed: .seconds(3))
        #expect(head.string(.envoyExpectedRequestTimeout) == "2000")
        timeouts.setHeaders(head, forward, router, elapsed: .seconds(6))
        #expect(head.string(.envoyExpectedRequestTimeout) == "1")
    }

    @Test func `the expected time of a proxy before us may be respected`() throws {
        let (own, _) = try timeouts(
            #""timeout":"5s""#,
            [("x-envoy-expected-rq-timeout-ms", "123")],
            router: #"{"respect_expected_rq_timeout":true}"#
        )
        #expect(own.whole == .milliseconds(123))
        let (plain, head) = try timeouts(
            #""timeout":"5s""#,
            [("x-envoy-expected-rq-timeout-ms", "123")],
            router: #"{"suppress_envoy_headers":true}"#
        )
        #expect(plain.whole == .seconds(5))
        #expect(head.string(.envoyExpectedRequestTimeout) == "123")
    }
}
