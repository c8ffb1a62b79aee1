import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

struct RBACFilterLogicTests {
    private typealias F = RBACFixture

    private let registry = StatsRegistry(workers: 1)
    private let stats: WorkerStats

    init() { stats = WorkerStats(registry, index: 0) }

    private func count(_ name: String) -> UInt64 { stats.counter(name).value }

    private func rules(_ action: RBACAction, _ names: String...) -> RBACRules {
        RBACRules(
            action: action,
            policies: names.map {
                F.policy($0, [.header(HeaderMatchConfig(name: "x-h", .value(.exact($0))))])
            }
        )
    }

    private func run(
        _ logic: RBACFilterLogic,
        _ value: String
    ) -> (RBACVerdict, [String: [String: MetadataValue]]) {
        let stream = F.stream()
        let verdict = logic.decide(F.request("/", fields: [("x-h", value)]), stream)
        return (verdict, stream.dynamicMetadata)
    }

    @Test func `a denial names its policy, is counted and leaves metadata`() {
        let logic = RBACFilterLogic(
            RBACFilterConfig(rules: rules(.deny, "a b")),
            statPrefix: "http.in.",
            stats: stats
        )
        let (denied, metadata) = run(logic, "a b")
        #expect(denied == .denied(details: "rbac_access_denied_matched_policy[a_b]"))
        #expect(
            metadata == [
                "envoy.filters.http.rbac": [
                    "enforced_engine_result": .string("denied"),
                    "enforced_effective_policy_id": .string("a b"),
                ]
            ]
        )
        let (allowed, other) = run(logic, "c")
        #expect(allowed == .allowed)
        #expect(
            other == ["envoy.filters.http.rbac": ["enforced_engine_result": .string("allowed")]]
        )
        #expect(count("http.in.rbac.denied") == 1)
        #expect(count("http.in.rbac.allowed") == 1)
    }

    @Test func `shadow rules are counted and reported but never enforced`() {
        let logic = RBACFilterLogic(
            RBACFilterConfig(
                rules: rules(.allow, "a"),
                shadowRules: rules(.deny, "a"),
                shadowRulesStatPrefix: "istio_dry_run_"
            ),
            statPrefix: "http.in.",
            stats: stats
        )
        let (verdict, metadata) = run(logic, "a")
        #expect(verdict == .allowed)
        #expect(
            metadata["envoy.filters.http.rbac"] == [
                "istio_dry_run_shadow_engine_result": .string("denied"),
                "istio_dry_run_shadow_effective_policy_id": .string("a"),
                "enforced_engine_result": .string("allowed"),
                "enforced_effective_policy_id": .string("a"),
            ]
        )
        #expect(count("http.in.rbac.istio_dry_run_.shadow_denied") == 1)
        #expect(count("http.in.rbac.allowed") == 1)
        #expect(run(logic, "b").0 == .denied(details: "rbac_access_denied_matched_policy[none]"))
        #expect(count("http.in.rbac.istio_dry_run_.shadow_allowed") == 1)
    }

    @Test func `LOG allows everything and hints at access logs`() {
        let logic = RBACFilterLogic(
            RBACFilterConfig(rules: rules(.log, "a")),
            statPrefix: "http.in.",
            stats: stats
        )
        let (first, hit) = run(logic, "a")
        #expect(first == .allowed)
        #expect(hit["envoy.common"] == ["access_log_hint": .bool(true)])
        let (second, miss) = run(logic, "b")
        #expect(second == .allowed)
        #expect(miss["envoy.common"] == ["access_log_hint": .bool(false)])
        #expect(count("http.in.rbac.allowed") == 2)
    }

    @Test func `a shadow LOG rule gives no hint`() {
        let logic = RBACFilterLogic(
            RBACFilterConfig(shadowRules: rules(.log, "a")),
            statPrefix: "http.in.",
            stats: stats
        )
        let (verdict, metadata) = run(logic, "a")
        #expect(verdict == .allowed)
        #expect(metadata["envoy.common"] == nil)
        #expect(count("http.in.rbac.shadow_allowed") == 1)
        #expect(count("http.in.rbac.allowed") == 0)
    }

    @Test func `without rules nothing is decided, counted or published`() {
        let logic = RBACFilterLogic(RBACFilterConfig(), statPrefix: "http.in.", stats: stats)
        let (verdict, metadata) = run(logic, "a")
        #expect(verdict == .allowed)
        #expect(metadata.isEmpty)
        #expect(count("http.in.rbac.allowed") == 0)
    }

    @Test func `a route's rules count under the chain's names and may name their own metadata`() {
        let chain = RBACFilterConfig(rules: rules(.deny), rulesStatPrefix: "base_")
        let own = RBACFilterLogic(
            RBACFilterConfig(
                rules: rules(.allow, "a"),
                rulesStatPrefix: "own_",
                tracksPerRuleStats: true
            ),
            statPrefix: "http.in.",
            stats: stats,
            chain: chain
        )
        #expect(
            run(own, "a").1["envoy.filters.http.rbac"]?["own_enforced_engine_result"]
                == .string("allowed")
        )
        #expect(count("http.in.rbac.base_.allowed") == 1)
        #expect(count("http.in.rbac.base_.policy.a.allowed") == 1)
        let plain = RBACFilterLogic(
            RBACFilterConfig(rules: rules(.allow, "a")),
            statPrefix: "http.in.",
            stats: stats,
            chain: chain
        )
        #expect(
            run(plain, "a").1["envoy.filters.http.rbac"]?["base_enforced_engine_result"]
                == .string("allowed")
        )
    }

    @Test func `policies are counted one by one where that is asked for`() {
        let logic = RBACFilterLogic(
            RBACFilterConfig(
                rules: rules(.allow, "a", "b"),
                shadowRules: rules(.deny, "a"),
                tracksPerRuleStats: true
            ),
            statPrefix: "http.in.",
            stats: stats
        )
        for value in ["a", "a", "b", "c"] { _ = run(logic, value) }
        #expect(count("http.in.rbac.policy.a.allowed") == 2)
        #expect(count("http.in.rbac.policy.b.allowed") == 1)
        #expect(count("http.in.rbac.policy.a.shadow_denied") == 2)
    }

    @Test func `metadata of other filters is kept`() {
        let logic = RBACFilterLogic(
            RBACFilterConfig(rules: rules(.allow, "a")),
            statPrefix: "http.in.",
            stats: stats
        )
        let stream = F.stream()
        stream.dynamicMetadata = ["other": ["k": .null], "envoy.filters.http.rbac": ["x": .null]]
        _ = logic.decide(F.request("/", fields: [("x-h", "a")]), stream)
        #expect(stream.dynamicMetadata["other"] == ["k": .null])
        #expect(stream.dynamicMetadata["envoy.filters.http.rbac"]?.count == 3)
    }
}

