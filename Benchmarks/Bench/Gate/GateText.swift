import Foundation

/// The gate's result for people.
package enum GateText {
    private static let columns =
        ["scenario"] + GateFigures.Kind.allCases.map { $0.rawValue + "/request" }
    private static let widths = [16, 28, 22, 22, 22]

    package static let header = line(columns)

    /// A scenario's line: each figure, and how it differs from what was accepted.
    package static func row(_ verdicts: [GateVerdict]) -> String {
        line([verdicts.first?.scenario ?? ""] + verdicts.map(cell))
    }

    private static func line(_ cells: [String]) -> String {
        zip(cells, widths).enumerated().map { index, cell in
            let fill = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
            return index == 0 ? cell.0 + fill : fill + cell.0
        }.joined()
    }

    private static func cell(_ verdict: GateVerdict) -> String {
        let value = number(verdict.value)
        guard let accepted = verdict.accepted else { return value + " (new)" }
        guard verdict.outcome != .incomparable else { return value + " (not judged)" }
        guard value != number(accepted) else { return value }
        return "\(value) (\(change(verdict, accepted)))"
    }

    /// `+2.1 %` of a large number, `+0.5` of a small one.
    private static func change(_ verdict: GateVerdict, _ accepted: Double) -> String {
        let difference = verdict.value - accepted
        guard accepted >= 1000 else { return signed(difference, "") }
        return signed(difference / accepted * 100, " %")
    }

    private static func signed(_ value: Double, _ unit: String) -> String {
        String(format: "%+.\(unit.isEmpty ? 2 : 1)f", value) + unit
    }

    /// What grew: which, from what to what, and what was tolerated. Empty where nothing did.
    package static func complaints(_ verdicts: [GateVerdict]) -> [String] {
        verdicts.compactMap { verdict in
            guard verdict.outcome == .grew, let accepted = verdict.accepted else { return nil }
            let tolerated =
                accepted >= 1000
                ? String(format: "%.0f %%", verdict.tolerated / accepted * 100)
                : String(format: "%g", verdict.tolerated)
            return "gate: \(verdict.scenario): \(verdict.kind) per request grew from "
                + "\(number(accepted)) to \(number(verdict.value)) "
                + "(\(change(verdict, accepted)); \(tolerated) is tolerated)"
        }
    }

    package static let advice =
        "gate: if this is the price of something wanted, accept it with make gate ACCEPT=1, and say so in the commit"

    /// What else there is to tell: what became cheaper, what is new, what could not be compared.
    package static func remarks(
        _ verdicts: [GateVerdict],
        record: GateRecord?,
        origin: GateRecord.Origin
    ) -> [String] {
        var remarks: [String] = []
        if let record, record.origin != origin {
            remarks.append(
                "gate: instructions are not judged: those accepted are from \(record.origin.valgrind) on "
                    + "\(record.origin.processor), this is \(origin.valgrind) on \(origin.processor)"
            )
        }
        if verdicts.contains(where: { $0.outcome == .shrank }) {
            remarks.append("gate: some became cheaper: keep it so with make gate ACCEPT=1")
        }
        let new = Set(verdicts.filter { $0.outcome == .new }.map(\.scenario)).sorted()
        if !new.isEmpty {
            remarks.append(
                "gate: nothing was accepted yet of \(new.joined(separator: ", ")): make gate ACCEPT=1"
            )
        }
        return remarks
    }

    /// Those with the most instructions of their own, for one request.
    package static func functions(_ profile: CallgrindProfile, count: Int) -> String {
        profile.instructions.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(count)
            .map { name, own in
                let text = number(Double(own))
                let calls = profile.calls[name].map { " (\($0) calls)" } ?? ""
                return String(repeating: " ", count: max(0, 10 - text.count))
                    + "\(text) \(name)\(calls)"
            }
            .joined(separator: "\n")
    }

    /// `12,345` or `6.02`.
    static func number(_ value: Double) -> String {
        guard value >= 1000 else { return String(format: "%g", value) }
        let digits = Array(String(Int(value.rounded())))
        return digits.enumerated().map { index, digit in
            let left = digits.count - index
            return left % 3 == 0 && index > 0 ? ",\(digit)" : "\(digit)"
        }.joined()
    }
}
