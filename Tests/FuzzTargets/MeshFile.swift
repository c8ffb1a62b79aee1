import MeshConfig
import MeshNet

// Reads the input as ztunnel-lite's mesh, JSON or YAML by its first byte. Whatever it holds, there is a
// mesh or there are errors, never both or neither, and every place is in the file.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzMeshFile(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let isYAML = start[0] == UInt8(ascii: "y")
    let text = Array(UnsafeBufferPointer(start: start, count: count).dropFirst())

    let (config, diagnostics) = ZtunnelConfig.read(
        text: text,
        fileName: isYAML ? "input.yaml" : "input.json"
    )
    precondition((config == nil) == diagnostics.hasErrors)
    let lines = text.count(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") })
    for problem in diagnostics.errors + diagnostics.warnings {
        precondition(problem.line >= 1 && problem.column >= 1)
        // YAML also breaks lines at three characters beyond ASCII.
        precondition(isYAML || problem.line <= lines + 1)
        precondition(!problem.message.isEmpty)
    }
    return 0
}
