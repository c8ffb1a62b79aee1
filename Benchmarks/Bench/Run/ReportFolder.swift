import Foundation

/// What a run leaves behind.
package enum ReportFolder {
    /// Writes `report.json` and `report.html`, each in one piece or not at all.
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
            let page = ReportPage.html(of: report)
            try page.write(toFile: folder + "/report.html", atomically: true, encoding: .utf8)
        } catch {
            throw BenchError("no report: \(folder): \(error.localizedDescription)")
        }
    }
}
