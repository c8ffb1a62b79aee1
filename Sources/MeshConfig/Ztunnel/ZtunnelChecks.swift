/// The rules between the parts of a mesh: what is named twice, and what names something that is not there.
struct ZtunnelChecks {
    private let config: ZtunnelConfig
    private let diagnostics: ConfigDiagnostics

    init(_ config: ZtunnelConfig, _ diagnostics: ConfigDiagnostics) {
        self.config = config
        self.diagnostics = diagnostics
    }

    func run() {
    }
}
