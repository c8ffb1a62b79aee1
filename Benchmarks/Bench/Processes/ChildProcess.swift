import CBench
import Foundation
import Glibc

/// A process that a run has started, in a process group of its own. It ends with ``stop()``, at the latest when
/// the object goes, and where `setpriv` is installed also when the harness is killed.
package final class ChildProcess {
    package enum Stream {
        case null
        case pipe
        case file(String)
    }

    package struct Command {
        package var program: String
        package var arguments: [String]
        /// Beyond what the harness has.
        package var environment: [String: String] = [:]
        package var directory: String
        package var input = Stream.null
        package var output = Stream.null
        /// Nil: with the output.
        package var errors: String?

        package init(program: String, arguments: [String], directory: String) {
            self.program = program
            self.arguments = arguments
            self.directory = directory
        }
    }

    package let name: String
    package let pid: pid_t
    /// The harness' end of a pipe to its standard input, or -1.
    private var input: Int32 = -1
    /// The harness' end of a pipe from its standard output, or -1.
    package private(set) var output: Int32 = -1
    private var status: Int32?

    private static let setpriv = ProgramFinder.inPath("setpriv")

    package init(_ name: String, _ command: Command, on placement: Placement) throws {
        self.name = name
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var childEnds: [Int32] = []
        defer { for end in childEnds { close(end) } }
        switch command.input {
        case .pipe:
            let ends = try Self.pipe()
            input = ends.write
            childEnds.append(ends.read)
            posix_spawn_file_actions_adddup2(&actions, ends.read, 0)
        case .null: posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        case .file(let path): posix_spawn_file_actions_addopen(&actions, 0, path, O_RDONLY, 0)
        }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        switch command.output {
        case .pipe:
            let ends = try Self.pipe()
            output = ends.read
            childEnds.append(ends.write)
            posix_spawn_file_actions_adddup2(&actions, ends.write, 1)
        case .null: posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        case .file(let path): posix_spawn_file_actions_addopen(&actions, 1, path, flags, 0o644)
        }
        if let errors = command.errors {
            posix_spawn_file_actions_addopen(&actions, 2, errors, flags, 0o644)
        } else {
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        }
        cbench_spawn_in(&actions, command.directory)

        var attributes = Self.attributes(placement.scheduling)
        defer { posix_spawnattr_destroy(&attributes) }
        let words =
            (Self.setpriv.map { [$0, "--pdeathsig", "KILL", "--"] } ?? []) + [command.program]
            + command.arguments
        let environment = ProcessInfo.processInfo.environment
            .merging(command.environment) { $1 }.map { "\($0)=\($1)" }
        let path = Self.setpriv ?? command.program
        var child: pid_t = 0
        let failure = placement.whileThere {
            Self.withCStrings(words) { words in
                Self.withCStrings(environment) { environment in
                    posix_spawn(&child, path, &actions, &attributes, words, environment)
                }
            }
        }
        guard failure == 0 else {
            throw BenchError(
                "\(name) did not start: \(command.program): \(String(cString: strerror(failure)))"
            )
        }
        pid = child
    }

    deinit {
        stop()
        if output >= 0 { close(output) }
    }

    /// Sends text, and after it the end, if that is all.
    package func send(_ text: String, andEnd: Bool) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            bytes = bytes.dropFirst(count)
        }
        if andEnd { endInput() }
    }

    package func endInput() {
        if input >= 0 { close(input) }
        input = -1
    }

    /// True while it has not ended.
    package var isRunning: Bool {
        if status != nil { return false }
        var raw: Int32 = 0
        guard waitpid(pid, &raw, WNOHANG) == pid else { return true }
        status = raw
        return false
    }

    /// Ends it and its children at once, and waits for it.
    package func stop() {
        endInput()
        guard isRunning else { return }
        kill(-pid, SIGKILL)
        var raw: Int32 = 0
        while waitpid(pid, &raw, 0) < 0, errno == EINTR {}
        status = raw
    }

    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else {
            throw BenchError("no pipe to a child: \(String(cString: strerror(errno)))")
        }
        // No other thread starts processes meanwhile.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    private static func attributes(_ scheduling: Placement.Scheduling) -> posix_spawnattr_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        var flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setpgroup(&attributes, 0)
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        if scheduling == .roundRobin {
            var parameters = sched_param(sched_priority: 10)
            posix_spawnattr_setschedpolicy(&attributes, SCHED_RR)
            posix_spawnattr_setschedparam(&attributes, &parameters)
            flags |= Int32(POSIX_SPAWN_SETSCHEDULER)
        }
        posix_spawnattr_setflags(&attributes, Int16(flags))
        return attributes
    }

    private static func withCStrings<Value>(
        _ strings: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        copies.append(nil)
        defer { for copy in copies { free(copy) } }
        return copies.withUnsafeBufferPointer { buffer in
            // Never nil: there is at least the terminating one.
            guard let base = buffer.baseAddress else { preconditionFailure() }
            return body(base)
        }
    }
}
