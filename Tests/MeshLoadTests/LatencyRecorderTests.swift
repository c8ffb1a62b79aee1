import MeshLoad
import Testing

@Suite struct LatencyRecorderTests {
    @Test func `a summary has the percentiles of what was recorded, to three digits`() throws {
        var recorder = LatencyRecorder()
        for microseconds in UInt64(1)...10_000 { recorder.record(microseconds * 1000) }
        let summary = try #require(recorder.summary)
        #expect(summary.count == 10_000)
        #expect(summary.percentiles.map(\.percentile) == [50, 75, 90, 95, 99, 99.9, 99.99])
        for point in summary.percentiles {
            let exact = point.percentile * 100_000
            #expect(abs(Double(point.nanoseconds) - exact) <= exact / 500, "\(point)")
        }
        #expect(abs(summary.mean - 5_000_500) < 5_000)
        #expect(summary.curve.last?.percentile == 100)
        #expect(summary.curve.map(\.nanoseconds) == summary.curve.map(\.nanoseconds).sorted())
    }

    @Test func `without a value there is no summary`() {
        #expect(LatencyRecorder().summary == nil)
    }

    @Test func `what takes longer than an hour counts as an hour`() {
        var recorder = LatencyRecorder()
        recorder.record(.max)
        #expect(recorder.summary?.count == 1)
    }
}
