import MeshConfig
import MeshHTTP
import MeshRuntime
import Testing

@Suite struct HTTP1LeniencyRuntimeTests {
    private func runtime(_ values: String) throws -> RuntimeConfig {
        let diagnostics = ConfigDiagnostics()
        let text = #"{"layers": [{"name": "base", "static_layer": {\#(values)}}]}"#
        let object = try #require(ConfigDocument.parse(json: text, diagnostics: diagnostics))
        let config = RuntimeConfig(object)
        #expect(diagnostics.errors.map(\.description) == [])
        return config
    }

    @Test func `a leniency is off unless its runtime value is true`() throws {
        let config = try runtime(
            """
            "mesh.http1.downstream.allow_bare_lf": true,
            "mesh": {"http1": {"upstream": {"allow_obs_fold": true, "allow_bare_lf": false}}},
            "mesh.http1.downstream.allow_repeated_host": 1
            """
        )
        #expect(HTTP1Leniency(config, .downstream) == .bareLineFeed)
        #expect(HTTP1Leniency(config, .upstream) == .foldedLines)
        #expect(HTTP1Leniency(RuntimeConfig(), .downstream) == [])
    }

    @Test func `files may name the leniencies there are and no others`() {
        #expect(
            RuntimeKeys.http1Leniencies == HTTP1Leniency.named.map { $0.name.description }
        )
        #expect(RuntimeKeys.problem("mesh.http1.upstream.allow_obs_fold", .bool(true)) == nil)
        #expect(
            RuntimeKeys.problem("mesh.http1.upstream.allow_obs_folds", .bool(true))?
                .contains(#"did you mean "mesh.http1.upstream.allow_obs_fold"?"#) == true
        )
        #expect(RuntimeKeys.problem("mesh.http1.upstream.allow_obs_fold", .number(1)) != nil)
    }

    @Test(arguments: HTTP1Leniency.named.map { ($0.name.description, $0.leniency) })
    func `every leniency has its switch`(_ name: String, _ leniency: HTTP1Leniency) throws {
        let config = try runtime("\"mesh.http1.downstream.\(name)\": true")
        #expect(HTTP1Leniency(config, .downstream) == leniency)
    }
}
