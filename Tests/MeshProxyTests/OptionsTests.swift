import MeshConfig
import Testing

@testable import MeshProxy

private func parse(_ line: String) -> Options.Action {
    Options.parse(
        line.split(separator: " ").map(String.init),
        program: "MeshProxy",
        version: "1.0"
    )
}

private func options(_ line: String) -> Options? {
    if case .run(let options) = parse(line) { options } else { nil }
}

@Suite struct OptionsTests {
    @Test(arguments: ["-c a.json", "-ca.json", "--config-path a.json", "--config-path=a.json"])
    func `the file is named in four ways`(line: String) {
        #expect(options(line)?.configPath == "a.json")
    }

    @Test func `every option is read`() {
        let found = options(
            "-c a.yaml --mode validate --concurrency 4 -l warn --component-log-level"
                + " upstream:debug,http:trace --drain-time-s 30 --file-flush-interval-msec 20"
        )
        #expect(found?.mode == .validate)
        #expect(found?.concurrency == 4)
        #expect(found?.logLevel == .warning)
        #expect(
            found?.componentLogLevels == [
                .init(component: "upstream", level: .debug),
                .init(component: "http", level: .trace),
            ]
        )
        #expect(found?.drainTime == .seconds(30))
        #expect(found?.logFlushInterval == .milliseconds(20))
        #expect(found?.hotRestartFlags == [])
    }

    @Test func `defaults are those of a server with a worker per processor`() {
        let found = options("-c a.json")
        #expect(found?.mode == .serve)
        #expect(found?.concurrency == nil)
        #expect(found?.logLevel == .info)
        #expect(found?.drainTime == nil)
        #expect(options("-c a --concurrency 0")?.concurrency == 1)
    }

    @Test func `flags of hot restart are taken and remembered`() {
        #expect(
            options("-c a --disable-hot-restart --base-id 3 --use-dynamic-base-id")?.hotRestartFlags
                == ["--disable-hot-restart", "--base-id", "--use-dynamic-base-id"]
        )
    }

    @Test(arguments: [
        ("", "no configuration: -c names the file; see --help"),
        ("-c", "the option -c needs a value; see --help"),
        ("-c a extra", #"unexpected argument "extra": options begin with a dash; see --help"#),
        ("-c a --moed serve", #"unknown option "--moed"; did you mean --mode?"#),
        ("-c a -z", #"unknown option "-z"; see --help"#),
        ("-c a --mode run", #"--mode: "run" is not one of serve, validate"#),
        ("-c a --concurrency x", #"--concurrency: "x" is not a number from 1 to 4096"#),
        (
            "-c a -l debgu",
            #"--log-level: "debgu" is not one of trace, debug, info, warning, error, critical, off; did you mean "debug"?"#
        ),
        (
            "-c a --component-log-level http",
            #"--component-log-level: "http" is not of the form component:level"#
        ),
        ("-c a --drain-time-s -1", #"--drain-time-s: "-1" is not a number of seconds"#),
        (
            "-c a --file-flush-interval-msec 1s",
            #"--file-flush-interval-msec: "1s" is not a number of milliseconds"#
        ),
        ("-c a --disable-hot-restart=1", "the option --disable-hot-restart takes no value"),
        ("--config-path=", "--config-path: the path is empty"),
    ]) func `a wrong command line is refused with the reason`(line: String, message: String) {
        #expect(parse(line) == .refuse(message))
    }

    @Test func `help and version win over everything after them`() {
        #expect(parse("--version --nonsense") == .print("MeshProxy 1.0\n"))
        guard case .print(let text) = parse("--help") else {
            Issue.record("no usage")
            return
        }
        #expect(text.contains("--component-log-level"))
    }
}