struct NetworkRBACTests {
    private typealias F = RBACFixture

    private let registry = StatsRegistry(workers: 1)
    private let stats: WorkerStats

    init() { stats = WorkerStats(registry, index: 0) }

    @Test func `a connection is admitted by its peer's name and refused with the reason`() {
        let filter = NetworkRBAC(
            NetworkRBACConfig(
                statPrefix: "tcp.",
                rules: RBACRules(
                    action: .allow,
                    policies: [F.policy("p", [.any], [F.principal("spiffe://a")])]
                )
            ),
            stats: stats
        )
        #expect(filter.admits(F.stream(peer: "spiffe://a").connection))
        let refused = F.stream(peer: "spiffe://b").connection
        #expect(!filter.admits(refused))
        #expect(refused.terminationDetails == "rbac_access_denied_matched_policy[none]")
        #expect(!filter.admits(F.stream().connection))
        #expect(stats.counter("tcp.rbac.allowed").value == 1)
        #expect(stats.counter("tcp.rbac.denied").value == 2)
    }

    @Test func `shadow rules leave metadata and a stat prefix gets its dot`() {
        let rules = RBACRules(action: .deny, policies: [F.policy("s")])
        let filter = NetworkRBAC(
            NetworkRBACConfig(statPrefix: "d", shadowRules: rules, shadowRulesStatPrefix: "sh_"),
            stats: stats
        )
        let connection = F.stream().connection
        #expect(filter.admits(connection))
        #expect(
            connection.dynamicMetadata == [
                "envoy.filters.network.rbac": [
                    "sh_shadow_engine_result": .string("denied"),
                    "sh_shadow_effective_policy_id": .string("s"),
                ]
            ]
        )
        #expect(stats.counter("d.rbac.sh_.shadow_denied").value == 1)
    }

    @Test func `LOG hints at access logs`() {
        let filter = NetworkRBAC(
            NetworkRBACConfig(
                statPrefix: "l.",
                rules: RBACRules(action: .log, policies: [F.policy("p")])
            ),
            stats: stats
        )
        let connection = F.stream().connection
        #expect(filter.admits(connection))
        #expect(connection.dynamicMetadata == ["envoy.common": ["access_log_hint": .bool(true)]])
    }
}
