import MeshNet
import Testing

@testable import MeshConfig

private func decode(_ json: String) -> (config: RouteConfig?, errors: [String], warnings: [String])
{
    let diagnostics = ConfigDiagnostics()
    guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
        return (nil, diagnostics.errors.map(\.description), [])
    }
    let config = RouteConfig(object)
    object.finish()
    return (config, diagnostics.errors.map(\.description), diagnostics.warnings.map(\.description))
}

/// A table with one virtual host whose one route is `route`.
private func decode(
    route: String,
    host: String = ""
) -> (route: RouteEntryConfig?, errors: [String], warnings: [String]) {
    let (config, errors, warnings) = decode(
        #"{"virtual_hosts":[{"name":"v","domains":["*"],"routes":[\#(route)]\#(host)}]}"#
    )
    return (config?.virtualHosts.first?.routes.first, errors, warnings)
}

/// A route to cluster "c" with these members in its action.
private func decode(
    action: String
) -> (action: RouteActionConfig?, errors: [String], warnings: [String]) {
    let (route, errors, warnings) = decode(
        route: #"{"match":{"prefix":"/"},"route":{\#(action)}}"#
    )
    guard case .route(let action) = route?.action else { return (nil, errors, warnings) }
    return (action, errors, warnings)
}

@Suite struct RouteConfigTests {
    @Test func `a plain route has Envoy's defaults`() throws {
        let (action, errors, warnings) = decode(action: #""cluster":"c""#)
        let found = try #require(action)
        #expect(errors == [])
        #expect(warnings == [])
        #expect(found.timeout == .seconds(15))
        #expect(found.idleTimeout == nil)
        #expect(found.retryPolicy == nil)
        #expect(found.clusterNotFoundStatus.status == 503)
        #expect(found.clusterReferences.map(\.name) == ["c"])
    }

    @Test func `every place that names a cluster is a reference with its path`() {
        let (config, errors, _) = decode(
            #"""
            {"virtual_hosts":[{"name":"v","domains":["*"],"routes":[
              {"match":{"prefix":"/a"},"route":{"cluster":"a"}},
              {"match":{"prefix":"/b"},"route":{"weighted_clusters":{"clusters":[
                {"name":"b1","weight":90},{"name":"b2","weight":10}]}}},
              {"match":{"prefix":"/c"},"route":{"cluster_header":"x-to"}}]}]}
            """#
        )
        #expect(errors == [])
        #expect(config?.clusterReferences.map(\.name) == ["a", "b1", "b2"])
        #expect(
            config?.clusterReferences.last?.path.description
                == "virtual_hosts[0].routes[1].route.weighted_clusters.clusters[1].name"
        )
    }

    @Test func `domains are unique and stars stand at an end`() {
        let (_, errors, _) = decode(
            #"""
            {"virtual_hosts":[
              {"name":"a","domains":["A.com","*.b.com"],"routes":[]},
              {"name":"b","domains":["a.COM"],"routes":[]},
              {"name":"b","domains":["x*y","*z*"],"routes":[]}]}
            """#
        )
        #expect(errors.count == 4)
        #expect(errors.contains { $0.contains("is already a domain of virtual host \"a\"") })
        #expect(errors.contains { $0.contains("name of another virtual host") })
        #expect(errors.filter { $0.contains("a star may only stand") }.count == 2)
    }

    @Test(arguments: [
        (#""cluster":"c","hash_policy":[{"header":{"header_name":"x"}}]"#, "hash_policy"),
        (#""cluster":"c","request_mirror_policies":[{"cluster":"m"}]"#, "mirroring"),
        (#""cluster":"c","rate_limits":[{"actions":[]}]"#, "rate limiting"),
        (#""cluster":"c","cors":{"allow_methods":"GET"}"#, "cross-origin"),
        (#""cluster":"c","hedge_policy":{"hedge_on_per_try_timeout":true}"#, "hedging"),
        (
            #""cluster":"c","prefix_rewrite":"/","regex_rewrite":{"pattern":{"regex":"a"}}"#,
            "exclude"
        ),
        (#""cluster":"c","host_rewrite_literal":"a","auto_host_rewrite":true"#, "only one of"),
        (#""cluster":"c","timout":"1s""#, "did you mean"),
        (#""cluster":"c","cluster_header":"x""#, "only one of"),
        (#""timeout":"1s""#, "is required"),
        (#""weighted_clusters":{"clusters":[{"name":"a","weight":0}]}"#, "sum to zero"),
        (#""weighted_clusters":{"clusters":[]}"#, "at least one"),
        (#""cluster":"c","retry_policy":{"retry_on":"5xx,gateway-eror"}"#, "gateway-error"),
        (#""cluster":"c","retry_policy":{"retry_on":"503"}"#, "retriable_status_codes: [503]"),
        (
            #""cluster":"c","retry_policy":{"retry_back_off":{"base_interval":"2s","max_interval":"1s"}}"#,
            "less than base_interval"
        ),
        (
            #""cluster":"c","retry_policy":{"retry_host_predicate":[{"name":"envoy.retry_host_predicates.omit_canary_hosts"}]}"#,
            "is not implemented"
        ),
        (#""cluster":"c","regex_rewrite":{"pattern":{"regex":"(a"},"substitution":"b"}"#, "regex"),
        (#""cluster":"c","regex_rewrite":{"pattern":{"regex":"(a)"},"substitution":"\\2"}"#, "\\2"),
    ])
    func `what cannot be honoured is refused`(action: String, message: String) {
        let (_, errors, _) = decode(action: action)
        #expect(errors.contains { $0.contains(message) }, "\(errors)")
    }

    @Test func `Istio's default retry policy loads`() throws {
        let (action, errors, warnings) = decode(
            action: #"""
                "cluster":"c","timeout":"0s","max_grpc_timeout":"0s","retry_policy":{
                "retry_on":"connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                "num_retries":2,"retry_host_predicate":[{"name":"envoy.retry_host_predicates.previous_hosts",
                "typed_config":{"@type":"type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
                "host_selection_retry_max_attempts":"5","retriable_status_codes":[503]}
                """#
        )
        let policy = try #require(action?.retryPolicy)
        #expect(errors == [])
        #expect(warnings == [])
        #expect(
            policy.retryOn == [
                .connectFailure, .refusedStream, .grpcUnavailable, .grpcCancelled,
                .retriableStatusCodes,
            ]
        )
        #expect(policy.numRetries == 2)
        #expect(policy.avoidsPreviousHosts)
        #expect(policy.hostSelectionAttemptsMax == 5)
        #expect(policy.retriableStatusCodes == [503])
        #expect(policy.backOff == .standard)
    }

    @Test func `back-off defaults to ten times its base`() throws {
        let (action, errors, _) = decode(
            action:
                #""cluster":"c","retry_policy":{"retry_on":"5xx","retry_back_off":{"base_interval":"0.1s"}}"#
        )
        #expect(errors == [])
        #expect(action?.retryPolicy?.backOff.maxInterval == .seconds(1))
    }

    @Test(arguments: [":path", "Host", ":authority", "x y", ""])
    func `headers that routing decides on cannot be mutated`(name: String) {
        let (_, errors, _) = decode(
            route: #"""
                {"match":{"prefix":"/"},"route":{"cluster":"c"},
                 "request_headers_to_add":[{"header":{"key":"\#(name)","value":"a"}}],
                 "request_headers_to_remove":["\#(name)"]}
                """#
        )
        #expect(errors.count == 2, "\(errors)")
    }

    @Test func `a response body over the limit is refused`() {
        let body = String(repeating: "a", count: 4097)
        let (_, errors, _) = decode(
            route:
                #"{"match":{"prefix":"/"},"direct_response":{"status":200,"body":{"inline_string":"\#(body)"}}}"#
        )
        #expect(errors.contains { $0.contains("4097 bytes") })
    }

    @Test func `a body in a file is read later, and its problems are told`() {
        struct Files: ConfigFiles {
            func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
                if path == "/ok" { return Array("hello".utf8) }
                throw ConfigFileError(path, "no such file")
            }
            func environment(_ name: String) -> [UInt8]? { nil }
        }
        var (config, errors, _) = decode(
            #"""
            {"virtual_hosts":[{"name":"v","domains":["*"],"routes":[
              {"match":{"prefix":"/a"},"direct_response":{"status":200,"body":{"filename":"/ok"}}},
              {"name":"b","match":{"prefix":"/"},"direct_response":{"status":200,"body":{"filename":"/no"}}}]}]}
            """#
        )
        #expect(errors == [])
        var problems: [String] = []
        config?.loadFiles(Files(), problems: &problems)
        #expect(
            problems == [
                "direct response of route \"b\" in virtual host \"v\": /no: no such file"
            ]
        )
        guard case .directResponse(let response) = config?.virtualHosts[0].routes[0].action else {
            Issue.record("no direct response")
            return
        }
        #expect(response.body == Array("hello".utf8))
    }

    @Test func `a per-try timeout that never counts is warned about`() {
        let (_, errors, warnings) = decode(
            action:
                #""cluster":"c","timeout":"1s","retry_policy":{"retry_on":"5xx","per_try_timeout":"2s"}"#
        )
        #expect(errors == [])
        #expect(warnings.contains { $0.contains("per_try_timeout") })
    }
}
