import MeshConfig
import MeshNet

// Reads the input as a whole configuration, JSON or YAML by its first byte. Whatever it holds, there
// is a configuration or there are errors, never both or neither, and every place is in the file. JSON
// that is read is written out and read again, and must be the same.

private struct NoFiles: ConfigFiles {
    func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
        throw ConfigFileError(path, "there are no files here")
    }

    func environment(_ name: String) -> [UInt8]? { nil }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfigFile(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let isYAML = start[0] == UInt8(ascii: "y")
    let text = Array(UnsafeBufferPointer(start: start, count: count).dropFirst())

    let (bootstrap, diagnostics) = ConfigLoader.load(
        text: text,
        fileName: isYAML ? "input.yaml" : "input.json",
        files: NoFiles()
    )
    precondition((bootstrap == nil) == diagnostics.hasErrors)
    let lines = text.count(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") })
    for problem in diagnostics.errors + diagnostics.warnings {
        precondition(problem.line >= 1 && problem.column >= 1)
        // YAML also breaks lines at three characters beyond ASCII.
        precondition(isYAML || problem.line <= lines + 1)
        precondition(!problem.message.isEmpty)
    }

    if !isYAML, let node = JSONParser.parse(text, diagnostics: ConfigDiagnostics()) {
        let written = ConfigValue(node).description
        let again = ConfigDiagnostics()
        let other = JSONParser.parse(Array(written.utf8), diagnostics: again)
        precondition(other.map { ConfigValue($0).description } == written)
    }
    return 0
}
