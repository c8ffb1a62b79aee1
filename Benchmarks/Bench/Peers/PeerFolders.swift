import Foundation

/// Where adapters are looked for.
package enum PeerFolders {
    /// `Benchmarks/peers` of the repository that the program was built in, or of the current folder; then further ones.
    package static func all(and further: [String]) throws -> [String] {
        let name = "Benchmarks/peers"
        var folder = URL(fileURLWithPath: ProgramFinder.this()).deletingLastPathComponent()
        var candidates: [String] = []
        while folder.path != "/" {
            candidates.append(folder.appendingPathComponent(name).path)
            folder.deleteLastPathComponent()
        }
        candidates.append(FileManager.default.currentDirectoryPath + "/" + name)
        let own = candidates.first {
            FileManager.default.fileExists(atPath: $0 + "/envoy/peer.json")
        }
        guard own != nil || !further.isEmpty else {
            throw BenchError(
                "no peers: \(name) is nowhere above \(ProgramFinder.this()); use --peers-dir"
            )
        }
        return [own].compactMap(\.self) + further.map { URL(fileURLWithPath: $0).path }
    }
}
