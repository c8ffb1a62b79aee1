"""The rims of HTTP/1.1: odd responses, old clients, upgrades, and local replies under local_reply_config."""

import base64

from harness import upstream as up
from harness.client import half_close, pause, read, read_bytes, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import access_log, bootstrap, cluster, extension, hcm, listener, route, virtual_host
from harness.requests import chunked, get, post

WIRE_STATS = [
    r"http\.in\.downstream_cx_(protocol_error|upgrades_total|upgrades_active)", r"http\.in\.downstream_rq_(\dxx|total|completed)",
    r"cluster\.up\.upstream_cx_(protocol_error|total)", r"cluster\.up\.upstream_rq_(total|\dxx)",
]


def plain_file(e):
    old = {"accept_http_10": True, "default_host_for_http_10": "old.test"}
    managers = {
        "in": hcm(e.log, upgrade_configs=[{"upgrade_type": "websocket"}], routes=[
            route({"path": "/no-upgrade"}, upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}]),
            route({"path": "/foo"}, upgrade_configs=[{"upgrade_type": "foo"}]),
            route({"path": "/direct"}, direct_response={"status": 200, "body": {"inline_string": "direct"}}),
            route({"path": "/short"}, timeout="0.2s"), route(),
        ]),
        "old": hcm(e.log, stat_prefix="old", http_protocol_options=old, upgrade_configs=[{"upgrade_type": "websocket"}]),
    }
    return bootstrap(
        e.port("admin"), [listener(e.port(name), [manager], name=name) for name, manager in managers.items()], [cluster("up", e.port("up"))]
    )


def raw(name, answer, *more, request=None, **options):
    """An upstream that answers with these bytes and leaves; a second request must not see them."""
    return Case(name, request or get("/"), up.raw(answer, keep=False), *more, **options)


OK = b"HTTP/1.1 200 OK\r\n"

