import MeshConfig
import MeshNet
import MeshRuntime
import Synchronization
import Testing

private final class Lines: Sendable {
    let text = Mutex("")

    func log() -> Log {
        Log(clock: { WallTime(nanoseconds: 1_795_222_606_661_117_000) }) { line in
            let added = String(bytes: line)
            self.text.withLock { $0 += added }
        }
    }
}

struct LogTests {
    @Test func `a line has Envoy's form`() throws {
        let lines = Lines()
        lines.log().info(.main, "workers=2 started")
        let line = lines.text.withLock { $0 }
        #expect(line.hasPrefix("[2026-11-21 00:56:46.661]["))
        #expect(line.hasSuffix("][info][main] workers=2 started\n"))
    }

    @Test func `levels are kept by component`() {
        let lines = Lines()
        let log = lines.log()
        log.setLevel(.error)
        log.setLevel(.trace, of: .router)
        log.warning(.main, "no")
        log.trace(.router, "yes")
        log.setLevel(.off)
        log.critical(.main, "never")
        #expect(lines.text.withLock { $0 }.hasSuffix("][trace][router] yes\n"))
        #expect(lines.text.withLock { $0.split(separator: "\n").count } == 1)
    }

    @Test func `a message that is not wanted is not made`() {
        let log = Lines().log()
        func made() -> String {
            Issue.record("made")
            return ""
        }
        log.debug(.main, made())
    }

    @Test func `a peer's text cannot begin a line`() {
        let lines = Lines()
        lines.log().info(.http, "path=/a\n[2026] forged")
        #expect(lines.text.withLock { $0.split(separator: "\n").count } == 1)
    }

    @Test func `what peers cause is limited and the gap is told`() {
        var limit = LogRateLimit(linesPerSecond: 2)
        let start = Instant(nanoseconds: 5_000_000_000)
        #expect(limit.lineWanted(now: start) == .write(suppressed: 0))
        #expect(limit.lineWanted(now: start) == .write(suppressed: 0))
        #expect(limit.lineWanted(now: start) == .suppress)
        #expect(limit.lineWanted(now: start + .milliseconds(999)) == .suppress)
        #expect(limit.lineWanted(now: start + .seconds(1)) == .write(suppressed: 2))
        #expect(limit.lineWanted(now: start + .seconds(1)) == .write(suppressed: 0))
    }

    @Test func `names are Envoy's`() {
        #expect(LogComponent("conn_handler") == .connHandler)
        #expect(LogComponent.allCases.allSatisfy { !LogComponent.unused.contains($0.name) })
    }
}
