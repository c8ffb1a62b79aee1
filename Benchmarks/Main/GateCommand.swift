import ArgumentParser
import Foundation
import MeshBench

/// `mesh-bench gate`: nothing may become dearer unnoticed.
struct GateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gate",
        abstract: "Counts what a request costs, and fails where it costs more than was accepted.",
        discussion: """
            Instructions, allocations and system calls of the workers for each request, counted by callgrind: \
            figures that are the same on every run, however busy the machine. Needs release builds, valgrind and \
            objcopy (scripts/setup --gate).

            Exit status: 0; 1 where something grew beyond its tolerance, or cannot be measured.
            """
    )

    @Option(
        help: "Identifiers of mesh-bench scenarios, separated by commas; without: the gate's own."
    )
    var scenarios: String?

    @Option(help: "What was accepted.")
    var record = "Benchmarks/gate.json"

    @Flag(help: "Accept what was measured: the record is written anew.")
    var accept = false

    @Option(help: "Folder of the release builds of MeshProxy and ztunnel-lite.")
    var programs = ".build/release"

    @Option(help: "Also show this many functions with the most instructions of their own.")
    var functions = 0

    func run() throws {
        do {
            guard try measure() else { throw ExitCode.failure }
        } catch let error as BenchError {
            FileHandle.standardError.write(Data("mesh-bench: \(error)\n".utf8))
            throw ExitCode(error == .interrupted ? 130 : 1)
        }
    }

    /// False where something grew.
    private func measure() throws -> Bool {
        var options = RunOptions()
        options.scheduling = .normal
        options.hasSpinners = false
        let bench = try Workbench(options: options, interruption: try Interruption())
        let gate = try GateRun(peers: try peers(), on: bench)
        let accepted = try GateRecordFile.read(record)
        var measured = GateRecord(origin: gate.origin)
        measured.tolerance = accepted?.tolerance ?? measured.tolerance
        var verdicts: [GateVerdict] = []
        say(GateText.header)
        for id in RunCommand.list(scenarios) ?? GateRun.catalogue.map(\.id) {
            let (figures, profile) = try gate.profile(id)
            measured.scenarios[id] = figures
            let own = GateVerdict.verdicts(id, figures, against: accepted, from: gate.origin)
            verdicts += own
            say(GateText.row(own))
            if functions > 0 { say(GateText.functions(profile, count: functions)) }
        }
        if accept {
            try GateRecordFile.write(measured.keeping(accepted), to: record)
            say("gate: accepted in \(record)")
            return true
        }
        GateText.remarks(verdicts, record: accepted, origin: gate.origin).forEach(say)
        let complaints = GateText.complaints(verdicts)
        complaints.forEach(say)
        if !complaints.isEmpty { say(GateText.advice) }
        return complaints.isEmpty
    }

    private func peers() throws -> PeerDirectory {
        var environment = ProcessInfo.processInfo.environment
        for (variable, name) in [("MESHPROXY", "MeshProxy"), ("ZTUNNEL_LITE", "ztunnel-lite")] {
            let path = URL(fileURLWithPath: programs).appendingPathComponent(name).path
            guard ProgramFinder.isExecutable(path) else {
                throw BenchError("no gate: \(path): is no program; make release builds it")
            }
            environment[variable] = path
        }
        return try PeerDirectory(folders: PeerFolders.all(and: []), environment: environment)
    }

    /// At once, also into a pipe.
    private func say(_ text: String) {
        FileHandle.standardOutput.write(Data((text + "\n").utf8))
    }
}
