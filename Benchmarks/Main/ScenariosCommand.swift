import ArgumentParser
import MeshBench

/// `mesh-bench scenarios`: what there is to measure.
struct ScenariosCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scenarios",
        abstract: "Lists the scenarios; those marked * belong to a run that names none."
    )

    @Flag(name: .long, help: "With an explanation of each.")
    var explain = false

    func run() {
        let all = ScenarioCatalogue.all
        let width = all.map(\.id.count).max() ?? 0
        for scenario in all {
            let padding = String(repeating: " ", count: width - scenario.id.count + 2)
            print("\(scenario.isStandard ? "*" : " ") \(scenario.id)\(padding)\(scenario.title)")
            if explain { print("    \(scenario.explanation)\n") }
        }
    }
}

/// `mesh-bench peers`: who can take part here.
struct PeersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peers",
        abstract: "Lists the peers of this machine, and those that were not found."
    )

    @Option(help: "Folder with further adapters, one folder for each peer; repeatable.")
    var peersDir: [String] = []

    func run() throws {
        let directory = try PeerDirectory(folders: PeerFolders.all(and: peersDir))
        for peer in directory.found {
            print(
                [peer.name, peer.program, peer.version()].filter { !$0.isEmpty }.joined(
                    separator: "  "
                )
            )
        }
        for peer in directory.missing {
            print("\(peer.name) is left out: \(peer.reason)")
        }
    }
}

/// `mesh-bench spin`: keeps a CPU from halting.
struct SpinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spin",
        abstract: "A busy loop of the lowest class, until its standard input ends.",
        shouldDisplay: false
    )

    func run() {
        Spinner.run()
    }
}
