import Foundation
import MeshBench
import Testing

@Suite struct CapacityTests {
    /// Round numbers: two hops 20 µs (30 at a low rate), mTLS in and out 12 each, a plain hop 10.
    private func report(_ ids: Set<String>? = nil, peer: String = "meshproxy") -> BenchReport {
        func cpu(_ saturated: Double, _ atRate: Double) -> [FigureKind: Figure] {
            [
                .cpuMicroseconds: Samples.exact(saturated),
                .cpuMicrosecondsAtRate: Samples.exact(atRate),
            ]
        }
        let all: [(String, [FigureKind: Figure])] = [
            ("hop-h1", cpu(10, 20)),
            ("mtls-in", cpu(12, 22).merging([.startResidentMiB: Samples.exact(20)]) { $1 }),
            ("mtls-out", cpu(12, 22)),
            ("two-hop-h1", cpu(20, 30)),
            ("two-hop-h2", cpu(15, 25)),
            ("tcp-hbone", cpu(8, 16).merging([.startResidentMiB: Samples.exact(36)]) { $1 }),
            ("idle-1000", [.connectionKiB: Samples.exact(2)]),
            ("idle-mtls-10000", [.connectionKiB: Samples.exact(30)]),
            ("idle-tcp-hbone", [.connectionKiB: Samples.exact(16)]),
        ]
        return Samples.report(
            all.filter { ids?.contains($0.0) ?? true }
                .map { Samples.scenario($0.0, [Samples.result(peer, $0.1)]) }
        )
    }

    /// 10,000 calls a second, 100 pods, 5 nodes, 1,024 connections in all, no headroom.
    private var question: CapacityQuestion {
        var question = CapacityQuestion(rate: 10_000, services: 50, nodes: 5)
        question.replicas = 2
        question.connections = 10.24
        question.headroom = 1
        return question
    }

    private func cost(
        _ shape: CapacityPlan.Shape,
        _ question: CapacityQuestion,
        _ report: BenchReport,
        peer: String = "meshproxy"
    ) throws -> CapacityPlan.Cost {
        let plan = CapacityPlan(of: peer, question, report)
        return try #require(plan.costs.first { $0.shape == shape })
    }

    private func isNear(_ formula: CapacityFormula?, _ value: Double) -> Bool {
        formula.map { abs($0.value - value) < 1e-9 * max(1, value) } ?? false
    }

    @Test
    func `sidecars: each call costs two hops, each pod a proxy, each connection both of its ends`()
        throws
    {
        let cost = try cost(.sidecars, question, report())
        // 10,000/s × 20 µs; 10,000/s × 30 µs.
        #expect(isNear(cost.cores, 0.2))
        #expect(isNear(cost.coresAtRate, 0.3))
        // 100 × 20 MiB + 1,024 × (2 + 30) KiB.
        #expect(isNear(cost.memoryMiB, 2_032))
        #expect(cost.missing.isEmpty)
        #expect(cost.memoryMiB?.equation == "100 × 20.0 MiB + 1,024 × (2.00 + 30.0) KiB = 2,032")
    }

    @Test func `agents: a call across nodes costs two agents, one within a node half of it`() throws
    {
        // 4 of 5 calls leave their node: 0.8 + 0.2 ÷ 2 = 0.9 pairs. 10,000/s × 0.9 × 8 µs.
        let spread = try cost(.agents, question, report())
        #expect(isNear(spread.cores, 0.072))
        #expect(isNear(spread.coresAtRate, 0.144))
        // 5 × 36 ÷ 2 MiB + 1,024 × 16 KiB.
        #expect(isNear(spread.memoryMiB, 106))
        var local = question
        local.statedCrossNodeShare = 0
        #expect(try isNear(cost(.agents, local, report()).cores, 0.04))
        local.statedCrossNodeShare = 1
        #expect(try isNear(cost(.agents, local, report()).cores, 0.08))
    }

    @Test func `waypoints: one hop with mTLS on both sides on top of the agents`() throws {
        var question = question
        question.waypointShare = 0.5
        question.waypoints = 3
        let cost = try cost(.waypoints, question, report())
        // 0.072 + 10,000/s × 0.5 × (12 + 12 − 10) µs.
        #expect(isNear(cost.cores, 0.142))
        // 0.144 + 10,000/s × 0.5 × (22 + 22 − 20) µs.
        #expect(isNear(cost.coresAtRate, 0.264))
        // 106 + 3 × 20 MiB + 512 × 30 KiB.
        #expect(isNear(cost.memoryMiB, 181))
    }

