import Foundation
import MeshLoad

/// Counts what processes do while the generator runs: with `perf` where it may, else system calls with `strace`.
struct EventCounter {
    let bench: Workbench

    /// Per request; nil where this machine cannot count it.
    struct Counts {
        var systemCalls: Double?
        var instructions: Double?
    }

    /// - Parameter load: runs the generator, started by these words.
    func count(_ pids: [pid_t], _ load: ([String]) throws -> LoadResult) throws -> Counts {
        let folder = try bench.newFolder("count")
        let file = folder + "/counts"
        let all = pids.flatMap(ProcessMemory.family).map(String.init).joined(separator: ",")
        if let perf = ProgramFinder.inPath("perf"), Self.perfMayCount {
            let events = "raw_syscalls:sys_enter,instructions:u"
            let result = try load([
                perf, "stat", "-x", ",", "-e", events, "-p", all, "-o", file, "--",
            ])
            let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
            let requests = Double(max(1, result.requests))
            return Counts(
                systemCalls: Self.perfCount("raw_syscalls:sys_enter", in: text).map {
                    $0 / requests
                },
                instructions: Self.perfCount("instructions", in: text).map { $0 / requests }
            )
        }
        guard let strace = ProgramFinder.inPath("strace") else { return Counts() }
        var command = ChildProcess.Command(
            program: strace,
            arguments: ["-f", "-c", "-o", file] + pids.flatMap { ["-p", "\($0)"] },
            directory: folder
        )
        command.output = .file(folder + "/output")
        let tracer = try ChildProcess("strace", command, on: bench.generator)
        try bench.interruption.sleep(0.3)
        let result = try load([])
        kill(tracer.pid, SIGINT)
        let deadline = Clock.seconds() + 5
        while tracer.isRunning, Clock.seconds() < deadline { try bench.interruption.sleep(0.01) }
        tracer.stop()
        let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
        let calls = Self.straceTotal(in: text)
        return Counts(systemCalls: calls.map { $0 / Double(max(1, result.requests)) })
    }

    /// True where perf may look at other processes' system calls.
    static let perfMayCount: Bool = probe("raw_syscalls:sys_enter")
    /// True where there are hardware counters.
    static let hasInstructions: Bool = probe("instructions:u")

    private static func probe(_ event: String) -> Bool {
        guard let perf = ProgramFinder.inPath("perf") else { return false }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: perf)
        process.arguments = ["stat", "-x", ",", "-e", event, "--", "true"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = pipe
        guard (try? process.run()) != nil else { return false }
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return perfCount(
            event.split(separator: ":")[0] == "instructions" ? "instructions" : event,
            in: text
        )
            != nil
    }

    /// A line of `perf stat -x ,`: the count, its unit, the event.
    static func perfCount(_ event: String, in text: String) -> Double? {
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            if fields.count > 2, fields[2].hasPrefix(event) { return Double(fields[0]) }
        }
        return nil
    }

    /// The last line of `strace -c`: share, seconds, microseconds for each, calls, …, `total`.
    static func straceTotal(in text: String) -> Double? {
        guard let line = text.split(separator: "\n").last(where: { $0.hasSuffix("total") }) else {
            return nil
        }
        let words = line.split(separator: " ")
        // Older versions leave out the column of microseconds.
        return words.count > 3 ? words[2...].compactMap { Double($0) }.max() : nil
    }
}
