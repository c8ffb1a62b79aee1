import MeshNet
import Synchronization

/// What a histogram's values count.
package enum HistogramUnit: UInt8, Sendable {
    case unspecified, bytes, nanoseconds, microseconds, milliseconds
}

/// A distribution (Envoy's `Histogram`): one worker's bins.
///
/// Bins are log-linear with two significant decimal digits, as libcircllhist's, so that quantiles
/// equal Envoy's. One thread records; a decade of bins is allocated with its first value.
package struct Histogram: @unchecked Sendable {
    /// Word 0 counts zeros; word 1 + d holds the address of decade d's 90 bins, or 0; the last has the sum.
    fileprivate let words: StatsCell

    package func record(_ value: UInt64) {
        guard value > 0 else { return Self.add(1, to: words) }
        Self.add(value, to: words + HistogramBins.sumWord)
        // The two leading digits: 10...99, of which 7 is 70.
        var leading = value
        var decade = 1
        if value < 10 {
            leading = value &* 10
            decade = 0
        }
        while leading >= 100 {
            leading /= 10
            decade &+= 1
        }
        let slot = words + (1 &+ decade)
        let known = UnsafeMutableRawPointer(
            bitPattern: UInt(slot.pointee.load(ordering: .relaxed))
        )
        let bins = known.map { $0.assumingMemoryBound(to: Atomic<UInt64>.self) } ?? addDecade(slot)
        Self.add(1, to: bins + Int(truncatingIfNeeded: leading &- 10))
    }

    @inline(never)
    private func addDecade(_ slot: StatsCell) -> StatsCell {
        let bins = StatsArena.makeCells(HistogramBins.binsPerDecade)
        // Releasing: a scraper that sees the address sees zeroed bins.
        slot.pointee.store(UInt64(UInt(bitPattern: bins)), ordering: .releasing)
        return bins
    }

    @inline(__always)
    private static func add(_ n: UInt64, to cell: StatsCell) {
        cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ n, ordering: .relaxed)
    }
}

/// One histogram over all workers, seen by the scraping thread.
package final class HistogramMetric: @unchecked Sendable {
    package let name: String
    package let unit: HistogramUnit
    /// Upper bounds of the cumulative buckets that Prometheus is shown.
    package let bounds: [Double]
    private let shards: [StatsCell]
    private let intervals = Mutex(Intervals())

    private struct Intervals {
        /// Everything up to the end of the last interval.
        var past = HistogramBins()
        /// What the last full interval brought.
        var last = HistogramBins()
    }

    /// Envoy's, in milliseconds or whatever the unit is.
    private static let defaultBounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000,
        600_000, 1_800_000, 3_600_000,
    ]
    /// For nanoseconds: from half a microsecond to a minute.
    private static let nanosecondBounds: [Double] = [
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000,
        500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000, 30_000_000_000,
        60_000_000_000,
    ]

    static func bounds(_ unit: HistogramUnit) -> [Double] {
        unit == .nanoseconds ? nanosecondBounds : defaultBounds
    }

    init(name: String, unit: HistogramUnit, shards: Int, bounds: [Double]) {
        self.name = name
        self.unit = unit
        self.bounds = bounds
        self.shards = (0..<shards).map { _ in
            StatsArena.makeCells(HistogramBins.sumWord + 1)
        }
    }

    func handle(shard: Int) -> Histogram { Histogram(words: shards[shard]) }

    /// All values since the start.
    package func cumulative() -> HistogramBins {
        var bins = HistogramBins()
        // Where every nanosecond is to be accounted for; elsewhere the sum is Envoy's.
        if unit == .nanoseconds { bins.exactSum = 0 }
        for words in shards {
            bins.exactSum? &+= words[HistogramBins.sumWord].load(ordering: .relaxed)
            bins.add(0, words.pointee.load(ordering: .relaxed))
            for decade in 0..<HistogramBins.decades {
                let address = words[1 + decade].load(ordering: .acquiring)
                guard let raw = UnsafeMutableRawPointer(bitPattern: UInt(address)) else { continue }
                let cells = raw.assumingMemoryBound(to: Atomic<UInt64>.self)
                for at in 0..<HistogramBins.binsPerDecade {
                    bins.add(
                        1 + decade * HistogramBins.binsPerDecade + at,
                        cells[at].load(ordering: .relaxed)
                    )
                }
            }
        }
        bins.sort()
        return bins
    }

    /// Values of the last full interval.
    package func interval() -> HistogramBins { intervals.withLock { $0.last } }

    func endInterval() {
        let now = cumulative()
        intervals.withLock { state in
            state.last = now.subtracting(state.past)
            state.past = now
        }
    }
}

