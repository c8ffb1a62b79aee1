import MeshNet
import Testing

@testable import MeshConfig

/// Files that exist only here.
struct FakeFiles: ConfigFiles {
    var contents: [String: String] = [:]

    func read(_ path: String) throws(ConfigFileError) -> [UInt8] {
        guard let text = contents[path] else { throw ConfigFileError(path, "no such file") }
        return Array(text.utf8)
    }

    func environment(_ name: String) -> [UInt8]? { nil }
}

func load(_ text: String, name: String = "a.json") -> (
    Bootstrap?, errors: [String], warnings: [String]
) {
    let (bootstrap, diagnostics) = ConfigLoader.load(
        text: Array(text.utf8),
        fileName: name,
        files: FakeFiles()
    )
    return (
        bootstrap, diagnostics.errors.map(\.description), diagnostics.warnings.map(\.description)
    )
}

/// A bootstrap with one HTTP listener whose routes are `routes`, and the cluster `up`.
func bootstrap(
    routes: String = #"{"match":{"prefix":"/"},"route":{"cluster":"up"}}"#,
    listener: String = "",
    clusters: String =
        #"{"name":"up","load_assignment":{"cluster_name":"up","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":8080}}}}]}]}}"#,
    table: String = "",
    more: String = ""
) -> String {
    #"""
    {"static_resources":{"listeners":[{"name":"in",
    "address":{"socket_address":{"address":"127.0.0.1","port_value":10000}},\#(listener)
    "filter_chains":[{"filters":[{"name":"http","typed_config":{
    "@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix":"in","codec_type":"HTTP1","internal_address_config":{},
    "route_config":{\#(table)"virtual_hosts":[{"name":"all","domains":["*"],"routes":[
    \#(routes)]}]},
    "http_filters":[{"name":"router","typed_config":{
    "@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}],
    "clusters":[\#(clusters)]}\#(more)}
    """#
}

@Suite struct ConfigLoaderTests {
    @Test func `a plain file loads without a word`() throws {
        let (found, errors, warnings) = load(bootstrap())
        #expect(errors == [])
        #expect(warnings == [])
        let config = try #require(found)
        #expect(config.listeners.first?.addresses.first?.address.description == "127.0.0.1:10000")
        #expect(config.listeners.first?.listenerFiltersTimeout == .seconds(15))
        #expect(config.clusters.first?.name == "up")
        #expect(config.admin == nil)
        #expect(config.statsFlushInterval == .seconds(5))
    }

    @Test func `all errors are reported at once with their places`() {
        let text = bootstrap(
            routes: """
                {"match":{"prefix":"/"},"route":{"cluster":"upp","tmeout":"1s"}},
                {"match":{"prefix":"/a"},"route":{"cluster":"up","timeout":"fast"}}
                """,
            listener: #""tcp_backlog_size":-1,"#,
            more: #","admim":{}"#
        )
        let path =
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes"
        #expect(
            load(text).errors == [
                "2:92: static_resources.listeners[0].tcp_backlog_size: expected a number from 0 to 4294967295, got -1",
                #"7:44: \#(path)[0].route.cluster: unknown cluster "upp"; did you mean "up"?"#,
                #"7:50: \#(path)[0].route: unknown field "tmeout"; did you mean "timeout"?"#,
                #"8:60: \#(path)[1].route.timeout: expected a duration such as "1.5s", got "fast""#,
                #"11:188: unknown field "admim"; did you mean "admin"?"#,
            ]
        )
    }

    @Test func `names and addresses must differ`() {
        let cluster =
            #"{"name":"up","load_assignment":{"cluster_name":"up","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":1}}}}]}]}}"#
        let errors = load(
            bootstrap(
                clusters: cluster + "," + cluster,
                more:
                    #","admin":{"address":{"socket_address":{"address":"127.0.0.1","port_value":10000}}}"#
            )
        ).errors
        #expect(errors.count == 2)
        #expect(
            errors.first?.hasSuffix(
                "127.0.0.1:10000 is the address of the administration server already"
            ) == true
        )
        #expect(errors.last?.hasSuffix(#""up" is the name of another cluster"#) == true)
    }

    @Test func `a dangling cluster is an error unless the table says otherwise`() {
        let routes = #"{"match":{"prefix":"/"},"route":{"cluster":"gone"}}"#
        #expect(load(bootstrap(routes: routes)).errors.count == 1)
        let lenient = load(bootstrap(routes: routes, table: #""validate_clusters":false,"#))
        #expect(lenient.errors == [])
        #expect(lenient.warnings.count == 2)
    }

    @Test func `a cluster nobody uses is worth a warning`() {
        let warnings = load(
            bootstrap(routes: #"{"match":{"prefix":"/"},"direct_response":{"status":200}}"#)
        ).warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.hasSuffix(#"no route leads to the cluster "up""#) == true)
        #expect(
            load(bootstrap(routes: #"{"match":{"prefix":"/"},"route":{"cluster_header":"x-c"}}"#))
                .warnings == []
        )
    }

    @Test(arguments: [
        (#"{"prefix":"/"}"#, #"{"path":"/a"}"#, true),
        (#"{"prefix":"/a"}"#, #"{"prefix":"/ab"}"#, true),
        (#"{"prefix":"/ab"}"#, #"{"prefix":"/a"}"#, false),
        (#"{"path":"/a"}"#, #"{"path":"/a"}"#, true),
        (#"{"path":"/a"}"#, #"{"prefix":"/a"}"#, false),
        (#"{"path_separated_prefix":"/a"}"#, #"{"path":"/a/b"}"#, true),
        (#"{"path_separated_prefix":"/a"}"#, #"{"path":"/ab"}"#, false),
        (#"{"prefix":"/","headers":[{"name":"x"}]}"#, #"{"prefix":"/a"}"#, false),
        (
            #"{"prefix":"/","headers":[{"name":"x"}]}"#,
            #"{"prefix":"/a","headers":[{"name":"y"},{"name":"x"}]}"#, true
        ),
        (#"{"prefix":"/A"}"#, #"{"prefix":"/a","case_sensitive":false}"#, false),
        (#"{"prefix":"/A","case_sensitive":false}"#, #"{"prefix":"/ab"}"#, true),
        (#"{"prefix":"/"}"#, #"{"safe_regex":{"regex":"/x.*"}}"#, true),
        (#"{"prefix":"/a"}"#, #"{"safe_regex":{"regex":"/a.*"}}"#, false),
        (#"{"prefix":"/"}"#, #"{"connect_matcher":{}}"#, false),
        (
            #"{"prefix":"/","runtime_fraction":{"default_value":{"numerator":50},"runtime_key":"k"}}"#,
            #"{"prefix":"/"}"#, false
        ),
    ]) func `a shadowed route is worth a warning`(first: String, second: String, isShadowed: Bool) {
        let action = #""route":{"cluster":"up"}"#
        let (_, errors, warnings) = load(
            bootstrap(routes: "{\"match\":\(first),\(action)},\n{\"match\":\(second),\(action)}")
        )
        #expect(errors == [])
        #expect(
            warnings.contains { $0.contains("is never reached: the route at 7:1") } == isShadowed
        )
    }

    @Test func `a cluster without a resolver has the one of the bootstrap`() {
        let endpoint =
            #"{"endpoint":{"address":{"socket_address":{"address":"app","port_value":1}}}}"#
        let cluster = { (more: String) in
            #"{"name":"up","type":"STRICT_DNS"\#(more),"load_assignment":{"cluster_name":"up","endpoints":[{"lb_endpoints":[\#(endpoint)]}]}}"#
        }
        let server = { (address: String) in
            #"{"resolvers":[{"socket_address":{"address":"\#(address)","port_value":53}}]}"#
        }
        let common = #","dns_resolution_config":\#(server("10.0.0.1"))"#
        func servers(_ more: String) -> [String] {
            let found = load(bootstrap(clusters: cluster(more), more: common)).0
            guard case .strictDNS(let dns)? = found?.clusters.first?.discovery else { return [] }
            return dns.resolver.resolvers.map(\.description)
        }
        #expect(servers("") == ["10.0.0.1:53"])
        #expect(
            servers(#","dns_resolution_config":\#(server("10.0.0.2"))"#) == ["10.0.0.2:53"]
        )
    }

    @Test func `a value of the wrong kind is one error, not many`() {
        #expect(
            load(#"{"static_resources": 5}"#).errors
                == ["1:22: static_resources: expected an object, got 5"]
        )
        #expect(load(bootstrap(clusters: "7")).errors.count == 2)
    }

    @Test func `text that is no JSON is one error and no bootstrap`() {
        let (found, errors, _) = load("{\"static_resources\": {")
        #expect(found == nil)
        #expect(errors.count == 1)
    }

    @Test func `the same file may be YAML`() {
        let yaml = """
            static_resources:
              listeners:
              - name: in
                address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
                filter_chains:
                - filters:
                  - name: tcp
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                      stat_prefix: t
                      cluster: up
                      idle_timeout: 5s
              clusters:
              - name: up
                load_assignment:
                  cluster_name: up
                  endpoints:
                  - lb_endpoints:
                    - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
            """
        let (found, errors, warnings) = load(yaml, name: "a.yaml")
        #expect(errors == [])
        #expect(warnings == [])
        guard case .tcpProxy(let proxy)? = found?.listeners.first?.filterChains.first?.filters.first
        else {
            Issue.record("no tcp_proxy")
            return
        }
        #expect(proxy.idleTimeout == .seconds(5))
        #expect(proxy.clusters.map(\.name) == ["up"])
    }

    @Test func `no prefix of a valid file crashes the reader`() {
        let text = Array(bootstrap().utf8)
        for length in stride(from: 0, to: text.count, by: 7) {
            let (found, diagnostics) = ConfigLoader.load(
                text: Array(text[..<length]),
                fileName: "a.json",
                files: FakeFiles()
            )
            #expect(found == nil)
            #expect(diagnostics.errors.count == 1)
        }
    }

    @Test func `no single wrong value crashes the reader`() {
        // Every value in turn becomes one of another kind.
        let values = ["null", "true", "7", #""x""#, "[]", "{}", "[{}]", "-1", "1e99"]
        let text = bootstrap()
        let places = text.indices.filter { text[$0] == ":" && text[text.index(before: $0)] == "\"" }
        for (index, place) in places.enumerated() {
            let start = text.index(after: place)
            guard let end = valueEnd(text, start) else { continue }
            let changed = text[..<start] + values[index % values.count] + text[end...]
            _ = load(String(changed))
        }
        #expect(places.count > 20)
    }

    /// Where the value that begins at `start` ends.
    private func valueEnd(_ text: String, _ start: String.Index) -> String.Index? {
        var depth = 0
        var inString = false
        var at = start
        while at < text.endIndex {
            let character = text[at]
            if character == "\"" { inString.toggle() }
            if !inString {
                if character == "{" || character == "[" { depth += 1 }
                if character == "}" || character == "]" { depth -= 1 }
                if depth < 0 || (depth == 0 && character == ",") { return at }
            }
            at = text.index(after: at)
        }
        return nil
    }
}