RESPONSES = Group("response_edges", plain_file, stats=WIRE_STATS, cases=[
    raw("204 with a length", b"HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc"),
    raw("204 with bytes behind it", b"HTTP/1.1 204 No Content\r\n\r\nabc"),
    raw("204 in chunks", b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    raw("304 with bytes behind it", b"HTTP/1.1 304 Not Modified\r\n\r\nabc"),
    raw("304 in chunks", b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    raw("HEAD with a body", OK + b"content-length: 3\r\n\r\nabc", request=get("/", method="HEAD")),
    raw("HEAD in chunks", OK + b"transfer-encoding: chunked\r\n\r\n", request=get("/", method="HEAD")),
    raw("205 with a body", b"HTTP/1.1 205 Reset Content\r\ncontent-length: 3\r\n\r\nabc"),
    raw("many interim responses", b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + OK + b"content-length: 2\r\n\r\nok"),
    raw("interim responses without end", b"HTTP/1.1 102 Processing\r\n\r\n" * 200),
    raw("an interim response, then the end", b"HTTP/1.1 100 Continue\r\n\r\n"),
    raw("an interim response with a length", b"HTTP/1.1 100 Continue\r\ncontent-length: 3\r\n\r\nabc" + OK + b"content-length: 2\r\n\r\nok"),
    raw("HTTP/1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    raw("HTTP/1.0 with chunks", b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    Case("HTTP/1.0 is not kept", [get("/1"), read(), get("/2"), read()], [up.raw(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), up.respond(body="second")], logs=2),
    Case("HTTP/1.0 that is kept", [get("/1"), read(), get("/2"), read()], [up.raw(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"), up.respond(body="second")], logs=2),
    raw("two spaces in the status line", b"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok"),
    raw("no space behind the status", b"HTTP/1.1 200OK\r\ncontent-length: 2\r\n\r\nok"),
    raw("lower case version", b"http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    raw("HTTP/2.0 in text", b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    raw("HTTP/1.2", b"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    raw("an empty line first", b"\r\n" + OK + b"content-length: 2\r\n\r\nok"),
    raw("a signed status", b"HTTP/1.1 +20 OK\r\ncontent-length: 2\r\n\r\nok"),
    raw("a long reason", b"HTTP/1.1 200 " + b"x" * 500 + b"\r\ncontent-length: 2\r\n\r\nok"),
    raw("a control character in the reason", b"HTTP/1.1 200 O\x01K\r\ncontent-length: 2\r\n\r\nok"),
    raw("a list of lengths", OK + b"content-length: 3, 3\r\n\r\nabc"),
    raw("two equal lengths", OK + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"),
    raw("an empty length", OK + b"content-length:\r\n\r\nabc"),
    raw("identity", OK + b"transfer-encoding: identity\r\n\r\nabc"),
    raw("gzip and chunked", OK + b"transfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    raw("chunked twice", OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    raw("chunk extensions", OK + b"transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n"),
    raw("space behind a chunk size", OK + b"transfer-encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n"),
    raw("a chunk longer than its size", OK + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
    raw("no last line after the chunks", OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"),
    raw("a bad trailer", OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nbad trailer\r\n\r\n"),
    raw("no colon", OK + b"nonsense\r\ncontent-length: 2\r\n\r\nok"),
    raw("a folded header", OK + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nok"),
    raw("high bytes in a value", OK + b"x: \xe9\r\ncontent-length: 2\r\n\r\nok"),
    raw("an empty name", OK + b": a\r\ncontent-length: 2\r\n\r\nok"),
    raw("a head that breaks off", OK + b"content-le"),
    raw("nothing but a status line", OK),
    raw("a request instead of a response", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    raw("an upgrade header without an upgrade", OK + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok"),
    raw("a 101 to a body", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", request=post("/", "abc")),
    raw("a 407", b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"),
])

CLIENT_10 = b"GET / HTTP/1.0\r\nHost: a.test\r\n"

OLD = Group("old_clients", plain_file, listeners=("old", "in"), cases=[
    Case("a POST with a length", b"POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", listener="old", close=1),
    Case("a POST without a length", b"POST / HTTP/1.0\r\nHost: a.test\r\n\r\n", listener="old", close=1),
    Case("HEAD", b"HEAD / HTTP/1.0\r\nHost: a.test\r\n\r\n", up.raw(OK + b"content-length: 3\r\n\r\n"), listener="old", close=1),
    Case("keep-alive and a response in chunks", [CLIENT_10 + b"Connection: keep-alive\r\n\r\n", read()], up.chunked("some", "body"), listener="old", close=1),
    Case("keep-alive twice", [(CLIENT_10 + b"Connection: keep-alive\r\n\r\n") * 2, read(2)], listener="old", logs=2),
    Case("keep-alive and close", CLIENT_10 + b"Connection: keep-alive, close\r\n\r\n", listener="old", close=1),
    Case("HTTP/1.0 then HTTP/1.1", [CLIENT_10 + b"Connection: keep-alive\r\n\r\n", read(), get("/next"), read()], listener="old", logs=2),
    Case("no keep-alive for an upstream's close", [CLIENT_10 + b"Connection: keep-alive\r\n\r\n", read()], up.respond(headers=["connection: close"], keep=False), listener="old", close=1),
    Case("an upgrade is not for HTTP/1.0", CLIENT_10 + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", listener="old", close=1),
    Case("an expectation", b"POST / HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", listener="old", close=1),
    Case("absolute form", b"GET http://b.test/x HTTP/1.0\r\n\r\n", listener="old", close=1),
    Case("not accepted, with keep-alive", CLIENT_10 + b"Connection: keep-alive\r\n\r\n", close=1),
    Case("a 404 is closed too", b"OPTIONS * HTTP/1.0\r\nHost: a.test\r\n\r\n", listener="old", close=1),
    Case("trailing white space in the version", b"GET / HTTP/1.0 \r\nHost: a.test\r\n\r\n", listener="old", close=1),
])

SOCKET = ("Connection: Upgrade", "Upgrade: websocket")


def socket(path="/", *headers, method="GET"):
    return get(path, "a.test", *SOCKET, *headers, method=method)


UPGRADES = Group("upgrades", plain_file, stats=WIRE_STATS, cases=[
    Case("several connection options", [get("/", "a.test", "Connection: keep-alive, Upgrade", "Upgrade: websocket"), read(), b"ping!", read_bytes(b"ping!")], up.upgrade_echo()),
    Case("another case", [get("/", "a.test", "Connection: uPgRaDe", "Upgrade: WebSocket"), read(), b"ping!", read_bytes(b"ping!")], up.upgrade_echo()),
    Case("no connection option", get("/", "a.test", "Upgrade: websocket")),
    Case("no upgrade header", get("/", "a.test", "Connection: Upgrade")),
    Case("a list of protocols", get("/", "a.test", "Connection: Upgrade", "Upgrade: websocket, foo"), close=1),
    Case("switched off by the route", socket("/no-upgrade"), close=1),
    Case("switched on by the route", [get("/foo", "a.test", "Connection: Upgrade", "Upgrade: foo"), read(), b"ping!", read_bytes(b"ping!")], up.upgrade_echo()),
    Case("a route without it", get("/", "a.test", "Connection: Upgrade", "Upgrade: foo"), close=1),
    Case("a direct response", socket("/direct"), close=1),
    Case("a length of zero", [socket("/", "Content-Length: 0"), read(), b"ping!", read_bytes(b"ping!")], up.upgrade_echo()),
    Case("the upstream answers plainly", socket(), up.respond(body="no thanks"), close=0.3),
    Case("the upstream answers plainly in chunks", socket(), up.chunked("no", "thanks"), close=0.3),
    Case("the upstream refuses", socket(), up.respond("426 Upgrade Required", headers=["upgrade: foo", "connection: upgrade"], body="no"), close=0.3),
    Case("the upstream leaves", socket(), up.close_now, close=0.3),
    Case("the upstream breaks its 101", socket(), up.raw(b"HTTP/1.1 101 Switching\r\nupgr", keep=False), close=0.3),
    Case("a 101 without its headers", [socket(), read()], up.raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello"), close=0.3),
    Case("bytes behind the 101", [socket(), read(), read_bytes(b"hello")], up.raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello"), close=0.3),
    Case("the upstream ends the tunnel", [socket(), read(), read_bytes(b"bye")], up.raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nbye", keep=False), close=1),
    Case("a timeout before the answer", socket("/short"), up.hang, close=0.3),
    Case("a timeout does not end the tunnel", [socket("/short"), read(), pause(0.4), b"ping!", read_bytes(b"ping!")], up.upgrade_echo()),
])


def mapped_file(e):
    deny = extension("envoy.filters.http.rbac", "rbac", rules={"action": "DENY", "policies": {"p": {"permissions": [{"url_path": {"path": {"exact": "/denied"}}}], "principals": [{"any": True}]}}})
    code = lambda op, value: {"status_code_filter": {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "none"}}}}
    add = lambda key, value, action: {"header": {"key": key, "value": value}, "append_action": action}
    config = {
        "body_format": {"json_format": {"code": "%RESPONSE_CODE%", "body": "%LOCAL_REPLY_BODY%", "details": "%RESPONSE_CODE_DETAILS%", "flags": "%RESPONSE_FLAGS%", "path": "%REQ(:PATH)%"}},
        "mappers": [
            {"filter": {"response_flag_filter": {"flags": ["UO"]}}, "status_code": 529, "headers_to_add": [add("retry-after", "1", "OVERWRITE_IF_EXISTS_OR_ADD"), add("x-was", "%RESPONSE_CODE%", "APPEND_IF_EXISTS_OR_ADD")]},
            {"filter": code("EQ", 403), "body": {"inline_string": "not for you"}, "body_format_override": {"text_format": "<b>%LOCAL_REPLY_BODY%</b> %RESPONSE_CODE%\n", "content_type": "text/html; charset=UTF-8"}},
            {"filter": code("EQ", 504), "status_code": 500, "headers_to_add": [add("x-one", "1", "APPEND_IF_EXISTS_OR_ADD"), add("x-one", "2", "APPEND_IF_EXISTS_OR_ADD"), add("server", "mine", "OVERWRITE_IF_EXISTS_OR_ADD")]},
            {"filter": code("EQ", 431), "status_code": 400},
            {"filter": code("EQ", 301), "body": {"inline_string": "gone elsewhere"}},
            {"filter": {"header_filter": {"header": {"name": "x-teapot", "present_match": True}}}, "status_code": 418},
        ],
    }
    binary = base64.b64encode(bytes([0, 255, 254, 10])).decode()
    routes = [
        route({"path": "/denied"}), route({"path": "/full"}, "full"), route({"path": "/dead"}, "dead"), route({"path": "/empty"}, "empty"), route({"path": "/ghost"}, "ghost"),
        route({"path": "/slow"}, timeout="0.2s"), route({"path": "/idle"}, idle_timeout="0.2s"), route({"path": "/long"}, max_stream_duration={"max_stream_duration": "0.2s"}),
        route({"path": "/redirect"}, redirect={"path_redirect": "/new"}), route({"path": "/found"}, redirect={"path_redirect": "/new", "response_code": "FOUND"}),
        route({"path": "/direct"}, direct_response={"status": 403, "body": {"inline_string": "direct"}}),
        route({"path": "/direct-format"}, direct_response={"status": 200, "body": {"inline_string": "plain"}, "body_format": {"text_format": "%REQ(:PATH)% says %LOCAL_REPLY_BODY%"}}),
        route({"path": "/binary"}, direct_response={"status": 200, "body": {"inline_bytes": binary}}),
        route({"path": "/up"}),
    ]
    full = cluster("full", e.port("up"), circuit_breakers={"thresholds": [{"max_requests": 0, "max_pending_requests": 0}]})
    clusters = [cluster("up", e.port("up")), full, cluster("dead", e.port("nobody")), {"name": "empty", "type": "STATIC", "connect_timeout": "1s"}]
    hosts = lambda: [virtual_host(routes, domains=["a.test"]), virtual_host([route()], name="tls", domains=["tls.test"], require_tls="ALL")]
    common = dict(filters=[deny], route_config={"validate_clusters": False})
    managers = {
        "in": hcm(e.log, hosts(), local_reply_config=config, request_timeout="0.3s", max_request_headers_kb=1, **common),
        "bare": hcm(e.log, hosts(), stat_prefix="bare", **common),
    }
    return bootstrap(e.port("admin"), [listener(e.port(n), [m], name=n) for n, m in managers.items()], clusters)


def m(name, path, *headers, host="a.test", method="GET", up_=(), on="in", **more):
    return Case(name, get(path, host, *headers, method=method), up_, listener=on, **more)


MAPPED = Group("mapped_replies", mapped_file, listeners=("in", "bare"), stats=[r"http\.(in|bare)\.downstream_rq_\dxx", r"cluster\.\w+\.upstream_rq_\dxx"], cases=[
    m("RBAC", "/denied"), m("RBAC to HEAD", "/denied", method="HEAD"), m("RBAC to gRPC", "/denied", "content-type: application/grpc"),
    m("a full cluster", "/full"), m("a full cluster to gRPC", "/full", "content-type: application/grpc"), m("a failed connect", "/dead"), m("no hosts", "/empty"), m("no such cluster", "/ghost"),
    m("a route timeout", "/slow", up_=up.hang), m("a route timeout to gRPC", "/slow", "content-type: application/grpc", up_=up.hang),
    m("a stream idle timeout", "/idle", up_=up.hang), m("a stream duration", "/long", up_=up.hang), m("no route", "/nowhere"), m("no virtual host", "/", host="b.test"),
    m("a redirect", "/redirect"), m("another redirect", "/found"), m("TLS required", "/x", host="tls.test"),
    m("a direct response", "/direct"), m("a direct response with its own format", "/direct-format"), m("a binary direct response", "/binary", on="bare"),
    m("a direct response with its own format alone", "/direct-format", on="bare"),
    m("a header chooses", "/up", "X-Teapot: 1"), m("a header chooses a 404", "/nowhere", "X-Teapot: 1"), m("an upstream's 504 is left alone", "/up", up_=up.respond("504 Gateway Timeout")),
    m("headers too large", "/up", "X-Big: " + "x" * 1100), m("an upgrade", "/up", "Connection: Upgrade", "Upgrade: websocket", close=1),
    Case("a request timeout", [get("/up", "a.test", "Content-Length: 10", method="POST") + b"abc", read()], close=1),
    Case("no host", b"GET / HTTP/1.1\r\n\r\n"), Case("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"), m("an unknown coding", "/up", "Transfer-Encoding: gzip", method="POST"),
    m("an upstream's protocol error", "/up", up_=up.raw(b"nonsense\r\n\r\n", keep=False)), m("an upstream's reset", "/up", up_=up.reset_now),
])

GROUPS = [RESPONSES, OLD, UPGRADES, MAPPED]
