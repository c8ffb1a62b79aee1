import MeshConfig
import MeshNet
import MeshRuntime
import MeshSimulation
import Testing

/// Files in memory that a test rewrites.
private final class MemoryFiles: ConfigFiles {
    var contents: [String: [UInt8]] = [:]

    func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
        guard let bytes = contents[path] else {
            throw ConfigFileError(path, "No such file or directory")
        }
        return bytes
    }

    func environment(_ name: String) -> [UInt8]? { nil }
}

@Suite struct SecretStoreTests {
    private let files = MemoryFiles()
    private let authority = TestAuthority("root one")
    private let diagnostics = ConfigDiagnostics()

    init() {
        files.contents["/ca.pem"] = authority.pem
        put("server", authority.issue(names: "URI:spiffe://td/server,DNS:a", commonName: "v1"))
        files.contents["/sds.json"] = Array(Self.secretFile.utf8)
    }

    private func put(_ name: String, _ identity: TestAuthority.Identity) {
        files.contents["/\(name).pem"] = identity.certificate
        files.contents["/\(name).key"] = identity.key
    }

    private static let secretFile = """
        {"version_info": "1", "resources": [
          {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
           "name": "own", "tls_certificate": {
             "certificate_chain": {"filename": "/server.pem"},
             "private_key": {"filename": "/server.key"}}},
          {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
           "name": "trust", "validation_context": {"trusted_ca": {"filename": "/ca.pem"}}}
        ]}
        """

    private static let bySDS = """
        {"name": "envoy.transport_sockets.tls", "typed_config": {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
          "require_client_certificate": true,
          "common_tls_context": {
            "tls_certificate_sds_secret_configs": [
              {"name": "own", "sds_config": {"path_config_source": {"path": "/sds.json"}}}],
            "combined_validation_context": {
              "default_validation_context": {"match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"prefix": "spiffe://td/"}}]},
              "validation_context_sds_secret_config":
                {"name": "trust", "sds_config": {"path_config_source": {"path": "/sds.json"}}}}}}}
        """

    private func downstream(_ json: String) throws -> DownstreamTLSConfig {
        let object = try #require(ConfigDocument.parse(json: json, diagnostics: diagnostics))
        let config = DownstreamTransportConfig(object)
        object.finish()
        guard case .tls(let tls) = config else { throw Failure() }
        return tls
    }

    private struct Failure: Error {}

    private func store(_ secrets: [SecretConfig] = []) -> SecretStore {
        SecretStore(secrets, files: files, diagnostics: diagnostics)
    }

    private func subject(_ slot: TLSContextSlot) -> String? {
        slot.load().chains.first?.first?.subject
    }

