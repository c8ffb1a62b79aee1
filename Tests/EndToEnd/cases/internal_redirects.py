"""Internal redirects: where they lead, what they may not do, and what travels with them."""

from harness import upstream as up
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, typed, virtual_host
from harness.requests import chunked, get, post

FAST = {"base_interval": "0.001s", "max_interval": "0.002s"}
PREDICATES = "type.googleapis.com/envoy.extensions.internal_redirect."


def predicate(kind, **fields):
    name = "".join(part.capitalize() for part in kind.split("_")) + "Config"
    return {"name": f"envoy.internal_redirect_predicates.{kind}", "typed_config": {"@type": f"{PREDICATES}{kind}.v3.{name}", **fields}}


def header(key, value, action=None):
    return {"header": {"key": key, "value": value}, **({"append_action": action} if action else {})}


def denied(*paths):
    """RBAC settings that refuse these paths."""
    permissions = [{"url_path": {"path": {"prefix": path}}} for path in paths]
    return {"rules": {"action": "DENY", "policies": {"no": {"permissions": permissions, "principals": [{"any": True}]}} if paths else {}}}


def own(*paths):
    return {"envoy.filters.http.rbac": typed("rbac_per_route", rbac=denied(*paths))}


def file(e):
    retry = {"retry_on": "5xx", "num_retries": 2, "retry_back_off": FAST}
    policy = lambda **fields: {"internal_redirect_policy": fields}
    routes = [
        route({"prefix": "/one"}, **policy()),
        route({"prefix": "/two"}, **policy(max_internal_redirects=2)),
        route({"prefix": "/codes"}, **policy(redirect_response_codes=[301, 303, 307, 308])),
        route({"prefix": "/cross"}, **policy(allow_cross_scheme_redirect=True)),
        route({"prefix": "/safe"}, **policy(allow_cross_scheme_redirect=True, predicates=[predicate("safe_cross_scheme")])),
        route({"prefix": "/fresh"}, name="fresh", **policy(max_internal_redirects=5, predicates=[predicate("previous_routes")])),
        route({"prefix": "/listed"}, **policy(predicates=[predicate("allow_listed_routes", allowed_route_names=["target"])])),
        route({"prefix": "/copied"}, **policy(response_headers_to_copy=["x-copy", "x-gone"])),
        route({"prefix": "/retried"}, retry_policy=retry, **policy()),
        route({"prefix": "/marked"}, request_headers_to_add=[header("x-mark", "first")], response_headers_to_add=[header("x-answer-mark", "first")], **policy()),
        route({"prefix": "/rewritten"}, prefix_rewrite="/elsewhere", host_rewrite_literal="rewritten.test", **policy()),
        route({"prefix": "/short"}, timeout="0.4s", **policy()),
        route({"prefix": "/target/retried"}, "second", retry_policy=retry),
        route({"prefix": "/target/marked"}, "second", request_headers_to_add=[header("x-mark", "second")], response_headers_to_add=[header("x-answer-mark", "second")]),
        route({"prefix": "/target/away"}, redirect={"host_redirect": "away.test"}),
        route({"prefix": "/target/direct"}, direct_response={"status": 200, "body": {"inline_string": "direct"}}),
        route({"prefix": "/twice"}, name="twice", **policy(max_internal_redirects=5, predicates=[predicate("previous_routes")])),
        route({"prefix": "/target/denied-not"}, "second", typed_per_filter_config=own()),
        route({"prefix": "/target/denied"}, "second"),
        route({"prefix": "/target/ward"}, "second", typed_per_filter_config=own("/target/ward")),
        route({"prefix": "/target/headed", "headers": [{"name": "x-copy", "string_match": {"exact": "new"}}]}, "second", name="headed"),
        route({"prefix": "/target/posted", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}, "second", name="posted"),
        route({"prefix": "/target/slow"}, "second", timeout="0.2s"),
        route({"prefix": "/target"}, "second", name="target"),
        route({"prefix": "/unlisted"}, "second", name="unlisted"),
    ]
    host = virtual_host(routes, domains=["a.test", "a.test:*"], include_request_attempt_count=True, include_attempt_count_in_response=True)
    other = virtual_host([route(cluster="second")], name="other", domains=["b.test"])
    small = virtual_host([route(cluster="second")], name="tls", domains=["tls.test"], require_tls="ALL")
    filters = [extension("envoy.filters.http.rbac", "rbac", **denied("/target/denied"))]
    return bootstrap(
        e.port("admin"), [listener(e.port("in"), [hcm(e.log, [host, other, small], filters=filters, normalize_path=True)])],
        [cluster("up", e.port("up")), cluster("second", e.port("second"))],
    )


