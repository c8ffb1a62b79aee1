import Foundation

/// All adapters of a run, and which of their programs this machine has.
package struct PeerDirectory {
    /// Ready to take part, in the order in which they are compared.
    package private(set) var found: [Peer] = [.direct]
    /// Adapters whose program is not there, with what was looked for.
    package private(set) var missing: [(name: String, reason: String)] = []

    private static let order = [
        "direct", "floor", "envoy", "haproxy", "nginx", "nghttpx", "ztunnel-lite", "meshproxy",
    ]

    /// - Parameters:
    ///   - folders: each has a folder for each peer; a later one of the same name counts.
    ///   - added: `NAME=PATH`, another build of MeshProxy; `NAME=ADAPTER:PATH`, of whatever.
    ///   - environment: where programs may be named.
    package init(
        folders: [String],
        added: [String] = [],
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws {
        var adapters: [String: (adapter: PeerAdapter, folder: String)] = [:]
        for folder in folders {
            guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
                throw BenchError("no peers: \(folder): not a folder; each peer is one below it")
            }
            for name in names {
                let place = "\(folder)/\(name)"
                guard FileManager.default.fileExists(atPath: place + "/peer.json") else { continue }
                adapters[name] = (try PeerAdapter(folder: place), place)
            }
        }
        let names = adapters.keys.sorted { Self.rank($0) < Self.rank($1) }
        for name in names {
            guard let entry = adapters[name] else { continue }
            switch Self.find(entry.adapter.program, environment: environment) {
            case .success(let program):
                found.append(
                    Peer(name: name, program: program, adapter: entry.adapter, folder: entry.folder)
                )
            case .failure(let reason): missing.append((name, reason.description))
            }
        }
        for text in added {
            try add(text, adapters: adapters)
        }
    }

    private mutating func add(
        _ text: String,
        adapters: [String: (adapter: PeerAdapter, folder: String)]
    ) throws {
        let halves = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard halves.count == 2 else {
            throw BenchError("bad --add: \(text): NAME=PATH or NAME=ADAPTER:PATH is expected")
        }
        let parts = halves[1].split(separator: ":", maxSplits: 1).map(String.init)
        let kind = parts.count == 2 ? parts[0] : "meshproxy"
        let path = parts.count == 2 ? parts[1] : halves[1]
        guard let entry = adapters[kind] else {
            throw BenchError("bad --add: \(text): there is no adapter \(kind)")
        }
        guard ProgramFinder.isExecutable(path) else {
            throw BenchError("bad --add: \(text): \(path) is no program")
        }
        guard !found.contains(where: { $0.name == halves[0] }) else {
            throw BenchError("bad --add: \(text): there is a peer \(halves[0]) already")
        }
        let absolute = URL(fileURLWithPath: path).standardizedFileURL.path
        found.append(
            Peer(name: halves[0], program: absolute, adapter: entry.adapter, folder: entry.folder)
        )
    }

    /// Those peers only, in their order; nil: all.
    package func chosen(_ names: [String]?) throws -> [Peer] {
        guard let names else { return found }
        for name in names where !found.contains(where: { $0.name == name }) {
            if let absent = missing.first(where: { $0.name == name }) {
                throw BenchError("no such peer: \(name): \(absent.reason)")
            }
            throw BenchError(
                "no such peer: \(name): there are \(found.map(\.name).joined(separator: ", "))"
            )
        }
        return found.filter { names.contains($0.name) }
    }

    private static func rank(_ name: String) -> String {
        let place = order.firstIndex(of: name) ?? order.count
        return "\(place) \(name)"
    }

    private static func find(
        _ program: PeerAdapter.Program,
        environment: [String: String]
    ) -> Result<String, BenchError> {
        var sought: [String] = []
        if let variable = program.environment {
            if let path = environment[variable] {
                return ProgramFinder.isExecutable(path)
                    ? .success(path)
                    : .failure(BenchError("$\(variable) is \(path), which is no program"))
            }
            sought.append("$\(variable)")
        }
        for name in program.names ?? [] {
            if let path = ProgramFinder.inPath(name) { return .success(path) }
            sought.append("\(name) in PATH")
        }
        let home = environment["HOME"] ?? ""
        let values = [
            "PROGRAMS": URL(fileURLWithPath: ProgramFinder.this()).deletingLastPathComponent().path,
            "MESH_BENCH": ProgramFinder.this(),
            "CACHE": environment["XDG_CACHE_HOME"] ?? home + "/.cache",
        ]
        for place in program.places ?? [] {
            do {
                let pattern = try Template.fill(place, with: values, subject: "places")
                if let path = ProgramFinder.matches(pattern).first(
                    where: ProgramFinder.isExecutable
                ) {
                    return .success(path)
                }
                sought.append(pattern)
            } catch {
                return .failure(BenchError("\(error)"))
            }
        }
        return .failure(BenchError("not found: looked for \(sought.joined(separator: ", "))"))
    }
}
