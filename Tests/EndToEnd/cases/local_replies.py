"""Everything the proxy answers itself: status, body, headers, flags and details."""

from harness import upstream as up
from harness.client import half_close, leave, pause, read, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, virtual_host
from harness.requests import get, post


def rbac(action, policies):
    return extension("envoy.filters.http.rbac", "rbac", rules={"action": action, "policies": policies})


def replies_file(e):
    routes = [
        route({"path": "/up"}, name="up"),
        route({"path": "/nohosts"}, "empty"),
        route({"path": "/refused"}, "refused"),
        route({"path": "/nocluster"}, "ghost"),
        route({"path": "/nocluster404"}, "ghost", cluster_not_found_response_code="NOT_FOUND"),
        route({"path": "/slow"}, timeout="0.2s"),
        route({"path": "/pertry"}, retry_policy={"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.1s", "retry_back_off": {"base_interval": "0.001s"}}),
        route({"path": "/retry503"}, retry_policy={"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}),
        route({"path": "/direct"}, direct_response={"status": 418, "body": {"inline_string": "short and stout"}}),
        route({"path": "/empty-direct"}, direct_response={"status": 204}),
        route({"path": "/redirect"}, redirect={"host_redirect": "b.test", "path_redirect": "/new"}),
        route({"path": "/https"}, redirect={"https_redirect": True}),
        route({"path": "/full"}, "full"),
    ]
    hosts = [
        virtual_host(routes, domains=["a.test", "a.test:*"], include_attempt_count_in_response=False),
        virtual_host([route()], name="tls", domains=["tls.test"], require_tls="ALL"),
    ]
    manager = hcm(e.log, hosts, route_config={"validate_clusters": False})
    full = cluster("full", e.port("up"), circuit_breakers={"thresholds": [{"max_pending_requests": 0, "max_requests": 0}]})
    clusters = [
        cluster("up", e.port("up")), cluster("refused", e.port("nobody")), full,
        {"name": "empty", "type": "STATIC", "connect_timeout": "1s"},
    ]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], clusters)


STATS = [
    r"http\.in\.(no_route|no_cluster|rq_direct_response|rq_redirect|rq_total|rq_reset_after_downstream_response_started)",
    r"http\.in\.downstream_rq_(\dxx|total|completed|http1_total|timeout|overload_close|redirected_.*|rejected_.*|response_before_rq_complete|rx_reset|tx_reset|non_relative_path|too_large)",
    r"http\.in\.downstream_cx_(total|http1_total|protocol_error|ssl_total|upgrades_total)",
    r"cluster\.\w+\.upstream_rq_(\dxx|\d\d\d|total|completed|timeout|per_try_timeout|retry.*|pending_total|pending_overflow|active_overflow|pending_failure_eject|rx_reset|tx_reset|cancelled|maintenance_mode|max_duration_reached)",
    r"cluster\.\w+\.external\.upstream_rq_(\dxx|\d\d\d|completed)",
    r"cluster\.\w+\.upstream_cx_(total|connect_fail|connect_timeout|http1_total|protocol_error|none_healthy|overflow|pool_overflow|max_requests)",
    r"cluster\.\w+\.membership_(total|healthy|degraded|excluded)",
]

