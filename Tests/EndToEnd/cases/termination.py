"""CONNECT that ends here: the payload goes on as TCP (connect_config), from clients of both versions."""

from cases.over_http2 import wires
from cases.tcp import flood, read_all_then_answer, read_then_reset, send_first
from harness import http2
from harness import upstream as up
from harness.client import half_close, pause, read, read_bytes, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route
from harness.requests import chunked, get, post


def connect(host):
    return get(f"{host}.test:443", f"{host}.test:443", method="CONNECT")


ENDS = [{"upgrade_type": "CONNECT", "connect_config": {}}]
POST = [{"upgrade_type": "CONNECT", "connect_config": {"allow_post": True}}]


def file(e):
    def tunnel(name, to=None, **fields):
        return {"name": f"{name}.test", "domains": [f"{name}.test:443", f"{name}.test"], "routes": [route({"connect_matcher": {}}, to or "up", name, upgrade_configs=ENDS, **fields)]}

    hosts = [
        tunnel("a", response_headers_to_add=[{"header": {"key": "x-tunnel", "value": "%UPSTREAM_HOST%"}}]),
        tunnel("dead", "dead"), tunnel("empty", "empty"), tunnel("full", "full"), tunnel("pending", "pending"), tunnel("requests", "requests"),
        tunnel("retry", "dead", retry_policy={"retry_on": "connect-failure", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}}),
        tunnel("idle", idle_timeout="0.3s"),
        tunnel("duration", max_stream_duration={"max_stream_duration": "0.4s"}),
        {"name": "off", "domains": ["off.test:443"], "routes": [route({"connect_matcher": {}}, name="off", upgrade_configs=[{**ENDS[0], "enabled": False}])]},
        {"name": "post", "domains": ["post.test"], "response_headers_to_remove": ["x-envoy-upstream-service-time"], "routes": [route({"prefix": "/web"}, "web", "post-web", upgrade_configs=POST), route(name="post", upgrade_configs=POST)]},
        {"name": "no-post", "domains": ["no-post.test"], "routes": [route({"prefix": "/"}, "web", "no-post", upgrade_configs=ENDS)]},
        {"name": "denied", "domains": ["denied.test:443"], "routes": [route({"connect_matcher": {}}, name="denied", upgrade_configs=ENDS)]},
    ]
    rbac = extension("envoy.filters.http.rbac", "rbac", rules={"action": "DENY", "policies": {"host": {
        "permissions": [{"header": {"name": ":authority", "string_match": {"prefix": "denied"}}}], "principals": [{"any": True}]}}})
    limits = lambda **limit: {"circuit_breakers": {"thresholds": [limit]}}
    clusters = [
        cluster("up", e.port("up")), cluster("web", e.port("web")), cluster("dead", e.port("nobody")), {"name": "empty", "type": "STATIC", "connect_timeout": "1s"},
        cluster("full", e.port("up"), **limits(max_connections=0)), cluster("pending", e.port("up"), **limits(max_pending_requests=0)),
        cluster("requests", e.port("up"), **limits(max_requests=0)),
    ]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, hosts, filters=[rbac])])], clusters)


CASES = [
    Case("echo", [connect("a"), read(), b"ping!", read_bytes(b"ping!"), half_close(), pause(0.1)], up.echo, close=1),
    Case("the upstream speaks first", [connect("a"), read(), read_bytes(b"220 hi\n"), b"x!", read_bytes(b"x!"), half_close(), pause(0.1)], send_first(b"220 hi\n", up.echo), close=1),
    Case("half-close passes to the upstream", [connect("a"), read(), b"request", half_close(), read_bytes(b"after your FIN")], read_all_then_answer, close=1),
    Case("the upstream closes", [connect("a"), read(), wait_upstream("up"), pause(0.1)], up.close_now, close=1),
    Case("the upstream resets", [connect("a"), read(), b"x", pause(0.2)], read_then_reset, close=1),
    Case("a megabyte arrives whole", [connect("a"), read(), read_bytes(b"END"), pause(0.1)], flood(1 << 20), close=1),
    Case("nobody listens", [connect("dead"), read()], close=1),
    Case("nobody listens, with retries", [connect("retry"), read()], close=1),
    Case("no healthy upstream", [connect("empty"), read()], close=1),
    Case("no pending connection is allowed", [connect("pending"), read()], close=1),
    Case("max_requests does not count tunnels", [connect("requests"), read(), b"ping!", read_bytes(b"ping!"), half_close(), pause(0.1)], up.echo, close=1),
    Case("the stream idles", [connect("idle"), read(), pause(0.6)], up.echo, close=1),
    Case("the stream takes too long", [connect("duration"), read(), pause(0.6)], up.echo, close=1),
    Case("denied by RBAC", [connect("denied"), read()], close=1),
    Case("not enabled", [connect("off"), read()], close=1),
    Case("no route for the host", [connect("nowhere"), read()], close=1),
    Case("a plain request where only CONNECT is routed", [get("/", "a.test"), read()], close=0.3),
    Case("POST as CONNECT", [post("/", "request", host="post.test"), read()], read_all_then_answer, close=0.3),
    Case("POST in chunks as CONNECT", [chunked("/", "re", "quest", host="post.test"), read()], read_all_then_answer, close=0.3),
    Case("GET where POST is CONNECT", [get("/web", "post.test"), read()], {"web": [up.respond("200 OK", body="plain")]}, close=0.3),
    Case("POST where only CONNECT is", [post("/", host="no-post.test"), read()], {"web": [up.respond("200 OK", body="plain")]}, close=0.3),
]

STATS = [
    r"cluster\.\w+\.upstream_cx_(total|http1_total|http2_total|connect_fail|overflow|pool_overflow|none_healthy|rx_bytes_total|tx_bytes_total|active|destroy|protocol_error)",
    r"cluster\.\w+\.upstream_rq_(total|active|pending_total|pending_overflow|pending_failure_eject|cancelled|\dxx|\d\d\d|retry|retry_success|completed|timeout|rx_reset|tx_reset)",
    r"http\.in\.downstream_rq_(total|\dxx|active|tx_reset|rx_reset|idle_timeout|max_duration_reached|ws_on_non_ws_route|response_before_rq_complete|completed)",
    r"http\.in\.downstream_cx_(upgrades_total|upgrades_active)",
]


def group(down):
    return Group(f"{down}.termination", wires(down, "h1", Group("", file, ())), CASES, upstreams=[("up", {"raw_tcp": True}), "web"], stats=STATS, client=http2.H2Client if down == "h2" else None)


GROUPS = [group("h1")] + ([group("h2")] if http2.h2 else [])
