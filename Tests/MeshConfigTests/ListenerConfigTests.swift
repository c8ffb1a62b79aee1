import Testing

@testable import MeshConfig

private let proxy =
    #"{"name":"t","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"t","cluster":"c"}}"#
private let rbac =
    #"{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC","stat_prefix":"r"}}"#

/// A listener with `chains` and `json`'s members, and what was reported.
private func listener(
    chains: String = "[{\"filters\":[\(proxy)]}]",
    _ json: String = ""
) -> (ListenerConfig?, errors: [String], warnings: [String]) {
    let diagnostics = ConfigDiagnostics()
    let text = """
        {"name":"l","address":{"socket_address":{"address":"::1","port_value":0}},
        "filter_chains":\(chains)\(json.isEmpty ? "" : ",")
        \(json)}
        """
    guard let object = ConfigDocument.parse(json: text, diagnostics: diagnostics) else {
        return (nil, diagnostics.errors.map(\.description), [])
    }
    let config = ListenerConfig(object)
    object.finish()
    return (config, diagnostics.errors.map(\.description), diagnostics.warnings.map(\.description))
}

@Suite struct ListenerConfigTests {
    @Test func `the last filter is terminal and only that one`() {
        let terminal =
            "terminal filter named t of type envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy must be the last filter in a network filter chain"
        let other =
            "non-terminal filter named r of type envoy.extensions.filters.network.rbac.v3.RBAC is the last filter in a network filter chain"
        let errors = listener(chains: "[{\"filters\":[\(proxy),\(rbac)]}]").errors
        #expect(errors.count == 2)
        #expect(errors.first?.hasSuffix("filters[0]: " + terminal) == true)
        #expect(errors.last?.hasSuffix("filters[1]: " + other) == true)
        #expect(listener(chains: "[{\"filters\":[\(rbac),\(proxy)]}]").errors == [])
    }

    @Test(arguments: [
        (#"{"server_names":["a.com"]}"#, #"{"server_names":["b.com"]}"#, nil),
        (
            #"{"server_names":["a.com"]}"#, #"{"server_names":["b.com","A.com"]}"#,
            #"server_names "a.com""#
        ),
        ("{}", "{}", "every connection"),
        (#"{"destination_port":80}"#, "{}", nil),
        (
            #"{"prefix_ranges":[{"address_prefix":"10.0.0.1","prefix_len":8}]}"#,
            #"{"prefix_ranges":[{"address_prefix":"10.9.0.0","prefix_len":8}]}"#,
            "prefix_ranges 10.0.0.0/8"
        ),
        (
            #"{"transport_protocol":"tls","application_protocols":["h2","istio"]}"#,
            #"{"transport_protocol":"tls","application_protocols":["istio"]}"#,
            #"transport_protocol "tls", application_protocols "istio""#
        ),
        (#"{"source_ports":[1,2]}"#, #"{"source_ports":[2],"source_type":"EXTERNAL"}"#, nil),
    ]) func `two chains must not match the same connections`(
        first: String,
        second: String,
        shared: String?
    ) {
        let chain = { (match: String) in
            "{\"filter_chain_match\":\(match),\"filters\":[\(proxy)]}"
        }
        let errors = listener(chains: "[\(chain(first)),\n\(chain(second))]").errors
        if let shared {
            #expect(
                errors == [
                    "3:23: filter_chains[1].filter_chain_match: this filter chain matches the same connections as filter_chains[0]: \(shared)"
                ]
            )
        } else {
            #expect(errors == [])
        }
    }

    @Test func `a TLS inspector is added where chains need it`() {
        let chain =
            "[{\"filter_chain_match\":{\"server_names\":[\"*.a.com\"]},\"filters\":[\(proxy)]}]"
        let (config, errors, warnings) = listener(chains: chain)
        #expect(errors == [])
        #expect(warnings.count == 1)
        #expect(config?.listenerFilters.map(\.kind) == [.tlsInspector(.init())])
        let given = listener(
            chains: chain,
            #""listener_filters":[{"name":"i","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}]"#
        )
        #expect(given.warnings == [])
        #expect(given.0?.listenerFilters.count == 1)
    }

    @Test(arguments: [
        (#""enable_reuse_port":false"#, "every worker has a socket of its own"),
        (#""use_original_dst":true"#, "use_original_dst is not supported"),
        (#""bind_to_port":false"#, "bind_to_port is not supported"),
        (
            #""socket_options":[{"level":1,"name":2,"int_value":3}]"#,
            "socket_options is not supported"
        ),
        (#""drain_type":"MODIFY_ONLY""#, "drain_type is not supported"),
        (#""traffic_direction":"INBUND""#, #"did you mean "INBOUND"?"#),
        (
            #""listener_filters":[{"name":"x","typed_config":{"@type":"a/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"}}]"#,
            "listener filters are"
        ),
        (
            #""additional_addresses":[{"address":{"socket_address":{"address":"localhost","port_value":1}}}]"#,
            "is no IP address"
        ),
    ]) func `what cannot be done is refused with a reason`(json: String, message: String) {
        let errors = listener(json).errors
        #expect(errors.count == 1)
        #expect(errors.first?.contains(message) == true, "\(errors)")
    }

    @Test(arguments: [
        #""bind_to_port":true"#, #""transparent":false"#, #""drain_type":"DEFAULT""#,
        #""traffic_direction":"INBOUND","stat_prefix":"x","tcp_backlog_size":100"#,
        #""listener_filters_timeout":"0s","continue_on_listener_filters_timeout":true"#,
    ]) func `what changes nothing or is implemented is accepted`(json: String) {
        #expect(listener(json).errors == [])
        #expect(listener(json).warnings == [])
    }

    @Test(arguments: ["*", "a.*.com", "*a.com", "*.", ""])
    func `a server name is a name or has one leading star`(name: String) {
        let chain =
            "[{\"filter_chain_match\":{\"server_names\":[\"\(name)\"]},\"filters\":[\(proxy)]}]"
        #expect(listener(chains: chain).errors.count == 1)
    }
}
