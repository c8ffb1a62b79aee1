import Histogram

/// Collects a distribution of durations with three significant digits.
package struct LatencyRecorder {
    private var histogram = Histogram<UInt64>(
        lowestDiscernibleValue: 1,
        highestTrackableValue: Self.nanosecondsMax,
        numberOfSignificantValueDigits: .three
    )

    /// An hour; what takes longer counts as that.
    private static let nanosecondsMax: UInt64 = 3_600_000_000_000
    private static let percentiles = [50, 75, 90, 95, 99, 99.9, 99.99]
    /// Points of the curve each time the rest of the distribution halves.
    private static let pointsPerHalf = 5

    package init() {}

    /// In nanoseconds.
    package mutating func record(_ nanoseconds: UInt64) {
        histogram.record(min(nanoseconds, Self.nanosecondsMax))
    }

    package mutating func reset() { histogram.reset() }

    package var count: Int { Int(histogram.totalCount) }

    /// In nanoseconds; 0 where nothing was recorded.
    package func value(at percentile: Double) -> UInt64 {
        count == 0 ? 0 : histogram.valueAtPercentile(percentile)
    }

    /// Nil where nothing was recorded.
    package var summary: LatencySummary? {
        guard count > 0 else { return nil }
        return LatencySummary(
            count: count,
            mean: histogram.mean,
            min: histogram.min,
            max: histogram.max,
            percentiles: Self.percentiles.map {
                .init(percentile: $0, nanoseconds: histogram.valueAtPercentile($0))
            },
            curve: histogram.percentiles(ticksPerHalfDistance: Self.pointsPerHalf).map {
                .init(percentile: $0.percentileLevelIteratedTo, nanoseconds: $0.value)
            }
        )
    }
}
