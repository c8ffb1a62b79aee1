"""HTTP/1.1 on the wire: framing, limits, upgrades, and shapes that smuggle requests."""

from harness import upstream as up
from harness.client import half_close, pause, read, read_bytes, trickle, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, typed, virtual_host
from harness.requests import chunked, get, post

WIRE_STATS = [
    r"http\.in\.downstream_cx_(protocol_error|http1_total|upgrades_total|upgrades_active)",
    r"http\.in\.downstream_rq_(\dxx|total|ws_on_non_ws_route)",
    r"cluster\.up\.upstream_cx_(protocol_error|total)",
    r"cluster\.up\.upstream_rq_(total|\dxx)",
]


def file(e):
    plain = hcm(e.log, upgrade_configs=[{"upgrade_type": "websocket"}])
    variants = {
        "old": {"http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "old.test"}},
        "trailers": {"http_protocol_options": {"enable_trailers": True}},
        "proper": {"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}},
        "preserve": {"http_protocol_options": {"header_key_format": {"stateful_formatter": {"name": "preserve_case", "typed_config": typed("preserve_case")}}}},
        "small": {"max_request_headers_kb": 1, "common_http_protocol_options": {"max_headers_count": 10}},
        "chunklen": {"http_protocol_options": {"allow_chunked_length": True}},
        "absolute": {"http_protocol_options": {"allow_absolute_url": True}},
        "continue": {"proxy_100_continue": True},
    }
    out = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
        "http_options", explicit_http_config={"http_protocol_options": {"header_key_format": {"stateful_formatter": {"name": "preserve_case", "typed_config": typed("preserve_case")}}, "enable_trailers": True}})}}
    listeners = [listener(e.port("in"), [plain])]
    for name, fields in variants.items():
        routes = [route(cluster="kept" if name in ("preserve", "trailers") else "up")]
        listeners.append(listener(e.port(name), [hcm(e.log, routes=routes, stat_prefix=name, **fields)], name=name))
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up")), cluster("kept", e.port("up"), **out)])


def bad(name, data, **more):
    return Case(name, data, **more)


H = b"Host: a.test\r\n"
BIG = "x" * 70_000

