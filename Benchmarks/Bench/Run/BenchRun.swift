import Foundation
import MeshLoad

/// A whole run: every scenario, every repetition, every contestant in turn.
package final class BenchRun {
    private let bench: Workbench
    private let scenarios: [Scenario]
    private let peers: [Peer]
    /// Hears of everything that a person would like to see while it runs.
    private let say: (String) -> Void
    /// Gets the report after each scenario.
    private let save: (BenchReport) throws -> Void
    private var report: BenchReport

    private var options: RunOptions { bench.options }

    package init(
        scenarios: [Scenario],
        peers: PeerDirectory,
        chosen: [Peer],
        on bench: Workbench,
        say: @escaping (String) -> Void,
        save: @escaping (BenchReport) throws -> Void
    ) {
        self.bench = bench
        self.scenarios = scenarios
        self.peers = chosen
        self.say = say
        self.save = save
        report = BenchReport(
            date: ISO8601DateFormatter().string(from: Date()),
            command: bench.options.command,
            machine: MachineProbe.describe(
                proxyCPUs: bench.proxies.cpus,
                loadCPUs: bench.loadCPUs,
                scheduling: bench.scheduling
            ),
            peers: chosen.map { .init(name: $0.name, version: $0.version()) },
            scenarios: [],
            isPartial: false
        )
        report.notes = RunNotes.all(missing: peers.missing, chosen: chosen, bench: bench)
    }

    /// The report; partial when it was interrupted.
    package func run() throws -> BenchReport {
        for note in report.notes { say("note: \(note)") }
        for (index, scenario) in scenarios.enumerated() {
            var tallies = scenario.contestants(of: peers).map { Tally(contestant: $0) }
            guard tallies.contains(where: { !$0.contestant.peer.isDirect }) || tallies.count == 1
            else {
                say("\(scenario.id): none of the peers can take part")
                continue
            }
            say("\(scenario.id) (\(index + 1) of \(scenarios.count)): \(scenario.title)")
            do {
                enterNamespace(for: scenario)
                defer { bench.capture = nil }
                try measure(scenario, &tallies)
            } catch let error as BenchError where error == .interrupted {
                report.isPartial = true
                say("interrupted: what was measured so far is saved")
            }
            let results = tallies.map(\.result).filter {
                !$0.figures.isEmpty || $0.failure != nil || !$0.discarded.isEmpty
            }
            if !results.isEmpty {
                report.scenarios.append(
                    ScenarioReport(
                        id: scenario.id,
                        title: scenario.title,
                        explanation: scenario.explanation,
                        unit: scenario.unit,
                        rate: scenario.rate.map { options.rate ?? $0 },
                        results: results
                    )
                )
            }
            try save(report)
            if report.isPartial { break }
        }
        return report
    }

    private func enterNamespace(for scenario: Scenario) {
        guard scenario.isCaptured else { return }
        do {
            bench.capture = try CaptureNamespace()
        } catch {
            let note = "\(scenario.id): connections are not redirected by the kernel: \(error)."
            report.notes.append(note)
            say("  note: \(note)")
        }
    }

    private func measure(_ scenario: Scenario, _ tallies: inout [Tally]) throws {
        let rate = scenario.rate.map { options.rate ?? $0 }
        for repetition in 1...options.repetitions {
            var direct: Repetition?
            for index in tallies.indices where tallies[index].failure == nil {
                let contestant = tallies[index].contestant
                let label = "  \(contestant.name), \(repetition) of \(options.repetitions): "
                guard
                    let one = try attempt(
                        scenario,
                        &tallies[index],
                        label,
                        isFirst: repetition == 1
                    )
                else { continue }
                if contestant.peer.isDirect { direct = one }
                tallies[index].add(one, direct: direct)
                say(label + ProgressLine.text(one, scenario: scenario, rate: rate))
            }
        }
        for index in tallies.indices
        where tallies[index].contestant.peer.hasStamps && tallies[index].failure == nil {
            tallies[index].phases = try phases(scenario, tallies[index].contestant)
        }
        for index in tallies.indices where tallies[index].repetitions.isEmpty {
            guard tallies[index].failure == nil else { continue }
            let reason = tallies[index].discarded.last ?? "nothing was measured"
            tallies[index].failure = "the machine was too busy: \(reason)"
        }
    }

    /// One repetition that counts; nil after so many that do not, or a failure.
    private func attempt(
        _ scenario: Scenario,
        _ tally: inout Tally,
        _ label: String,
        isFirst: Bool
    ) throws -> Repetition? {
        let measurement = RepetitionMeasurement(
            scenario: scenario,
            contestant: tally.contestant,
            bench: bench
        )
        for attempt in 1...options.noise.attempts {
            do {
                return try measurement.run(hasCurve: isFirst)
            } catch let noise as Noise {
                tally.discarded.append(noise.reason)
                let more = attempt < options.noise.attempts ? "; once more" : "; given up"
                say(label + "thrown away: \(noise.reason)" + more)
            } catch let error as BenchError where error == .interrupted {
                throw error
            } catch {
                tally.failure = "\(error)"
                say(label + "failed: \(error)")
                return nil
            }
        }
        return nil
    }

    /// In a short run of its own, with the stamps on.
    private func phases(_ scenario: Scenario, _ contestant: Contestant) throws -> [PeerResult.Phase]
    {
        // A tunnel or a call that stays open is one request with a life of its own.
        let isExchange = [.http1, .http2, .grpcUnary].contains(scenario.traffic)
        guard scenario.rate != nil, contestant.variant.change == nil, isExchange else { return [] }
        let measurement = RepetitionMeasurement(
            scenario: scenario,
            contestant: contestant,
            bench: bench
        )
        var reason = ""
        for _ in 1...options.noise.attempts {
            do {
                return try measurement.phases()
            } catch let noise as Noise {
                reason = noise.reason
            } catch let error as BenchError where error == .interrupted {
                throw error
            } catch {
                reason = "\(error)"
                break
            }
        }
        say("  \(contestant.name): no phases: \(reason)")
        return []
    }
}
