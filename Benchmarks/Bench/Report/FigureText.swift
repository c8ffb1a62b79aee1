/// How a figure is called, in which unit it is written, and which direction is the good one.
extension FigureKind {
    /// Those a table begins with, in this order; the others are details.
    package static let principal: [FigureKind] = [
        .cpuMicroseconds, .requestsPerSecond, .bytesPerSecond, .systemCalls, .instructions,
        .p50, .p99, .p999, .addedP50, .cpuMicrosecondsAtRate,
        .startResidentMiB, .connectionKiB, .streamKiB, .startMilliseconds,
    ]

    /// Without its unit: `CPU per request`.
    package func title(per unit: String) -> String {
        switch self {
        case .cpuMicroseconds: "CPU per \(unit)"
        case .cpuUserMicroseconds: "CPU per \(unit), user"
        case .cpuSystemMicroseconds: "CPU per \(unit), system"
        case .busyShare: "share of their CPUs in use, saturated"
        case .requestsPerSecond: "\(Self.plural(unit)) per second, saturated"
        case .bytesPerSecond: "throughput"
        case .systemCalls: "system calls per \(unit)"
        case .contextSwitches: "context switches per \(unit)"
        case .instructions: "instructions per \(unit)"
        case .saturatedP50: "p50, saturated"
        case .saturatedP99: "p99, saturated"
        case .p50: "p50"
        case .p90: "p90"
        case .p99: "p99"
        case .p999: "p99.9"
        case .p9999: "p99.99"
        case .addedP50: "p50 beyond direct"
        case .addedP99: "p99 beyond direct"
        case .latenessP99: "p99 of the generator's own lateness"
        case .cpuMicrosecondsAtRate: "CPU per \(unit) at the fixed rate"
        case .startResidentMiB: "resident at start (RSS)"
        case .startProportionalMiB: "proportional at start (PSS)"
        case .loadResidentMiB: "resident under load (RSS)"
        case .connectionKiB: "memory per connection"
        case .streamKiB: "memory per stream"
        case .startMilliseconds: "start until it accepts"
        }
    }

    /// Above a column of a terminal: `CPU µs/request`.
    package func heading(per unit: String) -> String {
        switch self {
        case .cpuMicroseconds: "CPU µs/\(unit)"
        case .cpuUserMicroseconds: "user µs/\(unit)"
        case .cpuSystemMicroseconds: "system µs/\(unit)"
        case .busyShare: "CPU in use %"
        case .requestsPerSecond: "\(Self.plural(unit))/s"
        case .bytesPerSecond: "MiB/s"
        case .systemCalls: "system calls/\(unit)"
        case .contextSwitches: "switches/\(unit)"
        case .instructions: "instructions/\(unit)"
        case .latenessP99: "p99 lateness µs"
        case .cpuMicrosecondsAtRate: "CPU µs at rate"
        case .startResidentMiB: "start RSS MiB"
        case .startProportionalMiB: "start PSS MiB"
        case .loadResidentMiB: "loaded RSS MiB"
        case .connectionKiB: "KiB/connection"
        case .streamKiB: "KiB/stream"
        case .startMilliseconds: "start ms"
        default: "\(title(per: unit)) µs"
        }
    }

    /// What the number counts; empty where it is a plain count.
    package var unit: String {
        switch self {
        case .busyShare: "%"
        case .requestsPerSecond: "/s"
        case .bytesPerSecond: "MiB/s"
        case .systemCalls, .contextSwitches, .instructions: ""
        case .startResidentMiB, .startProportionalMiB, .loadResidentMiB: "MiB"
        case .connectionKiB, .streamKiB: "KiB"
        case .startMilliseconds: "ms"
        default: "µs"
        }
    }

    /// More is better; of all others less is.
    package var isGain: Bool {
        self == .requestsPerSecond || self == .bytesPerSecond || self == .busyShare
    }

    /// A written figure is the stored one divided by this.
    var divisor: Double {
        switch self {
        case .bytesPerSecond: 1_048_576
        case .busyShare: 0.01
        default: 1
        }
    }

    static func plural(_ unit: String) -> String { unit == "KiB" ? unit : unit + "s" }
}

/// A figure as it is written, in the unit of its kind, all three numbers with the decimals of the median.
package struct FigureText: Equatable {
    package let median: String
    /// `(33.5–34.9)`; empty where a single repetition knows no spread.
    package let spread: String

    package init(_ figure: Figure, kind: FigureKind) {
        let divisor = kind.divisor
        let decimals = Number.decimals(for: figure.median / divisor)
        func text(_ value: Double) -> String { Number.text(value / divisor, decimals: decimals) }
        median = text(figure.median)
        spread =
            figure.repetitions > 1 ? "(\(text(figure.lowest))–\(text(figure.highest)))" : ""
    }

    package var joined: String { spread.isEmpty ? median : "\(median) \(spread)" }
}
