import MeshConfig
import MeshNet
import Testing

@Suite struct TLSConfigTests {
    private let diagnostics = ConfigDiagnostics()

    private func downstream(_ fields: String) throws -> DownstreamTransportConfig {
        try decode("DownstreamTlsContext", fields) { DownstreamTransportConfig($0) }
    }

    private func upstream(_ fields: String) throws -> UpstreamTransportConfig {
        try decode("UpstreamTlsContext", fields) { UpstreamTransportConfig($0) }
    }

    private func decode<T>(
        _ type: String,
        _ fields: String,
        _ make: (ConfigObject) -> T
    ) throws -> T {
        let json = """
            {"name": "envoy.transport_sockets.tls", "typed_config": {
              "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\(type)"
              \(fields.isEmpty ? "" : ", \(fields)")}}
            """
        let object = try #require(ConfigDocument.parse(json: json, diagnostics: diagnostics))
        let value = make(object)
        object.finish()
        return value
    }

    private var errors: [String] { diagnostics.errors.map { "\($0.path): \($0.message)" } }

    private static let certificate = """
        "tls_certificates": [{"certificate_chain": {"filename": "/c"}, "private_key": {"filename": "/k"}}]
        """

    @Test func `defaults differ between the sides as in Envoy`() throws {
        guard
            case .tls(let server) = try downstream("\"common_tls_context\": {\(Self.certificate)}"),
            case .tls(let client) = try upstream("\"common_tls_context\": {}")
        else {
            Issue.record("not TLS")
            return
        }
        #expect(errors.isEmpty)
        #expect(server.common.parameters.minVersion == .tls12)
        #expect(server.common.parameters.maxVersion == .tls13)
        #expect(client.common.parameters.minVersion == .tls12)
        #expect(client.common.parameters.maxVersion == .tls12)
        #expect(client.maxSessionKeys == 1)
        #expect(!server.requireClientCertificate)
        #expect(server.issuesTickets)
        #expect(server.keepsSessions)
    }

