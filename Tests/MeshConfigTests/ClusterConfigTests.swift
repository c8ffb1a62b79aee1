import MeshNet
import Testing

@testable import MeshConfig

/// A cluster of `json`'s members added to a usable one, and what was reported.
private func cluster(_ json: String = "", assignment: String? = nil) -> (
    ClusterConfig?, [String], [String]
) {
    let diagnostics = ConfigDiagnostics()
    let load =
        assignment
        ?? #"{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"10.0.0.1","port_value":80}}}}]}]}"#
    let text = "{\"name\":\"c\",\"load_assignment\":\(load)\(json.isEmpty ? "" : ",")\n\(json)}"
    guard let object = ConfigDocument.parse(json: text, diagnostics: diagnostics) else {
        return (nil, diagnostics.errors.map(\.description), [])
    }
    let config = ClusterConfig(object)
    object.finish()
    return (config, diagnostics.errors.map(\.description), diagnostics.warnings.map(\.description))
}

@Suite struct ClusterConfigTests {
    @Test func `a minimal cluster has Envoy's defaults`() throws {
        let (config, errors, warnings) = cluster()
        let found = try #require(config)
        #expect(errors == [])
        #expect(warnings == [])
        #expect(found.discovery == .fixed)
        #expect(found.connectTimeout == .seconds(5))
        #expect(found.perConnectionBufferLimitBytes == 1_048_576)
        #expect(found.balancing.policy == .roundRobin)
        #expect(found.balancing.healthyPanicThreshold == 50)
        #expect(found.circuitBreakers.normal.maxConnections == 1024)
        #expect(found.circuitBreakers.normal.maxPendingRequests == 1024)
        #expect(found.circuitBreakers.normal.maxRequests == 1024)
        #expect(found.circuitBreakers.high.maxRetries == 3)
        #expect(found.loadAssignment.overprovisioningFactor == 140)
        let endpoint = try #require(found.loadAssignment.localities.first?.endpoints.first)
        #expect(endpoint.weight == 1)
        #expect(endpoint.address.socketAddress?.description == "10.0.0.1:80")
    }

