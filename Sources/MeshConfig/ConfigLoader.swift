/// From the text of a file to a configuration that can be run, or to the list of what is wrong.
package enum ConfigLoader {
    /// Reads `text`, named `fileName` (which tells YAML from JSON), and the files it names that are
    /// part of routes. The bootstrap is nil exactly if there are errors. Control thread only.
    package static func load(
        text: [UInt8],
        fileName: String,
        files: any ConfigFiles
    ) -> (Bootstrap?, ConfigDiagnostics) {
        let (bootstrap, diagnostics) = read(text: text, fileName: fileName, files: files)
        return (diagnostics.hasErrors ? nil : bootstrap, diagnostics)
    }

    /// As ``load(text:fileName:files:)``, but the bootstrap is there as long as the text is JSON or YAML:
    /// good for looking for further errors, and for nothing else if there are any.
    package static func read(
        text: [UInt8],
        fileName: String,
        files: any ConfigFiles
    ) -> (Bootstrap?, ConfigDiagnostics) {
        let diagnostics = ConfigDiagnostics()
        guard
            let object = ConfigDocument.parse(text, fileName: fileName, diagnostics: diagnostics)
        else { return (nil, diagnostics) }
        var bootstrap = Bootstrap(object)
        object.finish()
        ConfigChecks(bootstrap, diagnostics).run()
        var problems: [String] = []
        bootstrap.loadFiles(files, problems: &problems)
        for problem in problems { diagnostics.error(problem, at: .start) }
        return (bootstrap, diagnostics)
    }
}
