import Foundation
import MeshBench
import MeshLoad
import Testing

#if canImport(FoundationXML)
    import FoundationXML
#endif

@Suite struct ReportPageTests {
    /// What an XML parser sees of a page.
    private final class Reader: NSObject, XMLParserDelegate {
        var ids: Set<String> = []
        var links: [String] = []
        var counts: [String: Int] = [:]
        var external: [String] = []
        var text = ""

        func parser(
            _ parser: XMLParser,
            didStartElement name: String,
            namespaceURI: String?,
            qualifiedName: String?,
            attributes: [String: String]
        ) {
            counts[name, default: 0] += 1
            if let id = attributes["id"] { ids.insert(id) }
            if let link = attributes["href"] { links.append(link) }
            external += ["src", "srcset", "data", "action"].compactMap { attributes[$0] }
            if name == "link" || name == "iframe" { external.append(name) }
        }

        func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
    }

    private func read(_ html: String) throws -> Reader {
        let reader = Reader()
        let parser = XMLParser(data: Data(html.utf8))
        parser.delegate = reader
        #expect(
            parser.parse(),
            "line \(parser.lineNumber): \(String(describing: parser.parserError))"
        )
        return reader
    }

    @Test func `the page is well-formed and has every scenario, with links that lead there`() throws
    {
        let report = try Samples.fixture()
        let reader = try read(ReportPage.html(of: report))
        for scenario in report.scenarios {
            #expect(reader.ids.contains(scenario.id), "\(scenario.id)")
            #expect(reader.text.contains(scenario.title))
        }
        #expect(!reader.links.isEmpty)
        for link in reader.links {
            #expect(link.hasPrefix("#") && reader.ids.contains(String(link.dropFirst())), "\(link)")
        }
    }

    @Test func `the page loads nothing`() throws {
        let html = try ReportPage.html(of: Samples.fixture())
        let reader = try read(html)
        #expect(reader.external.isEmpty)
        for scheme in ["http:", "https:", "//cdn", "url(", "@import", "fetch(", "XMLHttpRequest"] {
            #expect(!html.contains(scheme), "\(scheme)")
        }
    }

    @Test func `the page says on what, when and how it was measured`() throws {
        let report = try Samples.fixture()
        let text = try read(ReportPage.html(of: report)).text
        #expect(text.contains(report.date))
        #expect(text.contains(report.command))
        #expect(text.contains("proxies on CPU 0, generator and upstream on CPU 1"))
        for peer in report.peers where !peer.version.isEmpty {
            #expect(text.contains(peer.version))
        }
        #expect(text.contains("nginx failed: exited with 1"))
        #expect(text.contains("It ran in a virtual machine (kvm)"))
    }

    @Test func `text of a report is text of the page, whatever is in it`() throws {
        var report = Samples.report([
            Samples.scenario(
                "x<y&\"z\"",
                [Samples.result("<b>", [.cpuMicroseconds: Samples.exact(1)])]
            )
        ])
        report.command = "mesh-bench run --x '<script>alert(1)</script>' && true"
        let reader = try read(ReportPage.html(of: report))
        #expect(reader.counts["script"] == 1)
        #expect(reader.text.contains("<script>alert(1)</script>"))
        #expect(reader.text.contains("x<y&\"z\""))
    }

    @Test func `a report of nothing is a page too`() throws {
        let reader = try read(ReportPage.html(of: Samples.report([])))
        #expect(reader.counts["svg"] == nil)
    }

    @Test func `a scenario without figures has no plots, and says why`() throws {
        var result = PeerResult(peer: "meshproxy")
        result.failure = "exited with 1"
        let report = Samples.report([Samples.scenario("hop-h1", [result])])
        let reader = try read(ReportPage.html(of: report))
        #expect(reader.counts["svg"] == nil)
        #expect(reader.text.contains("MeshProxy failed: exited with 1"))
    }

    @Test func `a percentile that ten samples do not bear out is not drawn`() throws {
        func page(count: Int) throws -> String {
            var result = Samples.result("meshproxy", [.p99: Samples.exact(100)])
            let curve = [0, 50, 90, 99, 99.9, 99.99, 100].map {
                LatencySummary.Point(percentile: $0, nanoseconds: UInt64(50_000 + $0 * 1000))
            }
            result.latency = LatencySummary(
                count: count,
                mean: 60_000,
                min: 50_000,
                max: 150_000,
                percentiles: curve,
                curve: curve
            )
            let report = Samples.report([Samples.scenario("hop-h1", [result])])
            return try read(ReportPage.html(of: report)).text
        }
        #expect(try page(count: 100_000).contains("99.99 %"))
        let short = try page(count: 10_000)
        #expect(short.contains("99.9 %"))
        #expect(!short.contains("99.99 %"))
    }

    @Test func `TLS is the floor with it beyond the plain floor, once for each hop`() throws {
        func scenario(_ id: String, floor: Double, ours: Double) -> ScenarioReport {
            Samples.scenario(
                id,
                [
                    Samples.result("floor", [.cpuMicroseconds: Samples.exact(floor)]),
                    Samples.result("meshproxy", [.cpuMicroseconds: Samples.exact(ours)]),
                ]
            )
        }
        let report = Samples.report([
            scenario("hop-h1", floor: 6, ours: 11),
            scenario("two-hop-h1", floor: 17, ours: 26),
        ])
        let text = try read(ReportPage.html(of: report)).text
        #expect(text.contains("kernel and loop 6.00 µs"))
        #expect(text.contains("kernel and loop 12.0 µs"))
        #expect(text.contains("TLS 5.00 µs"))
        #expect(text.contains("+ 9.00"))
    }
}
