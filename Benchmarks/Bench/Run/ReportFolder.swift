import Foundation

/// What a run leaves behind.
package enum ReportFolder {
    /// Writes `report.json`, in one piece or not at all.
    package static func save(_ report: BenchReport, in folder: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            try report.json().write(
                to: URL(fileURLWithPath: folder + "/report.json"),
                options: .atomic
            )
        } catch {
            throw BenchError("no report: \(folder): \(error.localizedDescription)")
        }
    }
}
