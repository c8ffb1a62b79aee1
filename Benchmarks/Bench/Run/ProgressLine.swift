/// What a repetition gave, on one line for the terminal.
enum ProgressLine {
    static func text(_ repetition: Repetition, scenario: Scenario, rate: Double?) -> String {
        func value(_ kind: FigureKind, _ form: (Double) -> String) -> String? {
            repetition.figures[kind].map(form)
        }
        func short(_ value: Double) -> String { Number.text(value) }
        let rate = rate.map { " at \(Number.text($0))/s" } ?? ""
        let parts = [
            value(.cpuMicroseconds) { "\(short($0)) µs CPU" },
            value(.requestsPerSecond) { "\(short($0)) \(FigureKind.plural(scenario.unit))/s" },
            value(.p50) { "p50 \(short($0)) µs" },
            value(.p99) { "p99 \(short($0)) µs\(rate)" },
            value(.connectionKiB) { "\(short($0)) KiB each" },
            value(.streamKiB) { "\(short($0)) KiB each" },
            scenario.standing != nil || scenario.isStartOnly
                ? value(.startProportionalMiB) { "\(short($0)) MiB at start" } : nil,
            scenario.isStartOnly ? value(.startMilliseconds) { "\(short($0)) ms" } : nil,
        ]
        return parts.compactMap(\.self).joined(separator: ", ")
    }
}
