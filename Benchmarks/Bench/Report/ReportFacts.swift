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
    var scenariosOfStart: [String] {
        var shown: [Double] = []
        return scenarios.filter { scenario in
            guard let start = scenario.subject?.figures[.startResidentMiB]?.median,
                !shown.contains(where: { abs($0 - start) < 0.15 * max($0, start) })
            else { return false }
            shown.append(start)
            return true
        }.map(\.id)
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
            (
                "system",
                "Linux \(kernel), \(openSSL.hasPrefix("OpenSSL") ? openSSL : "OpenSSL " + openSSL)"
            ),
            ("pinning", pinning),
            ("scheduling", scheduling),
        ]
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

    /// What went wrong or was thrown away, a line for each peer.
    var notes: [String] {
        ordered.flatMap { result -> [String] in
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
    }
}
