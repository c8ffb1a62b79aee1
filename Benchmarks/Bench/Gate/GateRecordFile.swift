import Foundation

/// Reads and writes ``GateRecord``.
package enum GateRecordFile {
    /// Nil where there is none yet.
    package static func read(_ path: String) throws -> GateRecord? {
        guard let content = FileManager.default.contents(atPath: path) else { return nil }
        do {
            return try JSONDecoder().decode(GateRecord.self, from: content)
        } catch {
            throw BenchError("no gate: \(path): is not understood (\(error)); make gate ACCEPT=1")
        }
    }

    /// A member a line, sorted, so that a change shows in a diff as what it is.
    package static func write(_ record: GateRecord, to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        do {
            let text = try encoder.encode(record) + Data("\n".utf8)
            try text.write(to: URL(fileURLWithPath: path))
        } catch {
            throw BenchError("gate: \(path): cannot be written: \(error); check the path")
        }
    }
}

extension GateRecord {
    /// With the older figures of scenarios that were not measured, where they are comparable.
    package func keeping(_ older: GateRecord?) -> GateRecord {
        guard let older, older.origin == origin else { return self }
        var all = self
        all.scenarios.merge(older.scenarios) { own, _ in own }
        return all
    }
}
