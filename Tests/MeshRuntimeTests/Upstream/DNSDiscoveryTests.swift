import MeshConfig
import MeshNet
import MeshSimulation
import Synchronization
import Testing

@testable import MeshRuntime

/// Answers from a table, at once.
private final class TableResolver: NameResolver {
    private let table = Mutex<[String: NameAnswer]>([:])
    private let questions = Mutex<[String]>([])

    func resolve(
        _ name: String,
        _ family: NameLookup,
        _ completion: @escaping @Sendable (NameAnswer) -> Void
    ) {
        questions.withLock { $0.append(name) }
        completion(table.withLock { $0[name] } ?? .failed("no such entry"))
    }

    subscript(name: String) -> [String] {
        get { [] }
        set {
            let addresses = newValue.compactMap { IPAddress($0) }.map { ResolvedAddress($0) }
            table.withLock { $0[name] = .addresses(addresses) }
        }
    }

    func set(_ name: String, _ answer: NameAnswer?) { table.withLock { $0[name] = answer } }
    var asked: Int { questions.withLock { $0.count } }
}

@Suite struct DNSDiscoveryTests {
    private let simulation = Simulation(seed: 1)
    private let resolver = TableResolver()
    private let registry = StatsRegistry(workers: 1)
    private let mailboxes = RecordingMailboxes(workers: 1)

    private func config(_ extra: String = "") throws -> ClusterConfig {
        let text = """
            {"name": "c", "type": "STRICT_DNS", "dns_refresh_rate": "5s", "dns_lookup_family": "V4_ONLY",
             \(extra)
             "load_assignment": {"cluster_name": "c", "endpoints": [{"priority": 1, "lb_endpoints": [
               {"endpoint": {"address": {"socket_address": {"address": "a.test", "port_value": 80}}},
                "load_balancing_weight": 3},
               {"endpoint": {"address": {"socket_address": {"address": "b.test", "port_value": 81}}}}]}]}}
            """
        let diagnostics = ConfigDiagnostics()
        let object = try #require(ConfigDocument.parse(json: text, diagnostics: diagnostics))
        let config = ClusterConfig(object)
        object.finish()
        #expect(diagnostics.errors.isEmpty)
        return config
    }

    private func start(_ config: ClusterConfig) throws -> (DNSDiscovery, ClusterVitals) {
        let loop = simulation.makeLoop()
        let clusters = ClusterRegistry(stats: registry, mailboxes: mailboxes)
        let plan = try #require(clusters.plan([config]) { _ in UniformTransports() }.first)
        let resolver = resolver
        let discovery = DNSDiscovery(
            loop: loop,
            stats: WorkerStats(registry, index: 1),
            seed: 1
        ) { _ throws(SystemError) in resolver }
        try discovery.start([(config, plan)])
        return (discovery, plan.vitals)
    }

    private func addresses(_ vitals: ClusterVitals) -> [String] {
        vitals.endpoints.endpoints.map(\.address.description)
    }

    private func stat(_ name: String) -> UInt64 { registry.view().value("cluster.c.\(name)") ?? 0 }

    @Test func `every address of every name becomes an endpoint`() throws {
        resolver["a.test"] = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
        resolver["b.test"] = ["192.0.2.3"]
        let (discovery, vitals) = try start(config())
        #expect(!discovery.isReady)
        var isReady = false
        discovery.whenReady { isReady = true }
        #expect(simulation.run { isReady })
        #expect(addresses(vitals) == ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:81"])
        let first = vitals.endpoints.endpoints[0]
        #expect(first.weight == 3)
        #expect(first.priority == 1)
        #expect(first.hostname == "a.test")
        #expect(stat("update_attempt") == 2)
        #expect(stat("update_success") == 2)
        #expect(mailboxes.take().count == 2)
    }

    @Test func `an answer that changed is published, and known endpoints keep their counts`() throws
    {
        resolver["a.test"] = ["192.0.2.1"]
        resolver["b.test"] = ["192.0.2.3"]
        let (discovery, vitals) = try start(config())
        #expect(simulation.run { discovery.isReady })
        let kept = vitals.endpoints.endpoints[1].vitals
        resolver["a.test"] = ["192.0.2.9"]
        simulation.run(for: .seconds(6))
        #expect(addresses(vitals) == ["192.0.2.9:80", "192.0.2.3:81"])
        #expect(vitals.endpoints.endpoints[1].vitals === kept)
        #expect(stat("update_no_rebuild") == 1)
        // The empty answer takes the endpoint away.
        resolver["a.test"] = []
        simulation.run(for: .seconds(5))
        #expect(addresses(vitals) == ["192.0.2.3:81"])
    }

