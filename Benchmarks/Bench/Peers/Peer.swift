import Foundation

/// A program that takes part in a run.
package struct Peer: Sendable {
    /// No proxy at all: clients connect to the upstream itself.
    package static let direct = Peer(name: "direct", program: "", adapter: nil, folder: "")

    package var name: String
    package var program: String
    /// Nil for ``direct``.
    package var adapter: PeerAdapter?
    /// Where the adapter is.
    package var folder: String

    package var isDirect: Bool { adapter == nil }
    package var hasStamps: Bool { adapter?.stamps ?? false }

    /// What it says of its version: the first line that has something on it.
    package func version() -> String {
        guard let arguments = adapter?.version else { return "" }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        guard (try? process.run()) != nil else { return "" }
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Self.versionLine(text, program: program)
    }

    /// Without the program's own path at its beginning.
    package static func versionLine(_ text: String, program: String) -> String {
        let line =
            text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
            .first { !$0.isEmpty } ?? ""
        let bare = line.hasPrefix(program) ? String(line.dropFirst(program.count)) : line
        return bare.trimmingCharacters(in: .whitespaces)
    }

    /// True when it can play all of them.
    package func plays(_ roles: [String]) -> Bool {
        roles.allSatisfy { role in
            let stated = adapter?.roles?[role]
            if let needed = stated?.needs, !FileManager.default.fileExists(atPath: needed) {
                return false
            }
            guard adapter?.extension != nil else { return stated != nil }
            return FileManager.default.fileExists(atPath: templatePath(role))
        }
    }

    /// Where the role's configuration is, if it is there.
    package func templatePath(_ role: String) -> String {
        let name = adapter?.roles?[role]?.template ?? role
        let place = adapter?.templates.map { "\(folder)/\($0)" } ?? folder
        return "\(place)/\(name).\(adapter?.extension ?? "")"
    }

    /// The role's configuration with these values; nil where the program has none.
    package func configuration(_ role: String, values: [String: String]) throws -> String? {
        guard adapter?.extension != nil else { return nil }
        let path = templatePath(role)
        guard let data = FileManager.default.contents(atPath: path) else {
            throw BenchError("no configuration: \(path): cannot be read; \(name) lacks \(role)")
        }
        return try Template.fill(String(decoding: data, as: UTF8.self), with: values, subject: path)
    }
}
