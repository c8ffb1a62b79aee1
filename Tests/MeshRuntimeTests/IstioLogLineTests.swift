import MeshConfig
import MeshNet
import MeshRuntime
import MeshSimulation
import Synchronization
import Testing

private let time = WallTime(nanoseconds: 1_712_849_922_182_974_000)

private func line(json: Bool = false, _ body: (inout IstioLogLine, inout ByteBuffer) -> Void)
    -> String
{
    var buffer = ByteBuffer()
    var line = IstioLogLine(isJSON: json)
    line.begin(&buffer, .info, "access", message: "connection complete", at: time)
    body(&line, &buffer)
    line.end(&buffer)
    return String(bytes: buffer.bytes)
}

struct IstioLogLineTests {
    @Test func `text has tabs before its keys and spaces between them`() {
        let text = line {
            $0.bareField(&$1, "src.addr", "10.244.0.24:46238")
            $0.field(&$1, "src.workload", "shell")
            $0.field(&$1, "bytes_sent", 67)
        }
        #expect(
            text == "2024-04-11T15:38:42.182974Z\tinfo\taccess\tconnection complete\t"
                + "src.addr=10.244.0.24:46238 src.workload=\"shell\" bytes_sent=67\n"
        )
    }

    @Test func `JSON has the same keys behind its four`() {
        let text = line(json: true) {
            $0.bareField(&$1, "src.addr", "[::1]:80")
            $0.field(&$1, "direction", "inbound" as StaticString)
            $0.field(&$1, "bytes_sent", 67)
        }
        #expect(
            text == #"{"level":"info","time":"2024-04-11T15:38:42.182974Z","scope":"access","#
                + #""message":"connection complete","src.addr":"[::1]:80","#
                + #""direction":"inbound","bytes_sent":67}"# + "\n"
        )
    }

    @Test(arguments: [
        ("a\"b\\c", #""a\"b\\c""#),
        ("a\nb\tc\rd\0e", #""a\nb\tc\rd\0e""#),
        ("\u{1b}[31m\u{7f}", #""\u{1b}[31m\u{7f}""#),
        ("caf\u{e9} 日本", "\"café 日本\""),
        // A text direction mark, a no-break space, a combining accent.
        ("\u{202e}x\u{a0}e\u{301}", #""\u{202e}x\u{a0}e\u{301}""#),
    ])
    func `no value leaves its quotes`(_ value: String, _ quoted: String) {
        let text = line { $0.field(&$1, "error", value) }
        #expect(text.hasSuffix("\terror=\(quoted)\n"))
    }

    @Test(arguments: ["a b", "a\"", "host:80\u{1b}", "x=1", ""])
    func `a value that no address has is quoted where addresses are not`(_ value: String) {
        let text = line { $0.bareField(&$1, "dst.hbone_addr", value) }
        #expect(text.contains("dst.hbone_addr=\""))
        #expect(text.split(separator: "\n").count == 1)
    }

    @Test func `JSON escapes what a peer has sent`() {
        let text = line(json: true) { $0.field(&$1, "error", "a\"\n\u{1b}") }
        #expect(text.hasSuffix(#","error":"a\"\n\u001b"}"# + "\n"))
    }

    @Test(arguments: [
        (LogLevel.trace, "trace"), (.debug, "debug"), (.info, "info"), (.warning, "warn"),
        (.error, "error"), (.critical, "error"),
    ])
    func `there are five levels`(_ level: LogLevel, _ name: String) {
        #expect(level.istioName.description == name)
    }

    @Test func `the process's own lines take the form they are redirected to`() {
        let text = Mutex("")
        let log = Log(clock: { time }, output: { _ in Issue.record("still the old output") })
        for style in [LogStyle.istio, .istioJSON] {
            log.redirect(to: style) { line in
                let added = String(bytes: line)
                text.withLock { $0 += added }
            }
            log.warning(.config, "bad\tfile \"x\"\nforged")
        }
        #expect(
            text.withLock { $0 }
                == "2024-04-11T15:38:42.182974Z\twarn\tconfig\tbad file \"x\" forged\n"
                + #"{"level":"warn","time":"2024-04-11T15:38:42.182974Z","scope":"config","#
                + #""message":"bad\tfile \"x\"\nforged"}"# + "\n"
        )
    }
}

struct LogLinesTests {
    private let disk = FakeLogFiles()
    private let registry = StatsRegistry(workers: 1)
    private let simulation = Simulation(seed: 1)

    @Test func `lines gather until their time has come`() {
        let writer = LogWriter(disk, registry, flushInterval: .milliseconds(100))
        let loop = simulation.makeLoop()
        let stats = WorkerStats(registry, index: 0)
        let lines = LogLines(.standardOutput, writer: writer, loop: loop, stats: stats)
        lines.write { $0.append("one\n" as StaticString) }
        lines.write { $0.append("two\n" as StaticString) }
        writer.drain()
        #expect(disk.contents(1) == nil)
        simulation.run(for: .milliseconds(150))
        writer.drain()
        #expect(disk.contents(1) == "one\ntwo\n")
        lines.write { $0.append("three\n" as StaticString) }
        lines.flush()
        writer.drain()
        #expect(disk.contents(1) == "one\ntwo\nthree\n")
    }
}
