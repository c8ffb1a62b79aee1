import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime
import Testing

@testable import MeshProxy

/// What a route makes of a request's path, host and forwarded host.
func rewritten(
    _ table: RouteTable,
    _ head: HeaderMap,
    keepsOriginals: Bool = true
) -> [String: String] {
    let stream = StreamInfo.test()
    guard case .route(let selection) = table.route(head, stream, random: 0),
        case .forward(let action) = selection.route.action
    else { return [:] }
    selection.route.prepareRequest(
        head,
        forward: action,
        split: selection.split,
        keepsOriginals: keepsOriginals,
        context: { stream.context(head) }
    )
    var result: [String: String] = [:]
    for name: KnownHeader in [
        .path, .authority, .forwardedHost, .envoyOriginalPath, .envoyOriginalHost,
    ] {
        result[name.name.description] = head.string(name)
    }
    return result
}

@Suite struct RewriteTests {
    // The results are those of Envoy 1.40 for the same routes and requests.
    @Test(arguments: [
        (#""prefix":"/pr/a""#, #""prefix_rewrite":"/new""#, "/pr/ab?c", "/newb?c"),
        (#""prefix":"/prs/""#, #""prefix_rewrite":"/""#, "/prs/x?y", "/x?y"),
        (#""path":"/exact""#, #""prefix_rewrite":"/n""#, "/exact?q=1", "/n?q=1"),
        (#""path_separated_prefix":"/sep""#, #""prefix_rewrite":"/s2""#, "/sep/x", "/s2/x"),
        (
            #""safe_regex":{"regex":"/re/.*"}"#, #""prefix_rewrite":"/whole""#, "/re/x/y?z",
            "/whole?z"
        ),
        (
            #""prefix":"/rr""#,
            #""regex_rewrite":{"pattern":{"regex":"/rr/([^/]+)/(.*)"},"substitution":"/\\2/\\1"}"#,
            "/rr/a/b/c?d=/rr/x/y", "/b/c/a?d=/rr/x/y"
        ),
        (
            #""prefix":"/ra""#, #""regex_rewrite":{"pattern":{"regex":"a"},"substitution":"bb"}"#,
            "/raaa?a", "/rbbbbbb?a"
        ),
    ])
    func `a path is rewritten and its old form kept`(
        match: String,
        rewrite: String,
        path: String,
        wanted: String
    ) throws {
        let table = try Compile.table(
            routes: #"{"match":{\#(match)},"route":{"cluster":"c",\#(rewrite)}}"#
        )
        let found = rewritten(table, .request(path))
        #expect(found[":path"] == wanted)
        #expect(found["x-envoy-original-path"] == path)
        let quiet = rewritten(table, .request(path), keepsOriginals: false)
        #expect(quiet[":path"] == wanted)
        #expect(quiet["x-envoy-original-path"] == nil)
    }

    @Test func `a host is rewritten, its old form kept and appended`() throws {
        let table = try Compile.table(
            routes:
                #"{"match":{"prefix":"/"},"route":{"cluster":"c","host_rewrite_literal":"new.host","append_x_forwarded_host":true}}"#
        )
        let found = rewritten(table, .request("/"))
        #expect(found[":authority"] == "new.host")
        #expect(found["x-forwarded-host"] == "h.com")
        #expect(found["x-envoy-original-host"] == "h.com")
        let last = rewritten(table, .request("/", [("x-forwarded-host", "z,h.com")]))
        #expect(last["x-forwarded-host"] == "z,h.com")
        let other = rewritten(table, .request("/", [("x-forwarded-host", "h.com, z")]))
        #expect(other["x-forwarded-host"] == "h.com, z,h.com")
    }

    @Test func `a host may come from a header or from the path`() throws {
        let table = try Compile.table(
            routes: #"""
                {"match":{"prefix":"/h"},"route":{"cluster":"c","host_rewrite_header":"x-new"}},
                {"match":{"prefix":"/"},"route":{"cluster":"c","host_rewrite_path_regex":{"pattern":{"regex":"^/p/([^/]+).*$"},"substitution":"\\1.svc"}}}
                """#
        )
        #expect(rewritten(table, .request("/h", [("x-new", "nh")]))[":authority"] == "nh")
        #expect(rewritten(table, .request("/h", [("x-new", "")]))[":authority"] == "h.com")
        #expect(rewritten(table, .request("/h"))[":authority"] == "h.com")
        #expect(rewritten(table, .request("/p/svc1/x?y"))[":authority"] == "svc1.svc")
    }

    // Location by location as Envoy 1.40 answers.
    @Test(arguments: [
        (#""https_redirect":true"#, "h.com", "http", "/r/x?a=b", "https://h.com/r/x?a=b"),
        (#""https_redirect":true"#, "h.com:80", "http", "/r/x", "https://h.com/r/x"),
        (#""https_redirect":true"#, "h.com:80", "https", "/r/x", "https://h.com:80/r/x"),
        (#""https_redirect":true"#, "h.com:8080", "http", "/r/x", "https://h.com:8080/r/x"),
        (
            #""https_redirect":true,"port_redirect":8443"#, "[::1]:80", "http", "/r",
            "https://[::1]:8443/r"
        ),
        (
            #""scheme_redirect":"ftp","host_redirect":"x.y""#, "h.com:80", "http", "/r",
            "ftp://x.y/r"
        ),
        (#""host_redirect":"new.com""#, "h.com:80", "http", "/r?a", "http://new.com/r?a"),
        (#""port_redirect":99"#, "h.com:80", "http", "/r", "http://h.com:99/r"),
        (#""path_redirect":"/new""#, "h.com", "http", "/r?a=b", "http://h.com/new?a=b"),
        (#""path_redirect":"/new?x=y""#, "h.com", "http", "/r?a=b", "http://h.com/new?x=y"),
        (
            #""path_redirect":"/new","strip_query":true"#, "h.com", "http", "/r?a=b",
            "http://h.com/new"
        ),
        (
            #""path_redirect":"/new?x=y","strip_query":true"#, "h.com", "http", "/r?a=b",
            "http://h.com/new?x=y"
        ),
        (#""prefix_rewrite":"/zz""#, "h.com", "http", "/r/x?q", "http://h.com/zz/x?q"),
        (#""prefix_rewrite":"""#, "h.com", "http", "/r/x", "http://h.com/r/x"),
        (
            #""regex_rewrite":{"pattern":{"regex":"/r/([a-z]+)"},"substitution":"/\\1/x"}"#,
            "h.com",
            "http", "/r/ab?q", "http://h.com/ab/x?q"
        ),
        (#""strip_query":true"#, "h.com", "http", "/r?a=b", "http://h.com/r"),
    ])
    func `a redirect's location is built`(
        redirect: String,
        host: String,
        scheme: String,
        path: String,
        wanted: String
    ) throws {
        let table = try Compile.table(
            routes: #"{"match":{"prefix":"/r"},"redirect":{\#(redirect)}}"#
        )
        let head = HeaderMap.request(path, host: host)
        head.set(.forwardedProto, scheme)
        head.set(.scheme, scheme)
        guard case .route(let selection) = table.route(head, .test(), random: 0),
            case .redirect(let location) = selection.route.action
        else {
            Issue.record("no redirect")
            return
        }
        var text = ByteBuffer()
        selection.route.appendLocation(location, for: head, to: &text)
        #expect(String(bytes: text.bytes) == wanted)
        #expect(location.status == 301)
    }
}

@Suite struct HeaderMutationTests {
    private func table(_ members: String) throws -> RouteTable {
        func level(_ name: String) -> String {
            #"""
            "request_headers_to_add":[
              {"header":{"key":"x-l","value":"\#(name)"}},
              {"header":{"key":"x-o","value":"\#(name)"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"},
              {"header":{"key":"x-e","value":"\#(name)"},"append_action":"OVERWRITE_IF_EXISTS"},
              {"header":{"key":"x-a","value":"\#(name)"},"append_action":"ADD_IF_ABSENT"}],
            "request_headers_to_remove":["x-rm-\#(name)"]
            """#
        }
        return try Compile.table(
            #"""
            {"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},
              "route":{"weighted_clusters":{"clusters":[{"name":"c","weight":1,\#(level("w"))}]}},
              \#(level("r"))}],\#(level("v"))}],\#(level("t"))\#(members)}
            """#
        )
    }

    private func mutate(_ table: RouteTable, _ head: HeaderMap) -> [String] {
        _ = rewritten(table, head)
        return head.fields.filter { $0.hasPrefix("x-") && !$0.hasPrefix("x-forwarded") }
    }

    @Test func `levels are applied from the weighted cluster to the table, which wins`() throws {
        let found = mutate(try table(""), .request("/", [("x-e", "0"), ("x-rm-v", "1")]))
        #expect(
            found.sorted() == [
                "x-a: w", "x-e: t", "x-l: r", "x-l: t", "x-l: v", "x-l: w", "x-o: t",
            ]
        )
    }

    @Test func `the most specific level may win`() throws {
        let found = mutate(
            try table(#","most_specific_header_mutations_wins":true"#),
            .request("/", [("x-e", "0")])
        )
        #expect(found.contains("x-o: r"))
        #expect(found.contains("x-e: r"))
        // The weighted cluster's come first all the same, as in Envoy.
        #expect(found.contains("x-a: w"))
    }

    @Test func `values are those of the head before any addition, after all removals`() throws {
        let table = try Compile.table(
            routes: #"""
                {"match":{"prefix":"/"},"route":{"cluster":"c"},
                 "request_headers_to_remove":["x-b"],"request_headers_to_add":[
                 {"header":{"key":"x-b","value":"%REQ(x-b)%-%REQ(x-c)%"}},
                 {"header":{"key":"x-c","value":"new"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"},
                 {"header":{"key":"x-seen","value":"%REQ(x-c)%"}},
                 {"header":{"key":"x-missing","value":"%REQ(nope)%"}},
                 {"header":{"key":"x-empty","value":""}},
                 {"header":{"key":"x-kept","value":""},"keep_empty_value":true},
                 {"header":{"key":"x-lit","value":"a%%b"}}]}
                """#
        )
        let found = mutate(table, .request("/", [("x-b", "B"), ("x-c", "C")]))
        #expect(
            found == ["x-c: new", "x-b: -C", "x-seen: C", "x-kept: ", "x-lit: a%b"]
                || found.sorted() == [
                    "x-b: -C", "x-c: new", "x-kept: ", "x-lit: a%b", "x-seen: C",
                ]
        )
    }
}