    @Test func `headroom is on cores, not on memory`() throws {
        var question = question
        question.headroom = 1.5
        let cost = try cost(.sidecars, question, report())
        #expect(isNear(cost.cores, 0.3))
        #expect(isNear(cost.memoryMiB, 2_032))
    }

    @Test func `sidecars that speak HTTP-2 to each other are another scenario`() throws {
        var question = question
        question.version = .http2
        #expect(try isNear(cost(.sidecars, question, report()).cores, 0.15))
    }

    @Test func `what the report lacks is named, and what is known is a least`() throws {
        let partial = report(["two-hop-h1", "mtls-in", "idle-1000"])
        let sidecars = try cost(.sidecars, question, partial)
        #expect(isNear(sidecars.cores, 0.2))
        #expect(sidecars.missing == ["idle-mtls-10000 or idle-mtls-1000: connection_kib"])
        // 100 × 20 MiB + 1,024 × 2 KiB.
        #expect(sidecars.memoryMiB?.text == "≥ 2,002")
        let agents = try cost(.agents, question, partial)
        #expect(agents.cores == nil && agents.memoryMiB == nil)
        #expect(agents.missing.contains("tcp-hbone-1k or tcp-hbone: cpu_us"))
        let text = CapacityText.text(question, partial, name: "r.json")
        #expect(text.contains("agents: missing tcp-hbone-1k or tcp-hbone: cpu_us"))
        #expect(text.contains("missing, not counted: idle-mtls-10000 or idle-mtls-1000"))
    }

    @Test func `a report without any of it says which scenarios it takes`() {
        let text = CapacityText.text(question, Samples.report([]), name: "r.json")
        #expect(text.contains("Nobody in the report has a figure"))
        #expect(text.contains("two-hop-h1"))
    }

    @Test func `every scenario it asks for is one that there is`() {
        let known = Set(ScenarioCatalogue.all.map(\.id))
        for version in CapacityQuestion.HTTPVersion.allCases {
            var question = question
            question.version = version
            for names in CapacityText.needed(question) {
                for name in names.components(separatedBy: " or ") {
                    #expect(known.contains(name), "\(name)")
                }
            }
        }
    }

    @Test func `every peer is asked for the same scenario`() throws {
        var report = report()
        report.scenarios.append(
            Samples.scenario(
                "tcp-hbone-1k",
                [Samples.result("envoy", [.cpuMicroseconds: Samples.exact(19)])]
            )
        )
        #expect(try cost(.agents, question, report, peer: "envoy").cores != nil)
        #expect(try cost(.agents, question, report).missing.contains("tcp-hbone-1k: cpu_us"))
    }

    @Test func `ztunnel-lite's agents have MeshProxy's waypoints`() throws {
        var report = report()
        let agents = try #require(report.scenarios.firstIndex { $0.id == "tcp-hbone" })
        report.scenarios[agents].results.append(
            Samples.result("ztunnel-lite", [.cpuMicroseconds: Samples.exact(6)])
        )
        let cost = try cost(.waypoints, question, report, peer: "ztunnel-lite")
        // 10,000/s × 0.9 × 6 µs + 10,000/s × 14 µs.
        #expect(isNear(cost.cores, 0.194))
        let text = CapacityText.text(question, report, name: "r.json")
        #expect(text.contains("ztunnel-lite (waypoints: MeshProxy)"))
    }

    @Test func `every input is printed with its scenario, and every formula with its numbers`() {
        let text = CapacityText.text(question, report(), name: "r.json")
        for source in [
            "two-hop-h1: cpu_us", "mtls-in: start_rss_mib", "idle-1000: connection_kib",
            "idle-mtls-10000: connection_kib", "tcp-hbone: cpu_us",
            "idle-tcp-hbone: connection_kib",
            "rate × two hops × headroom", "10,000/s × 20.0 µs × 1 = 0.200",
            "(12.0 + 12.0 − 10.0) µs",
        ] {
            #expect(text.contains(source), "\(source)")
        }
    }

    @Test func `a question without an answer is refused by the option's name`() {
        #expect(question.objection == nil)
        var wrong = question
        wrong.headroom = 0.5
        #expect(wrong.objection?.hasPrefix("--headroom:") == true)
        wrong = question
        wrong.nodes = 0
        #expect(wrong.objection?.hasPrefix("--nodes:") == true)
        wrong = question
        wrong.waypointShare = 1.2
        #expect(wrong.objection?.hasPrefix("--waypoint-share:") == true)
    }

    @Test func `lines fit`() throws {
        let question = CapacityQuestion(rate: 1e6, services: 1_000, nodes: 200)
        let text = try CapacityText.text(question, Samples.fixture(), name: "r.json")
        for line in text.split(separator: "\n") { #expect(line.count <= 120, "\(line)") }
    }
}
