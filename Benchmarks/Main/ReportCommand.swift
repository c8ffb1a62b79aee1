import ArgumentParser
import Foundation
import MeshBench

/// `mesh-bench report`: a report's tables and its page, from the JSON that a run has left.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Shows a report: as tables, as Markdown, as a page, or beside an earlier one."
    )

    @Argument(help: "What mesh-bench run wrote.")
    var file: String

    @Option(help: ArgumentHelp("Writes the page there instead of the tables.", valueName: "html"))
    var page: String?

    @Flag(help: "One table in Markdown instead of the tables.")
    var markdown = false

    @Option(
        help: ArgumentHelp(
            "An earlier report of the same machine: shows what has changed since.",
            valueName: "json"
        )
    )
    var against: String?

    @Flag(help: "Every figure, not only the principal ones.")
    var all = false

    @Option(help: "Width of the tables in characters.")
    var width = 116

    func validate() throws {
        if markdown, page != nil || against != nil {
            throw ValidationError("--markdown: goes with neither --page nor --against")
        }
        guard (80...400).contains(width) else {
            throw ValidationError("--width: \(width) is not from 80 to 400")
        }
    }

    func run() throws {
        let report = try BenchReport(contentsOf: file)
        let before = try against.map { try BenchReport(contentsOf: $0) }
        guard let page else {
            print(text(of: report, against: before), terminator: "")
            return
        }
        do {
            try ReportPage.html(of: report, against: before)
                .write(toFile: page, atomically: true, encoding: .utf8)
        } catch {
            throw ValidationError("write page: \(page): \(error.localizedDescription)")
        }
    }

    private func text(of report: BenchReport, against before: BenchReport?) -> String {
        if markdown { return ReportMarkdown.text(of: report) }
        if let before { return ReportDifference(before: before, after: report).text(width: width) }
        return ReportTable.text(of: report, width: width, all: all)
    }
}
