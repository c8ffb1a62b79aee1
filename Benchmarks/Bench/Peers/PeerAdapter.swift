import Foundation

/// `peer.json`: how a program is found and started as a proxy. Beside it is one configuration template for each
/// role that the program can play, `ROLE.EXTENSION`. docs/benchmarking.md has the reference.
package struct PeerAdapter: Codable, Sendable, Equatable {
    package enum Dialect: String, Codable, Sendable {
        case envoy
        case ztunnel
    }

    package struct Program: Codable, Sendable, Equatable {
        /// A variable that names the program, before everything else.
        package var environment: String?
        /// Looked for in `PATH`.
        package var names: [String]?
        /// Paths, with `*` as in a shell; `@PROGRAMS@` is where mesh-bench is, `@CACHE@` the user's cache.
        package var places: [String]?
    }

    package struct Role: Codable, Sendable, Equatable {
        /// Name of the template, without its extension, if it is not the role's.
        package var template: String?
        /// After the common ones.
        package var arguments: [String]?
        package var environment: [String: String]?
        /// Where it listens, if not on 127.0.0.1.
        package var listenAddress: String?
        /// The client speaks SOCKS5 to it, and asks for this.
        package var throughSOCKS5: String?
        /// Which of the ports gets connections that the kernel redirects: `PORT_4`; nil: where it listens.
        package var capturedPort: String?
        /// A file without which this role is not there: a module, say.
        package var needs: String?
    }

    package var program: Program
    /// Nil: it says nothing of its version.
    package var version: [String]?
    package var arguments: [String]
    package var environment: [String: String]?
    /// Of its templates; nil: it has none, and ``roles`` are all that it can.
    package var `extension`: String?
    /// Where the templates are, relative to the file; nil: beside it.
    package var templates: String?
    /// What the templates are written in, where scenarios may change them: `envoy` is Envoy's JSON, `ztunnel` a
    /// mesh as ztunnel-lite reads it.
    package var dialect: Dialect?
    /// It keeps MeshProxy's `timing` histograms.
    package var stamps: Bool?
    package var roles: [String: Role]?

    /// Reads `peer.json` in the folder. The error names the file and the member.
    package init(folder: String) throws {
        let path = folder + "/peer.json"
        guard let data = FileManager.default.contents(atPath: path) else {
            throw BenchError("no adapter: \(path): cannot be read")
        }
        do {
            self = try JSONDecoder().decode(PeerAdapter.self, from: data)
        } catch let error as DecodingError {
            throw BenchError("bad adapter: \(path): \(Self.reason(error))")
        }
        try refuseUnknownMembers(of: data, path: path)
    }

    private static let members: Set = [
        "program", "version", "arguments", "environment", "extension", "templates", "dialect",
        "stamps", "roles",
    ]

    private func refuseUnknownMembers(of data: Data, path: String) throws {
        let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
        let unknown = Set((object ?? [:]).keys).subtracting(Self.members).sorted()
        guard unknown.isEmpty else {
            throw BenchError(
                "bad adapter: \(path): unknown: \(unknown.joined(separator: ", ")); "
                    + "there are \(Self.members.sorted().joined(separator: ", "))"
            )
        }
    }

    private static func reason(_ error: DecodingError) -> String {
        func place(_ context: DecodingError.Context) -> String {
            context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        return switch error {
        case .keyNotFound(let key, let context):
            "\((context.codingPath + [key]).map(\.stringValue).joined(separator: ".")) is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\(place(context)): \(context.debugDescription)"
        case .dataCorrupted(let context):
            context.codingPath.isEmpty
                ? "this is no JSON" : "\(place(context)): \(context.debugDescription)"
        @unknown default: "\(error)"
        }
    }
}
