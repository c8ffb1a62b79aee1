import Foundation
import Testing

@testable import MeshConfig

/// docs/ztunnel-config.md is what the code does.
struct ZtunnelReferenceTests {
    /// Decodes a file with every object there is and notes what was asked for.
    private static func fields() throws -> [String: Set<String>] {
        let diagnostics = ConfigDiagnostics()
        diagnostics.fieldRecords = []
        let object = try #require(
            ConfigDocument.parse(
                Array(ZtunnelConfigTests.everything.utf8),
                fileName: "mesh.json",
                diagnostics: diagnostics
            )
        )
        _ = ZtunnelConfig(object)
        #expect(!diagnostics.hasErrors)
        var fields: [String: Set<String>] = [:]
        for record in diagnostics.fieldRecords ?? [] {
            let path = record.path.description.replacing(/\[\d+\]/) { _ in "[]" }
            fields[alike[path] ?? (path.isEmpty ? "(root)" : path), default: []]
                .insert(record.field)
        }
        return fields
    }

    /// Places with the same fields as another one.
    private static let alike = [
        "workloads[].networkGateway": "workloads[].waypoint",
        "services[].waypoint": "workloads[].waypoint",
        "services[].waypoint.destination": "workloads[].waypoint.destination",
        "services[].weightedWaypoints[].destination": "workloads[].waypoint",
        "policies[].rules[][][].notServiceAccounts[]":
            "policies[].rules[][][].serviceAccounts[]",
    ]

    /// By heading, the fields of the table below it.
    private static func tables() throws -> [String: Set<String>] {
        let file = URL(filePath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().appending(path: "../../docs/ztunnel-config.md")
            .standardized
        let text = try String(contentsOf: file, encoding: .utf8)
        let marker = try #require(text.range(of: "are checked against the code. -->"))
        var tables: [String: Set<String>] = [:]
        var heading = ""
        for line in text[marker.upperBound...].split(separator: "\n") {
            if let match = line.wholeMatch(of: /### `(.+)`/) { heading = String(match.1) }
            if let match = line.firstMatch(of: /^\| `([^`]+)` \|/) {
                tables[heading, default: []].insert(String(match.1))
            }
        }
        return tables
    }

    @Test func `the reference has every field there is and no other`() throws {
        let tables = try Self.tables()
        let fields = try Self.fields()
        #expect(tables.keys.sorted() == fields.keys.sorted())
        for (place, names) in fields {
            #expect(tables[place] ?? [] == names, "\(place)")
        }
    }

    @Test func `a cut or damaged mesh never crashes and never passes with errors`() {
        let text = Array(ZtunnelConfigTests.everything.utf8)
        for name in ["mesh.json", "mesh.yaml"] {
            for cut in stride(from: 0, to: text.count, by: 13) {
                var damaged = text
                damaged[cut] = UInt8(truncatingIfNeeded: cut &* 37)
                for text in [Array(text[..<cut]), damaged] {
                    let (config, diagnostics) = ZtunnelConfig.read(text: text, fileName: name)
                    #expect((config == nil) == diagnostics.hasErrors)
                }
            }
        }
    }
}
