/// A figure that capacity is computed from, and where it comes from.
package struct CapacityInput: Sendable, Equatable {
    /// In formulas: `two hops`.
    package var name: String
    package var kind: FigureKind
    package var figure: Figure
    /// The same at a low rate, where it is known; CPU only.
    package var atRate: Figure?
    /// `two-hop-h1`
    package var scenario: String
    /// Requests a second at which ``atRate`` was taken.
    package var rate: Double?
    /// How many processes the figure is of.
    package var processes = 1

    package var median: Double { figure.median }
}

/// What the report is asked for, with the scenarios that can answer, the best first.
struct CapacitySource {
    var name: String
    var kind: FigureKind
    var scenarios: [String]
    /// The figure is of that many processes.
    var processes = 1

    static func twoHops(_ version: CapacityQuestion.HTTPVersion) -> CapacitySource {
        CapacitySource(
            name: "two hops",
            kind: .cpuMicroseconds,
            scenarios: [version == .http1 ? "two-hop-h1" : "two-hop-h2"],
            processes: 2
        )
    }

    static let plainHop = CapacitySource(
        name: "plain hop",
        kind: .cpuMicroseconds,
        scenarios: ["hop-h1"]
    )
    static let mutualIn = CapacitySource(
        name: "mTLS in",
        kind: .cpuMicroseconds,
        scenarios: ["mtls-in"]
    )
    static let mutualOut = CapacitySource(
        name: "mTLS out",
        kind: .cpuMicroseconds,
        scenarios: ["mtls-out"]
    )
    /// With messages of the size of the HTTP scenarios' answers, where the run had them.
    static let twoAgents = CapacitySource(
        name: "two agents",
        kind: .cpuMicroseconds,
        scenarios: ["tcp-hbone-1k", "tcp-hbone"],
        processes: 2
    )
    static let proxyStart = CapacitySource(
        name: "start",
        kind: .startResidentMiB,
        scenarios: ["mtls-in"]
    )
    static let agentsStart = CapacitySource(
        name: "start of two agents",
        kind: .startResidentMiB,
        scenarios: ["tcp-hbone", "tcp-hbone-1k"],
        processes: 2
    )
    static let plainConnection = CapacitySource(
        name: "connection",
        kind: .connectionKiB,
        scenarios: ["idle-10000", "idle-1000"]
    )
    static let mutualConnection = CapacitySource(
        name: "mTLS connection",
        kind: .connectionKiB,
        scenarios: ["idle-mtls-10000", "idle-mtls-1000"]
    )
    static let tunnel = CapacitySource(
        name: "tunnelled connection",
        kind: .connectionKiB,
        scenarios: ["idle-tcp-hbone"],
        processes: 2
    )

    /// Everything that is asked for.
    static func all(_ version: CapacityQuestion.HTTPVersion) -> [CapacitySource] {
        [
            .twoHops(version), .twoAgents, .mutualIn, .mutualOut, .plainHop, .proxyStart,
            .agentsStart, .plainConnection, .mutualConnection, .tunnel,
        ]
    }

    /// The peer's figure. Every peer is asked for the same scenario: the best that anybody has it of.
    func find(in report: BenchReport, of peer: String) -> CapacityInput? {
        guard let scenario = scenario(in: report),
            let result = scenario.result(of: peer), let figure = result.figures[kind]
        else { return nil }
        return CapacityInput(
            name: name,
            kind: kind,
            figure: figure,
            atRate: kind == .cpuMicroseconds ? result.figures[.cpuMicrosecondsAtRate] : nil,
            scenario: scenario.id,
            rate: scenario.rate,
            processes: processes
        )
    }

    /// What a reader is told where there is none.
    func absence(in report: BenchReport) -> String {
        "\(scenario(in: report)?.id ?? scenarios.joined(separator: " or ")): \(kind.rawValue)"
    }

    private func scenario(in report: BenchReport) -> ScenarioReport? {
        scenarios.lazy
            .compactMap { id in report.scenarios.first { $0.id == id } }
            .first { scenario in scenario.results.contains { $0.figures[kind] != nil } }
    }
}