REQUESTS = Group("http1_requests", file, stats=WIRE_STATS, cases=[
    Case("a body with a length", post("/x", "some body")),
    Case("a chunked body", chunked("/x", "some", " ", "body")),
    Case("a chunked body arrives in pieces", [trickle(chunked("/x", "some", " ", "body"), 12), read()]),
    Case("a head arrives in pieces", [trickle(get("/x", "a.test", "X-Long: " + "y" * 300), 20), read()]),
    Case("chunk extensions are dropped", post("/", "", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"") + b"3;ext=1\r\nabc\r\n0\r\n\r\n"),
    Case("request trailers are dropped by default", chunked("/x", "body", trailers=["X-Trailer: 1"])),
    Case("response trailers are dropped by default", get("/"), up.chunked("body", trailers=["x-trailer: 1"])),
    Case("trailers both ways", chunked("/x", "body", trailers=["X-Trailer: 1"]), up.chunked("body", trailers=["x-answer: 1"]), listener="trailers"),
    Case("pipelined requests are answered in order", [get("/1") + get("/2") + get("/3"), read(3)], [up.delay(0.1, up.respond(body="one")), up.respond(body="two"), up.respond(body="three")], logs=3),
    Case("keep-alive", [get("/1"), read(), get("/2"), read()], logs=2),
    Case("connection close is honoured", [get("/", "a.test", "Connection: close"), read()], close=3),
    Case("hop-by-hop headers do not pass", get("/", "a.test", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade-Insecure-Requests: 1"),
         up.respond(headers=["connection: x-resp", "x-resp: 1", "keep-alive: timeout=5", "proxy-connection: close"])),
    Case("TE with another value", get("/", "a.test", "TE: gzip, trailers")),
    Case("proxy headers", get("/", "a.test", "Proxy-Authorization: Basic eDp5", "Proxy-Authenticate: x")),
    Case("HEAD", get("/", method="HEAD"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")),
    Case("204", get("/"), up.raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    Case("304 with a length", get("/"), up.raw(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\netag: x\r\n\r\n")),
    Case("response without framing ends with the connection", get("/"), up.raw(b"HTTP/1.1 200 OK\r\n\r\nuntil close", keep=False)),
    Case("HTTP/1.0 response", get("/"), up.raw(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", keep=False)),
    Case("empty reason phrase", get("/"), up.raw(b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok")),
    Case("no reason phrase", get("/"), up.raw(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok")),
    Case("a reason phrase is replaced", get("/"), up.raw(b"HTTP/1.1 200 Fine\r\ncontent-length: 2\r\n\r\nok")),
    Case("an unusual status", get("/"), up.respond("599 Odd")),
    Case("expect continue is answered at once", [get("/", "a.test", "Content-Length: 4", "Expect: 100-continue", method="POST"), pause(0.05), b"body", read()]),
    Case("expect continue is passed on where asked for", [get("/", "a.test", "Content-Length: 4", "Expect: 100-continue", method="POST"), wait_upstream("up"), b"body", read()], up.continue_then(up.respond()), listener="continue"),
    Case("another expectation", get("/", "a.test", "Expect: foo")),
    Case("early hints", get("/"), up.raw(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    Case("a 102 before the response", get("/"), up.raw(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    Case("an early response ends the exchange", [get("/", "a.test", "Content-Length: 10", method="POST") + b"abc", read()], up.before_body(up.respond("413 Payload Too Large", body="too big")), close=3),
    Case("half-close of the client after the request", [get("/"), wait_upstream("up"), half_close(), read()], up.delay(0.1, up.respond()), close=1),
    Case("absolute form", b"GET http://b.test/path?q HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    Case("absolute form without a path", b"GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    Case("absolute form with https", b"GET https://b.test/path HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    Case("CONNECT without a route for it", b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", close=3),
    Case("PURGE is a method", get("/", method="PURGE")),
    Case("PATCH is a method", get("/", method="PATCH")),
    Case("a leading empty line", b"\r\n" + get("/")),
    Case("websocket", [get("/", "a.test", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"), read(), b"ping!", read_bytes(b"ping!"), half_close(), pause(0.1)], up.upgrade_echo(), close=3),
    Case("websocket refused by the upstream", [get("/", "a.test", "Connection: Upgrade", "Upgrade: websocket"), read()], up.respond("403 Forbidden")),
    Case("upgrade to something else", get("/", "a.test", "Connection: Upgrade", "Upgrade: foo"), close=3),
    Case("h2c upgrade is ignored", get("/", "a.test", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), close=0.3),
    Case("HTTP/1.0 accepted", b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", listener="old", close=3),
    Case("HTTP/1.0 without a host", b"GET / HTTP/1.0\r\n\r\n", listener="old", close=3),
    Case("HTTP/1.0 keep-alive", [b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", read()], listener="old"),
    Case("HTTP/1.0 gets no chunks", b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", up.chunked("some", "body"), listener="old", close=3),
    Case("proper case", get("/"), up.respond(headers=["x-own-header: 1"]), listener="proper"),
    Case("preserved case", b"GET / HTTP/1.1\r\nHOST: a.test\r\nX-MiXed: 1\r\n\r\n", up.respond(headers=["X-AnSwer: 1"]), listener="preserve"),
    Case("length and chunked together where allowed", get("/", "a.test", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n", listener="chunklen"),
])

SMUGGLING = Group("http1_bad_requests", file, stats=WIRE_STATS, cases=[
    bad("length and chunked", get("/", "a.test", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("two lengths that differ", get("/", "a.test", "Content-Length: 3", "Content-Length: 4", method="POST") + b"abcd"),
    bad("two equal lengths", get("/", "a.test", "Content-Length: 3", "Content-Length: 3", method="POST") + b"abc"),
    bad("a list of lengths", get("/", "a.test", "Content-Length: 3, 3", method="POST") + b"abc"),
    bad("signed length", get("/", "a.test", "Content-Length: +3", method="POST") + b"abc"),
    bad("negative length", get("/", "a.test", "Content-Length: -3", method="POST") + b"abc"),
    bad("hexadecimal length", get("/", "a.test", "Content-Length: 0x3", method="POST") + b"abc"),
    bad("length with a blank inside", get("/", "a.test", "Content-Length: 1 0", method="POST") + b"abc"),
    bad("empty length", get("/", "a.test", "Content-Length:", method="POST") + b"abc"),
    bad("length too large for a number", get("/", "a.test", "Content-Length: 99999999999999999999", method="POST") + b"abc"),
    bad("unknown transfer coding", get("/", "a.test", "Transfer-Encoding: gzip", method="POST") + b"abc"),
    bad("gzip and chunked", get("/", "a.test", "Transfer-Encoding: gzip, chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("chunked is not last", get("/", "a.test", "Transfer-Encoding: chunked, gzip", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("chunked twice", get("/", "a.test", "Transfer-Encoding: chunked, chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("two transfer-encoding lines", get("/", "a.test", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("identity", get("/", "a.test", "Transfer-Encoding: identity", method="POST")),
    bad("transfer-encoding with a vertical tab", get("/", "a.test", "Transfer-Encoding: \x0bchunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("transfer-encoding in quotes", get("/", "a.test", 'Transfer-Encoding: "chunked"', method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("chunked in upper case", get("/", "a.test", "Transfer-Encoding: CHUNKED", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    bad("space before the colon", b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    bad("space before the colon of transfer-encoding", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    bad("tab before the colon", b"GET / HTTP/1.1\r\n" + H + b"X-A\t: 1\r\n\r\n"),
    bad("a leading blank before the first header", b"GET / HTTP/1.1\r\n X-A: 1\r\n" + H + b"\r\n"),
    bad("folded header", b"GET / HTTP/1.1\r\n" + H + b"X-A: 1\r\n folded\r\n\r\n"),
    bad("bare LF line ends", b"GET / HTTP/1.1\nHost: a.test\n\n"),
    bad("bare LF ends one header", b"GET / HTTP/1.1\r\n" + H + b"X-A: 1\nX-B: 2\r\n\r\n"),
    bad("bare CR in a value", b"GET / HTTP/1.1\r\n" + H + b"X-A: 1\rX-B: 2\r\n\r\n"),
    bad("NUL in a value", b"GET / HTTP/1.1\r\n" + H + b"X-A: 1\x002\r\n\r\n"),
    bad("NUL in a name", b"GET / HTTP/1.1\r\n" + H + b"X-\x00A: 1\r\n\r\n"),
    bad("control character in a value", b"GET / HTTP/1.1\r\n" + H + b"X-A: 1\x012\r\n\r\n"),
    bad("high bytes in a value", b"GET / HTTP/1.1\r\n" + H + b"X-A: \xe9\r\n\r\n"),
    bad("no colon", b"GET / HTTP/1.1\r\n" + H + b"nonsense\r\n\r\n"),
    bad("empty name", b"GET / HTTP/1.1\r\n" + H + b": x\r\n\r\n"),
    bad("a name with brackets", b"GET / HTTP/1.1\r\n" + H + b"X(A): x\r\n\r\n"),
    bad("two hosts", b"GET / HTTP/1.1\r\n" + H + b"Host: b.test\r\n\r\n"),
    bad("a host with a slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    bad("a host with user info", b"GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n"),
    bad("unknown method", get("/", method="FOOO")),
    bad("method in lower case", get("/", method="get")),
    bad("two spaces in the request line", b"GET  / HTTP/1.1\r\n" + H + b"\r\n"),
    bad("a tab in the request line", b"GET\t/ HTTP/1.1\r\n" + H + b"\r\n"),
    bad("a space in the target", b"GET /a b HTTP/1.1\r\n" + H + b"\r\n"),
    bad("no version", b"GET /\r\n\r\n"),
    bad("HTTP/0.9 style version", b"GET / HTTP/0.9\r\n" + H + b"\r\n"),
    bad("HTTP/1.2", b"GET / HTTP/1.2\r\n" + H + b"\r\n"),
    bad("HTTP/2.0 in text", b"GET / HTTP/2.0\r\n" + H + b"\r\n"),
    bad("another protocol's name", b"GET / HTTQ/1.1\r\n" + H + b"\r\n"),
    bad("a relative target", b"GET foo HTTP/1.1\r\n" + H + b"\r\n"),
    bad("an empty target", b"GET  HTTP/1.1\r\n" + H + b"\r\n"),
    bad("binary", bytes(range(128, 256)) + b"\r\n\r\n"),
    bad("a TLS hello on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40),
    bad("HTTP/2 preface on an HTTP/1 port", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("chunk size is not a number", get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"zz\r\nabc\r\n0\r\n\r\n"),
    bad("chunk size is too large", get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    bad("negative chunk size", get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"-3\r\nabc\r\n0\r\n\r\n"),
    bad("chunk size with 0x", get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"0x3\r\nabc\r\n0\r\n\r\n"),
    bad("chunk size ends with a bare LF", get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"3\nabc\r\n0\r\n\r\n"),
    bad("chunk longer than its size", get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"2\r\nabc\r\n0\r\n\r\n"),
    bad("forbidden trailer", chunked("/", "x", trailers=["Content-Length: 3"])),
    bad("bad trailer", chunked("/", "x", trailers=["bad trailer"])),
    bad("headers too large", get("/", "a.test", "X-Big: " + BIG)),
    bad("URL too large", get("/" + BIG)),
    bad("too many headers", get("/", "a.test", *[f"X-{n}: 1" for n in range(101)])),
    bad("a hundred headers", get("/", "a.test", *[f"X-{n}: 1" for n in range(99)])),
    bad("small limit of bytes", get("/", "a.test", "X-Big: " + "x" * 1100), listener="small"),
    bad("small limit of headers", get("/", "a.test", *[f"X-{n}: 1" for n in range(10)]), listener="small"),
    bad("surplus bytes after a request", [post("/", "abc") + b"GARBAGE\r\n\r\n", read(2)], logs=2),
])

RESPONSES = Group("http1_bad_responses", file, stats=WIRE_STATS, cases=[
    Case("status of four digits", get("/"), up.raw(b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n", keep=False)),
    Case("status of two digits", get("/"), up.raw(b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n", keep=False)),
    Case("status of letters", get("/"), up.raw(b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n", keep=False)),
    Case("status zero", get("/"), up.raw(b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n", keep=False)),
    Case("status 600", get("/"), up.raw(b"HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n", keep=False)),
    Case("length and chunked", get("/"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", keep=False)),
    Case("two lengths that differ", get("/"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", keep=False)),
    Case("signed length", get("/"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc", keep=False)),
    Case("unknown transfer coding", get("/"), up.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc", keep=False)),
    Case("an unrequested 101", get("/"), up.raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", keep=False)),
    Case("bare LF line ends", get("/"), up.raw(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", keep=False)),
    Case("space before the colon", get("/"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok", keep=False)),
    Case("NUL in a value", get("/"), up.raw(b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 2\r\n\r\nok", keep=False)),
    Case("bad chunk size", get("/"), up.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", keep=False)),
    Case("headers too large", get("/"), up.raw(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n", keep=False)),
    Case("too many headers", get("/"), up.raw(b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(101)) + b"content-length: 0\r\n\r\n", keep=False)),
    Case("surplus bytes end the pooled connection", [get("/1"), read(), pause(0.1), get("/2"), read()], up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokSURPLUS"), logs=2),
    Case("a pooled connection that was closed is not reused", [get("/1"), read(), pause(0.1), get("/2"), read()], [up.respond(keep=False), up.respond(body="second")], logs=2),
    Case("connection close is obeyed", [get("/1"), read(), get("/2"), read()], [up.respond(headers=["connection: close"], keep=False), up.respond(body="second")], logs=2),
])

GROUPS = [REQUESTS, SMUGGLING, RESPONSES]
