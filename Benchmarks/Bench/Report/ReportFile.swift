import Foundation

extension BenchReport {
    /// Reads what `mesh-bench run` wrote.
    package init(contentsOf path: String) throws {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw BenchError(
                "read report: \(path): \(error.localizedDescription); check the path"
            )
        }
        try self.init(json: data, name: path)
    }

    /// Of JSON; `name` is who is to blame.
    package init(json data: Data, name: String) throws {
        do {
            let schema = try JSONDecoder().decode(ReportHead.self, from: data).schema
            guard schema == BenchReport.currentSchema else {
                throw BenchError(
                    "read report: \(name): its schema is \(schema), and this "
                        + "mesh-bench reads \(BenchReport.currentSchema); use the one that wrote it"
                )
            }
            self = try JSONDecoder().decode(BenchReport.self, from: data)
        } catch let error as DecodingError {
            throw BenchError(
                "read report: \(name): \(Self.reason(error)); "
                    + "is it a report of mesh-bench run?"
            )
        }
    }

    /// As it is stored: sorted and indented, so that two of them can be compared line by line.
    package func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    private static func reason(_ error: DecodingError) -> String {
        func place(_ context: DecodingError.Context) -> String {
            context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }
                .joined()
        }
        switch error {
        case .keyNotFound(let key, let context):
            return "\(place(context)).\(key.stringValue) is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return "\(place(context)): \(context.debugDescription)"
        case .dataCorrupted(let context):
            return "\(place(context)) is not valid: \(context.debugDescription)"
        @unknown default:
            return "\(error)"
        }
    }
}

/// What tells one version of a report's form from another. Not local to where it is decoded: optimised
/// across modules, that would not link.
struct ReportHead: Decodable { var schema: Int }
