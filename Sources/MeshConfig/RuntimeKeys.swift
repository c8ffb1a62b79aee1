/// Names of runtime values that this program reads by itself; all others are read where the file names
/// them as a `runtime_key`.
package enum RuntimeKeys {
    /// What an HTTP/1 codec lets pass, as `mesh.http1.SIDE.NAME`; values are true or false.
    package static let http1Leniencies = [
        "allow_bare_lf", "allow_obs_fold", "allow_repeated_host", "allow_leading_empty_lines",
        "allow_request_line_space", "allow_chunk_size_space",
    ]
    package static let http1Sides = ["downstream", "upstream"]

    /// Switches the histograms `http.*.timing.*` on; the value is true or false.
    package static let timingHistograms = "mesh.timing.histograms"

    /// Limits of HTTP/2 connections whose clients reset streams early; values are numbers.
    private static let numbers = [
        "overload.premature_reset_total_stream_count",
        "overload.premature_reset_min_stream_lifetime_seconds",
    ]
    /// All names that begin so are ours.
    private static let ourPrefix = "mesh."

    private static let switches =
        http1Sides.flatMap { side in
            http1Leniencies.map { "\(ourPrefix)http1.\(side).\($0)" }
        } + [timingHistograms]
    private static let known = switches + numbers + [ExplainConfig.runtimeKey]

    /// Why this value cannot be meant; nil where it can.
    package static func problem(_ key: String, _ value: ConfigValue) -> String? {
        let name = ConfigNode.quoted(key)
        if switches.contains(key) {
            return value.boolValue == nil ? "\(name) must be true or false, got \(value)" : nil
        }
        if numbers.contains(key) {
            return value.numberValue == nil ? "\(name) must be a number, got \(value)" : nil
        }
        guard key.hasPrefix(ourPrefix), !known.contains(key) else { return nil }
        return "\(name) is no runtime value" + Suggestion.hint(for: key, among: known)
    }

    /// Reports values of `layered_runtime` that cannot be meant, and warns of those that nothing reads.
    /// Comes last: only then it is known what the file reads.
    static func check(_ runtime: ConfigObject) {
        for layer in runtime.objects("layers") {
            guard let node = layer.node("static_layer") else { continue }
            check(node, path: layer.path.member("static_layer"), prefix: "", runtime.diagnostics)
        }
    }

    private static func check(
        _ node: ConfigNode,
        path: ConfigPath,
        prefix: String,
        _ diagnostics: ConfigDiagnostics
    ) {
        guard case .object(let members) = node.content else { return }
        for member in members {
            let key = prefix + member.key
            let place = path.member(member.key)
            let value = ConfigValue(member.node)
            if case .object = value, value["numerator"] == nil, value["denominator"] == nil {
                check(member.node, path: place, prefix: key + ".", diagnostics)
            } else if let problem = problem(key, value) {
                diagnostics.error(problem, path: place, at: member.keyPosition)
            } else if !known.contains(key), !diagnostics.runtimeKeys.contains(key) {
                diagnostics.warning(
                    "nothing here reads the runtime value \(ConfigNode.quoted(key)): it has no effect"
                        + Suggestion.hint(for: key, among: diagnostics.runtimeKeys),
                    path: place,
                    at: member.keyPosition
                )
            }
        }
    }
}

extension ConfigObject {
    /// The name of a runtime value, which is then known to be read; empty where there is none.
    func runtimeKey(_ field: String) -> String {
        let key = string(field, default: "")
        if !key.isEmpty { diagnostics.runtimeKeys.insert(key) }
        return key
    }
}
