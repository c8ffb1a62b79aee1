import MeshConfig
import MeshHTTP
import MeshNet
import MeshSimulation
import Testing

@testable import MeshRuntime

@Suite struct ClusterRegistryTests {
    private let stats = StatsRegistry(workers: 2)
    private let registry: ClusterRegistry

    init() { registry = ClusterRegistry(stats: stats, mailboxes: RecordingMailboxes(workers: 2)) }

    private func plan(_ members: String, endpoints: String = Self.endpoints) throws -> ClusterPlan {
        let text = """
            {"name": "c", \(members.isEmpty ? "" : members + ",")
             "load_assignment": {"cluster_name": "c", "endpoints": [\(endpoints)]}}
            """
        let diagnostics = ConfigDiagnostics()
        let object = try #require(ConfigDocument.parse(json: text, diagnostics: diagnostics))
        let config = ClusterConfig(object)
        object.finish()
        #expect(diagnostics.errors.map(\.description) == [])
        return try #require(registry.plan([config]) { _ in UniformTransports() }.first)
    }

    private static let endpoints = """
        {"locality": {"region": "r", "zone": "z", "sub_zone": "s"}, "priority": 0, "lb_endpoints": [
         {"endpoint": {"hostname": "a.test", "address": {"socket_address": {"address": "192.0.2.1", "port_value": 80}}},
          "health_status": "DRAINING", "load_balancing_weight": 7,
          "metadata": {"filter_metadata": {"envoy.lb": {"canary": true, "version": "v1", "list": [1, {"k": null}]}}}}]},
        {"priority": 2, "lb_endpoints": [
         {"endpoint": {"address": {"pipe": {"path": "/run/app.sock"}}}}]}
        """

    @Test func `endpoints are as the file gives them`() throws {
        let set = try plan("").vitals.endpoints.endpoints
        #expect(set.map(\.address.description) == ["192.0.2.1:80", "/run/app.sock"])
        #expect(set[0].hostname == "a.test")
        #expect(set[0].weight == 7)
        #expect(set[0].isCanary)
        #expect(set[0].locality == Locality(region: "r", zone: "z", subZone: "s"))
        #expect(set[0].vitals.health == .draining)
        #expect(set[0].loadBalancingMetadata["version"] == .string("v1"))
        #expect(
            set[0].loadBalancingMetadata["list"] == .list([.number(1), .structure(["k": .null])])
        )
        #expect(set[1].priority == 2)
        #expect(set[1].hostname == "")
    }

    @Test func `without options a cluster has Envoy's defaults`() throws {
        let plan = try plan("")
        #expect(plan.options.connectTimeout == .seconds(5))
        #expect(plan.options.idleTimeout == .seconds(3600))
        #expect(plan.options.maxRequestsPerConnection == nil)
        #expect(plan.options.balancing == BalancingOptions())
        #expect(plan.options.subsets == nil)
        #expect(plan.options.identitySource == nil)
        #expect(plan.vitals.default.limits == CircuitBreakerLimits())
    }

    @Test func `options of the file arrive`() throws {
        let plan = try plan(
            """
            "connect_timeout": "0.25s", "lb_policy": "LEAST_REQUEST",
            "least_request_lb_config": {"choice_count": 3},
            "common_lb_config": {"healthy_panic_threshold": {"value": 10}},
            "max_requests_per_connection": 100, "per_connection_buffer_limit_bytes": 4096,
            "common_http_protocol_options": {"idle_timeout": "0s", "max_connection_duration": "60s"},
            "upstream_connection_options": {"tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 60}},
            "lb_subset_config": {"fallback_policy": "DEFAULT_SUBSET", "default_subset": {"version": "v1"},
              "subset_selectors": [{"keys": ["version", "zone"], "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["zone"]}]},
            "circuit_breakers": {"per_host_thresholds": [{"max_connections": 2}], "thresholds": [
              {"max_connections": 1, "max_pending_requests": 2, "max_requests": 3, "max_retries": 4},
              {"priority": "HIGH", "retry_budget": {"budget_percent": {"value": 50}, "min_retry_concurrency": 1}}]}
            """
        )
        let options = plan.options
        #expect(options.connectTimeout == .milliseconds(250))
        #expect(options.balancing.policy == .leastRequest(choices: 3, activeRequestBias: 1))
        #expect(options.balancing.panicThreshold == 10)
        #expect(options.maxRequestsPerConnection == 100)
        #expect(options.outputHighWatermark == 4096)
        #expect(options.idleTimeout == nil)
        #expect(options.maxConnectionDuration == .seconds(60))
        #expect(options.socket.keepAlive?.probes == 3)
        #expect(options.socket.keepAlive?.idleSeconds == 60)
        #expect(options.subsets?.fallback == .defaultSubset)
        #expect(options.subsets?.selectors.first?.fallback == .keysSubset(["zone"]))
        #expect(plan.vitals.default.connections.max == 1)
        #expect(plan.vitals.default.pendingRequests.max == 2)
        #expect(plan.vitals.default.requests.max == 3)
        #expect(plan.vitals.default.retriesMax == 4)
        #expect(plan.vitals.high.retriesMax == 1)
        #expect(plan.vitals.high.connections.max == 1024)
        let endpoint = plan.vitals.endpoints.endpoints[0].vitals
        #expect(endpoint.tryAcquireConnection(isFirst: false))
        #expect(endpoint.tryAcquireConnection(isFirst: false))
        #expect(!endpoint.tryAcquireConnection(isFirst: false))
        #expect(endpoint.tryAcquireConnection(isFirst: true))
    }

    @Test func `circuit breakers are gauges, what remains only on demand`() throws {
        let plan = try plan(
            """
            "circuit_breakers": {"thresholds": [{"max_connections": 1, "track_remaining": true}]}
            """
        )
        let prefix = "cluster.c.circuit_breakers."
        func gauge(_ name: String) -> UInt64? { stats.view().value(prefix + name) }
        #expect(gauge("default.cx_open") == 0)
        #expect(gauge("default.remaining_cx") == 1)
        #expect(gauge("default.remaining_rq") == 1024)
        #expect(stats.view().value("cluster_manager.active_clusters") == 1)
        #expect(gauge("high.cx_open") == 0)
        #expect(gauge("high.remaining_cx") == nil)
        #expect(plan.vitals.default.connections.tryAcquire() == true)
        #expect(gauge("default.cx_open") == 1)
        #expect(gauge("default.remaining_cx") == 0)
        // A new configuration's cluster of that name takes the gauges over.
        _ = try self.plan("")
        #expect(gauge("default.cx_open") == 0)
    }

    @Test func `a view shows every endpoint with its counts`() throws {
        let plan = try plan("")
        plan.vitals.endpoints.endpoints[0].vitals.add(3, to: .requestsTotal, worker: 1)
        plan.vitals.endpoints.endpoints[0].vitals.add(2, to: .requestsTotal, worker: 0)
        let view = try #require(registry.views().first)
        #expect(view.name == "c")
        #expect(view.endpoints[0][.requestsTotal] == 5)
        #expect(view.endpoints[0].health == .draining)
        #expect(view.endpoints[1].weight == 1)
    }

    @Test func `a set keeps the clusters that stay and drains those that leave`() throws {
        let simulation = Simulation(seed: 1)
        let worker = UpstreamWorker(
            loop: simulation.makeLoop(),
            stats: WorkerStats(stats, index: 0),
            seed: 1
        )
        let plan = try plan("")
        let first = ClusterSet([plan], worker: worker)
        let second = first.replaced(by: [plan], worker: worker)
        #expect(first[0] === second[0])
        #expect(second["c"] === second[0])
        let third = second.replaced(by: [], worker: worker)
        #expect(third["c"] == nil)
        #expect(second[0].endpoints.isEmpty)
    }
}

