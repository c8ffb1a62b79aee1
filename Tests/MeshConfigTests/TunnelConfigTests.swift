import Testing

@testable import MeshConfig

/// Where tunnels begin and end, and what is refused of it.
struct TunnelConfigTests {
    private func read<Value>(
        _ json: String,
        _ decode: (ConfigObject) -> Value
    ) -> (value: Value?, errors: [String]) {
        let diagnostics = ConfigDiagnostics()
        guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
            return (nil, diagnostics.errors.map(\.description))
        }
        let value = decode(object)
        object.finish()
        return (value, diagnostics.errors.map(\.description))
    }

    @Test func `a tunnel has a host by format, a method and headers`() {
        let (config, errors) = read(
            """
            {"hostname": "%REQUESTED_SERVER_NAME%:443", "use_post": true, "post_path": "/t?x=1",
            "headers_to_add": [{"header": {"key": "X-A", "value": "%DOWNSTREAM_REMOTE_ADDRESS%"}}],
            "propagate_response_headers": true}
            """,
            TunnelingConfig.init
        )
        #expect(errors == [])
        #expect(config?.hostname.parts.count == 2)
        #expect(config?.usesPost == true && config?.postPath == "/t?x=1")
        #expect(config?.headersToAdd.map(\.name) == ["x-a"])
        #expect(config?.propagatesResponseHeaders == true)
        #expect(config?.propagatesResponseTrailers == false)
    }

    @Test(arguments: [
        ("{}", "hostname is required"),
        (#"{"hostname":"a","post_path":"/x"}"#, "post_path: needs use_post"),
        (#"{"hostname":"a","use_post":true,"post_path":"x"}"#, "post_path: is no path"),
        (#"{"hostname":"%NO_SUCH%"}"#, "hostname: "),
        (#"{"hostname":"a","headers_to_add":[{"header":{"key":":path"}}]}"#, "key: "),
        (#"{"hostname":"a","request_id_extension":{}}"#, "request_id_extension: "),
    ])
    func `what a tunnel cannot do is an error`(json: String, error: String) {
        let errors = read(json, TunnelingConfig.init).errors
        #expect(errors.count == 1 && errors.first?.contains(error) == true, "\(errors)")
    }

    @Test func `a tunnel ends where the route says so`() {
        let route = """
            {"cluster": "c", "upgrade_configs":
            [{"upgrade_type": "CONNECT", "connect_config": {"allow_post": true}}]}
            """
        let (config, errors) = read(route, RouteActionConfig.init)
        #expect(errors == [])
        #expect(config?.upgrades.first?.connect?.allowsPost == true)
    }

    @Test(arguments: [
        (#"{"upgrade_type":"websocket","connect_config":{}}"#, "belongs to upgrade_type CONNECT"),
        (
            #"{"upgrade_type":"CONNECT","connect_config":{"proxy_protocol_config":{}}}"#,
            "the PROXY protocol is not implemented"
        ),
    ])
    func `what the end of a tunnel cannot do is an error`(upgrade: String, error: String) {
        let route = #"{"cluster": "c", "upgrade_configs": [\#(upgrade)]}"#
        let errors = read(route, RouteActionConfig.init).errors
        #expect(errors.count == 1 && errors.first?.contains(error) == true, "\(errors)")
    }
}
