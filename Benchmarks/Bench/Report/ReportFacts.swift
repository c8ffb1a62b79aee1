/// What a report says of itself, for its readers: the same words on the terminal and on the page.
extension BenchReport {
    /// Everybody MeshProxy is divided by, in the order of the report; without references and variants.
    var comparedPeers: [String] {
        let named =
            peers.map(\.name) + scenarios.flatMap { $0.results.map { PeerName.base($0.peer) } }
        var seen = Set<String>()
        let main = scenarios.first.flatMap { $0.subject }.map { PeerName.base($0.peer) }
        return named.filter { name in
            !PeerName.isReference(name) && name != main && seen.insert(name).inserted
                && scenarios.contains { $0.leadingRatio(to: name) != nil }
        }
    }

    /// Scenarios whose memory at start is worth saying: the same program with much the same file is said once.
    var scenariosOfStart: Set<String> {
        var shown: [Double] = []
        let chosen = scenarios.filter { scenario in
            guard let start = scenario.subject?.figures[.startResidentMiB]?.median,
                !shown.contains(where: { abs($0 - start) < 0.15 * max($0, start) })
            else { return false }
            shown.append(start)
            return true
        }
        return Set(chosen.map(\.id))
    }

    /// Scenarios whose start takes twice as long as the fastest one, or is all that they are about.
    var scenariosOfStartTime: Set<String> {
        let times = scenarios.compactMap { scenario in
            scenario.subject?.figures[.startMilliseconds]
                .map { (scenario.id, $0.median, scenario.leading) }
        }
        let fastest = times.map(\.1).min() ?? 0
        let slow = times.filter { _, time, leading in
            let isSlow = time >= 2 * fastest && time > 50
            return isSlow || times.count == 1 || leading == .startResidentMiB
        }
        return Set(slow.map(\.0))
    }

    /// The figures of a scenario that a table shows without being asked for all.
    func principalKinds(of scenario: ScenarioReport) -> [FigureKind] {
        let isMemory = scenario.leading != .cpuMicroseconds
        let starts = scenariosOfStart.contains(scenario.id) || isMemory
        let startTime = scenariosOfStartTime.contains(scenario.id)
        return scenario.kinds.filter { kind in
            switch kind {
            case .bytesPerSecond: scenario.unit == "KiB"
            case .requestsPerSecond: scenario.unit != "KiB"
            case .startResidentMiB: starts
            case .startMilliseconds: startTime
            default: FigureKind.principal.contains(kind)
            }
        }
    }

    /// What this run cannot tell, beyond what no run on one machine can.
    package var reservations: [String] {
        var result = notes
        if isPartial {
            result.append("It was interrupted: scenarios and repetitions are missing.")
        }
        let counts = scenarios.flatMap(\.results).flatMap { $0.figures.values.map(\.repetitions) }
        if let fewest = counts.min(), fewest < 3 {
            result.append(
                fewest < 2
                    ? "Some figures are of one repetition: they have no spread, "
                        + "and their ratios no verdict."
                    : "Some figures are of two repetitions: their median is only a mean."
            )
        }
        let discarded = scenarios.flatMap(\.results).reduce(0) { $0 + $1.discarded.count }
        if discarded > 0 {
            let what = discarded == 1 ? "1 repetition was" : "\(discarded) repetitions were"
            result.append("\(what) thrown away: the machine had other work to do at times.")
        }
        let failures = scenarios.flatMap { scenario in
            scenario.results.filter { $0.failure != nil }
                .map { "\(PeerName.title($0.peer)) in \(scenario.id)" }
        }
        if !failures.isEmpty {
            let list = failures.joined(separator: ", ")
            result.append("Failed, and therefore without figures: \(list).")
        }
        if let hypervisor = machine.hypervisor {
            result.append(
                "It ran in a virtual machine (\(hypervisor)): what its host did meanwhile is seen "
                    + "only as stolen time and as spread; absolute figures belong to that hour."
            )
        }
        if !Set(machine.proxyCPUs).isDisjoint(with: machine.loadCPUs) {
            result.append("Proxies and load shared a CPU: latency contains their turns.")
        }
        return result
    }
}

extension BenchReport.Machine {
    /// Names and values, in the order they are shown.
    package var facts: [(String, String)] {
        let kind = hypervisor.map { "\($0) guest" } ?? "no hypervisor told"
        let memory = Number.text(Double(memoryMiB), decimals: 0)
        let pinning =
            "proxies on \(Self.list(proxyCPUs)), generator and upstream on \(Self.list(loadCPUs))"
        return [
            ("machine", "\(processor), \(cpus) CPUs, \(memory) MiB, \(kind)"),
            ("system", "Linux \(kernel), \(Self.library(openSSL))"),
            ("pinning", pinning),
            ("scheduling", scheduling),
        ]
    }

    /// `OpenSSL 3.0.15 3 Sep 2024`, without what it says twice.
    private static func library(_ version: String) -> String {
        let short = version.split(separator: " (", maxSplits: 1).first.map(String.init) ?? version
        return short.hasPrefix("OpenSSL") ? short : "OpenSSL \(short)"
    }

    private static func list(_ cpus: [Int]) -> String {
        if cpus.isEmpty { return "any CPU" }
        return (cpus.count == 1 ? "CPU " : "CPUs ") + cpus.map(String.init).joined(separator: ", ")
    }
}

extension ScenarioReport {
    /// What happens, at which rate latency was taken, and how often.
    var conditions: String {
        var parts = [explanation]
        if let rate {
            let written = Number.text(rate, decimals: 0)
            parts.append("Latency at \(written) \(FigureKind.plural(unit))/s, open loop.")
        }
        if let repetitions {
            parts.append(repetitions == "1" ? "One repetition." : "\(repetitions) repetitions.")
        }
        return parts.filter { !$0.isEmpty }.joined(separator: " ")
    }

    /// What went wrong or was thrown away, a line for each peer; then who was not at the limit, and where the
    /// generator was a part of what it measured.
    var notes: [String] {
        var notes = ordered.flatMap { result -> [String] in
            var notes: [String] = []
            let title = PeerName.title(result.peer)
            if let failure = result.failure { notes.append("\(title) failed: \(failure)") }
            if !result.discarded.isEmpty {
                let count = result.discarded.count
                let what = count == 1 ? "1 repetition" : "\(count) repetitions"
                notes.append(
                    "\(title): \(what) thrown away: \(result.discarded.joined(separator: "; "))"
                )
            }
            return notes
        }
        let idle = ordered.compactMap { result -> String? in
            guard let share = result.figures[.busyShare]?.median, share < 0.9 else { return nil }
            return "\(PeerName.title(result.peer)) \(Number.percent(share))"
        }
        if !idle.isEmpty {
            notes.append(
                "Not saturated, with so much of their CPU in use: \(idle.joined(separator: ", ")). "
                    + "Something else was the limit, and their CPU per \(unit) includes being woken."
            )
        }
        let late = ordered.compactMap { result -> String? in
            guard let late = result.figures[.latenessP99]?.median,
                let p99 = result.figures[.p99]?.median, late > 0.25 * p99
            else { return nil }
            return "\(PeerName.title(result.peer)) \(Number.text(late)) of \(Number.text(p99)) µs"
        }
        if !late.isEmpty {
            notes.append(
                "The generator itself was late, in the p99 of \(late.joined(separator: ", "))."
            )
        }
        return notes
    }
}
