import Foundation
import MeshBench
import Testing

@Suite struct GateTests {
    private static let origin = GateRecord.Origin(valgrind: "valgrind-3.19.0", processor: "one")
    private static let figures = GateFigures(
        instructions: 20_000,
        allocations: 6,
        frees: 13,
        systemCalls: 6
    )

    private static var record: GateRecord {
        var record = GateRecord(origin: origin)
        record.scenarios["hop"] = figures
        return record
    }

    private static func judge(
        _ change: (inout GateFigures) -> Void,
        from origin: GateRecord.Origin = origin
    ) -> [GateVerdict] {
        var figures = figures
        change(&figures)
        return GateVerdict.verdicts("hop", figures, against: record, from: origin)
    }

    @Test func `what stays within its tolerance passes`() {
        let verdicts = Self.judge {
            $0.instructions = 20_590
            $0.allocations = 6.05
            $0.systemCalls = 5.9
        }
        #expect(verdicts.allSatisfy { $0.outcome == .same })
        #expect(GateText.complaints(verdicts).isEmpty)
    }

    @Test func `what grew is named with how much and how much was tolerated`() {
        let verdicts = Self.judge {
            $0.instructions = 21_000
            $0.allocations = 7
            $0.systemCalls = 8
        }
        #expect(
            GateText.complaints(verdicts) == [
                "gate: hop: instructions per request grew from 20,000 to 21,000 (+5.0 %; 3 % is tolerated)",
                "gate: hop: allocations per request grew from 6 to 7 (+1.00; 0.1 is tolerated)",
                "gate: hop: system calls per request grew from 6 to 8 (+2.00; 0.2 is tolerated)",
            ]
        )
    }

    @Test func `what became cheaper passes, and is pointed out`() {
        let verdicts = Self.judge { $0.instructions = 15_000 }
        #expect(GateText.complaints(verdicts).isEmpty)
        let remarks = GateText.remarks(verdicts, record: Self.record, origin: Self.origin)
        #expect(remarks.count == 1 && remarks[0].contains("cheaper"))
    }

    @Test func `instructions of another machine are shown, not judged; the rest is judged`() {
        let other = GateRecord.Origin(valgrind: "valgrind-3.24.0", processor: "one")
        let verdicts = Self.judge(
            {
                $0.instructions = 40_000
                $0.frees = 14
            },
            from: other
        )
        let complaints = GateText.complaints(verdicts)
        #expect(complaints.count == 1 && complaints[0].contains("frees"))
        let remarks = GateText.remarks(verdicts, record: Self.record, origin: other)
        #expect(remarks.contains { $0.contains("not judged") })
    }

    @Test func `a scenario without accepted figures passes, and is pointed out`() {
        let verdicts = GateVerdict.verdicts(
            "new",
            Self.figures,
            against: Self.record,
            from: Self.origin
        )
        #expect(GateText.complaints(verdicts).isEmpty)
        let remarks = GateText.remarks(verdicts, record: Self.record, origin: Self.origin)
        #expect(remarks.contains { $0.contains("nothing was accepted yet of new") })
    }

    @Test func `accepting some scenarios keeps the others' figures`() throws {
        let path = NSTemporaryDirectory() + "gate-\(UUID().uuidString).json"
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(try GateRecordFile.read(path) == nil)
        try GateRecordFile.write(Self.record, to: path)
        var measured = GateRecord(origin: Self.origin)
        measured.scenarios["other"] = Self.figures
        let kept = measured.keeping(try GateRecordFile.read(path))
        #expect(kept.scenarios.keys.sorted() == ["hop", "other"])
        var elsewhere = measured
        elsewhere.origin.processor = "two"
        #expect(elsewhere.keeping(Self.record).scenarios.keys.sorted() == ["other"])
    }

    @Test func `a call that the kernel answers in user space is no system call`() throws {
        let dump = """
            events: Ir sysCount sysTime
            fn=(1) serve
            10 100 0
            cfn=(2) clock_gettime@@GLIBC_2.17
            calls=4 20
            11 40 4 0
            cfn=(3) recv
            calls=2 30
            12 20 2 0
            cfn=(4) malloc
            calls=3 40
            13 30
            fn=(2)
            20 40 4 0
            fn=(3)
            30 20 2 0
            fn=(4)
            40 30
            """
        let profile = try CallgrindProfile(parsing: dump, subject: "dump")
        let figures = GateFigures(profile, requests: 2)
        #expect(figures.instructions == 95)
        #expect(figures.systemCalls == 1)
        #expect(figures.allocations == 1.5)
        #expect(figures.frees == 0)
    }
}
