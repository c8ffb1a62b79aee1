import Foundation
import Testing

@testable import MeshConfig

/// The files under configs/; those of ztunnel-lite, in a folder of their own, are ExampleMeshTests'.
enum Corpus {
    static let directory = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent()
        .appending(path: "../../configs").standardized

    static let names: [String] = {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return all.filter { $0.hasSuffix(".json") || $0.hasSuffix(".yaml") }.sorted()
    }()

    static func read(_ name: String) -> [UInt8] {
        (try? Data(contentsOf: directory.appending(path: name))).map { Array($0) } ?? []
    }
}

@Suite struct CorpusTests {
    @Test(arguments: Corpus.names) func `an example loads without a word`(name: String) {
        let (found, diagnostics) = ConfigLoader.load(
            text: Corpus.read(name),
            fileName: name,
            files: FakeFiles()
        )
        #expect(diagnostics.report(fileName: name) == [])
        #expect(found != nil)
    }

    @Test func `every example is in the list`() throws {
        let list = String(decoding: Corpus.read("README.md"), as: UTF8.self)
        #expect(Corpus.names.count >= 6)
        for name in Corpus.names { #expect(list.contains("`\(name)`")) }
    }

    @Test(arguments: Corpus.names) func `a cut or damaged example never crashes`(name: String) {
        let text = Corpus.read(name)
        for cut in stride(from: 1, to: text.count, by: max(1, text.count / 40)) {
            _ = ConfigLoader.load(text: Array(text[..<cut]), fileName: name, files: FakeFiles())
            var damaged = text
            damaged[cut] = UInt8(truncatingIfNeeded: cut &* 37)
            _ = ConfigLoader.load(text: damaged, fileName: name, files: FakeFiles())
        }
    }
}
