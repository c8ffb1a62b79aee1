import MeshRuntime
import Testing

struct CatalogueTests {
    private let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)

    private func value(_ name: String) -> UInt64? { stats.registry.view().value(name) }

    @Test func `codes appear with their first use, under every prefix that applies`() {
        let responses = ClusterResponseStats(stats, cluster: "up")
        #expect(stats.registry.view().count == 0)
        responses.record(code: 200, isInternal: false)
        responses.record(code: 200, isInternal: false)
        responses.record(code: 503, isInternal: true, isCanary: true)
        responses.recordRetry(code: 502)
        #expect(value("cluster.up.upstream_rq_completed") == 3)
        #expect(value("cluster.up.upstream_rq_200") == 2)
        #expect(value("cluster.up.upstream_rq_2xx") == 2)
        #expect(value("cluster.up.external.upstream_rq_200") == 2)
        #expect(value("cluster.up.internal.upstream_rq_5xx") == 1)
        #expect(value("cluster.up.canary.upstream_rq_503") == 1)
        #expect(value("cluster.up.retry.upstream_rq_502") == 1)
    }

    @Test func `RBAC prefixes end in a dot`() {
        let rbac = RBACStats(stats, prefix: "http.ingress.", shadowPrefix: "shadow_")
        rbac.shadowDenied.add()
        rbac.allowed.add(2)
        #expect(value("http.ingress.rbac.allowed") == 2)
        #expect(value("http.ingress.rbac.shadow_.shadow_denied") == 1)
    }

    @Test func `circuit breaker gauges are read when asked and track what remains only if told`() {
        CircuitBreakerGauge.register(
            stats.registry,
            cluster: "up",
            isHighPriority: false,
            trackRemaining: false
        ) { $0 == .cxOpen ? 1 : nil }
        #expect(value("cluster.up.circuit_breakers.default.cx_open") == 1)
        #expect(value("cluster.up.circuit_breakers.default.remaining_cx") == nil)
        CircuitBreakerGauge.register(
            stats.registry,
            cluster: "up",
            isHighPriority: true,
            trackRemaining: true
        ) { _ in 7 }
        #expect(value("cluster.up.circuit_breakers.high.remaining_cx") == 7)
    }
}
