/// The text of a configuration file: YAML if its name ends in .yaml or .yml, JSON otherwise.
package enum ConfigDocument {
    /// The root object; nil after a syntax error. The caller decodes it and calls its `finish()`.
    ///
    /// - Parameter variantTags: tags of YAML that name a variant: `!Exact a` is `{"Exact": "a"}`.
    package static func parse(
        _ text: [UInt8],
        fileName: String,
        variantTags: Set<String> = [],
        diagnostics: ConfigDiagnostics
    ) -> ConfigObject? {
        node(text, fileName, diagnostics, variantTags).map {
            ConfigObject($0, diagnostics: diagnostics)
        }
    }

    /// The document as a plain value; nil after a syntax error.
    package static func value(_ text: [UInt8], fileName: String) -> ConfigValue? {
        node(text, fileName, ConfigDiagnostics()).map { ConfigValue($0) }
    }

    private static func node(
        _ text: [UInt8],
        _ fileName: String,
        _ diagnostics: ConfigDiagnostics,
        _ variantTags: Set<String> = []
    ) -> ConfigNode? {
        let isYAML = fileName.hasSuffix(".yaml") || fileName.hasSuffix(".yml")
        return isYAML
            ? YAMLParser.parse(text, variantTags: variantTags, diagnostics: diagnostics)
            : JSONParser.parse(text, diagnostics: diagnostics)
    }

    /// JSON in a string: for tests and configuration made by the program itself.
    package static func parse(json: String, diagnostics: ConfigDiagnostics) -> ConfigObject? {
        JSONParser.parse(Array(json.utf8), diagnostics: diagnostics).map {
            ConfigObject($0, diagnostics: diagnostics)
        }
    }
}
