import Foundation
import MeshBench
import Testing

@Suite struct ReportTableTests {
    @Test(arguments: [
        (0.0, "0"), (0.0523, "0.0523"), (0.844, "0.844"), (0.9996, "1.00"), (5.267, "5.27"),
        (9.999, "10.0"), (34.15, "34.1"), (99.96, "100"), (393.4, "393"), (57_700, "57,700"),
        (1_234_567.4, "1,234,567"), (-3.2, "−3.20"), (Double.nan, "–"),
    ])
    func `numbers have three significant digits`(value: Double, text: String) {
        #expect(Number.text(value) == text)
    }

    @Test func `a spread has the decimals of its median`() {
        let text = FigureText(Samples.figure(99.2, 97.04, 101.6), kind: .cpuMicroseconds)
        #expect(text.joined == "99.2 (97.0–101.6)")
        #expect(
            FigureText(Samples.figure(1, 1, 1, repetitions: 1), kind: .p50).joined == "1.00",
            "one repetition has no spread"
        )
        let bytes = FigureText(Samples.exact(1_048_576 * 250), kind: .bytesPerSecond)
        #expect(bytes.joined == "250 (250–250)", "throughput is written in MiB/s")
    }

    @Test(arguments: [
        (Samples.figure(10, 9, 11), Samples.figure(20, 19, 21), "0.50"),
        (Samples.figure(10, 9, 11), Samples.figure(12, 11, 13), "≈0.83"),
        (Samples.figure(12, 11, 13), Samples.figure(10, 9, 11), "≈1.20"),
        (Samples.figure(10, 9, 11), Samples.figure(12, 11.1, 13), "0.83"),
        (Samples.figure(10, 10, 10, repetitions: 1), Samples.figure(20, 19, 21), "0.50?"),
        (Samples.figure(250, 249, 251), Samples.figure(20, 19, 21), "12.5"),
    ])
    func `a ratio is a tie where the spreads overlap`(ours: Figure, theirs: Figure, text: String) {
        #expect(Ratio(ours, to: theirs)?.text == text)
    }

    @Test func `nothing is divided by a figure that is not above zero`() {
        #expect(Ratio(Samples.exact(1), to: Samples.exact(0)) == nil)
        #expect(Ratio(Samples.exact(1), to: Samples.exact(-2)) == nil)
        #expect(Ratio(Samples.exact(-1), to: Samples.exact(2)) == nil)
    }

    @Test func `what is above the floor is a difference and a share`() {
        let above = AboveFloor(Samples.exact(12), floor: Samples.exact(9))
        #expect(above?.text == "3.00 (25 %)")
        #expect(AboveFloor(Samples.exact(8), floor: Samples.exact(10))?.text == "−2.00 (−25 %)")
    }

    @Test func `a block has a line for each peer, with ratio and share above the floor`() {
        let scenario = Samples.scenario(
            "hop-h1",
            [
                Samples.result("envoy", [.cpuMicroseconds: Samples.figure(34, 33, 35)]),
                Samples.result("meshproxy", [.cpuMicroseconds: Samples.figure(12, 11, 13)]),
                Samples.result("floor", [.cpuMicroseconds: Samples.figure(6, 6, 6)]),
            ]
        )
        let text = ReportTable.text(of: Samples.report([scenario]))
        let block = text.split(separator: "\n", omittingEmptySubsequences: false)
            .drop { !$0.hasPrefix("hop-h1: A scenario") }.prefix { !$0.isEmpty }
        #expect(
            block.joined(separator: "\n") == """
                hop-h1: A scenario
                  What happens. 3 repetitions.
                             CPU µs/request      ÷ above floor
                  floor      6.00 (6.00–6.00) 2.00
                  MeshProxy  12.0 (11.0–13.0)      6.00 (50 %)
                  Envoy      34.0 (33.0–35.0) 0.35 28.0 (82 %)
                """
        )
    }

    @Test func `memory and time at start are told where they differ from what was told before`() {
        func scenario(_ id: String, resident: Double, start: Double) -> ScenarioReport {
            Samples.scenario(
                id,
                [
                    Samples.result(
                        "meshproxy",
                        [
                            .cpuMicroseconds: Samples.exact(12),
                            .startResidentMiB: Samples.exact(resident),
                            .startMilliseconds: Samples.exact(start),
                        ]
                    )
                ]
            )
        }
        let text = ReportTable.text(
            of: Samples.report([
                scenario("first", resident: 10, start: 20),
                scenario("same", resident: 10.5, start: 22),
                scenario("large", resident: 30, start: 300),
            ])
        )
        func block(_ id: String) -> String {
            text.split(separator: "\n", omittingEmptySubsequences: false)
                .drop { !$0.hasPrefix("\(id):") }.prefix { !$0.isEmpty }.joined(separator: "\n")
        }
        #expect(block("first").contains("start RSS") && !block("first").contains("start ms"))
        #expect(!block("same").contains("start"))
        #expect(block("large").contains("start RSS") && block("large").contains("start ms"))
    }

    @Test func `the direct path is not beyond itself`() {
        let figures: [FigureKind: Figure] = [.p50: Samples.exact(50), .addedP50: Samples.exact(0)]
        let scenario = Samples.scenario("hop-h1", [Samples.result("direct", figures)])
        #expect(!ReportTable.text(of: Samples.report([scenario])).contains("beyond direct"))
    }

    @Test func `failures and discarded repetitions are said`() throws {
        let text = try ReportTable.text(of: Samples.fixture())
        #expect(text.contains("  ! nginx failed: exited with 1 before it accepted"))
        #expect(text.contains("  ! HAProxy: 1 repetition thrown away: foreign CPU 0.31"))
    }

    @Test func `the relay's start is the harness's, and not shown`() {
        let floor: [FigureKind: Figure] = [
            .startResidentMiB: Samples.exact(25), .connectionKiB: Samples.exact(1),
        ]
        let ours: [FigureKind: Figure] = [
            .startResidentMiB: Samples.exact(10), .connectionKiB: Samples.exact(2),
        ]
        let scenario = Samples.scenario(
            "idle-1000",
            [Samples.result("floor", floor), Samples.result("meshproxy", ours)]
        )
        let lines = ReportTable.text(of: Samples.report([scenario])).split(separator: "\n")
        let line = lines.first { $0.hasPrefix("  floor") }
        #expect(line?.contains("1.00 (1.00–1.00)") == true)
        #expect(line?.contains("25.0") == false)
    }

    @Test func `who was not saturated, and a generator that was late, are said`() {
        let figures: [FigureKind: Figure] = [
            .cpuMicroseconds: Samples.exact(12), .busyShare: Samples.exact(0.62),
            .p99: Samples.exact(100), .latenessP99: Samples.exact(40),
        ]
        let busy: [FigureKind: Figure] = [
            .cpuMicroseconds: Samples.exact(30), .busyShare: Samples.exact(0.99),
            .p99: Samples.exact(200), .latenessP99: Samples.exact(10),
        ]
        let scenario = Samples.scenario(
            "hop-h1",
            [Samples.result("haproxy", figures), Samples.result("envoy", busy)]
        )
        let text = ReportTable.text(of: Samples.report([scenario]))
        #expect(text.contains("! Not saturated, with so much of their CPU in use: HAProxy 62 %."))
        #expect(text.contains("late, in the p99 of HAProxy 40.0 of 100 µs."))
    }

    @Test(arguments: [100, 120])
    func `no line is wider than asked for`(width: Int) throws {
        let text = try ReportTable.text(of: Samples.fixture(), width: width, all: true)
        for line in text.split(separator: "\n") {
            #expect(line.count <= width, "\(line)")
        }
    }

    @Test func `every scenario is at a glance`() throws {
        let report = try Samples.fixture()
        let glance = ReportTable.text(of: report).split(separator: "\n")
            .drop { !$0.hasPrefix("At a glance") }
        for scenario in report.scenarios {
            #expect(glance.contains { $0.hasPrefix("\(scenario.id): ") }, "\(scenario.id)")
        }
    }

    @Test func `a partial report says so`() {
        var report = Samples.report([])
        #expect(!ReportTable.text(of: report).contains("PARTIAL"))
        report.isPartial = true
        #expect(ReportTable.text(of: report).contains("PARTIAL"))
    }

    @Test func `a report is read back as it was written`() throws {
        let report = try Samples.fixture()
        let again = try BenchReport(json: report.json(), name: "memory")
        #expect(ReportTable.text(of: again, all: true) == ReportTable.text(of: report, all: true))
    }

    @Test func `a file that is no report is refused with its reason`() {
        func message(_ json: String) -> String {
            do {
                _ = try BenchReport(json: Data(json.utf8), name: "x.json")
                return ""
            } catch { return "\(error)" }
        }
        #expect(message("{").hasPrefix("read report: x.json:"))
        #expect(message(#"{"schema":9}"#).contains("its schema is 9"))
        #expect(message(#"{"schema":1,"date":"d"}"#).contains(" is missing"))
    }
}
