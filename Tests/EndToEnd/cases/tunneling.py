"""tcp_proxy that tunnels: CONNECT or POST to a cluster of either version (tunneling_config)."""

from cases.over_http2 import OPTIONS
from cases.tunnels import accept_connect
from harness import http2, http2_upstream
from harness import upstream as up
from harness.client import half_close, leave, read_bytes, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import LOG_FIELDS, access_log, bootstrap, cluster, extension, listener, typed

FIELDS = {
    **LOG_FIELDS, "upstream_protocol": "%UPSTREAM_PROTOCOL%",
    "answer": "head %FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:TYPED)%",
    "answer_end": "trailers %FILTER_STATE(envoy.tcp_proxy.propagate_response_trailers:TYPED)%",
}


def file(version):
    def make(e):
        def proxy(name, to="up", hostname="b.test:443", attempts=1, **tunneling):
            fields = {"stat_prefix": name, "cluster": to, "max_connect_attempts": attempts, "access_log": [access_log(e.log, FIELDS)], "tunneling_config": {"hostname": hostname, **tunneling}}
            if name == "idle":
                fields["idle_timeout"] = "0.3s"
            return listener(e.port(name), [extension("envoy.filters.network.tcp_proxy", "tcp_proxy", **fields)], name=name)

        add = lambda key, value, **rest: {"header": {"key": key, "value": value}, **rest}
        listeners = [
            proxy("in"), proxy("retry", attempts=3), proxy("dead", "dead", attempts=2), proxy("empty", "empty"), proxy("full", "full"), proxy("pending", "pending"),
            proxy("idle"), proxy("post", use_post=True), proxy("post-path", use_post=True, post_path="/tunnel?x=1"),
            proxy("headers", hostname="%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%:%DOWNSTREAM_LOCAL_PORT%", propagate_response_headers=True, propagate_response_trailers=True,
                  headers_to_add=[add("x-from", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), add("x-two", "1"), add("x-two", "2"), add("x-empty", "%DYNAMIC_METADATA(no:thing)%")]),
            proxy("unnamed", hostname="%DYNAMIC_METADATA(no:thing)%"),
        ]
        limits = lambda **limit: {"circuit_breakers": {"thresholds": [limit]}}
        clusters = [
            cluster("up", e.port("up")), cluster("dead", e.port("nobody")), {"name": "empty", "type": "STATIC", "connect_timeout": "1s"},
            cluster("full", e.port("up"), **limits(max_requests=0)), cluster("pending", e.port("up"), **limits(max_pending_requests=0)),
        ]
        if version == "h2":
            for each in clusters:
                each["typed_extension_protocol_options"] = {OPTIONS: typed("http_options", explicit_http_config={"http2_protocol_options": {}})}
        return bootstrap(e.port("admin"), listeners, clusters)
    return make


def accept(fields="", then=up.echo):
    def act(exchange):
        exchange.is_tunnel = True
        exchange.send(("HTTP/1.1 200 OK\r\n%s\r\n" % fields).encode())
        return then(exchange)
    act.before_body = True
    return act


def read_then_reset(exchange):
    while not exchange.reader.buffer:
        exchange.reader.more()
    return up.reset_now(exchange)


def refuse(exchange):
    exchange.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
    return False


refuse.before_body = True


def bye(exchange):
    exchange.send(b"bye")
    return False


def cases(version):
    echo = [b"hello\n", read_bytes(b"hello\n"), half_close(), read_bytes(b"\0")]
    return [
        Case("echo", echo, accept_connect, close=2),
        Case("the upstream closes", [wait_upstream("up"), read_bytes(b"\0")], accept(then=bye), close=2),
        Case("the client resets", [b"x", read_bytes(b"x"), reset()], accept_connect),
        Case("the upstream resets", [b"x", read_bytes(b"\0")], accept(then=read_then_reset), close=2),
        Case("refused", [read_bytes(b"\0")], up.respond("403 Forbidden", body="no"), close=2),
        Case("refused, then granted", echo, [up.respond("503 Service Unavailable"), accept_connect], listener="retry", close=2),
        Case("refused every time", [read_bytes(b"\0")], [up.respond("503 Service Unavailable")] * 3, listener="retry", close=2),
        Case("another success than 200", echo, accept_as("204 No Content"), close=2),
        Case("the upstream closes unanswered", [read_bytes(b"\0")], up.close_now, close=2),
        Case("nobody listens", [read_bytes(b"\0")], listener="dead", close=2),
        Case("no healthy upstream", [read_bytes(b"\0")], listener="empty", close=2),
        Case("no request is allowed", [read_bytes(b"\0")], listener="full", close=2),
        Case("no pending connection is allowed", [read_bytes(b"\0")], listener="pending", close=2),
        Case("idle timeout", [b"x", read_bytes(b"x")], accept_connect, listener="idle", close=3),
        Case("headers and host by format", echo, accept("x-answer: 1\r\nx-answer: 2\r\n"), listener="headers", close=2),
        Case("a host that comes out empty", [read_bytes(b"\0")], up.respond("403 Forbidden"), listener="unnamed", close=2),
        Case("POST", [b"hello\n", read_bytes(b"hello\n"), leave()], accept(), listener="post"),
        Case("POST to a path", [read_bytes(b"\0")], refuse, listener="post-path", close=2),
    ]


def accept_as(status):
    def act(exchange):
        exchange.is_tunnel = True
        exchange.send(f"HTTP/1.1 {status}\r\n\r\n".encode())
        return up.echo(exchange)
    act.before_body = True
    return act


STATS = [
    r"tcp\.\w+\.(downstream_cx_(total|no_route|rx_bytes_total|tx_bytes_total)|idle_timeout)",
    r"cluster\.\w+\.upstream_cx_(total|http1_total|http2_total|connect_fail|connect_attempts_exceeded|overflow|none_healthy|active|destroy|protocol_error)",
    r"cluster\.\w+\.upstream_rq_(total|active|pending_total|pending_overflow|cancelled|\dxx|\d\d\d|completed|tx_reset|rx_reset)",
]

GROUPS = [Group("h1.tunneling", file("h1"), cases("h1"), stats=STATS)]
if http2.h2:
    GROUPS.append(Group("h2.tunneling", file("h2"), cases("h2"), upstreams=[("up", {"kind": http2_upstream.H2Upstream})], stats=STATS))
