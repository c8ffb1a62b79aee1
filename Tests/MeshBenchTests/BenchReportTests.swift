import Foundation
import MeshBench
import Testing

@Suite struct BenchReportTests {
    @Test func `figures are members of a JSON object under their short names`() throws {
        var result = PeerResult(peer: "envoy")
        result.figures[.cpuMicroseconds] = Figure(
            median: 34,
            lowest: 33,
            highest: 35,
            repetitions: 3
        )
        let text = try #require(String(data: JSONEncoder().encode(result), encoding: .utf8))
        #expect(text.contains(#""figures":{"cpu_us":{"#))
    }
}