/// Counts of values by log-linear bin, sparse and in ascending order. A value.
package struct HistogramBins: Sendable {
    /// Decades of an unsigned 64-bit number: 1...9, 10...99, and so on.
    static let decades = 20
    /// Leading digits 10 to 99.
    static let binsPerDecade = 90
    /// Where a worker's cells have the sum of its values: behind the zeros and the decades.
    static let sumWord = 1 + decades

    /// Bin 0 is zero; bin 1 + 90 d + m holds values of decade d that begin with digits 10 + m.
    private var bins: [(bin: Int, count: UInt64)] = []
    /// Nil where the bins have to tell it.
    fileprivate(set) var exactSum: UInt64?

    package init() {}

    mutating func add(_ bin: Int, _ count: UInt64) {
        if count > 0 { bins.append((bin, count)) }
    }

    /// Orders the bins and joins those that several workers brought.
    mutating func sort() {
        bins.sort { $0.bin < $1.bin }
        var joined: [(bin: Int, count: UInt64)] = []
        joined.reserveCapacity(bins.count)
        for entry in bins {
            if joined.last?.bin == entry.bin {
                joined[joined.count - 1].count += entry.count
            } else {
                joined.append(entry)
            }
        }
        bins = joined
    }

    func subtracting(_ past: HistogramBins) -> HistogramBins {
        var before: [Int: UInt64] = [:]
        for entry in past.bins { before[entry.bin] = entry.count }
        var rest = HistogramBins()
        for entry in bins { rest.add(entry.bin, entry.count &- (before[entry.bin] ?? 0)) }
        rest.exactSum = exactSum.map { $0 &- (past.exactSum ?? 0) }
        return rest
    }

    /// Smallest value of a bin and its width, with libcircllhist's arithmetic to the last bit.
    private static func extent(_ bin: Int) -> (left: Double, width: Double) {
        guard bin > 0 else { return (0, 0) }
        var power = 1.0
        for _ in 0..<((bin - 1) / binsPerDecade) { power *= 10 }
        return (Double((bin - 1) % binsPerDecade + 10) / 10 * power, power / 10)
    }

    package var sampleCount: UInt64 { bins.reduce(0) { $0 &+ $1.count } }

    /// The sum of all values, each taken near the middle of its bin: where values that thin out as
    /// 1/x balance, as libcircllhist has it. Exact for nanoseconds.
    package var sampleSum: Double {
        if let exactSum { return Double(exactSum) }
        return bins.reduce(0) { sum, entry in
            let (left, width) = Self.extent(entry.bin)
            let middle = left > 0 ? left + width * (left / (left + left + width)) : 0
            return sum + middle * Double(entry.count)
        }
    }

    /// How many values lie in bins that end at or below `bound`.
    package func count(atMost bound: Double) -> UInt64 {
        var count: UInt64 = 0
        for entry in bins {
            let (left, width) = Self.extent(entry.bin)
            guard left + width <= bound else { break }
            count &+= entry.count
        }
        return count
    }

    /// Values at the given ascending quantiles (0...1); NaN where there are no values. The k-th of n
    /// values in a bin lies at k/(n+1) of its width.
    package func quantiles(_ wanted: [Double]) -> [Double] {
        guard let first = bins.first else { return wanted.map { _ in .nan } }
        let total = Double(sampleCount)
        var at = 0
        var lower = 0.0
        var upper = Double(first.count)
        return wanted.map { quantile in
            let target = max(1, (total * quantile).rounded(.up))
            while at < bins.count - 1, upper < target {
                at += 1
                lower = upper
                upper += Double(bins[at].count)
            }
            let (left, width) = Self.extent(bins[at].bin)
            return left + (target - lower) / (upper - lower + 1) * width
        }
    }

    /// `(lower bound, width, count)` of every bin that holds values, ascending.
    package var detail: [(left: Double, width: Double, count: UInt64)] {
        bins.map { entry in
            let (left, width) = Self.extent(entry.bin)
            return (left, width, entry.count)
        }
    }
}
