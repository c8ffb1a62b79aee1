import Foundation
import MeshBench
import Testing

/// Reports to look at: one of realistic size, and small ones of the numbers a test is about.
enum Samples {
    /// Thirteen scenarios with six peers, one failure and two discarded repetitions.
    static func fixture() throws -> BenchReport {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/report.json").path
        return try BenchReport(contentsOf: path)
    }

    static func report(_ scenarios: [ScenarioReport]) -> BenchReport {
        BenchReport(
            date: "2026-11-21T13:00:00Z",
            command: "mesh-bench run",
            machine: BenchReport.Machine(
                processor: "Test CPU",
                cpus: 2,
                memoryMiB: 4096,
                kernel: "6.1",
                openSSL: "3.0.15",
                hypervisor: nil,
                proxyCPUs: [0],
                loadCPUs: [1],
                scheduling: "default"
            ),
            peers: [],
            scenarios: scenarios,
            isPartial: false
        )
    }

    static func scenario(
        _ id: String,
        _ results: [PeerResult],
        unit: String = "request"
    ) -> ScenarioReport {
        ScenarioReport(
            id: id,
            title: "A scenario",
            explanation: "What happens.",
            unit: unit,
            rate: nil,
            results: results
        )
    }

    static func result(_ peer: String, _ figures: [FigureKind: Figure]) -> PeerResult {
        var result = PeerResult(peer: peer)
        result.figures = figures
        return result
    }

    static func figure(
        _ median: Double,
        _ lowest: Double,
        _ highest: Double,
        repetitions: Int = 3
    ) -> Figure {
        Figure(median: median, lowest: lowest, highest: highest, repetitions: repetitions)
    }

    /// A median without spread.
    static func exact(_ median: Double) -> Figure { figure(median, median, median) }
}
