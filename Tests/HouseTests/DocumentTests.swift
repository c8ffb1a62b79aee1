import Foundation
import Testing

/// Pages keep their promises: links lead somewhere, files that are named exist.
struct DocumentTests {
    @Test func `relative links resolve`() {
        for page in Repository.pages {
            let folder = page.path.split(separator: "/").dropLast().joined(separator: "/")
            for match in page.text.matches(of: /\]\(([^)#\s]+)(#[^)\s]*)?\)/) {
                let target = String(match.1)
                guard !target.contains("://"), !target.hasPrefix("mailto:") else { continue }
                let path = folder.isEmpty ? target : "\(folder)/\(target)"
                #expect(
                    Repository.exists(path),
                    "\(page.path) links to \(target), which is not there"
                )
            }
        }
    }

    @Test func `every config file that is named exists`() {
        let named = /\bconfigs\/[A-Za-z0-9_.\/-]+\.(json|yaml)/
        let files =
            Repository.pages + Repository.files(in: "scripts", ending: [""])
            + Repository.files(in: "Tests", ending: [".swift", ".py"])
        for file in files {
            for match in file.text.matches(of: named) {
                #expect(Repository.exists(String(match.0)), "\(file.path) names \(match.0)")
            }
        }
    }

    @Test func `no file names the machine it was written on`() {
        let places = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"]
        let files =
            Repository.pages + Repository.sources + Repository.files(in: "scripts", ending: [""])
            + Repository.files(in: "Tests", ending: [".swift", ".py", ".json"])
            + Repository.files(in: "configs", ending: [".json", ".yaml"])
        for file in files {
            for place in places {
                #expect(!file.text.contains(place), "\(file.path) contains a path under \(place)")
            }
        }
    }

    @Test func `the list of differences from Envoy is rendered from the suite's own`() throws {
        let page = "docs/differences-from-envoy.md"
        guard Repository.exists(page) else { return }
        let text = try String(
            contentsOf: Repository.root.appendingPathComponent(page),
            encoding: .utf8
        )
        let list = try String(
            contentsOf: Repository.root.appendingPathComponent(
                "Tests/EndToEnd/harness/deliberate.py"
            ),
            encoding: .utf8
        )
        let titles = list.matches(of: /\n    Difference\(\n\s+"([^"]+)"/).map { String($0.1) }
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| ") }.count - 1
        #expect(rows == titles.count, "render it anew: Tests/EndToEnd/run --write-differences")
        for title in titles { #expect(text.contains("| \(title) |"), "\(page) lacks: \(title)") }
    }
}
