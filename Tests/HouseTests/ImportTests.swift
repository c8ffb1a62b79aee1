import Testing

/// Imports point downwards only; see docs/architecture.md.
struct ImportTests {
    private static let system: Set = ["Glibc", "Synchronization"]
    private static let allowed: [String: Set<String>] = [
        "MeshNet": ["CLinux", "COpenSSL", "CAres"],
        "MeshHTTP": ["MeshNet", "CNGHTTP2"],
        "MeshConfig": ["MeshNet", "CRE2", "CYAML"],
        "MeshRuntime": ["MeshNet", "MeshHTTP", "MeshConfig", "CRE2", "CLinux"],
        "MeshProxy": ["MeshNet", "MeshHTTP", "MeshConfig", "MeshRuntime", "CLinux"],
        "ztunnel-lite": ["MeshNet", "MeshHTTP", "MeshConfig", "MeshRuntime", "CLinux"],
        // Certificates of tests are made with OpenSSL.
        "MeshSimulation": ["MeshNet", "MeshHTTP", "COpenSSL"],
    ]

    @Test func `the house is found`() {
        #expect(Repository.sources.count > 50)
        #expect(!Repository.pages.isEmpty)
    }

    /// What the executables import: the module they start.
    private static func main(_ path: String) -> Set<String>? {
        if path.hasPrefix("Sources/MeshProxy/Main/") { return ["MeshProxy"] }
        if path.hasPrefix("Sources/ztunnel-lite/Main/") { return ["Ztunnel"] }
        return nil
    }

    @Test func `every import points down`() {
        for file in Repository.sources {
            let allowed = (Self.main(file.path) ?? Self.allowed[file.module] ?? []).union(
                Self.system
            )
            for line in file.lines {
                guard let module = Self.importedModule(line) else { continue }
                #expect(
                    allowed.contains(module),
                    "\(file.path) imports \(module); \(file.module) may import \(allowed.sorted())"
                )
            }
        }
    }

    private static func importedModule(_ line: Substring) -> String? {
        let words = line.split(separator: " ")
        guard let at = words.firstIndex(of: "import"),
            words[..<at].allSatisfy({
                $0.hasPrefix("@") || ["package", "internal", "public", "private"].contains($0)
            })
        else { return nil }
        let kinds: Set<Substring> = [
            "struct", "class", "enum", "protocol", "func", "var", "typealias",
        ]
        let name = words[(at + 1)...].first { !kinds.contains($0) }
        return name.map { String($0.split(separator: ".")[0]) }
    }

    @Test func `nothing in Sources imports Foundation or a third party`() {
        for file in Repository.sources {
            for line in file.lines {
                let module = Self.importedModule(line) ?? ""
                #expect(!module.hasPrefix("Foundation"), "\(file.path): use Glibc or our own types")
                #expect(!module.hasPrefix("NIO"), "\(file.path): the loop is MeshNet's")
            }
        }
    }
}
