import ArgumentParser
import Foundation
import MeshLoad

/// `mesh-bench load`: one run of the generator.
struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Sends one kind of traffic to one address and measures the answers.",
        discussion: """
            With --rate the loop is open: request i is due at start + i/rate, whatever happened to those \
            before it, and its latency counts from then, so a stall shows in all requests it held up. \
            Without, the next request follows the answer: good for the highest rate, not for latency.

            Raw TCP servers are told what to do by the first byte: E echoes what follows, D sends for \
            ever, U reads for ever. connect-… ends each connection with RST, so that no ports run out in \
            TIME_WAIT. idle-… prints {"standing": N} once all connections stand in silence, holds them \
            until standard input ends or SIGINT or SIGTERM comes, and then tells the result.

            Exit status: 0; 1 where nothing was answered or the plan cannot be done; 64 for wrong \
            options; 130 where SIGINT or SIGTERM ended the window early (the result then says so).

            Example: mesh-bench load 127.0.0.1:8080 --rate 5000 --connections 64 --watch proxy=4711
            """
    )

    @OptionGroup var options: LoadOptions

    @Flag(help: "Write the result as one line of JSON to standard output, instead of a table.")
    var json = false

    @Flag(
        help: "Tell once a second how it goes, on standard error, also where that is no terminal."
    )
    var progress = false

    func run() throws {
        let plan = try options.makePlan()
        var run = LoadRun(plan)
        if progress || isatty(STDERR_FILENO) == 1 { run.progressed = Self.tell }
        run.stands = { count in
            // Not through print, which would keep it back in a pipe.
            FileHandle.standardOutput.write(Data("{\"standing\": \(count)}\n".utf8))
        }
        let outcome: LoadRun.Outcome
        do {
            outcome = try run.run()
        } catch {
            Self.complain("\(error)")
            throw ExitCode.failure
        }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(outcome.result), as: UTF8.self))
        } else {
            print(LoadTable(outcome.result).text, terminator: "")
        }
        if let failure = outcome.failure {
            Self.complain(failure.description)
            throw ExitCode.failure
        }
        if outcome.result.isPartial { throw ExitCode(130) }
    }

    private static func complain(_ text: String) {
        FileHandle.standardError.write(Data("mesh-bench \(text)\n".utf8))
    }

    private static func tell(_ progress: LoadProgress) {
        let line =
            progress.answers > 0 || progress.bytes == 0
            ? "\(progress.answers) req/s  p50 \(LoadTable.time(progress.p50))"
                + "  p99 \(LoadTable.time(progress.p99))"
            : "\(progress.bytes / 1_048_576) MiB/s"
        FileHandle.standardError.write(Data("\(line)  errors \(progress.errors)\n".utf8))
    }
}
