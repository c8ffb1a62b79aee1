import ArgumentParser
import Foundation
import MeshBench

/// `mesh-bench run`: the scenarios, against every peer.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Runs scenarios against every peer of this machine, and writes a report.",
        discussion: """
            Proxies have the first CPU for themselves, generator and upstream the last one; processes are fresh for \
            every repetition, and peers take turns within each. Ctrl-C saves what there is. The report is \
            report.json and report.html in the output folder, written after each scenario, and at the end a table.
            """
    )

    @Option(help: "Identifiers separated by commas, or all; mesh-bench scenarios lists them.")
    var scenarios: String?

    @Option(help: "Names separated by commas; direct and floor are among them.")
    var peers: String?

    @Option(
        help: ArgumentHelp(
            "Another build of MeshProxy to compare with, or of whatever an adapter starts; repeatable.",
            valueName: "name=[adapter:]path"
        )
    )
    var add: [String] = []

    @Option(help: "Folder with further adapters, one folder for each peer; repeatable.")
    var peersDir: [String] = []

    @Option(help: "Interleaved repetitions (3).")
    var repetitions: Int?

    @Option(help: "Of every window that is counted (3).")
    var seconds: Double?

    @Option(help: "Seconds before each of them (1).")
    var warmUp: Double?

    @Option(help: "Requests a second of the latency figures, instead of the scenario's own.")
    var rate: Double?

    @Flag(help: "Also latency at 25, 50, 75 and 90 % of what each peer can do.")
    var curves = false

    @Flag(
        help:
            "One short repetition of what does not come in ten thousands: tendencies within minutes."
    )
    var quick = false

    @Option(help: "rr (SCHED_RR 10) or default; without: rr where it is allowed.")
    var scheduling: SchedulingOption?

    @Flag(inversion: .prefixedNo, help: "Busy loops of the lowest class while latency is measured.")
    var spinners: Bool?

    @Option(help: "CPUs that other programs may use before a repetition is thrown away.")
    var maxForeign = NoiseRule().foreignMost

    @Option(help: "CPUs that the hypervisor may take before a repetition is thrown away.")
    var maxStolen = NoiseRule().stolenMost

    @Option(help: "How often a repetition is tried before it is given up.")
    var attempts = NoiseRule().attempts

    @Option(help: "Folder of the report; without: bench-results/DATE.")
    var output: String?

    func validate() throws {
        for (name, value) in [("--seconds", seconds), ("--rate", rate)] where (value ?? 1) <= 0 {
            throw ValidationError("\(name) is more than 0")
        }
        guard (repetitions ?? 1) >= 1 else { throw ValidationError("--repetitions is at least 1") }
        guard (warmUp ?? 0) >= 0 else { throw ValidationError("--warm-up is at least 0") }
        guard attempts >= 1 else { throw ValidationError("--attempts is at least 1") }
        guard maxForeign >= 0, maxStolen >= 0 else {
            throw ValidationError("--max-foreign and --max-stolen are at least 0")
        }
    }

    func run() throws {
        do {
            let isPartial = try measure()
            if isPartial { throw ExitCode(130) }
        } catch let error as BenchError {
            FileHandle.standardError.write(Data("mesh-bench: \(error)\n".utf8))
            throw ExitCode(error == .interrupted ? 130 : 1)
        }
    }

    /// True when it was interrupted.
    private func measure() throws -> Bool {
        let interruption = try Interruption()
        let directory = try PeerDirectory(folders: PeerFolders.all(and: peersDir), added: add)
        let chosen = try directory.chosen(Self.list(peers))
        let scenarios = try ScenarioCatalogue.chosen(Self.list(self.scenarios), isQuick: quick)
        let folder = output ?? "bench-results/\(Self.date())"
        let bench = try Workbench(options: options(), interruption: interruption)
        let run = BenchRun(
            scenarios: scenarios,
            peers: directory,
            chosen: chosen,
            on: bench,
            say: { FileHandle.standardError.write(Data(($0 + "\n").utf8)) },
            save: { try ReportFolder.save($0, in: folder) }
        )
        let report = try run.run()
        print(ReportTable.text(of: report), terminator: "")
        print("\nreport: \(folder)/report.json, \(folder)/report.html")
        return report.isPartial
    }

    private func options() -> RunOptions {
        var options = RunOptions()
        if quick { options.makeQuick() }
        options.repetitions = repetitions ?? options.repetitions
        options.seconds = seconds ?? options.seconds
        options.warmUp = warmUp ?? min(options.warmUp, options.seconds)
        options.rate = rate
        options.hasCurves = curves
        options.scheduling = scheduling.map { $0 == .rr ? .roundRobin : .normal }
        options.hasSpinners = spinners
        options.noise.foreignMost = maxForeign
        options.noise.stolenMost = maxStolen
        options.noise.attempts = attempts
        options.command = (["mesh-bench"] + CommandLine.arguments.dropFirst()).joined(
            separator: " "
        )
        return options
    }

    static func list(_ text: String?) -> [String]? {
        text.map { $0.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } }
    }

    private static func date() -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyy-MM-dd-HHmmss"
        return formatter.string(from: Date())
    }
}

/// Values of `--scheduling`.
enum SchedulingOption: String, ExpressibleByArgument {
    case rr
    case `default`
}
