import MeshNet
import Testing

@testable import MeshConfig

/// Listeners inside the process, what connects to them, and what is passed on.
struct InternalListenerConfigTests {
    private static let type = "type.googleapis.com/envoy.extensions."

    /// The errors and warnings of a file with an internal listener `inner` and a cluster that leads to it.
    private func load(
        listener: String = "",
        chains: String = #""filter_chains": [{}]"#,
        cluster: String = "",
        to target: String = #"{"server_listener_name": "inner"}"#,
        extensions: String = """
        [{"name": "x", "typed_config":
        {"@type": "\(type)bootstrap.internal_listener.v3.InternalListener", "buffer_size_kb": 64}}]
        """
    ) -> (bootstrap: Bootstrap?, errors: [String], warnings: [String]) {
        let json = """
            {"bootstrap_extensions": \(extensions), "static_resources": {
            "listeners": [
              {"name": "outer", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
               "filter_chains": [{}]},
              {"name": "inner", "internal_listener": {}, \(listener) \(chains)}],
            "clusters": [{"name": "c", \(cluster) "load_assignment": {"cluster_name": "c", "endpoints": [
              {"lb_endpoints": [{"endpoint": {"address": {"envoy_internal_address": \(target)}}}]}]}}]}}
            """
        let (bootstrap, diagnostics) = ConfigLoader.load(
            text: Array(json.utf8),
            fileName: "x.json",
            files: FakeFiles()
        )
        return (
            bootstrap, diagnostics.errors.map(\.description),
            diagnostics.warnings.map(\.description)
        )
    }

