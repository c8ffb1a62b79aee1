import MeshRuntime
import Testing

struct StatsTests {
    @Test func `a counter sums what every worker added`() {
        let registry = StatsRegistry(workers: 2)
        for index in 0...2 {
            WorkerStats(registry, index: index).counter("a").add(UInt64(index) + 1)
        }
        #expect(registry.view().value("a") == 6)
    }

    @Test func `nanoseconds are summed exactly, over workers and intervals`() throws {
        let registry = StatsRegistry(workers: 2)
        for index in 0...1 {
            let stats = WorkerStats(registry, index: index)
            let histogram = stats.histogram("h", unit: .nanoseconds)
            for value: UInt64 in [0, 7, 123_456_789] { histogram.record(value) }
        }
        let metric = try #require(registry.view().histograms.first)
        #expect(metric.cumulative().sampleSum == 2 * 123_456_796)
        #expect(metric.cumulative().sampleCount == 6)
        registry.endHistogramInterval()
        WorkerStats(registry, index: 0).histogram("h").record(5)
        registry.endHistogramInterval()
        #expect(metric.interval().sampleSum == 5)
        #expect(metric.cumulative().count(atMost: 500) == 5)
        // From half a microsecond to a minute.
        #expect(metric.bounds.first == 500)
        #expect(metric.bounds.last == 60e9)
    }

    @Test func `the same name gives the same cell`() {
        let registry = StatsRegistry(workers: 1)
        let stats = WorkerStats(registry, index: 0)
        stats.counter("a").add()
        stats.counter("a").add()
        #expect(stats.counter("a").value == 2)
        #expect(registry.view().count == 1)
    }

    @Test func `cells stay where they are while thousands are added`() {
        let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)
        let first = stats.counter("first")
        let counters = (0..<3000).map { stats.counter("c\($0)") }
        first.add(7)
        for (at, counter) in counters.enumerated() { counter.add(UInt64(at)) }
        #expect(stats.registry.view().value("first") == 7)
        #expect(stats.registry.view().value("c2999") == 2999)
    }

    @Test func `a gauge is used from its first touch on, also at zero`() {
        let registry = StatsRegistry(workers: 2)
        let gauge = WorkerStats(registry, index: 0).gauge("g")
        let other = WorkerStats(registry, index: 1).gauge("g")
        _ = WorkerStats(registry, index: 0).gauge("untouched")
        gauge.add(5)
        other.subtract(2)
        var samples: [String: StatsView.Sample] = [:]
        registry.view().forEach { samples[$0.name] = $0 }
        #expect(samples["g"]?.value == 3)
        gauge.subtract(3)
        registry.view().forEach { samples[$0.name] = $0 }
        #expect(samples["g"]?.value == 0)
        #expect(samples["g"]?.isUsed == true)
        #expect(samples["untouched"]?.isUsed == false)
    }

    @Test func `metrics come sorted by name`() {
        let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)
        for name in ["b", "c", "a.z", "a"] { _ = stats.counter(name) }
        var names: [String] = []
        stats.registry.view().forEach { names.append($0.name) }
        #expect(names == ["a", "a.z", "b", "c"])
    }

    @Test func `a reset starts counters at zero and leaves gauges alone`() {
        let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)
        let counter = stats.counter("c")
        counter.add(4)
        stats.gauge("g").set(9)
        stats.registry.resetCounters()
        counter.add()
        #expect(stats.registry.view().value("c") == 1)
        #expect(stats.registry.view().value("g") == 9)
    }

    @Test func `a rejected name counts into nowhere and is not listed`() {
        let options = StatsOptions(keeps: { $0 != "secret" })
        let stats = WorkerStats(StatsRegistry(workers: 1, options: options), index: 0)
        stats.counter("secret").add()
        _ = stats.histogram("secret")
        #expect(stats.registry.view().count == 0)
        #expect(stats.registry.view().histograms.isEmpty)
    }

    @Test func `a computed gauge is read at the scrape`() {
        let registry = StatsRegistry(workers: 1)
        registry.computed("server.uptime") { 12 }
        #expect(registry.view().value("server.uptime") == 12)
    }

    @Test func `histograms merge workers and count whole bins below a bound`() {
        let registry = StatsRegistry(workers: 2)
        let one = WorkerStats(registry, index: 0).histogram("h")
        let two = WorkerStats(registry, index: 1).histogram("h")
        for value: UInt64 in [0, 1, 5, 37, 1234] { one.record(value) }
        two.record(37)
        let bins = registry.view().histograms[0].cumulative()
        #expect(bins.sampleCount == 6)
        #expect(bins.count(atMost: 0.5) == 1)
        #expect(bins.count(atMost: 38) == 5)
        #expect(bins.count(atMost: 1299) == 5)
        #expect(bins.count(atMost: 1300) == 6)
    }

    @Test func `quantiles and sums equal those Envoy printed for the same values`() {
        let wanted = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1]
        func bins(_ values: [UInt64]) -> HistogramBins {
            let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)
            let histogram = stats.histogram("h")
            for value in values { histogram.record(value) }
            return stats.registry.view().histograms[0].cumulative()
        }
        #expect(bins([2]).quantiles(wanted) == Array(repeating: 2.05, count: 10))
        #expect(bins([2, 43]).quantiles(wanted)[2] == 2.05)
        #expect(bins([2, 43]).quantiles(wanted)[3] == 43.5)
        #expect(bins([2, 43]).sampleSum == 45.543033361368096)
        #expect(bins([220]).quantiles([1]) == [225.00000000000003])
        let sixteen = bins(Array(repeating: 1, count: 16)).quantiles(wanted)
        #expect(sixteen[0] == 1.0058823529411764)
        #expect(sixteen[1] == 1.0235294117647058)
        let many = bins([0, 4, 5, 40, 41, 42, 42, 42, 43, 43, 43, 43, 43, 43])
        #expect(many.quantiles(wanted)[3] == 43.42857142857143)
        #expect(many.sampleSum == 479.53456091320845)
        #expect(HistogramBins().quantiles([0.5])[0].isNaN)
    }

    @Test func `an interval holds only what it brought`() {
        let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)
        let histogram = stats.histogram("h")
        histogram.record(3)
        stats.registry.endHistogramInterval()
        histogram.record(8)
        histogram.record(8)
        stats.registry.endHistogramInterval()
        let metric = stats.registry.view().histograms[0]
        #expect(metric.interval().sampleCount == 2)
        #expect(metric.cumulative().sampleCount == 3)
    }

    @Test(arguments: [UInt64.max, 1 << 63, 10, 99, 100, 9])
    func `every magnitude has a bin`(value: UInt64) {
        let stats = WorkerStats(StatsRegistry(workers: 1), index: 0)
        stats.histogram("h").record(value)
        let (left, width, count) = stats.registry.view().histograms[0].cumulative().detail[0]
        #expect(count == 1)
        #expect(left <= Double(value) && Double(value) <= left + width)
    }
}
