import MeshConfig
import MeshNet
import MeshProxy
import MeshRuntime
import Testing

/// A configuration of one sidecar: an mTLS listener with authorization and two routes, a plain one, and
/// a TCP one with network RBAC.
private enum Mesh {
    static let client = "spiffe://mesh/ns/default/sa/client"

    static let hcm =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    static let router =
        #"{"name":"envoy.filters.http.router","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}"#

    static func rbac(_ rules: String) -> String {
        #"{"name":"envoy.filters.http.rbac","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC","rules":\#(rules)}}"#
    }

    static let rules = #"""
        {"action":"ALLOW","policies":{
          "orders":{"permissions":[{"url_path":{"path":{"prefix":"/orders"}}}],
                    "principals":[{"authenticated":{"principal_name":{"exact":"\#(client)"}}}]},
          "health":{"permissions":[{"url_path":{"path":{"exact":"/health"}}}],"principals":[{"any":true}]}}}
        """#

    static let routes = #"""
        {"virtual_hosts":[{"name":"shop","domains":["shop.example"],"routes":[
          {"name":"canary","match":{"prefix":"/","headers":[{"name":"x-canary","string_match":{"exact":"true"}}]},
           "route":{"cluster":"v2"}},
          {"name":"open","match":{"prefix":"/open"},"route":{"cluster":"v1"},
           "typed_per_filter_config":{"envoy.filters.http.rbac":{"@type":"type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute"}}},
          {"name":"main","match":{"prefix":"/"},"route":{"cluster":"v1"}},
          {"match":{"prefix":"/never"},"direct_response":{"status":204}}]}]}
        """#

    static func manager(_ filters: String) -> String {
        #"""
        {"name":"hcm","typed_config":{"@type":"\#(hcm)","stat_prefix":"in","normalize_path":true,
         "route_config":\#(routes),"http_filters":[\#(filters),\#(router)]}}
        """#
    }

    static func cluster(_ name: String, health: String = "HEALTHY") -> String {
        #"""
        {"name":"\#(name)","type":"STATIC","load_assignment":{"cluster_name":"\#(name)","endpoints":[{"lb_endpoints":[
          {"endpoint":{"address":{"socket_address":{"address":"10.1.0.1","port_value":80}}}},
          {"health_status":"\#(health)","endpoint":{"address":{"socket_address":{"address":"10.1.0.2","port_value":80}}}}]}]}}
        """#
    }

    static func listener(_ name: String, port: Int, chain: String, filters: String = "") -> String {
        #"""
        {"name":"\#(name)","address":{"socket_address":{"address":"10.0.0.1","port_value":\#(port)}},
         \#(filters)"filter_chains":[\#(chain)]}
        """#
    }

    static let tls = #"""
        "transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
          "require_client_certificate":true,"common_tls_context":{
          "tls_certificates":[{"certificate_chain":{"filename":"c.pem"},"private_key":{"filename":"k.pem"}}],
          "validation_context":{"trusted_ca":{"filename":"ca.pem"}}}}}
        """#

    static let tcp = #"""
        {"name":"tcp","filters":[
          {"name":"rbac","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC","stat_prefix":"tcp.",
            "rules":{"action":"DENY","policies":{"far":{"permissions":[{"any":true}],"principals":[{"not_id":{"remote_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}}]}}}}},
          {"name":"tcp","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"t","cluster":"v2"}}]}
        """#

    static let json = #"""
        {"static_resources":{"listeners":[
          \#(listener("inbound", port: 15006, chain: #"{"name":"mtls","filter_chain_match":{"transport_protocol":"tls"},\#(tls),"filters":[\#(manager(rbac(rules)))]}"#, filters: #""listener_filters":[{"name":"i","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}],"#)),
          \#(listener("plain", port: 8080, chain: #"{"name":"all","filters":[\#(manager(rbac(#"{"action":"DENY"}"#)))]}"#)),
          \#(listener("raw", port: 9000, chain: tcp))],
         "clusters":[\#(cluster("v1")),\#(cluster("v2", health: "UNHEALTHY"))]}}
        """#

    static func bootstrap() throws -> Bootstrap {
        let diagnostics = ConfigDiagnostics()
        let object = try #require(ConfigDocument.parse(json: json, diagnostics: diagnostics))
        let bootstrap = Bootstrap(object)
        object.finish()
        #expect(diagnostics.errors.map { "\($0)" } == [])
        return bootstrap
    }
}

private struct SilentMailboxes: WorkerMailboxes {
    var workerCount: Int { 1 }
    func post(worker: Int, _ message: UpstreamMessage) {}
}

struct AdminExplainerTests {
    private let explainer: AdminExplainer

    init() throws {
        let bootstrap = try Mesh.bootstrap()
        let registry = ClusterRegistry(
            stats: StatsRegistry(workers: 1),
            mailboxes: SilentMailboxes()
        )
        let plans = registry.plan(bootstrap.clusters) { _ in UniformTransports() }
        explainer = AdminExplainer(
            bootstrap,
            formats: FormatEnvironment(hostname: "h") { _ in nil },
            runtime: { bootstrap.runtime },
            clusters: { name in plans.first { $0.options.name == name } }
        )
    }

    /// The status of the answer, and its body parsed.
    private func ask(_ body: String) throws -> (status: Int, body: ConfigValue) {
        let response = explainer.respond(
            to: AdminRequest(method: "POST", target: "/explain", body: Array(body.utf8))
        )
        let text = String(bytes: response.body.bytes)
        let status = response.status
        let diagnostics = ConfigDiagnostics()
        let object = try #require(
            ConfigDocument.parse(json: #"{"it":\#(text)}"#, diagnostics: diagnostics)
        )
        return (status, try #require(object.value("it")))
    }

    private func text(_ value: ConfigValue, _ path: String...) -> String? {
        var value: ConfigValue? = value
        for key in path {
            if let index = Int(key), case .list(let list)? = value {
                value = index < list.count ? list[index] : nil
            } else if case .object(let fields)? = value {
                value = fields[key]
            } else {
                value = nil
            }
        }
        switch value {
        case .string(let text)?: return text
        case .number(let number)?: return "\(Int(number))"
        case .bool(let bool)?: return "\(bool)"
        default: return nil
        }
    }

    @Test func `an intruder is denied and the failed condition is named`() throws {
        let (status, body) = try ask(
            #"{"listener":"inbound","from":"spiffe://mesh/ns/default/sa/intruder","authority":"shop.example","path":"/orders/1"}"#
        )
        #expect(status == 200)
        #expect(text(body, "outcome", "status") == "403")
        #expect(text(body, "outcome", "details") == "rbac_access_denied_matched_policy[none]")
        #expect(
            text(body, "outcome", "summary")
                == "403 by envoy.filters.http.rbac: denied: none of the 2 policies that ALLOW matches"
        )
        #expect(text(body, "filter_chain", "name") == "mtls")
        #expect(text(body, "request", "principals", "0") == "spiffe://mesh/ns/default/sa/intruder")
        #expect(
            text(body, "http_filters", "0", "rules", "policies", "1", "first_failure")
                == #"principal: authenticated.principal_name exact "\#(Mesh.client)", found "spiffe://mesh/ns/default/sa/intruder""#
        )
        #expect(text(body, "upstream", "cluster") == nil)
    }

    @Test func `the client is forwarded; routes passed over and endpoints are told`() throws {
        let (_, body) = try ask(
            #"{"listener":"inbound","from":"\#(Mesh.client)","authority":"shop.example","path":"/x/../orders"}"#
        )
        #expect(text(body, "outcome", "action") == "forward")
        #expect(
            text(body, "outcome", "summary")
                == "forwarded to cluster \"v1\", to one of 2 endpoints by round robin"
        )
        #expect(text(body, "request", "path") == "/orders")
        #expect(text(body, "route", "virtual_host") == "shop")
        #expect(text(body, "route", "candidates", "0", "route") == "canary")
        #expect(text(body, "route", "candidates", "0", "taken") == "false")
        #expect(
            text(body, "route", "candidates", "0", "passed_over_because")?.contains("x-canary")
                == true
        )
        #expect(text(body, "route", "candidates", "2", "taken") == "true")
        #expect(text(body, "route", "candidates", "3", "route") == nil)
        #expect(text(body, "http_filters", "0", "rules", "matched_policy") == "orders")
    }

    @Test func `headers choose the route and unfit endpoints are passed over`() throws {
        let (_, body) = try ask(
            #"{"listener":"plain","authority":"shop.example","headers":{"x-canary":["true"]}}"#
        )
        #expect(text(body, "route", "outcome") == "cluster v2")
        #expect(text(body, "upstream", "endpoints", "0", "eligible") == "true")
        #expect(
            text(body, "upstream", "endpoints", "1", "passed_over_because") == "it is unhealthy"
        )
    }

    @Test func `a route's own rules hold on it`() throws {
        let (_, body) = try ask(
            #"{"listener":"inbound","from":"spiffe://x","authority":"shop.example","path":"/open"}"#
        )
        #expect(text(body, "outcome", "action") == "forward")
        #expect(text(body, "http_filters", "0", "rules_of") == "route")
    }

    @Test(arguments: [
        (#"{"listener":"inbound"}"#, "filter_chain_not_found", "no filter chain matches"),
        (#"{"listener":"inbound","tls":true}"#, nil, "requires a client certificate"),
        (#"{"listener":"plain","tls":true}"#, nil, "takes plaintext"),
        (
            #"{"listener":"raw","source_ip":"11.0.0.1"}"#, "rbac_access_denied_matched_policy[far]",
            "\"far\" matches"
        ),
    ])
    func `connections that come to nothing say why`(
        question: String,
        details: String?,
        words: String
    ) throws {
        let (_, body) = try ask(question)
        #expect(text(body, "outcome", "action") == "close")
        #expect(text(body, "outcome", "details") == details)
        #expect(text(body, "outcome", "summary")?.contains(words) == true)
    }

    @Test func `a TCP connection that is admitted goes to its cluster`() throws {
        let (_, body) = try ask(#"{"listener":"10.0.0.1:9000","source_ip":"10.2.0.1"}"#)
        #expect(text(body, "outcome", "action") == "forward")
        #expect(text(body, "network_filters", "0", "passes") == "true")
        #expect(text(body, "upstream", "cluster") == "v2")
    }

    @Test(arguments: [
        (#"{"listener":"plain"}"#, "400", "missing_host_header"),
        (#"{"listener":"plain","authority":"other"}"#, "404", "route_not_found"),
    ])
    func `replies of the proxy's own are told`(question: String, status: String, details: String)
        throws
    {
        let (_, body) = try ask(question)
        #expect(text(body, "outcome", "action") == "reply")
        #expect(text(body, "outcome", "status") == status)
        #expect(text(body, "outcome", "details") == details)
    }

    @Test(arguments: [
        ("", "JSON"), ("{}", "listener is required: one of inbound, plain, raw"),
        (#"{"listener":"none"}"#, "there is no listener"),
        (#"{"listener":"plain","paht":"/"}"#, "path"),
        (#"{"listener":"plain","source_ip":"x"}"#, "not an IP address"),
        (#"{"listener":"plain","tls":false,"from":"a"}"#, "must not be false"),
        (#"{"listener":"plain","headers":{"a":1}}"#, "string"),
    ])
    func `a question that makes no sense is refused`(question: String, words: String) throws {
        let (status, body) = try ask(question)
        #expect(status == 400)
        #expect(text(body, "errors", "0") != nil)
        if words != "JSON" { #expect(text(body, "errors", "0")?.contains(words) == true) }
    }
}