@Suite struct ConnectionIdentityTests {
    private func identity(
        _ members: String,
        _ fields: [(KnownHeader, String)]
    ) throws -> ConnectionIdentity? {
        let text = """
            {"name": "c", "typed_extension_protocol_options": {
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "upstream_http_protocol_options": {\(members)},
                "explicit_http_config": {"http_protocol_options": {}}}}}
            """
        let diagnostics = ConfigDiagnostics()
        let object = try #require(ConfigDocument.parse(json: text, diagnostics: diagnostics))
        let options = ClusterOptions(ClusterConfig(object), transports: UniformTransports())
        #expect(diagnostics.errors.map(\.description) == [])
        let head = HeaderMap()
        for (header, value) in fields { head.append(header, value) }
        return options.identitySource?.identity(of: head)
    }

    @Test func `without options requests have no say`() throws {
        #expect(try identity("", [(.authority, "a.test")]) == nil)
    }

    @Test func `the request's host becomes the server name, without its port`() throws {
        for host in ["a.test", "a.test:8080"] {
            let found = try identity(#""auto_sni": true"#, [(.authority, host)])
            #expect(found == ConnectionIdentity(serverName: "a.test"))
        }
    }

    @Test func `an address is no server name but may be verified`() throws {
        let options = #""auto_sni": true, "auto_san_validation": true"#
        #expect(
            try identity(options, [(.authority, "192.0.2.1:443")])
                == ConnectionIdentity(verifiedNames: ["192.0.2.1"])
        )
        #expect(
            try identity(options, [(.authority, "[2001:db8::1]:443")])
                == ConnectionIdentity(verifiedNames: ["2001:db8::1"])
        )
        #expect(
            try identity(options, [(.authority, "a.test")])
                == ConnectionIdentity(serverName: "a.test", verifiedNames: ["a.test"])
        )
    }
}
