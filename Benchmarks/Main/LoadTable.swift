import Foundation
import MeshLoad

/// A ``LoadResult`` for people.
struct LoadTable {
    private let result: LoadResult

    init(_ result: LoadResult) { self.result = result }

    var text: String {
        var lines: [String] = []
        let seconds = max(result.seconds, 1e-9)
        let rate = Double(result.requests) / seconds
        let what = "\(result.plan.traffic.rawValue) \(result.plan.target): \(result.requests)"
        let held = Self.number(result.seconds, 3)
        lines.append(
            result.plan.traffic.rawValue.hasPrefix("idle")
                ? "\(what) stood, for \(held) s"
                : "\(what) requests in \(held) s, \(Self.number(rate, rate < 100 ? 1 : 0)) a second"
        )
        if result.isPartial { lines.append("ended early: these figures are partial") }
        let received = Double(result.bytesReceived) / seconds / 1_048_576
        let sent = Double(result.bytesSent) / seconds / 1_048_576
        lines.append(
            "received \(Self.number(received, 2)) MiB/s, sent \(Self.number(sent, 2)) MiB/s, "
                + "\(result.connectionsOpened) connections opened"
                + (result.sessionsResumed > 0 ? ", \(result.sessionsResumed) resumed" : "")
        )
        lines += latencyLines
        lines += processLines
        lines += cpuLines
        for (error, count) in result.errors.sorted(by: { $0.value > $1.value }) {
            lines.append("error \(error): \(count)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private var latencyLines: [String] {
        let columns: [(String, LatencySummary?)] = [
            ("latency", result.latency), ("service", result.serviceTime),
            ("lateness", result.lateness),
        ]
        let present = columns.compactMap { name, summary in summary.map { (name, $0) } }
        guard let first = present.first?.1 else { return [] }
        func row(_ label: String, _ cells: [String]) -> String {
            Self.padded(label, 8, left: true) + cells.map { Self.padded($0, 12) }.joined()
        }
        var lines = ["", row("", present.map(\.0))]
        lines.append(row("mean", present.map { Self.time(UInt64($0.1.mean)) }))
        for (at, point) in first.percentiles.enumerated() {
            let name = "p" + Self.trimmed(point.percentile)
            lines.append(row(name, present.map { Self.time($0.1.percentiles[at].nanoseconds) }))
        }
        lines.append(row("max", present.map { Self.time($0.1.max) }))
        return lines + [""]
    }

    private var processLines: [String] {
        result.processes.map { process in
            let cpu = Double(process.cpuNanoseconds) / 1000
            let perRequest =
                result.requests > 0
                ? "\(Self.number(cpu / Double(result.requests), 2)) µs/request" : "-"
            let share = cpu / 10_000 / max(result.seconds, 1e-9)
            let user = process.userShare.map { ", \(Self.number($0 * 100, 0)) % of it user" } ?? ""
            let memory =
                process.proportionalKiB.map { ", PSS \($0) KiB" } ?? ""
            return
                "\(process.name) (\(process.pid)): CPU \(Self.number(share, 1)) %, \(perRequest)\(user), "
                + "RSS \(process.residentKiB) KiB\(memory), switches \(process.voluntarySwitches) voluntary, "
                + "\(process.involuntarySwitches) not"
        }
    }

    private var cpuLines: [String] {
        result.cpus.map { cpu in
            let total = max(cpu.busy + cpu.idle + cpu.stolen, 1e-9)
            return "cpu\(cpu.cpu): \(Self.number(100 * cpu.busy / total, 0)) % busy, "
                + "\(Self.number(100 * cpu.stolen / total, 1)) % stolen"
        }
    }

    /// `812 ns`, `54.3 µs`, `1.25 ms`, `3.1 s`.
    static func time(_ nanoseconds: UInt64) -> String {
        let value = Double(nanoseconds)
        return switch value {
        case ..<1e3: "\(nanoseconds) ns"
        case ..<1e6: "\(digits(value / 1e3)) µs"
        case ..<1e9: "\(digits(value / 1e6)) ms"
        default: "\(digits(value / 1e9)) s"
        }
    }

    /// Three digits, as many as the histogram has.
    private static func digits(_ value: Double) -> String {
        number(value, value < 10 ? 2 : value < 100 ? 1 : 0)
    }

    private static func number(_ value: Double, _ decimals: Int) -> String {
        String(format: "%.\(decimals)f", value)
    }

    private static func trimmed(_ value: Double) -> String {
        value == value.rounded() ? "\(Int(value))" : "\(value)"
    }

    private static func padded(_ text: String, _ width: Int, left: Bool = false) -> String {
        let fill = String(repeating: " ", count: max(0, width - text.count))
        return left ? text + fill : fill + text
    }
}
