import ArgumentParser
import Foundation
import MeshBench

/// `mesh-bench report`: a report's tables and its page, from the JSON that a run has left.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Shows a report: as tables, or as a page."
    )

    @Argument(help: "What mesh-bench run wrote.")
    var file: String

    @Option(help: ArgumentHelp("Writes the page there instead of the tables.", valueName: "html"))
    var page: String?

    @Flag(help: "Every figure, not only the principal ones.")
    var all = false

    @Option(help: "Width of the tables in characters.")
    var width = 116

    func validate() throws {
        guard (80...400).contains(width) else {
            throw ValidationError("--width: \(width) is not from 80 to 400")
        }
    }

    func run() throws {
        let report = try BenchReport(contentsOf: file)
        guard let page else {
            print(ReportTable.text(of: report, width: width, all: all), terminator: "")
            return
        }
        do {
            try ReportPage.html(of: report).write(toFile: page, atomically: true, encoding: .utf8)
        } catch {
            throw ValidationError("write page: \(page): \(error.localizedDescription)")
        }
    }
}
