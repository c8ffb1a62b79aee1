import Foundation
import MeshBench
import Testing

@Suite struct ReportDifferenceTests {
    private func report(ours: Figure, others: [String: Figure]) -> BenchReport {
        let results =
            [Samples.result("meshproxy", [.cpuMicroseconds: ours])]
            + others.keys.sorted().map { name in
                Samples.result(name, [.cpuMicroseconds: others[name] ?? ours])
            }
        var report = Samples.report([Samples.scenario("hop-h1", results)])
        report.peers = results.map {
            BenchReport.PeerDescription(name: $0.peer, version: $0.peer == "meshproxy" ? "1" : "7")
        }
        return report
    }

    @Test func `what other peers did too is the machine's part of a change`() throws {
        let before = report(
            ours: Samples.figure(20, 19.9, 20.1),
            others: ["envoy": Samples.exact(40), "haproxy": Samples.exact(20)]
        )
        let after = report(
            ours: Samples.figure(18, 17.9, 18.1),
            others: ["envoy": Samples.exact(48), "haproxy": Samples.exact(24)]
        )
        let difference = ReportDifference(before: before, after: after)
        let row = try #require(difference.rows.first)
        #expect(difference.rows.count == 1)
        #expect(row.changeText == "−10 %")
        // Others cost 1.2 times as much: 0.9 ÷ 1.2.
        #expect(row.others == 1.2)
        #expect(abs((row.net ?? 0) - 0.75) < 1e-9)
        #expect(difference.reservations.isEmpty)
        let text = difference.text()
        #expect(text.contains("hop-h1: MeshProxy"))
        #expect(text.contains("−10 %"))
        #expect(text.contains("+20 %"))
        #expect(text.contains("−25 %"))
    }

    @Test func `a change within the spreads is a tie`() throws {
        let before = report(ours: Samples.figure(20, 18, 22), others: [:])
        let after = report(ours: Samples.figure(19, 17, 21), others: [:])
        let row = try #require(ReportDifference(before: before, after: after).rows.first)
        #expect(row.changeText == "≈ −5.0 %")
        #expect(row.others == nil && row.net == nil)
    }

    @Test func `a peer of another version tells nothing of the machine`() {
        let before = report(ours: Samples.exact(20), others: ["envoy": Samples.exact(40)])
        var after = before
        after.peers = after.peers.map {
            $0.name == "envoy" ? BenchReport.PeerDescription(name: "envoy", version: "8") : $0
        }
        let difference = ReportDifference(before: before, after: after)
        #expect(difference.rows.first?.others == nil)
        #expect(
            difference.reservations == [
                "Envoy is another: 7 before, 8 after; left out of the others."
            ]
        )
    }

    @Test func `another machine, other traffic and missing scenarios are said`() throws {
        let before = try Samples.fixture()
        var after = before
        after.machine.kernel = "6.19"
        after.scenarios[0].rate = 9_000
        let gone = after.scenarios.removeLast().id
        let reservations = ReportDifference(before: before, after: after).reservations
        #expect(reservations.contains { $0.contains("Linux 6.18") && $0.contains("Linux 6.19") })
        #expect(reservations.contains("Only before: \(gone)."))
        #expect(reservations.contains("Not the same traffic or rate: hop-h1."))
    }

    @Test func `the page can show what has changed`() throws {
        let report = try Samples.fixture()
        #expect(!ReportPage.html(of: report).contains("Before and after"))
        #expect(ReportPage.html(of: report, against: report).contains("Before and after"))
    }

    @Test func `lines fit`() throws {
        let report = try Samples.fixture()
        let text = ReportDifference(before: report, after: report).text(width: 100)
        for line in text.split(separator: "\n") { #expect(line.count <= 100, "\(line)") }
    }

    @Test func `in Markdown each line has a cell for every peer and ratio`() throws {
        let lines = try ReportMarkdown.text(of: Samples.fixture()).split(separator: "\n")
            .filter { $0.hasPrefix("|") }
        let columns = lines.first?.filter { $0 == "|" }.count
        #expect(lines.count > 20)
        for line in lines { #expect(line.filter { $0 == "|" }.count == columns, "\(line)") }
        #expect(lines[0].contains("| Envoy |") && lines[0].contains("| ÷ Envoy |"))
        #expect(lines[2].contains("| 34.1 (33.8–34.4) |") && lines[2].contains("| 0.33 |"))
    }
}