def to(location, status="302 Found", *headers, body=""):
    return up.respond(status, [f"location: {location}", *headers], body=body)


def follow(name, path, *answers, second=(), send=None):
    return Case(name, send or get(path), {"up": list(answers), "second": list(second)})


LEGS = ("internal_redirect",)

INTERNAL = Group("internal_redirects", file, upstreams=("up", "second"), unlogged=LEGS, stats=[
    r"cluster\.\w+\.upstream_internal_redirect_\w+", r"http\.in\.passthrough_internal_redirect_\w+", r"cluster\.\w+\.upstream_rq_(total|\d\d\d|retry\w*)",
    r"http\.in\.(rq_total|rq_direct_response|no_route|downstream_rq_\dxx)",
], cases=[
    follow("to another host", "/one", to("http://b.test/x?y=1")),
    follow("to a relative path", "/one", to("target")),
    follow("to a query alone", "/one", to("?x=1")),
    follow("to another port of the host", "/one", to("http://a.test:8080/target")),
    follow("a fragment is left behind", "/one", to("http://a.test/target#part")),
    follow("no path", "/one", to("http://b.test")),
    follow("a scheme in capitals", "/one", to("HTTP://b.test/x")),
    follow("another scheme altogether", "/one", to("ftp://b.test/x")),
    follow("a location that is none", "/one", to("not a url")),
    follow("an empty location", "/one", to("")),
    follow("no location", "/one", up.respond("302 Found")),
    follow("two slashes before a host", "/one", to("http://a.test//b.test/x")),
    follow("user info in the location", "/one", to("http://me@b.test/x")),
    follow("the second redirect is the client's", "/one", to("http://a.test/one/again"), to("http://a.test/target")),
    follow("two redirects are followed", "/two", to("http://a.test/two/again"), to("http://a.test/target")),
    follow("the third redirect is the client's", "/two", to("http://a.test/two/a"), to("http://a.test/two/b"), to("http://a.test/target")),
    follow("302 is not among the codes", "/codes", to("http://a.test/target")),
    follow("301", "/codes", to("http://a.test/target", "301 Moved Permanently")),
    follow("303 of a GET", "/codes", to("http://a.test/target", "303 See Other")),
    follow("303 of a POST becomes a GET", "/codes", to("http://a.test/target", "303 See Other"), send=post("/codes", "body", "Content-Type: text/plain")),
    follow("303 of a HEAD stays a HEAD", "/codes", to("http://a.test/target", "303 See Other"), send=get("/codes", method="HEAD")),
    follow("307 of a POST is repeated with its body", "/codes", to("http://a.test/target", "307 Temporary Redirect"), send=post("/codes", "the body")),
    follow("308 of a chunked POST", "/codes", to("http://a.test/target", "308 Permanent Redirect"), send=chunked("/codes", "the ", "body")),
    follow("302 of a POST", "/one", to("http://a.test/target"), send=post("/one", "the body")),
    follow("200 with a location", "/one", to("http://a.test/target", "200 OK")),
    follow("the body of the redirect is dropped", "/one", to("http://a.test/target", body="see there")),
    follow("another scheme where allowed", "/cross", to("https://a.test/target")),
    follow("another scheme where allowed and required", "/cross", to("https://tls.test/x")),
    follow("the host wants TLS", "/one", to("http://tls.test/x")),
    follow("to TLS is safe", "/safe", to("https://a.test/target")),
    follow("a route is taken once", "/fresh", to("http://a.test/fresh/again"), to("http://a.test/target")),
    follow("another route is fresh", "/fresh", to("http://a.test/target")),
    follow("a listed route", "/listed", to("http://a.test/target")),
    follow("an unlisted route", "/listed", to("http://a.test/unlisted")),
    follow("headers are copied", "/copied", to("http://a.test/target", "302 Found", "x-copy: new"), send=get("/copied", "a.test", "X-Copy: old", "X-Gone: old")),
    follow("headers are copied with all their values", "/copied", to("http://a.test/target", "302 Found", "x-copy: new", "x-copy: newer")),
    follow("a redirect after a retry", "/retried", up.respond("503 Service Unavailable"), to("http://a.test/target")),
    follow("a retry after a redirect", "/one", to("http://a.test/target/retried"), second=[up.respond("503 Service Unavailable"), up.respond()]),
    follow("retries before and after", "/retried", up.respond("503 Service Unavailable"), to("http://a.test/target/retried"), second=[up.respond("503 Service Unavailable"), up.respond()]),
    follow("the retries of a POST after a redirect", "/codes", to("http://a.test/target/retried", "307 Temporary Redirect"), second=[up.respond("503 Service Unavailable"), up.respond()], send=post("/codes", "the body")),
    follow("both routes' mutations", "/marked", to("http://a.test/target/marked")),
    follow("rewrites before a redirect", "/rewritten", to("http://a.test/target")),
    follow("to a redirect route", "/one", to("http://a.test/target/away")),
    follow("to a direct response", "/one", to("http://a.test/target/direct")),
    follow("the next route's timeout", "/one", to("http://a.test/target/slow"), second=[up.hang]),
    follow("to a path that the filters deny", "/one", to("http://a.test/target/denied")),
    follow("to a path that the filters deny, spelled otherwise", "/one", to("http://a.test/target/x/../denied")),
    follow("to a route that the filters do not deny", "/one", to("http://a.test/target/denied-not")),
    follow("to a route whose own settings deny", "/one", to("http://a.test/target/ward")),
    follow("to a route of a copied header", "/copied", to("http://a.test/target/headed", "302 Found", "x-copy: new")),
    follow("to a route for POST that a 303 leads to", "/codes", to("http://a.test/target/posted", "303 See Other"), send=post("/codes", "body")),
    follow("to two slashes", "/one", to("//b.test/x")),
    follow("a blank in the location", "/one", to("http://b.test/x y")),
    follow("a tab in the host of the location", "/one", to("http://b.te\tst/x")),
    follow("a port of another kind", "/one", to("http://b.test:99999/x")),
    follow("an IPv6 host", "/one", to("http://[::1]/x")),
    follow("no host", "/one", to("http:///x")),
    follow("a 303 of a GET with a body", "/codes", to("http://a.test/target", "303 See Other"), send=get("/codes", "a.test", "Content-Length: 4") + b"body"),
    follow("a 303 of a PUT", "/codes", to("http://a.test/target", "303 See Other"), send=get("/codes", "a.test", "Content-Length: 4", method="PUT") + b"body"),
    follow("the same route for the third time", "/twice", to("http://a.test/twice/1"), to("http://a.test/twice/2"), to("http://a.test/target")),
    follow("back and forth", "/twice", to("http://a.test/fresh/1"), to("http://a.test/twice/1"), to("http://a.test/fresh/2"), to("http://a.test/target")),
    follow("the referrer of an earlier hop", "/one", to("http://a.test/target"), send=get("/one", "a.test", "Referer: http://a.test/before", "X-Envoy-Original-Url: http://evil.test/")),
])

# Where we follow what Envoy does not, and the other way round: apart, so that the counters above are alike.
REFERENCES = Group("redirect_references", file, upstreams=("up", "second"), unlogged=LEGS, cases=[
    follow("to a path", "/one", to("/target/x?y=1")),
    follow("a fragment of a path is left behind", "/one", to("/target#part")),
    follow("a query without a path", "/one", to("http://b.test?x=1")),
    follow("a fragment right after the host", "/one", to("http://b.test#part")),
    follow("ftp where any scheme may follow", "/cross", to("ftp://a.test/target")),
])

GROUPS = [INTERNAL, REFERENCES]
