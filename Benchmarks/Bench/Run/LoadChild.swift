import Foundation
import MeshLoad

/// `mesh-bench load` as a child: a plan goes in, a result comes out.
struct LoadChild {
    let bench: Workbench

    private struct Standing: Decodable { var standing: Int }

    private func start(_ plan: LoadPlan, before: [String] = [], isStanding: Bool) throws
        -> ChildProcess
    {
        let folder = try bench.newFolder("load")
        let own = [bench.program, "load", "--plan", "-", "--json"]
        let words = before + own
        var command = ChildProcess.Command(
            program: words[0],
            arguments: Array(words.dropFirst()),
            directory: folder
        )
        command.input = .pipe
        command.output = .pipe
        command.errors = folder + "/errors"
        let child = try ChildProcess("load", command, on: bench.generator)
        var plan = plan
        if before.isEmpty {
            plan.watched.append(WatchedProcess(name: "generator", pid: child.pid))
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        let text = String(decoding: try encoder.encode(plan), as: UTF8.self)
        child.send(text + "\n", andEnd: !isStanding)
        return child
    }

    /// One run of the generator.
    ///
    /// - Parameters:
    ///   - before: words of a command that starts the generator: `perf stat …`.
    ///   - meanwhile: called at least four times a second.
    /// - Throws: also when something went wrong in the run, whatever it was.
    func run(
        _ plan: LoadPlan,
        before: [String] = [],
        meanwhile: () -> Void = {}
    ) throws -> LoadResult {
        let child = try start(plan, before: before, isStanding: false)
        defer { child.stop() }
        let limit = plan.warmUp + plan.duration + 60
        let reader = LineReader(child.output, bench.interruption)
        guard let line = try reader.line(within: limit, meanwhile: meanwhile) else {
            let reason = reader.isAtEnd ? "it ended" : "nothing for \(Int(limit)) s"
            throw BenchError("the generator has no result: \(reason): \(said())")
        }
        let result = try decode(line)
        // Its end is awaited: perf writes what it counted only then.
        while try reader.line(within: 10, meanwhile: meanwhile) != nil {}
        try Self.refuseErrors(result)
        return result
    }

    /// Opens what the plan says, calls the body while it stands, and closes it again.
    func standing<Value>(_ plan: LoadPlan, _ body: () throws -> Value) throws -> Value {
        let child = try start(plan, isStanding: true)
        defer { child.stop() }
        let reader = LineReader(child.output, bench.interruption)
        guard let line = try reader.line(within: 120) else {
            throw BenchError("connections do not stand: \(said())")
        }
        guard let stood = try? JSONDecoder().decode(Standing.self, from: Data(line.utf8)) else {
            try Self.refuseErrors(decode(line))
            throw BenchError("connections do not stand: \(line.prefix(300))")
        }
        let value = try body()
        child.endInput()
        if let last = try reader.line(within: 60) { try Self.refuseErrors(decode(last)) }
        guard stood.standing > 0 else { throw BenchError("no connection stands") }
        return value
    }

    private func decode(_ line: String) throws -> LoadResult {
        do {
            return try JSONDecoder().decode(LoadResult.self, from: Data(line.utf8))
        } catch {
            throw BenchError("the generator's result is not understood: \(line.prefix(300))")
        }
    }

    private static func refuseErrors(_ result: LoadResult) throws {
        guard !result.errors.isEmpty else { return }
        let list = result.errors.sorted { $0.value > $1.value }.prefix(3)
            .map { "\($0.key) (\($0.value)×)" }
        throw BenchError("errors: \(list.joined(separator: "; "))")
    }

    private func said() -> String {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: bench.folder)) ?? []
        let last = names.filter { $0.hasSuffix("-load") }
            .max { (Int($0.prefix { $0.isNumber }) ?? 0) < (Int($1.prefix { $0.isNumber }) ?? 0) }
        let text = last.flatMap {
            try? String(contentsOfFile: "\(bench.folder)/\($0)/errors", encoding: .utf8)
        }
        let end = (text ?? "").suffix(600).trimmingCharacters(in: .whitespacesAndNewlines)
        return end.isEmpty ? "it said nothing" : end
    }
}
