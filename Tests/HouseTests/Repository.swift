import Foundation

/// The repository as files: what the house tests read.
enum Repository {
    static let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    struct File {
        /// Relative to the root, for example `Sources/MeshNet/Loop/EventLoop.swift`.
        let path: String
        let text: String
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        /// The module a source file belongs to.
        var module: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    }

    /// Files below a folder whose names end so, in the order of their paths. Nothing generated.
    static func files(in folder: String, ending: [String]) -> [File] {
        let base = root.appendingPathComponent(folder)
        guard let walker = FileManager.default.enumerator(atPath: base.path) else { return [] }
        var found: [File] = []
        for case let name as String in walker {
            let hidden = name.split(separator: "/").contains {
                $0.hasPrefix(".") || $0 == "__pycache__"
            }
            guard !hidden, ending.contains(where: name.hasSuffix) else { continue }
            let path = folder.isEmpty ? name : "\(folder)/\(name)"
            guard
                let text = try? String(
                    contentsOf: base.appendingPathComponent(name),
                    encoding: .utf8
                )
            else { continue }
            found.append(File(path: path, text: text))
        }
        return found.sorted { $0.path < $1.path }
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path)
    }

    static let sources = files(in: "Sources", ending: [".swift"])
    static let pages: [File] =
        files(in: "docs", ending: [".md"])
        + ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].compactMap { name in
            let url = root.appendingPathComponent(name)
            return (try? String(contentsOf: url, encoding: .utf8)).map {
                File(path: name, text: $0)
            }
        }
}
