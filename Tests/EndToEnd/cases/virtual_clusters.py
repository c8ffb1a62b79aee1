"""Statistics of endpoints a file names: virtual clusters of a host, and routes with a `stat_prefix`."""

from harness import upstream as up
from harness.client import leave, pause, read, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import LOG_FIELDS, access_log, bootstrap, cluster, hcm, listener, route, virtual_host
from harness.requests import get, post


def file(e):
    def named(stat_prefix, *args, **fields):
        return {**route(*args, **fields), "stat_prefix": stat_prefix}

    retry = {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}
    path = lambda match, *more: [{"name": ":path", "string_match": match}, *more]
    vclusters = [
        {"name": "post_users", "headers": path({"prefix": "/users"}, {"name": ":method", "string_match": {"exact": "POST"}})},
        {"name": "users", "headers": path({"safe_regex": {"regex": "/users/\\d+"}})},
        {"name": "retried", "headers": path({"prefix": "/retry"})},
        {"name": "by.header", "headers": [{"name": "x-vc", "present_match": True}]},
        {"name": "rewritten", "headers": path({"prefix": "/before"})},
        {"name": "answered", "headers": path({"safe_regex": {"regex": "/(direct|redirect|ghost|nothing|nohosts|refused)"}})},
    ]
    routes = [
        named("plain", {"prefix": "/users"}),
        named("retrying", {"prefix": "/retry"}, retry_policy=retry),
        named("slow", {"prefix": "/slow"}, timeout="2s", retry_policy={**retry, "per_try_timeout": "0.1s"}),
        named("slow", {"prefix": "/timeout"}, timeout="0.2s"),
        named("direct", {"prefix": "/direct"}, direct_response={"status": 200, "body": {"inline_string": "x"}}),
        named("redirect", {"prefix": "/redirect"}, redirect={"path_redirect": "/new"}),
        named("internal", {"prefix": "/internal"}, internal_redirect_policy={"max_internal_redirects": 1}),
        named("target", {"prefix": "/target"}),
        named("nohosts", {"prefix": "/nohosts"}, "empty"),
        named("refused", {"prefix": "/refused"}, "refused"),
        named("ghost", {"prefix": "/ghost"}, "ghost"),
        named("full", {"prefix": "/full"}, "full", retry_policy={**retry, "retry_on": "5xx"}),
        named("rewriting", {"prefix": "/before"}, prefix_rewrite="/users/1"),
        named("dotted.prefix:with/odd", {"prefix": "/odd"}),
        route({"prefix": "/bare"}),
    ]
    hosts = [
        virtual_host(routes, name="first", domains=["a.test"], virtual_clusters=vclusters),
        virtual_host([named("only", {"prefix": "/"})], name="none.dotted", domains=["b.test"]),
        virtual_host([route({"prefix": "/"})], name="third", domains=["c.test"], virtual_clusters=[{"name": "all", "headers": path({"prefix": "/"})}]),
    ]
    fields = {**LOG_FIELDS, "vcluster": "%VIRTUAL_CLUSTER_NAME%"}
    manager = hcm([access_log(e.log, fields)], hosts, route_config={"validate_clusters": False})
    full = cluster("full", e.port("up"), circuit_breakers={"thresholds": [{"max_retries": 0}]})
    clusters = [cluster("up", e.port("up")), cluster("refused", e.port("nobody")), full,
                {"name": "empty", "type": "STATIC", "connect_timeout": "1s"}]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], clusters)


def c(name, path, *headers, host="a.test", up_=(), method="GET", **more):
    return Case(name, get(path, host, *headers, method=method), up_, **more)


GROUP = Group("virtual_clusters", file, stats=[r"vhost\..*"], cases=[
    c("a virtual cluster by path", "/users/17"),
    c("the whole path must match", "/users/17?x=1"),
    Case("the first that matches wins", post("/users/17")),
    c("none matches", "/users"),
    c("a header", "/users", "X-Vc: 1"),
    c("without a route prefix", "/bare"),
    c("only a route prefix", "/", host="b.test"),
    c("only a virtual cluster", "/", host="c.test"),
    c("an error of the upstream", "/users/1", up_=up.respond("500 Internal Server Error")),
    c("a retry that helps", "/retry", up_=[up.respond("503 Service Unavailable"), up.respond()]),
    c("retries used up", "/retry", up_=up.respond("503 Service Unavailable")),
    c("a retry that is not allowed", "/full", up_=up.respond("503 Service Unavailable")),
    c("per-try timeouts", "/slow", up_=up.hang),
    c("a route timeout", "/timeout", up_=up.hang),
    c("a timeout in the response", "/timeout", up_=up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")),
    c("a direct response", "/direct"),
    c("a redirect", "/redirect"),
    c("no hosts", "/nohosts"),
    c("nobody listens", "/refused"),
    c("no such cluster", "/ghost"),
    c("no route", "/nothing"),
    c("a rewritten path", "/before"),
    c("a prefix with odd letters", "/odd"),
    c("the upstream resets", "/users/1", up_=up.reset_now),
    c("the upstream breaks off", "/users/1", up_=up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", keep=False)),
    c("an internal redirect", "/internal", up_=[up.respond("302 Found", ["location: http://a.test/target"])]),
    Case("the client resets", [get("/users/1"), wait_upstream("up"), reset()], up.hang),
], admin_paths=(
    "GET /stats/prometheus?filter=vhost.*upstream_rq_total", "GET /stats?filter=vhost.*upstream_rq_200$",
))

GROUPS = [GROUP]
