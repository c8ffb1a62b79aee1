/// The text of a configuration file, read by the kind its name says.
package enum ConfigDocument {
    /// The root object; nil after a syntax error. The caller decodes it and calls its `finish()`.
    package static func parse(
        _ text: [UInt8],
        fileName: String,
        diagnostics: ConfigDiagnostics
    ) -> ConfigObject? {
        guard let node = JSONParser.parse(text, diagnostics: diagnostics) else { return nil }
        return ConfigObject(node, diagnostics: diagnostics)
    }

    /// JSON in a string: for tests and configuration made by the program itself.
    package static func parse(json: String, diagnostics: ConfigDiagnostics) -> ConfigObject? {
        JSONParser.parse(Array(json.utf8), diagnostics: diagnostics).map {
            ConfigObject($0, diagnostics: diagnostics)
        }
    }
}
