/// What a reader of the report has to know besides the figures.
enum RunNotes {
    static func all(
        missing: [(name: String, reason: String)],
        chosen: [Peer],
        bench: Workbench
    ) -> [String] {
        var notes: [String] = []
        let options = bench.options
        if options.isQuick {
            notes.append("This was a quick run: windows are short, read tendencies only.")
        }
        if options.repetitions < 3 {
            notes.append("Fewer than three repetitions: there is no median worth the name.")
        }
        for peer in missing {
            notes.append("\(peer.name) was left out: \(peer.reason).")
        }
        if !chosen.contains(where: \.isDirect) {
            notes.append("Without direct there is no added latency.")
        }
        if bench.proxies.cpus == bench.generator.cpus {
            notes.append("There is one CPU: proxies, generator and upstream share it.")
        }
        if !EventCounter.perfMayCount, ProgramFinder.inPath("strace") == nil {
            notes.append("System calls are not counted: neither perf (as root) nor strace is here.")
        }
        if !EventCounter.hasInstructions {
            notes.append("Instructions are not counted: there are no hardware counters.")
        }
        return notes
    }
}
