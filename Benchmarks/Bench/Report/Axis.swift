import Foundation

/// Values on a stretch of a drawing, with round ticks.
struct Axis {
    enum Scale {
        case linear
        case logarithmic
    }

    let scale: Scale
    let lowest: Double
    let highest: Double
    /// Where ``lowest`` and ``highest`` are drawn.
    let start: Double
    let end: Double

    /// From zero to a little beyond `largest`.
    init(linearTo largest: Double, from start: Double, to end: Double) {
        scale = .linear
        lowest = 0
        highest = largest > 0 ? largest * 1.04 : 1
        self.start = start
        self.end = end
    }

    /// Of values above zero, from a little below the smallest to a little above the largest.
    init(logarithmicOver values: [Double], from start: Double, to end: Double) {
        scale = .logarithmic
        let positive = values.filter { $0 > 0 }
        lowest = (positive.min() ?? 1) * 0.85
        highest = max((positive.max() ?? 10) * 1.1, lowest * 2)
        self.start = start
        self.end = end
    }

    func position(_ value: Double) -> Double {
        let share: Double
        switch scale {
        case .linear: share = (value - lowest) / (highest - lowest)
        case .logarithmic: share = log(max(value, lowest) / lowest) / log(highest / lowest)
        }
        return start + share * (end - start)
    }

    /// Three to eight round numbers.
    var ticks: [Double] {
        switch scale {
        case .linear: linearTicks
        case .logarithmic: logarithmicTicks
        }
    }

    private var linearTicks: [Double] {
        let power = pow(10, (log10(highest / 4)).rounded(.down))
        let steps = [1, 2, 2.5, 5, 10].map { $0 * power }
        let step = steps.first { highest / $0 <= 6.5 } ?? power * 10
        return (0...Int(highest / step)).map { Double($0) * step }
    }

    private var logarithmicTicks: [Double] {
        func ticks(_ mantissas: [Double]) -> [Double] {
            let exponents = Int(log10(lowest).rounded(.down))...Int(log10(highest).rounded(.up))
            return exponents.flatMap { exponent in mantissas.map { $0 * pow(10, Double(exponent)) }
            }
            .filter { $0 >= lowest && $0 <= highest }
        }
        let choices: [[Double]] = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]
        return choices.map(ticks).first { $0.count >= 4 } ?? ticks(choices[3])
    }

    /// `0`, `250`, `1,500`, `20k`, `1.5M`: as short as it can be said.
    static func label(_ value: Double) -> String {
        if value >= 1_000_000 { return Number.plain(value / 1_000_000) + "M" }
        if value >= 10_000, value.truncatingRemainder(dividingBy: 500) == 0 {
            let thousands = value / 1000
            return Number.text(thousands, decimals: thousands.rounded() == thousands ? 0 : 1) + "k"
        }
        return Number.plain(value)
    }
}

/// The horizontal axis of HDR plots: percentile 90 is as far from 99 as 99 from 99.9.
struct PercentileAxis {
    let nines: Double
    let start: Double
    let end: Double

    /// - Parameter highest: percentile below 100 that the axis ends with.
    init(to highest: Double, from start: Double, to end: Double) {
        nines = max(1, Self.nines(highest))
        self.start = start
        self.end = end
    }

    /// −log₁₀(1 − p): 1 for the 90th percentile, 3 for the 99.9th.
    static func nines(_ percentile: Double) -> Double {
        -log10(max(1e-9, 1 - percentile / 100))
    }

    func position(_ percentile: Double) -> Double {
        start + Self.nines(percentile) / nines * (end - start)
    }

    static let all: [Double] = [
        0, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 99.995, 99.999,
    ]

    var ticks: [Double] {
        [0, 50, 90, 99, 99.9, 99.99, 99.999].filter { Self.nines($0) <= nines + 1e-6 }
    }

    /// `99.9 %`
    static func label(_ percentile: Double) -> String {
        if percentile == 0 { return "0" }
        var text = String(format: "%.3f", percentile)
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text + " %"
    }
}