    @Test func `a STATIC cluster has addresses and a STRICT_DNS cluster may have names`() {
        let named =
            #"{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"app.local","port_value":80}}}}]}]}"#
        #expect(
            cluster(assignment: named).1 == [
                #"1:133: load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: "app.local" is no IP address; use type STRICT_DNS or LOGICAL_DNS for names"#
            ]
        )
        let (config, errors, _) = cluster(
            #""type":"STRICT_DNS","dns_lookup_family":"V4_ONLY","dns_refresh_rate":"2s""#,
            assignment: named
        )
        #expect(errors == [])
        guard case .strictDNS(let dns) = config?.discovery else {
            Issue.record("not a DNS cluster")
            return
        }
        #expect(dns.refreshRate == .seconds(2))
        #expect(dns.lookupFamily == .v4Only)
    }

    @Test func `a LOGICAL_DNS cluster has one endpoint, and Envoy's types go by their names too`() {
        func named(_ count: Int) -> String {
            let endpoint =
                #"{"endpoint":{"address":{"socket_address":{"address":"app.local","port_value":80}}}}"#
            let all = Array(repeating: endpoint, count: count).joined(separator: ",")
            return #"{"cluster_name":"c","endpoints":[{"lb_endpoints":[\#(all)]}]}"#
        }
        for kind in [
            #""type":"LOGICAL_DNS""#, #""cluster_type":{"name":"envoy.cluster.logical_dns"}"#,
            #""cluster_type":{"name":"x","typed_config":{"@type":"type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster","all_addresses_in_single_endpoint":true}}"#,
        ] {
            let (config, errors, _) = cluster(kind, assignment: named(1))
            #expect(errors == [])
            if case .logicalDNS? = config?.discovery { continue }
            Issue.record("\(kind)")
        }
        let (_, errors, _) = cluster(#""type":"LOGICAL_DNS""#, assignment: named(2))
        #expect(
            errors.count == 1
                && errors[0].contains("exactly one locality with one endpoint, got 1 with 2")
        )
        let (strict, none, _) = cluster(
            #""cluster_type":{"name":"envoy.cluster.strict_dns"}"#,
            assignment: named(2)
        )
        #expect(none == [])
        #expect(strict?.discovery.dns != nil)
    }

    @Test(arguments: [
        ("", UpstreamHTTPConfig.Version.http1),
        (#""http2_protocol_options":{}"#, .http2),
        (#""protocol_selection":"USE_DOWNSTREAM_PROTOCOL""#, .asDownstream),
        (typed(#""explicit_http_config":{"http_protocol_options":{}}"#), .http1),
        (typed(#""explicit_http_config":{"http2_protocol_options":{}}"#), .http2),
        (typed(#""use_downstream_protocol_config":{"http2_protocol_options":{}}"#), .asDownstream),
    ])
    func `what a cluster speaks is said in one of several ways`(
        json: String,
        version: UpstreamHTTPConfig.Version
    ) {
        let (config, errors, _) = cluster(json)
        #expect(errors == [])
        #expect(config?.http.version == version)
    }

    private static func typed(_ options: String) -> String {
        let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        let type = #""@type":"type.googleapis.com/\#(name)""#
        return #""typed_extension_protocol_options":{"\#(name)":{\#(type),\#(options)}}"#
    }

    @Test func `options of HTTP/2 are read, and Envoy's defaults hold for the rest`() {
        let (config, errors, _) = cluster(
            #""http2_protocol_options":{"max_concurrent_streams":7,"initialStreamWindowSize":65535,"connection_keepalive":{"interval":"30s","timeout":"5s","interval_jitter":{"value":10}}}"#
        )
        #expect(errors == [])
        let http2 = config?.http.http2
        #expect(http2?.maxConcurrentStreams == 7)
        #expect(http2?.initialStreamWindowSize == 65_535)
        #expect(http2?.initialConnectionWindowSize == nil)
        #expect(http2?.keepalive?.interval == .seconds(30))
        #expect(http2?.keepalive?.timeout == .seconds(5))
        #expect(http2?.keepalive?.jitterPercent == 10)
    }

    @Test func `wrappers and durations may be spelled out, and enum numbers quoted, as in Envoy`() {
        let (config, errors, _) = cluster(
            #""connect_timeout":{"seconds":1,"nanos":500000000},"lb_policy":"3","per_connection_buffer_limit_bytes":{"value":"7"}"#
        )
        #expect(errors == [])
        #expect(config?.connectTimeout == .milliseconds(1500))
        #expect(config?.perConnectionBufferLimitBytes == 7)
        guard case .random? = config?.balancing.policy else {
            Issue.record("not RANDOM")
            return
        }
    }

    @Test(arguments: [
        (#""type":"EDS""#, "type: EDS is not supported"),
        (#""type":"ORIGINAL_DST""#, "name the endpoints, with type STATIC or STRICT_DNS"),
        (#""connect_timeout":"250ms""#, #"got "250ms"; did you mean "0.25s"?"#),
        (#""connect_timeout":5"#, #"got 5; did you mean "5s"?"#),
        (#""dns_jitter":{"secs":5}"#, #"unknown field "secs""#),
        (#""lb_policy":"MAGLEV""#, "lb_policy: MAGLEV is not supported"),
        (#""lb_policy":"LEAST_REQUST""#, #"did you mean "LEAST_REQUEST"?"#),
        (
            #""health_checks":[{"timeout":"1s"}]"#,
            "health_checks is not supported: active health checks"
        ),
        (#""outlier_detection":{}"#, "outlier_detection is not supported"),
        (
            #""connect_timeout":"0s""#,
            #"connect_timeout: expected a duration longer than zero, got "0s""#
        ),
        (#""least_request_lb_config":{"choice_count":1}"#, "expected a number from 2"),
        (
            #""typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{"http3_protocol_options":{}}}}"#,
            "HTTP/3 is not implemented"
        ),
        (
            #""typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","auto_config":{}}}"#,
            "must be TLS"
        ),
        (
            #""http2_protocol_options":{"initial_stream_window_size":1000}"#,
            "expected a number from 65535"
        ),
        (
            #""http2_protocol_options":{"connection_keepalive":{"interval":"1s"}}"#,
            "timeout is required"
        ),
        (#""type":7"#, "expected one of STATIC"),
        (#""dns_refresh_rate":"0.001s""#, "at least 0.001000001s"),
        (
            #""lb_subset_config":{"allow_redundant_keys":true}"#,
            #"unknown field "allow_redundant_keys""#
        ),
        (
            #""lb_subset_config":{"subset_selectors":[{"keys":["a","b"],"single_host_per_subset":true}]}"#,
            "exactly one key"
        ),
        (
            #""circuit_breakers":{"per_host_thresholds":[{"max_requests":5}]}"#,
            "only max_connections may be limited per host"
        ),
    ]) func `what cannot be done is refused with a reason`(json: String, message: String) {
        let errors = cluster(json).1
        #expect(errors.count == 1)
        #expect(errors.first?.contains(message) == true, "\(errors)")
    }

    @Test func `weighing localities is refused where there is more than one`() {
        let weighted = #""common_lb_config":{"locality_weighted_lb_config":{}}"#
        let one = cluster(weighted)
        #expect(one.1 == [])
        #expect(one.2.contains { $0.contains("no priority has two localities") })
        let two = cluster(weighted, assignment: #"{"cluster_name":"c","endpoints":[{},{}]}"#)
        #expect(two.1.contains { $0.contains("locality_weighted_lb_config is not supported") })
    }

    @Test(arguments: [
        #""health_checks":[]"#, #""ignore_health_on_host_removal":true"#, #""lb_policy":0"#,
        #""lbPolicy":"LEAST_REQUEST","leastRequestLbConfig":{"choiceCount":3}"#,
        #""upstream_connection_options":{"tcp_keepalive":{"keepalive_time":300}}"#,
        #""common_lb_config":{"healthy_panic_threshold":{"value":0}}"#,
        #""typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{"http_protocol_options":{"header_key_format":{"proper_case_words":{}}}},"common_http_protocol_options":{"idle_timeout":"60s","max_requests_per_connection":10}}}"#,
    ]) func `what changes nothing or is implemented is accepted`(json: String) {
        #expect(cluster(json).1 == [])
    }

    @Test func `a typed policy is read and the first that is known wins`() {
        let json =
            #""load_balancing_policy":{"policies":[{"typed_extension_config":{"name":"a","typed_config":{"@type":"type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash","x":1}}},{"typed_extension_config":{"name":"b","typed_config":{"@type":"type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest","choice_count":4}}}]}"#
        let (config, errors, _) = cluster(json)
        #expect(errors == [])
        #expect(config?.balancing.policy == .leastRequest(choices: 4, activeRequestBias: nil))
    }

    @Test func `circuit breakers are read by priority`() {
        let (config, errors, warnings) = cluster(
            #""circuit_breakers":{"thresholds":[{"max_connections":1,"retry_budget":{"budget_percent":{"value":50}}},{"priority":"HIGH","maxRequests":"7"},{"max_connections":9}],"per_host_thresholds":[{"max_connections":2}]}"#
        )
        #expect(errors == [])
        #expect(warnings.count == 1)
        #expect(config?.circuitBreakers.normal.maxConnections == 1)
        #expect(config?.circuitBreakers.normal.retryBudget?.percent == 50)
        #expect(config?.circuitBreakers.normal.retryBudget?.minimumConcurrency == 3)
        #expect(config?.circuitBreakers.high.maxRequests == 7)
        #expect(config?.circuitBreakers.maxConnectionsPerHost == 2)
    }
}
