import MeshBench
import Testing

@Suite struct AdditionsTests {
    private func cpu(_ peer: String, _ median: Double, _ lowest: Double, _ highest: Double)
        -> PeerResult
    {
        Samples.result(peer, [.cpuMicroseconds: Samples.figure(median, lowest, highest)])
    }

    private func lines(_ scenarios: [ScenarioReport]) -> [String] {
        ReportTable.text(of: Samples.report(scenarios)).split(separator: "\n").map(String.init)
    }

    @Test func `what policies cost is what they add to the scenario without`() throws {
        let text = lines([
            Samples.scenario(
                "mtls-in",
                [cpu("meshproxy", 13, 12.8, 13.2), cpu("envoy", 36, 35, 37)]
            ),
            Samples.scenario(
                "rbac-1000",
                [cpu("meshproxy", 13.3, 13.1, 13.5), cpu("envoy", 50, 49, 51)]
            ),
        ])
        let heading = try #require(text.firstIndex { $0.hasPrefix("What it adds") })
        #expect(text[heading].contains("MeshProxy") && text[heading].contains("Envoy"))
        let row = text[heading + 1]
        #expect(row.contains("beyond mtls-in"))
        // 13.1 − 13.2 to 13.5 − 12.8: it may be nothing.
        #expect(row.contains("≈ +0.30 (−0.10…0.70)"))
        #expect(row.contains("+14.0 (12.0…16.0)") && !row.contains("≈ +14.0"))
    }

    @Test func `stamps are compared with the same peer without`() {
        let text = lines([
            Samples.scenario(
                "timing",
                [
                    cpu("meshproxy, stamps off", 11, 11, 11),
                    cpu("meshproxy, stamps on", 11.2, 11.2, 11.2),
                ]
            )
        ])
        #expect(
            text.contains { $0.contains("stamps on  beyond stamps off") && $0.contains("+0.20") }
        )
    }

    @Test func `a scenario that stands for itself adds nothing`() {
        let text = lines([Samples.scenario("hop-h1", [cpu("meshproxy", 11, 11, 11)])])
        #expect(!text.contains { $0.hasPrefix("What it adds") })
    }
}
