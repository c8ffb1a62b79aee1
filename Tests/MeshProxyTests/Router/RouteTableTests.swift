import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

@testable import MeshProxy

private func answer(_ table: RouteTable, _ head: HeaderMap, random: UInt64 = 0) -> String {
    switch table.route(head, .test(), random: random) {
    case .notFound(let host): return host == nil ? "no host" : "no route"
    case .demandTLS: return "tls"
    case .route(let selection):
        if case .forward(let action) = selection.route.action {
            return action.cluster(head, split: selection.split) { _ in nil }.name
        }
        return selection.route.labels.name
    }
}

@Suite struct RouteTableTests {
    @Test func `an exact domain wins over suffixes, these over prefixes, longest first`() throws {
        func host(_ name: String, _ domains: String) -> String {
            #"{"name":"\#(name)","domains":[\#(domains)],"routes":[{"name":"\#(name)","match":{"prefix":"/"},"direct_response":{"status":200}}]}"#
        }
        let hosts = [
            host("exact", #""a.com","b.com:80""#), host("suffix", #""*.foo.com""#),
            host("longer", #""*-bar.foo.com""#), host("prefix", #""www.*""#),
            host("wide", #""www.foo.*""#), host("any", #""*""#),
        ].joined(separator: ",")
        let table = try Compile.table("{\"virtual_hosts\":[\(hosts)]}")
        for (name, wanted) in [
            ("a.com", "exact"), ("A.COM", "exact"), ("a.com:80", "any"), ("b.com", "any"),
            ("b.com:80", "exact"), ("x.foo.com", "suffix"), (".foo.com", "any"),
            ("foo.com", "any"), ("a-bar.foo.com", "longer"), ("-bar.foo.com", "suffix"),
            ("www.x", "prefix"), ("www.foo.de", "wide"), ("www.", "any"),
            ("www.foo.com", "suffix"), ("x.foo.com:99", "any"),
        ] {
            #expect(answer(table, .request("/", host: name)) == wanted, "\(name)")
        }
        let portless = try Compile.table(
            "{\"ignore_port_in_host_matching\":true,\"virtual_hosts\":[\(hosts)]}"
        )
        #expect(answer(portless, .request("/", host: "x.foo.com:99")) == "suffix")
        #expect(answer(portless, .request("/", host: "[::1]:8")) == "any")
    }

    @Test func `a host that no domain names has no route`() throws {
        let table = try Compile.table(
            #"{"virtual_hosts":[{"name":"v","domains":["a.com"],"routes":[{"match":{"prefix":"/"},"direct_response":{"status":200}}]}]}"#
        )
        #expect(answer(table, .request("/", host: "b.com")) == "no host")
        #expect(answer(table, .request("/", host: "")) == "no host")
    }

    @Test(arguments: [
        (#""prefix":"/a""#, ["/a", "/ab", "/a?x"], ["/", "/A", "/b/a"]),
        (#""prefix":"/A","case_sensitive":false"#, ["/a", "/Ab"], ["/b"]),
        (#""path":"/a""#, ["/a", "/a?x=/b"], ["/a/", "/ab", "/"]),
        (
            #""path_separated_prefix":"/a/b""#, ["/a/b", "/a/b/c", "/a/b?x"],
            ["/a/bc", "/a", "/a/b;c"]
        ),
        (
            #""safe_regex":{"regex":"/r/[a-z]+"}"#, ["/r/abc", "/r/abc?x=1"],
            ["/r/abc1", "/x/r/abc"]
        ),
        (
            #""prefix":"/","query_parameters":[{"name":"a","string_match":{"exact":"1"}}]"#,
            ["/?a=1", "/x?b=2&a=1"], ["/", "/?a=2&a=1", "/?a=%31", "/?ba=1"]
        ),
        (
            #""prefix":"/","query_parameters":[{"name":"a","present_match":true}]"#,
            ["/?a", "/?a=", "/?b&a=1"], ["/", "/?b=a"]
        ),
        (#""prefix":"/","runtime_fraction":{"default_value":{"numerator":100}}"#, ["/"], []),
        (#""prefix":"/","runtime_fraction":{"default_value":{"numerator":0}}"#, [], ["/"]),
    ])
    func `path rules match`(match: String, yes: [String], no: [String]) throws {
        let table = try Compile.table(
            routes: #"{"name":"y","match":{\#(match)},"direct_response":{"status":200}}"#
        )
        for path in yes { #expect(answer(table, .request(path)) == "y", "\(path)") }
        for path in no { #expect(answer(table, .request(path)) == "no route", "\(path)") }
    }

    @Test func `path parameters may be ignored`() throws {
        let table = try Compile.table(
            routes: #"{"name":"y","match":{"path":"/a"},"direct_response":{"status":200}}"#,
            members: #","ignore_path_parameters_in_path_matching":true"#
        )
        #expect(answer(table, .request("/a;v=1")) == "y")
        #expect(answer(table, .request("/a;v=1?q")) == "y")
    }

    @Test func `the first route whose conditions all hold is taken`() throws {
        func route(_ name: String, _ match: String) -> String {
            #"{"name":"\#(name)","match":{"prefix":"/",\#(match)},"direct_response":{"status":200}}"#
        }
        let table = try Compile.table(
            routes: [
                route(
                    "canary",
                    #""headers":[{"name":"x-canary","string_match":{"exact":"true"}}]"#
                ),
                route("post", #""headers":[{"name":":method","string_match":{"exact":"POST"}}]"#),
                route("cookie", #""cookies":[{"name":"s","string_match":{"exact":"v"}}]"#),
                route("grpc", #""grpc":{}"#),
                route("cert", #""tls_context":{"presented":true}"#),
                route("rest", #""headers":[]"#),
            ].joined(separator: ",")
        )
        #expect(answer(table, .request("/", [("x-canary", "true")])) == "canary")
        #expect(answer(table, .request("/", method: "POST")) == "post")
        #expect(answer(table, .request("/", [("cookie", "a=b; s=v")])) == "cookie")
        #expect(answer(table, .request("/", [("cookie", "s=x; s=v")])) == "rest")
        #expect(
            answer(table, .request("/", [("content-type", "application/grpc+proto")])) == "grpc"
        )
        #expect(answer(table, .request("/", [("content-type", "application/grpcx")])) == "rest")
        let stream = StreamInfo.test(tls: TLSConnectionInfo(peer: CertificateInfo()))
        guard case .route(let selection) = table.route(.request("/"), stream, random: 0) else {
            Issue.record("no route")
            return
        }
        #expect(selection.route.labels.name == "cert")
    }

    @Test func `weights share requests by the number drawn, or by a header's`() throws {
        let split =
            #""weighted_clusters":{"clusters":[{"name":"a","weight":90},{"name":"b","weight":0},{"name":"c","weight":10}],"header_name":"x-n"}"#
        let table = try Compile.table(routes: #"{"match":{"prefix":"/"},"route":{\#(split)}}"#)
        var found: [String: Int] = [:]
        for random in UInt64(0)..<1000 {
            found[answer(table, .request("/"), random: random), default: 0] += 1
        }
        #expect(found == ["a": 900, "c": 100])
        #expect(answer(table, .request("/", [("x-n", "95")]), random: 0) == "c")
        #expect(answer(table, .request("/", [("x-n", "x")]), random: 0) == "a")
        // A header that is there twice says nothing.
        #expect(answer(table, .request("/", [("x-n", "95"), ("x-n", "95")]), random: 0) == "a")
    }

    @Test func `a header may name the cluster`() throws {
        let table = try Compile.table(
            routes: #"{"match":{"prefix":"/"},"route":{"cluster_header":"x-to"}}"#
        )
        #expect(answer(table, .request("/", [("x-to", "blue")])) == "blue")
        #expect(answer(table, .request("/")) == "")
    }

    @Test func `plain requests are sent to TLS where it is demanded`() throws {
        func table(_ requirement: String) throws -> RouteTable {
            try Compile.table(
                #"{"virtual_hosts":[{"name":"v","domains":["*"],"require_tls":"\#(requirement)","routes":[{"name":"r","match":{"prefix":"/"},"direct_response":{"status":200}}]}]}"#
            )
        }
        let head = HeaderMap.request("/a?b", host: "h.com:80")
        #expect(answer(try table("ALL"), head) == "tls")
        var location = ByteBuffer()
        RedirectLocation.appendSecure(head, to: &location)
        #expect(String(bytes: location.bytes) == "https://h.com:80/a?b")
        let secure = HeaderMap.request("/")
        secure.set(.forwardedProto, "https")
        #expect(answer(try table("ALL"), secure) == "r")
        let inner = HeaderMap.request("/", [("x-envoy-internal", "true")])
        #expect(answer(try table("EXTERNAL_ONLY"), inner) == "r")
        #expect(answer(try table("EXTERNAL_ONLY"), .request("/")) == "tls")
    }

    @Test func `an explanation names each route passed over and why`() throws {
        let table = try Compile.table(
            routes: #"""
                {"name":"canary","match":{"prefix":"/","headers":[{"name":"x-canary","string_match":{"exact":"true"}}]},"route":{"cluster":"v2"}},
                {"match":{"path":"/x"},"route":{"cluster":"v3"}},
                {"name":"main","match":{"prefix":"/"},"route":{"cluster":"v1"}},
                {"name":"never","match":{"prefix":"/"},"route":{"cluster":"v0"}}
                """#
        )
        let explanation = table.explain(.request("/a"), .test(), random: 0)
        #expect(explanation.virtualHost == "v")
        #expect(explanation.domain == "*")
        #expect(explanation.outcome == "cluster v1")
        #expect(explanation.candidates.map(\.route) == ["canary", "routes[1]", "main"])
        #expect(
            explanation.candidates.map(\.passedOverBecause) == [
                #"header x-canary exact "true": it is absent"#,
                #"path "/a" is not exactly "/x""#,
                nil,
            ]
        )
    }
}