REPLIES = Group("local_replies", replies_file, stats=STATS, cases=[
    Case("a request that is proxied", get("/up")),
    Case("no virtual host", get("/up", "other.test")),
    Case("no route", get("/nowhere")),
    Case("cluster not found", get("/nocluster")),
    Case("cluster not found with its own status", get("/nocluster404")),
    Case("no healthy upstream", get("/nohosts")),
    Case("connect refused", get("/refused")),
    Case("upstream closes before headers", get("/up"), up.close_now),
    Case("upstream resets before headers", get("/up"), up.reset_now),
    Case("upstream answers garbage", get("/up"), up.raw(b"THIS IS NOT HTTP\r\n\r\n", keep=False)),
    Case("upstream body is shorter than its length", get("/up"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", keep=False)),
    Case("upstream chunked body breaks off", get("/up"), up.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", keep=False)),
    Case("upstream resets in the body", get("/up"), up.partial_then_reset(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")),
    Case("upstream body ends with the connection", get("/up"), up.raw(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", keep=False)),
    Case("route timeout", get("/slow"), up.hang),
    Case("route timeout after the response started", get("/slow"), up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")),
    Case("per-try timeout with retries used up", get("/pertry"), up.hang),
    Case("retries used up on 503", get("/retry503"), up.respond("503 Service Unavailable", body="sorry")),
    Case("a retry saves the request", get("/retry503"), [up.respond("503 Service Unavailable", body="sorry"), up.respond()]),
    Case("circuit breaker open", get("/full")),
    Case("direct response", get("/direct")),
    Case("direct response to HEAD", get("/direct", method="HEAD")),
    Case("direct response without a body", get("/empty-direct")),
    Case("redirect", get("/redirect")),
    Case("https redirect keeps the port", get("/https", "a.test:8080")),
    Case("virtual host requires TLS", get("/x?y=1", "tls.test")),
    Case("no route for HEAD", get("/nowhere", method="HEAD")),
    Case("no route for a POST with a body", post("/nowhere")),
    Case("upgrade that is not enabled", get("/up", "a.test", "Connection: Upgrade", "Upgrade: websocket"), close=3),
    Case("missing host", b"GET /up HTTP/1.1\r\n\r\n"),
    Case("empty host", b"GET /up HTTP/1.1\r\nHost:\r\n\r\n"),
    Case("HTTP/1.0", b"GET /up HTTP/1.0\r\nHost: a.test\r\n\r\n"),
    Case("a fragment in the path", get("/up#frag")),
    Case("OPTIONS star", get("*", method="OPTIONS")),
    Case("gRPC request without a route", get("/nowhere", "a.test", "content-type: application/grpc")),
    Case("gRPC request to a refused upstream", get("/refused", "a.test", "content-type: application/grpc")),
    Case("gRPC request that times out", get("/slow", "a.test", "content-type: application/grpc"), up.hang),
    Case("gRPC request without a healthy upstream", get("/nohosts", "a.test", "content-type: application/grpc")),
    Case("client leaves before the answer", [get("/up"), wait_upstream("up"), leave()], up.hang),
    Case("client resets before the answer", [get("/up"), wait_upstream("up"), reset()], up.hang),
    Case("client leaves in the response", [get("/up"), wait_upstream("up"), pause(0.1), leave()], up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")),
])


def denied_file(e):
    allow = {"viewers": {"permissions": [{"url_path": {"path": {"prefix": "/open"}}}], "principals": [{"any": True}]}}
    deny = {"ns[foo]-policy[deny-all]-rule[0]": {"permissions": [{"url_path": {"path": {"exact": "/open/secret"}}}], "principals": [{"any": True}]}}
    manager = hcm(e.log, filters=[rbac("DENY", deny), rbac("ALLOW", allow)])
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], [cluster("up", e.port("up"))])


DENIED = Group("rbac_local_replies", denied_file, stats=[r"http\.in\.rbac\..*", r"http\.in\.downstream_rq_\dxx"], cases=[
    Case("allowed by a policy", get("/open/x")),
    Case("denied because no policy matches", get("/closed")),
    Case("denied by a named policy", get("/open/secret")),
    Case("denied gRPC", get("/closed", "a.test", "content-type: application/grpc")),
    Case("denied POST with a body", post("/closed")),
    Case("denied HEAD", get("/closed", method="HEAD")),
    Case("denied while the body is still coming", [get("/closed", "a.test", "Content-Length: 10", method="POST") + b"abc", read()], close=3),
])


def timeouts_file(e):
    fast = hcm(e.log, request_timeout="0.3s")
    heads = hcm(e.log, request_headers_timeout="0.3s", stat_prefix="heads")
    idle = hcm(e.log, stream_idle_timeout="0.3s", stat_prefix="idle")
    conn = hcm(e.log, common_http_protocol_options={"idle_timeout": "0.3s"}, drain_timeout="0.1s", stat_prefix="conn")
    duration = hcm(e.log, common_http_protocol_options={"max_connection_duration": "0.4s"}, drain_timeout="0.1s", stat_prefix="duration")
    stream = hcm(e.log, routes=[route(max_stream_duration={"max_stream_duration": "0.3s"})], stat_prefix="stream")
    idle_route = hcm(e.log, routes=[route(idle_timeout="0.3s")], stat_prefix="idle_route")
    many = hcm(e.log, common_http_protocol_options={"max_requests_per_connection": 2}, stat_prefix="many")
    managers = {"in": fast, "heads": heads, "idle": idle, "conn": conn, "duration": duration, "stream": stream, "idle_route": idle_route, "many": many}
    return bootstrap(
        e.port("admin"), [listener(e.port(n), [m], name=n) for n, m in managers.items()],
        [cluster("up", e.port("up"))],
    )


PARTIAL = get("/x", "a.test", "Content-Length: 10", method="POST") + b"abc"

TIMEOUTS = Group("timeouts", timeouts_file, listeners=("in", "heads"), stats=[
    r"http\.(?!admin)\w+\.downstream_rq_(timeout|idle_timeout|header_timeout|max_duration_reached|\dxx)",
    r"http\.(?!admin)\w+\.downstream_cx_(idle_timeout|max_duration_reached|max_requests_reached)",
    r"cluster\.up\.upstream_rq_(timeout|per_try_timeout|max_duration_reached|tx_reset)",
], cases=[
    Case("request timeout in the body", [PARTIAL, read()], close=3),
    Case("request timeout in the head", [b"GET / HTTP/1.1\r\nHost: a.te", read()], close=3),
    Case("request timeout does not count the upstream's time", get("/"), up.delay(0.5, up.respond())),
    Case("request headers timeout", [b"GET / HTTP/1.1\r\nHost: a.te", read()], close=3, listener="heads"),
    Case("stream idle timeout before the response", get("/"), up.hang, listener="idle"),
    Case("stream idle timeout in the request body", [PARTIAL, read()], listener="idle", close=3),
    Case("stream idle timeout in the response body", get("/"), up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), listener="idle", close=3),
    Case("route idle timeout before the response", get("/"), up.hang, listener="idle_route"),
    Case("idle connection is closed", [get("/"), read()], listener="conn", close=4),
    Case("connection duration ends an idle connection", [get("/"), read()], listener="duration", close=4),
    Case("stream duration before the response", get("/"), up.hang, listener="stream"),
    Case("stream duration in the response", get("/"), up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), listener="stream", close=3),
    Case("the last request of a connection says so", [get("/1"), read(), get("/2"), read()], listener="many", logs=2, close=3),
])

GROUPS = [REPLIES, DENIED, TIMEOUTS]