    @Test func `secrets come from a file and its files`() throws {
        let store = store()
        let slot = try #require(store.slot(try downstream(Self.bySDS), diagnostics: diagnostics))
        #expect(diagnostics.errors.isEmpty)
        #expect(subject(slot) == "CN=v1")
        #expect(slot.load().authorities.map(\.subject) == ["CN=root one"])
        #expect(slot.load().expirations.map(\.name) == ["own", "trust"])
        #expect(
            store.watchedPaths == [
                .file("/sds.json"), .file("/server.pem"), .file("/server.key"), .file("/ca.pem"),
            ]
        )
        #expect(store.refresh().isEmpty)
    }

    @Test func `a renewed certificate is used by new connections only`() throws {
        let store = store()
        let slot = try #require(store.slot(try downstream(Self.bySDS), diagnostics: diagnostics))
        let before = slot.load()
        put("server", authority.issue(names: "URI:spiffe://td/server", commonName: "v2"))
        let events = store.refresh()
        #expect(events.count == 1)
        #expect(events[0].outcome == .updated([]))
        #expect(events[0].secrets == ["own", "trust"])
        #expect(subject(slot) == "CN=v2")
        #expect(slot.load() !== before)
        // Whoever has the old context goes on with it.
        #expect(before.chains.first?.first?.subject == "CN=v1")
        #expect(store.refresh().isEmpty)
    }

    @Test func `a bad secret keeps the last good one and is told once`() throws {
        let store = store()
        let slot = try #require(store.slot(try downstream(Self.bySDS), diagnostics: diagnostics))
        let good = slot.load()
        let next = authority.issue(names: "URI:spiffe://td/server", commonName: "v2")
        // Half of a rotation: the certificate is new, the key is not.
        files.contents["/server.pem"] = next.certificate
        let events = store.refresh()
        #expect(events.count == 1)
        #expect(
            events[0].lines == [
                "secret refused: \"own\", \"trust\": secret \"own\" of /sds.json: private_key: does not"
                    + " belong to the certificate of /server.pem; typed_config keeps the last good one"
            ]
        )
        #expect(slot.load() === good)
        #expect(store.refresh().isEmpty)
        files.contents["/server.key"] = next.key
        #expect(store.refresh().map(\.outcome) == [.updated([])])
        #expect(subject(slot) == "CN=v2")
    }

    @Test func `every kind of breakage is refused with its reason`() throws {
        let store = store()
        let slot = try #require(store.slot(try downstream(Self.bySDS), diagnostics: diagnostics))
        let good = slot.load()
        func refusal(_ change: () -> Void) -> [String] {
            let saved = files.contents
            defer {
                files.contents = saved
                _ = store.refresh()
            }
            change()
            return store.refresh().flatMap(\.lines)
        }
        #expect(refusal { files.contents["/sds.json"] = nil }[0].contains("No such file"))
        #expect(
            refusal { files.contents["/sds.json"] = Array("{\"resources\": [".utf8) }[0].contains(
                "/sds.json:1:"
            )
        )
        #expect(
            refusal { files.contents["/sds.json"] = Array("{}".utf8) }[0].contains(
                "there is no secret in this file"
            )
        )
        #expect(
            refusal {
                files.contents["/sds.json"] = Array(
                    Self.secretFile.replacing("\"own\"", with: "\"other\"").utf8
                )
            }[0].contains("has no secret \"own\"; it has \"other\", \"trust\"")
        )
        #expect(refusal { files.contents["/ca.pem"] = [] }[0].contains("/ca.pem is empty"))
        #expect(
            refusal { files.contents["/ca.pem"] = Array("x".utf8) }[0].contains(
                "trusted_ca: /ca.pem has no PEM certificate"
            )
        )
        #expect(refusal { files.contents["/server.key"] = nil }[0].contains("/server.key: No such"))
        #expect(slot.load() === good)
    }

    @Test func `new trust roots replace the old ones`() throws {
        let store = store()
        let slot = try #require(store.slot(try downstream(Self.bySDS), diagnostics: diagnostics))
        let session = slot.load().sessionContextID
        files.contents["/ca.pem"] = TestAuthority("root two").pem
        #expect(store.refresh().map(\.outcome) == [.updated([])])
        #expect(slot.load().authorities.map(\.subject) == ["CN=root two"])
        // Sessions made under the old roots are not resumed.
        #expect(slot.load().sessionContextID != session)
    }

    @Test func `an expired certificate is a warning when it comes and when it is replaced`() throws
    {
        var request = TestAuthority.Request()
        request.names = "DNS:a"
        request.notAfter = -10
        let expired = authority.issue(request)
        put("server", expired)
        let store = store()
        _ = store.slot(try downstream(Self.bySDS), diagnostics: diagnostics)
        #expect(diagnostics.errors.isEmpty)
        #expect(diagnostics.warnings.contains { $0.message.contains("expired at") })
        request.commonName = "again"
        put("server", authority.issue(request))
        guard case .updated(let warnings)? = store.refresh().first?.outcome else { throw Failure() }
        #expect(warnings.count == 1)
    }

    @Test func `a watched directory replaces the files' own`() throws {
        let directory = #""watched_directory": {"path": "/certs"}"#
        files.contents["/sds.json"] = Array(
            Self.secretFile.replacing(
                #""tls_certificate": {"#,
                with: #""tls_certificate": {"# + directory + ","
            ).utf8
        )
        let json = Self.bySDS.replacing(
            #"{"path": "/sds.json"}"#,
            with: #"{"path": "/sds.json", "watched_directory": {"path": "/sds"}}"#
        )
        let store = store()
        _ = try #require(store.slot(try downstream(json), diagnostics: diagnostics))
        #expect(
            store.watchedPaths == [.directory("/sds"), .directory("/certs"), .file("/ca.pem")]
        )
    }

    @Test func `secrets of the bootstrap are named, and dangling names are errors`() throws {
        let secrets = SecretFileConfig.read(Array(Self.secretFile.utf8), path: "/sds.json").secrets
        let json = Self.bySDS.replacing(
            #", "sds_config": {"path_config_source": {"path": "/sds.json"}}"#,
            with: ""
        )
        let store = store(secrets)
        let slot = try #require(store.slot(try downstream(json), diagnostics: diagnostics))
        #expect(subject(slot) == "CN=v1")
        // Files of static secrets are read once, as in Envoy.
        #expect(store.watchedPaths.isEmpty)
        _ = store.slot(
            try downstream(json.replacing("\"trust\"", with: "\"trast\"")),
            diagnostics: diagnostics
        )
        #expect(
            diagnostics.errors.map(\.message) == [
                "there is no secret \"trast\" in static_resources.secrets; did you mean \"trust\"?"
            ]
        )
    }

    @Test func `problems in place are told at their path, all at once`() throws {
        let json = """
            {"name": "envoy.transport_sockets.tls", "typed_config": {
              "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
              "common_tls_context": {
                "tls_certificates": [
                  {"certificate_chain": {"filename": "/missing.pem"},
                   "private_key": {"filename": "/server.key"}},
                  {"certificate_chain": {"filename": "/server.pem"},
                   "private_key": {"inline_string": ""}}],
                "validation_context": {"trusted_ca": {"filename": "/missing-ca.pem"}}}}}
            """
        #expect(store().slot(try downstream(json), diagnostics: diagnostics) == nil)
        #expect(
            diagnostics.errors.map(\.path.description) == [
                "typed_config.common_tls_context.tls_certificates[0].certificate_chain",
                "typed_config.common_tls_context.tls_certificates[1].private_key",
                "typed_config.common_tls_context.validation_context.trusted_ca",
            ]
        )
        #expect(
            diagnostics.errors[0].message
                == "cannot be read: /missing.pem: No such file or directory"
        )
    }

    @Test func `what the library refuses is told at its path`() throws {
        let other = authority.issue(names: "DNS:other")
        files.contents["/server.key"] = other.key
        let json = """
            {"name": "envoy.transport_sockets.tls", "typed_config": {
              "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
              "common_tls_context": {
                "tls_params": {"cipher_suites": ["ECDHE-NOTHING"]},
                "tls_certificates": [
                  {"certificate_chain": {"filename": "/server.pem"},
                   "private_key": {"filename": "/server.key"}}]}}}
            """
        #expect(store().slot(try downstream(json), diagnostics: diagnostics) == nil)
        #expect(
            diagnostics.errors.map(\.path.description) == [
                "typed_config.common_tls_context.tls_params.cipher_suites",
                "typed_config.common_tls_context.tls_certificates[0].private_key",
            ]
        )
    }
}
