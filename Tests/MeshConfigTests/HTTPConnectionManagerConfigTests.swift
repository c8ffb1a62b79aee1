import Testing

@testable import MeshConfig

private let router =
    #"{"name":"envoy.filters.http.router","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}"#

private func decode(
    _ members: String = "",
    filters: String = router
) -> (config: HTTPConnectionManagerConfig?, errors: [String], warnings: [String]) {
    let diagnostics = ConfigDiagnostics()
    let text =
        #"{"stat_prefix":"s","codec_type":"HTTP1","internal_address_config":{},"route_config":{"name":"r"},"http_filters":[\#(filters)]\#(members.isEmpty ? "" : ",")\#(members)}"#
    guard let object = ConfigDocument.parse(json: text, diagnostics: diagnostics) else {
        return (nil, diagnostics.errors.map(\.description), [])
    }
    let config = HTTPConnectionManagerConfig(object)
    object.finish()
    return (config, diagnostics.errors.map(\.description), diagnostics.warnings.map(\.description))
}

@Suite struct HTTPConnectionManagerConfigTests {
    @Test func `a minimal manager has Envoy's defaults`() throws {
        let (config, errors, warnings) = decode()
        let found = try #require(config)
        #expect(errors == [])
        #expect(warnings == [])
        #expect(found.serverName == "envoy")
        #expect(found.requestHeadersKilobytesMax == 60)
        #expect(found.streamIdleTimeout == .seconds(300))
        #expect(found.drainTimeout == .seconds(5))
        #expect(found.delayedCloseTimeout == .seconds(1))
        #expect(found.requestTimeout == .zero)
        #expect(found.generatesRequestID)
        #expect(!found.usesRemoteAddress)
        #expect(!found.normalizesPath)
        #expect(found.clientCertificate.mode == .sanitize)
        #expect(found.packsTraceReason)
    }

    @Test(arguments: [
        (#""rds":{"route_config_name":"r"}"#, "rds is not supported"),
        (#""tracing":{"verbose":true}"#, "tracing is not supported"),
        (#""max_request_headers_kb":9000"#, "1...8192"),
        (#""strip_any_host_port":true,"strip_matching_host_port":true"#, "excludes"),
        (#""http_protocol_options":{"send_fully_qualified_url":true}"#, "clusters only"),
        (#""normalise_path":true"#, "normalize_path"),
        (#""proxy_status_config":{"remove_details":true}"#, "proxy_status_config"),
        (
            #""original_ip_detection_extensions":[{"name":"x","typed_config":{"@type":"type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"}}],"use_remote_address":true"#,
            "excludes original_ip_detection_extensions"
        ),
        (#""scheme_header_transformation":{"scheme_to_overwrite":"ftp"}"#, "http or https"),
        (
            #""request_id_extension":{"typed_config":{"@type":"type.googleapis.com/x.Y"}}"#,
            "only uuid"
        ),
    ])
    func `what cannot be honoured is refused`(members: String, message: String) {
        let (_, errors, _) = decode(members)
        #expect(errors.contains { $0.contains(message) }, "\(errors)")
    }

    @Test(arguments: [("HTTP3", "HTTP/3")])
    func `codecs that do not exist are refused`(type: String, name: String) {
        let diagnostics = ConfigDiagnostics()
        let text =
            #"{"stat_prefix":"s","codec_type":"\#(type)","route_config":{},"http_filters":[\#(router)]}"#
        guard let object = ConfigDocument.parse(json: text, diagnostics: diagnostics) else {
            return
        }
        _ = HTTPConnectionManagerConfig(object)
        object.finish()
        #expect(diagnostics.errors.map(\.description).contains { $0.contains(name) })
    }

    @Test func `the router comes last and only there`() {
        #expect(decode(filters: "").errors.contains { $0.contains("at least the router") })
        #expect(
            decode(filters: router + "," + router).errors.contains {
                $0.contains("must be the last")
            }
        )
    }

    @Test func `an unknown filter is refused unless it is optional`() {
        func filter(_ extra: String) -> String {
            #"{"name":"f"\#(extra),"typed_config":{"@type":"type.googleapis.com/x.Fault","abort":1}},\#(router)"#
        }
        let refused = decode(filters: filter(""))
        #expect(
            refused.errors.contains { $0.contains("HTTP filter \"x.Fault\" is not implemented") }
        )
        let optional = decode(filters: filter(#","is_optional":true"#))
        #expect(optional.errors == [])
        #expect(optional.config?.filters.count == 1)
        #expect(optional.warnings.contains { $0.contains("left out") })
    }

    @Test func `a request head's limits and XFCC details are read`() throws {
        let (config, errors, _) = decode(
            #"""
            "forward_client_cert_details":"APPEND_FORWARD","set_current_client_cert_details":{"subject":true,"uri":true,"dns":true},
            "use_remote_address":true,"xff_num_trusted_hops":1,"path_with_escaped_slashes_action":"UNESCAPE_AND_FORWARD",
            "upgrade_configs":[{"upgrade_type":"WebSocket"}],"access_log_options":{"flush_access_log_on_new_request":true}
            """#
        )
        let found = try #require(config)
        #expect(errors == [])
        #expect(found.clientCertificate.mode == .appendForward)
        #expect(found.clientCertificate.includesDNS)
        #expect(!found.clientCertificate.includesCertificate)
        #expect(found.trustedHops == 1)
        #expect(found.upgrades.map(\.type) == ["websocket"])
    }

    @Test(arguments: [
        (#""server_name":"a\nb""#, #""a\nb" is no header value"#),
        (#""via":"a\u007f""#, "is no header value"),
        (
            #""upgrade_configs":[{"upgrade_type":"websocket"},{"upgrade_type":"WebSocket"}]"#,
            #""websocket" is given twice"#
        ),
    ]) func `what Envoy refuses too is refused`(members: String, message: String) {
        let errors = decode(members).errors
        #expect(errors.count == 1)
        #expect(errors.first?.hasSuffix(message) == true, "\(errors)")
    }
}