    @Test func `a LOGICAL_DNS cluster is one endpoint at the first address of its name`() throws {
        let text = """
            {"name": "c", "type": "LOGICAL_DNS", "dns_refresh_rate": "5s", "dns_lookup_family": "V4_ONLY",
             "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [
               {"endpoint": {"address": {"socket_address": {"address": "a.test", "port_value": 80}}}}]}]}}
            """
        let diagnostics = ConfigDiagnostics()
        let object = try #require(ConfigDocument.parse(json: text, diagnostics: diagnostics))
        let config = ClusterConfig(object)
        object.finish()
        #expect(diagnostics.errors.isEmpty)
        resolver["a.test"] = ["192.0.2.1", "192.0.2.2"]
        let (discovery, vitals) = try start(config)
        #expect(simulation.run { discovery.isReady })
        #expect(addresses(vitals) == ["192.0.2.1:80"])
        let only = vitals.endpoints.endpoints[0].vitals
        // The first address counts, and it stays the same endpoint: connections are kept.
        resolver["a.test"] = ["192.0.2.9", "192.0.2.1"]
        simulation.run(for: .seconds(6))
        #expect(addresses(vitals) == ["192.0.2.9:80"])
        #expect(vitals.endpoints.endpoints[0].vitals === only)
        // Neither an empty answer nor a failure takes it away.
        resolver["a.test"] = []
        simulation.run(for: .seconds(5))
        resolver.set("a.test", nil)
        simulation.run(for: .seconds(5))
        #expect(addresses(vitals) == ["192.0.2.9:80"])
    }

    @Test func `a failure changes nothing and is ready too`() throws {
        resolver["a.test"] = ["192.0.2.1"]
        let (discovery, vitals) = try start(config())
        #expect(simulation.run { discovery.isReady })
        #expect(addresses(vitals) == ["192.0.2.1:80"])
        #expect(stat("update_failure") == 1)
        resolver.set("a.test", nil)
        simulation.run(for: .seconds(6))
        #expect(addresses(vitals) == ["192.0.2.1:80"])
        #expect(stat("update_failure") == 3)
    }

    @Test func `nothing is asked after the end`() throws {
        let (discovery, _) = try start(config())
        #expect(simulation.run { discovery.isReady })
        let asked = resolver.asked
        discovery.stop()
        simulation.run(for: .seconds(60))
        #expect(resolver.asked == asked)
    }

    @Test func `the wait is the interval, or the time to live where that is respected`() {
        var settings = DNSRefresh.Settings()
        var refresh = DNSRefresh(settings)
        #expect(refresh.answered(ttlSeconds: 60, random: 0) == .seconds(5))
        settings.respectsTTL = true
        settings.intervalMin = .seconds(10)
        refresh = DNSRefresh(settings)
        #expect(refresh.answered(ttlSeconds: 60, random: 0) == .seconds(60))
        #expect(refresh.answered(ttlSeconds: 2, random: 0) == .seconds(10))
        #expect(refresh.answered(ttlSeconds: 0, random: 0) == .seconds(5))
        settings.jitter = .seconds(1)
        refresh = DNSRefresh(settings)
        #expect(refresh.answered(ttlSeconds: nil, random: 7) == Nanoseconds(5_000_000_007))
        #expect(refresh.failed(random: 3) == .seconds(5))
    }

    @Test func `after failures the wait grows to its limit, and shrinks with an answer`() {
        var settings = DNSRefresh.Settings()
        settings.failure = (first: .seconds(1), most: .seconds(3))
        var refresh = DNSRefresh(settings)
        // The largest number a span of n admits is n - 1.
        let spans = (0..<4).map { _ in refresh.failed(random: UInt64(Int64.max)) }
        #expect(spans.allSatisfy { $0 <= .seconds(3) })
        _ = refresh.answered(ttlSeconds: nil, random: 0)
        #expect(refresh.failed(random: 999_999_999) == Nanoseconds(999_999_999))
        #expect(refresh.failed(random: 1_999_999_999) == Nanoseconds(1_999_999_999))
        #expect(refresh.failed(random: 2_999_999_999) == Nanoseconds(2_999_999_999))
        #expect(refresh.failed(random: 2_999_999_999) == Nanoseconds(2_999_999_999))
        #expect(refresh.failed(random: 0) == .milliseconds(1))
    }
}
