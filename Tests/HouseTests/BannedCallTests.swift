import Testing

/// Calls that break a rule of the house, each with what to use instead.
struct BannedCallTests {
    private struct Ban {
        let text: String
        let instead: String
        /// Paths that may: the one place the thing is for.
        var allowed: [String] = []
    }

    private static let systemFiles = [
        "Sources/MeshNet/System/", "Sources/MeshProxy/Main/", "Sources/MeshSimulation/",
    ]

    private static let bans = [
        Ban(text: "clock_gettime(", instead: "System.now() or wallClock()", allowed: systemFiles),
        Ban(text: "gettimeofday(", instead: "System.wallClock()", allowed: systemFiles),
        Ban(text: "ContinuousClock", instead: "System.now()"),
        Ban(text: "SuspendingClock", instead: "System.now()"),
        Ban(text: "SystemRandomNumberGenerator", instead: "System.fill(random:)"),
        Ban(text: "getrandom(", instead: "System.fill(random:)", allowed: systemFiles),
        Ban(text: "arc4random", instead: "System.fill(random:)"),
        Ban(text: "usleep(", instead: "EventLoop.arm(_:_:after:)"),
        Ban(text: "nanosleep(", instead: "EventLoop.arm(_:_:after:)"),
        Ban(text: "Thread.sleep", instead: "EventLoop.arm(_:_:after:)"),
        Ban(text: "SSL_set_fd(", instead: "TLSSession, which does no I/O"),
        Ban(text: "epoll_wait(", instead: "EventLoop", allowed: systemFiles),
        Ban(text: "try!", instead: "do and catch, or a throwing function"),
        Ban(text: "as!", instead: "as? and a decision"),
        Ban(text: "TODO", instead: "an issue"),
        Ban(text: "FIXME", instead: "an issue"),
        Ban(text: "DispatchQueue", instead: "WorkerThread and Mailbox"),
        Ban(text: "Task {", instead: "an event on the loop"),
        Ban(text: "nonisolated(unsafe)", instead: "a value owned by one worker"),
    ]

    @Test func `no banned call in Sources`() {
        for file in Repository.sources {
            for ban in Self.bans where !ban.allowed.contains(where: file.path.hasPrefix) {
                for (at, line) in file.lines.enumerated() where Self.code(line).contains(ban.text) {
                    Issue.record("\(file.path):\(at + 1) uses \(ban.text); use \(ban.instead)")
                }
            }
        }
    }

    @Test func `print is for Main alone`() {
        let allowed = ["Sources/MeshProxy/Main/", "Sources/MeshSimulation/"]
        for file in Repository.sources where !allowed.contains(where: file.path.hasPrefix) {
            for (at, line) in file.lines.enumerated() {
                let code = Self.code(line)
                let calls =
                    code.contains(" print(") && !code.contains("case print(")
                    || code.hasPrefix("print(")
                #expect(!calls, "\(file.path):\(at + 1): use the log")
            }
        }
    }

    /// The line without its comment; text in comments is free.
    private static func code(_ line: Substring) -> Substring {
        let trimmed = line.drop { $0 == " " }
        if trimmed.hasPrefix("//") { return "" }
        guard let comment = line.firstRange(of: " // ") else { return line }
        return line[..<comment.lowerBound]
    }
}
