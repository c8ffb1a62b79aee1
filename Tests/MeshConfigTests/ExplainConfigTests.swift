import MeshConfig
import MeshNet
import Testing

struct ExplainConfigTests {
    private func decode(_ layer: String) -> (config: ExplainConfig, problems: [String]) {
        let diagnostics = ConfigDiagnostics()
        let json = #"{"layers":[{"name":"a","static_layer":\#(layer)}]}"#
        guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
            fatalError("not JSON: \(json)")
        }
        var problems: [String] = []
        let config = ExplainConfig(RuntimeConfig(object)) { problems.append($0) }
        return (config, problems)
    }

    private func trusts(_ config: ExplainConfig, _ address: String) -> Bool {
        IPAddress(address).map { config.trusts(.ip($0, port: 1)) } ?? false
    }

    @Test func `nobody is trusted unless the file says so`() {
        let (config, problems) = decode("{}")
        #expect(problems.isEmpty)
        #expect(!trusts(config, "127.0.0.1"))
        #expect(!trusts(ExplainConfig(), "127.0.0.1"))
    }

    @Test func `addresses and ranges are trusted, others and Unix peers are not`() {
        let (config, problems) = decode(
            #"{"mesh.explain.trusted_addresses": "127.0.0.1, ::1,10.0.0.0/8"}"#
        )
        #expect(problems.isEmpty)
        for address in ["127.0.0.1", "::1", "10.9.8.7"] { #expect(trusts(config, address)) }
        for address in ["127.0.0.2", "::2", "11.0.0.1"] { #expect(!trusts(config, address)) }
        #expect(!config.trusts(.unix(path: "@a")))
    }

    @Test func `the key may be nested, as runtime keys may`() {
        let (config, problems) = decode(#"{"mesh":{"explain":{"trusted_addresses":"127.0.0.1"}}}"#)
        #expect(problems.isEmpty)
        #expect(trusts(config, "127.0.0.1"))
    }

    @Test(arguments: [
        #""localhost""#, #""10.0.0.0/33""#, #""10.0.0.0/8/8""#, "true", "1", #""10.0.0.0/x""#,
    ])
    func `what is no address is reported and trusts nobody`(value: String) {
        let (config, problems) = decode(#"{"mesh.explain.trusted_addresses": \#(value)}"#)
        #expect(problems.count == 1)
        #expect(config.trustedAddresses.isEmpty)
    }
}
