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

    @Test func `every stat that Envoy lists is registered with its type`() {
        let control = WorkerStats(stats.registry, index: stats.registry.controlIndex)
        _ = ServerStats(control)
        _ = ClusterManagerStats(control)
        _ = ListenerManagerStats(control)
        _ = RuntimeStats(control)
        _ = FilesystemStats(stats)
        _ = TLSInspectorStats(stats)
        _ = HTTPConnectionManagerStats(stats, statPrefix: "ingress")
        _ = HTTPRouterStats(stats, statPrefix: "ingress")
        _ = RBACStats(stats, prefix: "http.ingress.", shadowPrefix: "shadow_")
        _ = RBACStats(stats, prefix: "tcp.")
        _ = TCPProxyStats(stats, statPrefix: "tcp_in")
        _ = VirtualHostStats(stats, virtualHost: "vh", virtualCluster: "vc1")
        for listener in ["127.0.0.1_29911", "ltls"] {
            _ = ListenerStats(stats, listener: listener)
            _ = ListenerWorkerStats(stats, listener: listener)
        }
        _ = ListenerHTTPStats(stats, listener: "127.0.0.1_29911", statPrefix: "ingress")
        _ = ClusterStats(stats, cluster: "tls_up")
        _ = HTTP1CodecStats(stats, prefix: "cluster.tls_up.")
        for prefix in ["listener.ltls", "cluster.tls_up"] { _ = TLSStats(stats, prefix: prefix) }
        _ = TLSContextStats(stats, prefix: "listener.ltls.server_ssl_socket_factory.")
        _ = TLSContextStats(stats, prefix: "cluster.tls_up.client_ssl_socket_factory.")
        for isHigh in [false, true] {
            CircuitBreakerGauge.register(
                stats.registry,
                cluster: "tls_up",
                isHighPriority: isHigh,
                trackRemaining: false
            ) { _ in 0 }
        }
        var ours: [String: String] = [:]
        let view = stats.registry.view()
        view.forEach { ours[$0.name] = "\($0.kind)" }
        for histogram in view.histograms { ours[histogram.name] = "histogram" }
        for (type, name) in StatsFixture.stats where !isMadeOnFirstUse(name) {
            #expect(ours[name] == type, "\(name)")
        }
    }

    /// Names that hold a status code, a cipher or the name of a certificate, and clusters made on
    /// first use, which is Envoy's alone.
    private func isMadeOnFirstUse(_ name: String) -> Bool {
        let endings = ["_200", "_2xx", "upstream_rq_time", "vc1.upstream_rq_completed"]
        return endings.contains { name.hasSuffix($0) } || name.contains(".external.")
            || [".ciphers.", ".curves.", ".sigalgs.", ".versions.", ".certificate."].contains {
                name.contains($0)
            } || name.hasPrefix("thread_local_cluster_manager.")
    }
}
