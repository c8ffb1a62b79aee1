"""Which route is taken and what becomes of the request on it."""

from harness import upstream as up
from harness.client import pause, read
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, virtual_host
from harness.requests import get, post

MASK_TIMEOUT = ()


def answer(text, match, **more):
    """A route that answers with its own name."""
    return {"match": match, "direct_response": {"status": 200, "body": {"inline_string": text}}, **more}


def matches_file(e):
    header = lambda **m: {"prefix": "/h", "headers": [m]}
    query = lambda **m: {"prefix": "/q", "query_parameters": [m]}
    routes = [
        answer("exact", {"path": "/exact"}),
        answer("exact, any case", {"path": "/AnyCase", "case_sensitive": False}),
        answer("separated", {"path_separated_prefix": "/sep"}),
        answer("regex", {"safe_regex": {"regex": "/re/[0-9]+"}}),
        answer("header exact", header(name="x-a", string_match={"exact": "one"})),
        answer("header prefix", header(name="x-b", string_match={"prefix": "pre"})),
        answer("header suffix", header(name="x-c", string_match={"suffix": "fix"})),
        answer("header contains", header(name="x-d", string_match={"contains": "mid"})),
        answer("header regex", header(name="x-e", string_match={"safe_regex": {"regex": "a+b"}})),
        answer("header ignoring case", header(name="x-f", string_match={"exact": "MiXed", "ignore_case": True})),
        answer("header present", header(name="x-g", present_match=True)),
        answer("header absent", header(name="x-h", present_match=False)),
        answer("header range", header(name="x-i", range_match={"start": "10", "end": "20"})),
        answer("header inverted", {"prefix": "/inv", "headers": [{"name": "x-j", "string_match": {"exact": "no"}, "invert_match": True}]}),
        answer("header inverted, missing as empty", {"prefix": "/missing", "headers": [{"name": "x-k", "string_match": {"exact": "no"}, "invert_match": True, "treat_missing_header_as_empty": True}]}),
        answer("two headers", {"prefix": "/two", "headers": [{"name": "x-1", "string_match": {"exact": "1"}}, {"name": "x-2", "string_match": {"exact": "2"}}]}),
        answer("method", {"prefix": "/m", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}),
        answer("query exact", query(name="a", string_match={"exact": "1"})),
        answer("query present", query(name="b", present_match=True)),
        answer("query regex", query(name="c", string_match={"safe_regex": {"regex": "[a-z]+"}})),
        answer("never", {"prefix": "/fraction", "runtime_fraction": {"default_value": {"numerator": 0}}}),
        answer("always", {"prefix": "/fraction", "runtime_fraction": {"default_value": {"numerator": 100}}}),
        answer("prefix", {"prefix": "/pre"}),
    ]
    hosts = [
        virtual_host(routes, name="a", domains=["a.test", "a.test:*"]),
        virtual_host([answer("exact host", {"prefix": "/"})], name="exact", domains=["www.b.test"]),
        virtual_host([answer("long suffix", {"prefix": "/"})], name="long", domains=["*.c.b.test"]),
        virtual_host([answer("suffix", {"prefix": "/"})], name="suffix", domains=["*.b.test", "*-b.test"]),
        virtual_host([answer("prefix host", {"prefix": "/"})], name="prefix", domains=["www.*"]),
        virtual_host([answer("with port", {"prefix": "/"})], name="port", domains=["port.test:8080"]),
        virtual_host([answer("any host", {"prefix": "/"})], name="any", domains=["*"]),
    ]
    return bootstrap(
        e.port("admin"), [listener(e.port("in"), [hcm(e.log, hosts)])], [cluster("up", e.port("up"))]
    )


def m(name, path, *headers, host="a.test", method="GET"):
    return Case(name, get(path, host, *headers, method=method))