    @Test func `a listener without certificate is an error`() throws {
        _ = try downstream("\"common_tls_context\": {}")
        #expect(
            errors == [
                "typed_config.common_tls_context: a TLS listener needs tls_certificates or "
                    + "tls_certificate_sds_secret_configs"
            ]
        )
    }

    @Test func `the context of the other side is refused`() throws {
        _ = try decode("UpstreamTlsContext", "") { DownstreamTransportConfig($0) }
        #expect(errors.count == 1)
        #expect(errors[0].contains("a listener takes DownstreamTlsContext"))
    }

    @Test func `plain TCP is plain, said or unsaid`() throws {
        for json in [
            #"{"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}"#
        ] {
            let object = try #require(ConfigDocument.parse(json: json, diagnostics: diagnostics))
            guard case .rawBuffer = UpstreamTransportConfig(object) else {
                Issue.record("not plain")
                return
            }
            object.finish()
        }
        guard case .rawBuffer = DownstreamTransportConfig(nil) else {
            Issue.record("not plain")
            return
        }
        #expect(errors.isEmpty)
    }

    struct Refusal: Sendable {
        var fields: String
        var error: String
    }

    @Test(arguments: [
        Refusal(
            fields: #""allow_renegotiation": true"#,
            error: "allow_renegotiation is not supported"
        ),
        Refusal(
            fields: #""common_tls_context": {"key_log": {"path": "/k"}}"#,
            error: "key_log is not supported"
        ),
        Refusal(
            fields: #""common_tls_context": {"custom_handshaker": {"name": "x"}}"#,
            error: "custom_handshaker is not supported"
        ),
        Refusal(fields: #""auto_sni_san_validation": true"#, error: "needs a validation_context"),
        Refusal(
            fields:
                #""common_tls_context": {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}}"#,
            error: "is above the maximum, which is TLSv1_2 for a cluster"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"tls_params": {"tls_maximum_protocol_version": "TLSv1_4"}}"#,
            error: "TLSv1_3"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"validation_context": {"verify_certificate_hash": ["zz"]}}"#,
            error: "is no SHA-256 hash in hexadecimal"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"validation_context": {"verify_certificate_spki": ["abc="]}}"#,
            error: "is no SHA-256 hash in base64"
        ),
        Refusal(
            fields: #""common_tls_context": {"validation_context": {"max_verify_depth": 101}}"#,
            error: "must be at most 100"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"validation_context": {"match_typed_subject_alt_names": [{"matcher": {"exact": "a"}}]}}"#,
            error: "is required: one of EMAIL, DNS, URI, IP_ADDRESS"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"validation_context": {}, "combined_validation_context": {}}"#,
            error: "only one of"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"tls_certificates": [{"certificate_chain": {"filename": "/c"}}]}"#,
            error: "private_key is required"
        ),
        Refusal(
            fields:
                #""common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "a", "sds_config": {"ads": {}}}]}"#,
            error: "ads"
        ),
        Refusal(fields: #""snii": "a""#, error: "unknown field \"snii\"; did you mean \"sni\"?"),
    ])
    func `what is not done is refused`(refusal: Refusal) throws {
        _ = try upstream(refusal.fields)
        #expect(errors.contains { $0.contains(refusal.error) }, "\(errors)")
    }

    @Test func `hashes are read in every notation`() throws {
        let hex = String(repeating: "ab", count: 32)
        let colons = Array(repeating: "AB", count: 32).joined(separator: ":")
        guard
            case .tls(let client) = try upstream(
                """
                "common_tls_context": {"validation_context": {
                  "verify_certificate_hash": ["\(hex)", "\(colons)"],
                  "verify_certificate_spki": ["NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="]}}
                """
            ), case .inline(let context) = client.common.validation
        else {
            Issue.record("not read: \(errors)")
            return
        }
        let hash = [UInt8](repeating: 0xAB, count: 32)
        #expect(context.certificateHashes == [hash, hash])
        #expect(context.publicKeyHashes.map(\.count) == [32])
        #expect(context.publicKeyHashes[0].first == 0x36)
    }

    @Test func `merging follows protobuf: fields replace, lists append, true holds`() throws {
        func context(_ fields: String) throws -> ValidationContextConfig {
            guard
                case .tls(let client) = try upstream(
                    "\"common_tls_context\": {\"validation_context\": {\(fields)}}"
                ),
                case .inline(let context) = client.common.validation
            else { throw Failure() }
            return context
        }
        let base = try context(
            """
            "trusted_ca": {"filename": "/base"}, "crl": {"filename": "/crl"},
            "allow_expired_certificate": true, "max_verify_depth": 3,
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "a"}}]
            """
        )
        let merged = base.merging(
            try context(
                """
                "trusted_ca": {"filename": "/dynamic"}, "trust_chain_verification": "ACCEPT_UNTRUSTED",
                "match_typed_subject_alt_names": [{"san_type": 2, "matcher": {"suffix": "b"}}]
                """
            )
        )
        #expect(merged.trustedCA?.path == "/dynamic")
        #expect(merged.crl?.path == "/crl")
        #expect(merged.allowsExpired)
        #expect(merged.acceptsUntrusted)
        #expect(merged.maxVerifyDepth == 3)
        #expect(merged.names.map(\.text) == ["URI exact \"a\"", "DNS suffix \"b\""])
    }

    private struct Failure: Error {}

    @Test func `a required certificate without trust is a warning`() throws {
        _ = try downstream(
            "\"require_client_certificate\": true, \"common_tls_context\": {\(Self.certificate)}"
        )
        #expect(errors.isEmpty)
        #expect(diagnostics.warnings.count == 1)
        #expect(diagnostics.warnings[0].message.contains("any certificate is accepted"))
    }

    @Test func `a secret file may be wrapped, and only secrets are allowed`() {
        let wrapped = """
            {"resources": [{"@type": "type.googleapis.com/envoy.service.discovery.v3.Resource",
              "name": "a", "resource": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": "a", "session_ticket_keys": {"keys": [{"inline_string": "k"}]}}}]}
            """
        let read = SecretFileConfig.read(Array(wrapped.utf8), path: "/s")
        #expect(read.problems.isEmpty)
        #expect(read.secrets.map(\.name) == ["a"])
        let cluster = """
            {"resources": [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a"}]}
            """
        let refused = SecretFileConfig.read(Array(cluster.utf8), path: "/s")
        #expect(refused.secrets.isEmpty)
        #expect(
            refused.problems.contains {
                $0.contains("envoy.config.cluster.v3.Cluster is no secret")
            }
        )
    }

    @Test func `a secret file may be YAML`() {
        let yaml = """
            resources:
            - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
              name: own
              tls_certificate:
                certificate_chain: {filename: /c}
                private_key: {filename: /k}
            """
        let read = SecretFileConfig.read(Array(yaml.utf8), path: "/s.yaml")
        #expect(read.problems.isEmpty)
        #expect(read.secrets.map(\.name) == ["own"])
    }
}
