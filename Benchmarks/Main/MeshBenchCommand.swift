import ArgumentParser

/// `mesh-bench`: what a mesh hop costs. Each subcommand has a file of its own.
@main
struct MeshBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-bench",
        abstract: "Measures what a mesh hop costs, for MeshProxy and for real peers side by side.",
        subcommands: [
            RunCommand.self,
            ScenariosCommand.self,
            PeersCommand.self,
            ReportCommand.self,
            CapacityCommand.self,
            LoadCommand.self,
            UpstreamCommand.self,
            RelayCommand.self,
            GateCommand.self,
            SpinCommand.self,
        ]
    )
}