MATCHES = Group("route_matches", matches_file, cases=[
    m("exact path", "/exact"),
    m("exact path with a query", "/exact?x=1"),
    m("exact path is not a prefix", "/exact/more"),
    m("exact path is case sensitive", "/Exact"),
    m("path in any case", "/ANYcase"),
    m("separated prefix itself", "/sep"),
    m("separated prefix with more", "/sep/x"),
    m("separated prefix with a query", "/sep?x"),
    m("separated prefix needs its slash", "/separate"),
    m("regex", "/re/42"),
    m("regex with a query", "/re/42?a=b"),
    m("regex must match the whole path", "/re/42/x"),
    m("prefix", "/prefix"),
    m("header exact", "/h", "X-A: one"),
    m("header exact with blanks around", "/h", "X-A:   one  "),
    m("header value is case sensitive", "/h", "X-A: One", "X-H: 1"),
    m("header sent twice is joined", "/h", "X-A: one", "X-A: two", "X-H: 1"),
    m("header prefix", "/h", "X-B: prefixed"),
    m("header suffix", "/h", "X-C: a suffix"),
    m("header contains", "/h", "X-D: amidst"),
    m("header regex", "/h", "X-E: aaab"),
    m("header regex must match whole", "/h", "X-E: xaaab", "X-H: 1"),
    m("header ignoring case", "/h", "X-F: mIxEd"),
    m("header present", "/h", "X-G: anything"),
    m("header present but empty", "/h", "X-G:"),
    m("header absent", "/h"),
    m("header range start is inside", "/h", "X-I: 10", "X-H: 1"),
    m("header range end is outside", "/h", "X-I: 20", "X-H: 1"),
    m("header range of a word", "/h", "X-I: ten", "X-H: 1"),
    m("inverted match of another value", "/inv", "X-J: yes"),
    m("inverted match of the value", "/inv", "X-J: no"),
    m("inverted match of a missing header", "/inv"),
    m("inverted match, missing as empty", "/missing"),
    m("both headers", "/two", "X-1: 1", "X-2: 2"),
    m("one of both headers", "/two", "X-1: 1"),
    m("method", "/m", method="POST"),
    m("another method", "/m"),
    m("query exact", "/q?z=0&a=1"),
    m("query value differs", "/q?a=2"),
    m("query present without a value", "/q?b"),
    m("query regex", "/q?c=abc"),
    m("query is not decoded", "/q?a=%31"),
    m("runtime fraction", "/fraction"),
    m("no route", "/nothing"),
    m("host exact", "/", host="www.b.test"),
    m("host in upper case", "/", host="WWW.B.TEST"),
    m("host suffix", "/", host="x.b.test"),
    m("longest suffix wins", "/", host="x.c.b.test"),
    m("suffix without a dot", "/", host="x-b.test"),
    m("suffix needs something before", "/", host=".b.test"),
    m("host prefix", "/", host="www.d.test"),
    m("host with its port", "/", host="port.test:8080"),
    m("host without its port", "/", host="port.test"),
    m("host with an unlisted port", "/", host="www.b.test:99"),
    m("any host", "/", host="nobody.example"),
])


