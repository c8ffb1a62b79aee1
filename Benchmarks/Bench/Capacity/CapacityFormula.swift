/// A formula, once with names and once with the numbers put in, and what comes out of it.
package struct CapacityFormula: Sendable, Equatable {
    package var symbols: String
    package var numbers: String
    package var value: Double
    /// A part of it is not known, and counted as nothing.
    package var isAtLeast = false

    /// `1.95`, or `≥ 181` where a part is missing.
    package var text: String { (isAtLeast ? "≥ " : "") + Number.text(value) }

    /// The numbers with their result: `10 × 18.1 MiB = 181`.
    package var equation: String { "\(numbers) \(isAtLeast ? "≥" : "=") \(Number.text(value))" }

    /// CPU a second of all requests, in cores, with the headroom.
    ///
    /// - Parameter terms: µs for each request, added or taken away.
    static func cores(
        _ question: CapacityQuestion,
        share: (name: String, value: Double)?,
        _ terms: [(sign: Double, name: String, value: Double)]
    ) -> CapacityFormula {
        let sum = terms.reduce(0) { $0 + $1.sign * $1.value }
        func joined(_ text: (String, Double) -> String) -> String {
            let parts = terms.enumerated().map { index, term in
                (index == 0 ? "" : term.sign < 0 ? " − " : " + ") + text(term.name, term.value)
            }
            return terms.count > 1 ? "(\(parts.joined()))" : parts.joined()
        }
        let shareName = share.map { " × \($0.name)" } ?? ""
        let shareNumber = share.map { " × \(Number.plain($0.value))" } ?? ""
        let numbers = joined { _, value in Number.text(value) }
        return CapacityFormula(
            symbols: "rate\(shareName) × \(joined { name, _ in name }) × headroom",
            numbers: "\(Number.plain(question.rate))/s\(shareNumber) × \(numbers) µs"
                + " × \(Number.plain(question.headroom))",
            value: question.rate * (share?.value ?? 1) * sum / 1e6 * question.headroom
        )
    }

    /// Memory of so many processes and what stands open, in MiB.
    ///
    /// - Parameters:
    ///   - start: of one process, or of several together.
    ///   - each: KiB for each connection, of everybody it goes through; nil where it is not known.
    static func memory(
        of processes: (name: String, count: Int),
        start: CapacityInput,
        connections: Double,
        each: [CapacityInput?]
    ) -> CapacityFormula {
        let known = each.compactMap { $0 }
        let divisor = start.processes > 1 ? " ÷ \(start.processes)" : ""
        let count = Number.text(Double(processes.count), decimals: 0)
        var symbols = "\(processes.name) × \(start.name)\(divisor)"
        var numbers = "\(count) × \(Number.text(start.median))\(divisor) MiB"
        if !known.isEmpty {
            let many = known.count > 1
            func group(_ parts: [String]) -> String {
                many ? "(\(parts.joined(separator: " + ")))" : parts.joined()
            }
            symbols += " + connections × \(group(known.map(\.name)))"
            let values = group(known.map { Number.text($0.median) })
            numbers += " + \(Number.text(connections, decimals: 0)) × \(values) KiB"
        }
        let processMiB = Double(processes.count) * start.median / Double(start.processes)
        let connectionKiB = known.reduce(0) { $0 + $1.median }
        return CapacityFormula(
            symbols: symbols,
            numbers: numbers,
            value: processMiB + connections * connectionKiB / 1024,
            isAtLeast: known.count < each.count && connections > 0
        )
    }

    /// What the agents cost and what comes on top; nil without either.
    static func sum(_ agents: CapacityFormula?, _ further: CapacityFormula?) -> CapacityFormula? {
        guard let agents, let further else { return nil }
        return CapacityFormula(
            symbols: "agents + \(further.symbols)",
            numbers: "\(Number.text(agents.value)) + \(further.numbers)",
            value: agents.value + further.value,
            isAtLeast: agents.isAtLeast || further.isAtLeast
        )
    }
}