    @Test func `a listener inside the process has a name and no socket`() {
        let (bootstrap, errors, _) = load(listener: #""use_original_dst": false,"#)
        #expect(errors == [])
        #expect(bootstrap?.listeners.last?.isInternal == true)
        #expect(bootstrap?.listeners.last?.addresses == [])
        #expect(bootstrap?.internalListeners?.bufferBytes == 64 << 10)
        let endpoint = bootstrap?.clusters.first?.loadAssignment.localities.first?.endpoints.first
        #expect(endpoint?.address.socketAddress?.description == "envoy://inner/")
    }

    @Test(arguments: [
        (#""address": {"pipe": {"path": "/x"}},"#, "address: an internal listener has no socket"),
        (#""enable_reuse_port": true,"#, "enable_reuse_port: an internal listener has no socket"),
        (#""transparent": true,"#, "transparent: an internal listener has no socket"),
        (#""use_original_dst": true,"#, "use_original_dst is not supported"),
    ])
    func `what belongs to sockets is refused`(listener: String, error: String) {
        let errors = load(listener: listener).errors
        #expect(errors.count == 1 && errors.first?.contains(error) == true, "\(errors)")
    }

    @Test func `it needs the bootstrap extension, as in Envoy`() {
        let errors = load(extensions: "[]").errors
        #expect(errors.count == 1)
        #expect(
            errors.first?.contains("static_resources.listeners[1]: internal_listener needs") == true
        )
    }

    @Test(arguments: [
        (#"{"server_listener_name": "iner"}"#, #"unknown internal listener "iner"; did you mean"#),
        (#"{"server_listener_name": "outer"}"#, #"listener "outer" is not an internal one"#),
        ("{}", "server_listener_name is required"),
    ])
    func `an endpoint leads to a listener that is there`(target: String, error: String) {
        let errors = load(to: target).errors
        #expect(errors.count == 1 && errors.first?.contains(error) == true, "\(errors)")
    }

    @Test func `names that are resolved do not lead inside`() {
        let errors = load(cluster: #""type": "STRICT_DNS","#).errors
        #expect(errors.count == 1 && errors.first?.contains("use type STATIC") == true, "\(errors)")
    }

    @Test func `a listener that leads only to itself is refused`() {
        let proxy = """
            "filter_chains": [{"filters": [{"name": "t", "typed_config":
            {"@type": "\(Self.type)filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t",
            "cluster": "c"}}]}]
            """
        let errors = load(chains: proxy).errors
        #expect(errors.count == 1 && errors.first?.contains("back to it") == true, "\(errors)")
    }

    /// A listener whose chains `a` and `b` are chosen by `matcher`.
    private func tree(_ matcher: String, chain: String = "") -> [String] {
        load(
            chains: """
                "filter_chain_matcher": \(matcher),
                "filter_chains": [{"name": "a"}, {"name": "b"\(chain)}]
                """
        ).errors
    }

    private static func action(_ chain: String) -> String {
        """
        {"action": {"name": "x", "typed_config": {"@type":
        "type.googleapis.com/google.protobuf.StringValue", "value": "\(chain)"}}}
        """
    }

    private static func port(_ map: String, _ input: String = "DestinationPortInput") -> String {
        """
        {"matcher_tree": {"input": {"name": "i", "typed_config": {"@type":
        "\(type)matching.common_inputs.network.v3.\(input)"}}, "exact_match_map": {"map": \(map)}}}
        """
    }

    @Test func `a tree of questions names the chain`() {
        #expect(tree(Self.port("{\"80\": \(Self.action("a"))}")) == [])
    }

    @Test(arguments: [
        (port("{\"80\": \(action("c"))}"), #"unknown filter chain "c""#),
        (port("{}"), "needs at least one entry"),
        (port("{\"80\": \(action("a"))}", "DestinationPortsInput"), "did you mean"),
        (
            port(#"{"80": {"action": {"name": "x", "typed_config": {"@type": "a/b"}}}}"#),
            "StringValue"
        ),
        (port(#"{"80": {}}"#), "one of matcher, action is required"),
        (port("{\"80\": \(action("a").dropLast()), \"keep_matching\": true}}"), "keep_matching"),
        (#"{"matcher_list": {"matchers": []}}"#, "needs at least one matcher"),
    ])
    func `a tree that cannot be followed is refused`(matcher: String, error: String) {
        let errors = tree(matcher)
        #expect(errors.count == 1 && errors.first?.contains(error) == true, "\(errors)")
    }

    @Test func `chains that a tree chooses from have names of their own`() {
        let matcher = Self.port("{\"80\": \(Self.action("a"))}")
        let errors = load(
            chains:
                #""filter_chain_matcher": \#(matcher), "filter_chains": [{"name": "a"}, {"name": "a"}, {}]"#
        ).errors
        #expect(errors.count == 2, "\(errors)")
    }

    @Test(arguments: [
        (#"{"any_match": true}"#, true, true),
        (#"{"destination_port_range": {"start": 80, "end": 81}}"#, true, false),
        (#"{"not_match": {"destination_port_range": {"start": 80, "end": 81}}}"#, false, true),
        (
            #"{"or_match": {"rules": [{"destination_port_range": {"start": 1, "end": 2}}, {"any_match": true}]}}"#,
            true, true
        ),
        (
            #"{"and_match": {"rules": [{"destination_port_range": {"start": 1, "end": 99}}, {"any_match": true}]}}"#,
            true, false
        ),
    ])
    func `a listener filter is off for some ports`(json: String, at80: Bool, at443: Bool) {
        let diagnostics = ConfigDiagnostics()
        let object = ConfigDocument.parse(json: json, diagnostics: diagnostics)
        let condition = object.map { DestinationCondition($0) }
        #expect(diagnostics.errors.map(\.description) == [])
        #expect(condition?.holds(port: 80) == at80)
        #expect(condition?.holds(port: 443) == at443)
    }

    @Test func `a transport passes metadata of endpoints and clusters over another transport`() {
        let socket = { (kind: String) in
            """
            "transport_socket": {"name": "i", "typed_config":
            {"@type": "\(Self.type)transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            "passthrough_metadata": [{"kind": {"\(kind)": {}}, "name": "istio"}],
            "transport_socket": {"name": "r", "typed_config":
            {"@type": "\(Self.type)transport_sockets.raw_buffer.v3.RawBuffer"}}}},
            """
        }
        let (bootstrap, errors, _) = load(cluster: socket("cluster"))
        #expect(errors == [])
        guard case .passing(let passed, .rawBuffer)? = bootstrap?.clusters.first?.transportSocket
        else {
            Issue.record("no passing transport")
            return
        }
        #expect(passed.metadata == [.init(source: .cluster, name: "istio")])
        #expect(load(cluster: socket("route")).errors.count == 1)
    }

    @Test(arguments: [
        (#"{"object_key": "mine"}"#, "does not have an object factory"),
        (#"{"object_key": "mine", "factory_key": "envoy.sting"}"#, #"did you mean "envoy.string""#),
        (#"{"object_key": "envoy.tcp_proxy.cluster"}"#, "nothing here would act on it"),
        (#"{"factory_key": "envoy.string"}"#, "object_key is required"),
    ])
    func `a value of the filter state has a kind that something here looks at`(
        value: String,
        error: String
    ) {
        let diagnostics = ConfigDiagnostics()
        let whole =
            #"{"on_request_headers": [\#(value.dropLast()), "format_string": {"text_format": "x"}}]}"#
        let object = ConfigDocument.parse(json: whole, diagnostics: diagnostics)
        _ = object.map { SetFilterStateConfig($0) }
        let errors = diagnostics.errors.map(\.description)
        #expect(errors.count == 1 && errors.first?.contains(error) == true, "\(errors)")
    }
}