def actions_file(e):
    routes = [
        route({"prefix": "/rewrite/"}, prefix_rewrite="/new/"),
        route({"path": "/rewrite-path"}, prefix_rewrite="/whole"),
        route({"prefix": "/regex/"}, regex_rewrite={"pattern": {"regex": "^/regex/([^/]+)/(.*)$"}, "substitution": "/\\2/by/\\1"}),
        route({"prefix": "/host-literal"}, host_rewrite_literal="literal.test"),
        route({"prefix": "/host-header"}, host_rewrite_header="x-new-host"),
        route({"prefix": "/host-path"}, host_rewrite_path_regex={"pattern": {"regex": "^/host-path/(.+)$"}, "substitution": "\\1"}),
        route({"prefix": "/xfh"}, host_rewrite_literal="literal.test", append_x_forwarded_host=True),
        route({"prefix": "/redirect/all"}, redirect={"scheme_redirect": "https", "host_redirect": "b.test", "port_redirect": 8443, "path_redirect": "/n", "response_code": "FOUND"}),
        route({"prefix": "/redirect/prefix"}, redirect={"prefix_rewrite": "/moved", "response_code": "TEMPORARY_REDIRECT"}),
        route({"prefix": "/redirect/regex"}, redirect={"regex_rewrite": {"pattern": {"regex": "^/redirect/regex/(.*)$"}, "substitution": "/r/\\1"}, "response_code": "PERMANENT_REDIRECT"}),
        route({"prefix": "/redirect/strip"}, redirect={"path_redirect": "/n", "strip_query": True, "response_code": "SEE_OTHER"}),
        route({"prefix": "/redirect/query"}, redirect={"path_redirect": "/n?own=1"}),
        route({"prefix": "/redirect/http"}, redirect={"scheme_redirect": "http"}),
        route({"prefix": "/redirect/port"}, redirect={"port_redirect": 81}),
        route({"prefix": "/by-header"}, cluster_header="x-cluster"),
        route({"prefix": "/weighted"}, weighted_clusters={"clusters": [
            {"name": "up", "weight": 0}, {"name": "second", "weight": 1, "request_headers_to_add": [{"header": {"key": "x-weighted", "value": "second"}}], "response_headers_to_remove": ["x-from"]},
        ]}),
        route({"prefix": "/direct-body"}, direct_response={"status": 503, "body": {"inline_string": "{\"down\":true}"}},
              response_headers_to_add=[{"header": {"key": "content-type", "value": "application/json"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]),
        route({"prefix": "/internal"}, internal_redirect_policy={"max_internal_redirects": 1}),
        route({"prefix": "/target"}, "second"),
        route({"prefix": "/timeout-off"}, timeout="0s"),
    ]
    second = cluster("second", e.port("second"))
    manager = hcm(e.log, [virtual_host(routes, include_request_attempt_count=True)])
    return bootstrap(
        e.port("admin"), [listener(e.port("in"), [manager])], [cluster("up", e.port("up")), second]
    )


ACTIONS = Group("route_actions", actions_file, upstreams=("up", "second"), cases=[
    m("prefix rewrite", "/rewrite/a?b=c"),
    m("prefix rewrite of a whole path", "/rewrite-path?q"),
    m("regex rewrite", "/regex/one/two?three"),
    m("regex rewrite that does not match", "/regex/one"),
    m("host literal", "/host-literal"),
    m("host from a header", "/host-header", "X-New-Host: from-header.test"),
    m("host from a missing header", "/host-header"),
    m("host from the path", "/host-path/from-path.test?x=1"),
    m("x-forwarded-host", "/xfh"),
    m("x-forwarded-host is appended", "/xfh", "X-Forwarded-Host: first.test"),
    m("redirect with everything", "/redirect/all?q=1"),
    m("redirect with a new prefix", "/redirect/prefix/a?q=1"),
    m("redirect by regex", "/redirect/regex/a/b?q=1"),
    m("redirect without the query", "/redirect/strip?q=1"),
    m("redirect with its own query", "/redirect/query?q=1"),
    m("redirect to another scheme", "/redirect/http", host="a.test:443"),
    m("redirect to another port", "/redirect/port", host="a.test:80"),
    m("redirect of a POST", "/redirect/all", method="POST"),
    m("cluster from a header", "/by-header", "X-Cluster: second"),
    m("cluster from a missing header", "/by-header"),
    m("cluster from a header, unknown", "/by-header", "X-Cluster: nobody"),
    Case("weighted cluster of all weight", get("/weighted"), {"second": [up.respond(headers=["x-from: second"])]}),
    m("direct response with a content type", "/direct-body"),
    Case("internal redirect", get("/internal"), {"up": [up.respond("302 Found", ["location: http://a.test/target"])]}),
    Case("internal redirect to another scheme", get("/internal"), {"up": [up.respond("302 Found", ["location: https://a.test/target"])]}),
    Case("internal redirect without a route", get("/internal"), {"up": [up.respond("302 Found", ["location: http://a.test/void"])]}),
    Case("no internal redirect for 301 by default", get("/internal"), {"up": [up.respond("301 Moved Permanently", ["location: http://a.test/target"])]}),
    m("timeout switched off", "/timeout-off"),
])


def mutations_file(e):
    add = lambda key, value, action=None, **more: {"header": {"key": key, "value": value}, **({"append_action": action} if action else {}), **more}
    inner = route(
        {"prefix": "/inner"},
        request_headers_to_add=[add("x-order", "route"), add("x-path", "%REQ(:PATH)%"), add("x-host-is", "%REQ(:AUTHORITY)%")],
        request_headers_to_remove=["x-drop-route"],
        response_headers_to_add=[add("x-response-order", "route"), add("x-code", "%RESPONSE_CODE%"), add("x-up", "%UPSTREAM_HOST%")],
        response_headers_to_remove=["x-secret"],
    )
    actions = route(
        {"prefix": "/actions"},
        request_headers_to_add=[
            add("x-append", "added"), add("x-add-if-absent", "added", "ADD_IF_ABSENT"),
            add("x-overwrite", "added", "OVERWRITE_IF_EXISTS_OR_ADD"), add("x-overwrite-only", "added", "OVERWRITE_IF_EXISTS"),
            add("x-empty", "%REQ(x-nothing)%"), add("x-empty-kept", "%REQ(x-nothing)%", keep_empty_value=True),
        ],
    )
    formats = route(
        {"prefix": "/formats"},
        request_headers_to_add=[
            add("x-protocol", "%PROTOCOL%"), add("x-alternative", "%REQ(x-one?x-two)%"), add("x-cut", "%REQ(x-long):5%"),
            add("x-percent", "100%%"), add("x-client-ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), add("x-local", "%DOWNSTREAM_LOCAL_ADDRESS%"),
            add("x-route", "%ROUTE_NAME%"), add("x-cluster-name", "%UPSTREAM_CLUSTER%"), add("x-start", "%START_TIME(%Y-%m)%"),
        ],
        name="the-formats",
    )
    reply = route(
        {"prefix": "/reply"}, direct_response={"status": 200, "body": {"inline_string": "x"}},
        response_headers_to_add=[add("x-response-order", "route"), add("x-details", "%RESPONSE_CODE_DETAILS%")],
    )
    config = {
        "request_headers_to_add": [add("x-order", "table")], "response_headers_to_add": [add("x-response-order", "table")],
        "request_headers_to_remove": ["x-drop-table"], "internal_only_headers": ["x-internal-only"],
    }
    host = {
        "request_headers_to_add": [add("x-order", "host")], "response_headers_to_add": [add("x-response-order", "host")],
        "request_headers_to_remove": ["x-drop-host"],
    }
    routes = [inner, actions, formats, reply, route()]
    first = hcm(e.log, [virtual_host(routes, **host)], route_config=config)
    specific = hcm(e.log, [virtual_host(routes, **host)], route_config={**config, "most_specific_header_mutations_wins": True}, stat_prefix="specific")
    return bootstrap(
        e.port("admin"), [listener(e.port("in"), [first]), listener(e.port("specific"), [specific], name="specific")],
        [cluster("up", e.port("up"))],
    )


MUTATIONS = Group("header_mutations", mutations_file, listeners=("in", "specific"), cases=[
    Case("headers of all levels in Envoy's order", get("/inner", "a.test", "X-Drop-Route: 1", "X-Drop-Host: 1", "X-Drop-Table: 1", "X-Kept: 1"),
         up.respond(headers=["x-secret: 1", "x-response-order: upstream"])),
    Case("most specific mutations last", get("/inner"), up.respond(headers=["x-response-order: upstream"]), listener="specific"),
    Case("append actions on present headers", get("/actions", "a.test", "X-Append: own", "X-Add-If-Absent: own", "X-Overwrite: own", "X-Overwrite-Only: own")),
    Case("append actions on absent headers", get("/actions")),
    Case("append actions on repeated headers", get("/actions", "a.test", "X-Append: 1", "X-Append: 2", "X-Add-If-Absent: 1", "X-Add-If-Absent: 2", "X-Overwrite: 1", "X-Overwrite: 2", "X-Overwrite-Only: 1", "X-Overwrite-Only: 2")),
    Case("append actions on joined headers", get("/inner", "a.test", "X-Order: 1, 2", "X-Order: 3")),
    Case("repeated response headers", get("/inner"), up.respond(headers=["x-response-order: 1", "x-response-order: 2", "set-cookie: a=1", "set-cookie: b=2", "x-secret: 1", "x-secret: 2"])),
    Case("formatters in headers", get("/formats", "a.test", "X-Two: second", "X-Long: 0123456789"), mask=[r"\d{4}-\d\d$"]),
    Case("response headers on a local reply", get("/reply")),
    Case("response headers on a 404 of the host", get("/inner", "a.test"), up.respond("404 Not Found")),
    Case("internal-only headers are kept from internal clients", get("/", "a.test", "X-Internal-Only: 1")),
])


def paths_file(e):
    routes = [answer("found", {"path": "/ok/a"}), answer("encoded", {"path": "/ok%2Fa"}), answer("case", {"path": "/OK"}), route()]
    variants = {
        "in": {},
        "normal": {"normalize_path": True},
        "merge": {"normalize_path": True, "merge_slashes": True},
        "forward": {"normalize_path": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
        "redirect": {"normalize_path": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"},
        "reject": {"normalize_path": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"},
        "strip": {"strip_any_host_port": True},
        "matching": {"strip_matching_host_port": True},
        "underscore": {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}},
        "drop": {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}},
        "dot": {"strip_trailing_host_dot": True},
    }
    return bootstrap(
        e.port("admin"),
        [listener(e.port(n), [hcm(e.log, routes=routes, stat_prefix=n, **v)], name=n) for n, v in variants.items()],
        [cluster("up", e.port("up"))],
    )


def p(name, path, where="in", *headers, host="a.test"):
    return Case(name, get(path, host, *headers), listener=where)


PATHS = Group("paths_and_hosts", paths_file, cases=[
    p("dots are left alone by default", "/x/../ok/a"),
    p("dots are resolved", "/x/../ok/a", "normal"),
    p("encoded dots are resolved", "/x/%2e%2e/ok/a", "normal"),
    p("backslash", "/ok\\a", "normal"),
    p("path parameters do not hide dots", "/x/..;/ok/a", "normal"),
    p("path parameters do not hide encoded dots", "/x/%2e%2e;v=1/ok/a", "normal"),
    p("more dots than segments", "/../../ok/a", "normal"),
    p("a NUL in the path", "/ok%00a", "normal"),
    p("double slashes are left without merging", "//ok//a", "normal"),
    p("double slashes are merged", "//ok//a", "merge"),
    p("a path of slashes only is merged", "//", "merge"),
    p("double slashes in the query are kept", "//ok//a?x=//y", "merge"),
    p("escaped slash is kept by default", "/ok%2Fa", "normal"),
    p("escaped slash is unescaped", "/ok%2Fa?q=%2F", "forward"),
    p("escaped backslash is unescaped", "/ok%5Ca", "forward"),
    p("escaped slash is redirected", "/ok%2fa", "redirect"),
    p("escaped slash is rejected", "/ok%2Fa", "reject"),
    p("percent escapes are case normalised", "/%4f%4B", "normal"),
    p("broken percent escape", "/%zz", "normal"),
    p("any host port is stripped", "/", "strip", host="a.test:1234"),
    p("an IPv6 host port is stripped", "/", "strip", host="[::1]:1234"),
    p("another host port is kept", "/", "matching", host="a.test:1234"),
    p("underscores are rejected", "/", "underscore", "X_Y: 1"),
    p("underscores are dropped", "/", "drop", "X_Y: 1", "X-Z: 2"),
    p("underscores are allowed by default", "/", "in", "X_Y: 1"),
    p("trailing host dot is stripped", "/", "dot", host="a.test."),
])

GROUPS = [MATCHES, ACTIONS, MUTATIONS, PATHS]
