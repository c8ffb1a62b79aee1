import MeshLoad
import MeshNet
import Testing

@Suite struct WakeUpEstimateTests {
    @Test func `the timer is set earlier by half as much again as it wakes us late`() {
        var estimate = WakeUpEstimate()
        for _ in 0..<100 { estimate.learn(.microseconds(8)) }
        #expect((11_000...13_000).contains(estimate.margin.count))
    }

    @Test func `a machine that never wakes us in time does not make us poll for long`() {
        var estimate = WakeUpEstimate()
        for _ in 0..<100 { estimate.learn(.milliseconds(20)) }
        #expect(estimate.margin == WakeUpEstimate.maximum)
        for _ in 0..<100 { estimate.learn(.zero) }
        #expect(estimate.margin == WakeUpEstimate.minimum)
    }
}
