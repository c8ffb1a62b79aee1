import MeshConfig
import MeshNet
import Testing

private func decode<T>(
    _ json: String,
    _ make: (ConfigObject) -> T
) -> (value: T, errors: [String], warnings: [String]) {
    let diagnostics = ConfigDiagnostics()
    guard let object = ConfigDocument.parse(json: json, diagnostics: diagnostics) else {
        fatalError("not JSON: \(json)")
    }
    let value = make(object)
    object.finish()
    return (value, diagnostics.errors.map { "\($0)" }, diagnostics.warnings.map { "\($0)" })
}

private func rules(
    permission: String = #"{"any":true}"#,
    principal: String = #"{"any":true}"#
) -> String {
    #"{"policies":{"p":{"permissions":[\#(permission)],"principals":[\#(principal)]}}}"#
}

struct RBACConfigTests {
    @Test(arguments: [
        (#"{"any":true}"#, "any"),
        (
            #"{"and_rules":{"rules":[{"any":true},{"destination_port":80}]}}"#,
            "all of (any; destination_port 80)"
        ),
        (#"{"or_rules":{"rules":[{"any":true}]}}"#, "any of (any)"),
        (#"{"not_rule":{"any":true}}"#, "not (any)"),
        (
            #"{"header":{"name":":method","string_match":{"exact":"GET"}}}"#,
            #"header :method exact "GET""#
        ),
        (#"{"url_path":{"path":{"prefix":"/a"}}}"#, #"url_path prefix "/a""#),
        (
            #"{"uri_template":{"name":"t","typed_config":{"@type":"type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig","path_template":"/a/*"}}}"#,
            #"uri_template "/a/*""#
        ),
        (
            #"{"destination_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}"#,
            "destination_ip 10.0.0.0/8"
        ),
        (#"{"destination_port_range":{"start":1,"end":65536}}"#, "destination_port 1..<65536"),
        (#"{"requested_server_name":{"suffix":".a"}}"#, #"requested_server_name suffix ".a""#),
        (
            #"{"metadata":{"filter":"f","path":[{"key":"a"},{"key":"b"}],"value":{"bool_match":true}}}"#,
            "metadata f a.b true"
        ),
        (
            #"{"sourced_metadata":{"metadata_matcher":{"filter":"f","path":[{"key":"a"}],"value":{"bool_match":true}},"metadata_source":"ROUTE"}}"#,
            "route metadata f a true"
        ),
    ])
    func `every kind of permission is read`(json: String, expected: String) {
        let (rules, errors, _) = decode(rules(permission: json)) { RBACRules($0, isNetwork: false) }
        #expect(errors == [])
        #expect(rules.policies.first?.permissions.map(\.description) == [expected])
    }

    @Test(arguments: [
        (#"{"and_ids":{"ids":[{"any":true}]}}"#, "all of (any)"),
        (#"{"or_ids":{"ids":[{"any":true},{"not_id":{"any":true}}]}}"#, "any of (any; not (any))"),
        (#"{"authenticated":{}}"#, "authenticated"),
        (
            #"{"authenticated":{"principal_name":{"exact":"spiffe://a"}}}"#,
            #"authenticated.principal_name exact "spiffe://a""#
        ),
        (#"{"source_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}"#, "source_ip 10.0.0.0/8"),
        (
            #"{"direct_remote_ip":{"address_prefix":"10.0.0.1","prefix_len":32}}"#,
            "direct_remote_ip 10.0.0.1/32"
        ),
        (#"{"remote_ip":{"address_prefix":"::1","prefix_len":128}}"#, "remote_ip ::1/128"),
        (#"{"header":{"name":"a","present_match":true}}"#, "header a present"),
        (#"{"url_path":{"path":{"exact":"/a"}}}"#, #"url_path exact "/a""#),
        (
            #"{"filter_state":{"key":"k","string_match":{"exact":"v"}}}"#,
            #"filter state k exact "v""#
        ),
    ])
    func `every kind of principal is read`(json: String, expected: String) {
        let (rules, errors, _) = decode(rules(principal: json)) { RBACRules($0, isNetwork: false) }
        #expect(errors == [])
        #expect(rules.policies.first?.principals.map(\.description) == [expected])
    }

    @Test(arguments: [
        rules(permission: "{}"), rules(permission: #"{"any":false}"#),
        rules(permission: #"{"any":true,"destination_port":1}"#),
        rules(permission: #"{"destination_port":70000}"#),
        rules(permission: #"{"destination_port_range":{"start":5,"end":5}}"#),
        rules(permission: #"{"destination_port_range":{"start":0,"end":65537}}"#),
        rules(permission: #"{"and_rules":{}}"#), rules(permission: #"{"authenticated":{}}"#),
        rules(permission: #"{"matcher":{"name":"x"}}"#),
        rules(principal: #"{"custom":{"name":"x"}}"#),
        rules(principal: #"{"uri_template":{}}"#), rules(principal: #"{"or_ids":{"ids":[]}}"#),
        #"{"policies":{"p":{"permissions":[],"principals":[{"any":true}]}}}"#,
        #"{"policies":{"p":{"permissions":[{"any":true}]}}}"#,
        #"{"policies":{"p":{"permissions":[{"any":true}],"principals":[{"any":true}],"condition":{"x":1}}}}"#,
        #"{"action":"MAYBE"}"#, #"{"audit_logging_options":{"audit_condition":"ON_DENY"}}"#,
    ])
    func `rules that we cannot hold are refused`(json: String) {
        let (_, errors, _) = decode(json) { RBACRules($0, isNetwork: false) }
        #expect(!errors.isEmpty)
    }

    @Test func `policies stand in the order of their names' bytes`() {
        let any = #"{"permissions":[{"any":true}],"principals":[{"any":true}]}"#
        let (rules, errors, _) = decode(
            #"{"action":1,"policies":{"b":\#(any),"a":\#(any),"B":\#(any)}}"#
        ) {
            RBACRules($0, isNetwork: false)
        }
        #expect(errors == [])
        #expect(rules.action == .deny)
        #expect(rules.policies.map(\.name) == ["B", "a", "b"])
    }

    @Test
    func `a network filter refuses headers and warns of paths, as nothing of either is there`() {
        let header = decode(rules(permission: #"{"not_rule":{"header":{"name":"a"}}}"#)) {
            RBACRules($0, isNetwork: true)
        }
        #expect(header.errors.count == 1)
        let path = decode(rules(principal: #"{"url_path":{"path":{"exact":"/"}}}"#)) {
            RBACRules($0, isNetwork: true)
        }
        #expect(path.errors == [])
        #expect(path.warnings.count == 1)
    }

    @Test func `the filters are read`() {
        let http = decode(
            #"""
            {"rules":\#(rules()),"shadow_rules":{"action":"LOG"},"rules_stat_prefix":"r_",
             "shadow_rules_stat_prefix":"s_","track_per_rule_stats":true}
            """#
        ) { RBACFilterConfig($0) }
        #expect(http.errors == [])
        #expect(http.value.rules?.policies.count == 1)
        #expect(http.value.shadowRules?.action == .log)
        #expect(http.value.rulesStatPrefix == "r_")
        #expect(http.value.shadowRulesStatPrefix == "s_")
        #expect(http.value.tracksPerRuleStats)

        let network = decode(
            #"""
            {"stat_prefix":"tcp.","rules":\#(rules()),"enforcement_type":"CONTINUOUS","delay_deny":"1.5s"}
            """#
        ) { NetworkRBACConfig($0) }
        #expect(network.errors == [])
        #expect(network.value.enforcementType == .continuous)
        #expect(network.value.delayDeny == .milliseconds(1500))

        let off = decode("{}") { RBACPerRouteConfig($0) }
        #expect(off.errors == [])
        #expect(off.value == RBACPerRouteConfig(rbac: RBACFilterConfig()))
    }

    @Test(arguments: [#"{"matcher":{}}"#, #"{"shadow_matcher":{"matcher_list":{}}}"#])
    func `matcher trees are refused`(json: String) {
        #expect(decode(json) { RBACFilterConfig($0) }.errors.count == 1)
    }

    @Test func `a network filter needs its stat_prefix`() {
        #expect(decode("{}") { NetworkRBACConfig($0) }.errors.count == 1)
    }

    @Test func `a peer without a certificate is warned of`() {
        let (_, errors, warnings) = decode(rules(principal: #"{"authenticated":{}}"#)) {
            RBACRules($0, isNetwork: false)
        }
        #expect(errors == [])
        #expect(warnings.count == 1)
    }

    @Test(arguments: [
        ("", "normalize_path"), (#","normalize_path":true"#, "merge_slashes"),
        (#","normalize_path":true,"merge_slashes":true"#, nil),
    ])
    func `rules about paths ask for normalized paths`(fields: String, key: String?) {
        let filter = "type.googleapis.com/envoy.extensions.filters.http"
        let path = #"{"not_rule":{"url_path":{"path":{"prefix":"/admin"}}}}"#
        let manager = decode(
            #"""
            {"stat_prefix":"in","route_config":{},"http_filters":[
              {"name":"rbac","typed_config":{"@type":"\#(filter).rbac.v3.RBAC","rules":\#(rules(permission: path))}},
              {"name":"router","typed_config":{"@type":"\#(filter).router.v3.Router"}}]\#(fields)}
            """#
        ) { HTTPConnectionManagerConfig($0) }
        #expect(manager.errors == [])
        let warnings = manager.warnings.filter { $0.contains("look at paths") }
        #expect(warnings.count == (key == nil ? 0 : 1))
        if let key { #expect(warnings.first?.contains(key) == true) }
    }
}
