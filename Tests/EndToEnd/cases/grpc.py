"""gRPC as HTTP sees it: statistics, gRPC-Web, retries, timeouts, logs. Spoken over HTTP/1.1, whose bytes can be spelled out."""

import base64

from harness import upstream as up
from harness.client import read
from harness.differential import Case, Group
from harness.envoyfile import access_log, bootstrap, cluster, extension, hcm, listener, route, typed
from harness.requests import chunked, get, post

GRPC = "content-type: application/grpc"
TRAILERS = {"http_protocol_options": {"enable_trailers": True}}


def frame(text):
    return f"\0\0\0\0{chr(len(text))}{text}"


def call(path="/shop.v1.Cart/Add", *messages, headers=(), kind=GRPC):
    return chunked(path, *(frame(m) for m in messages or ("hello",)), headers=[kind, "te: trailers", *headers])


def answer(*messages, status=0, headers=(), trailers=()):
    return up.chunked(*(frame(m) for m in messages), headers=[GRPC, *headers], trailers=[f"grpc-status: {status}", *trailers])


def only_head(status, *headers):
    """A response without body or trailers."""
    return up.respond(headers=[GRPC, f"grpc-status: {status}", *headers], body="")


def clusters(e, *names):
    trailing = typed("http_options", explicit_http_config=TRAILERS)
    options = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": trailing}
    return [cluster(n, e.port("up"), typed_extension_protocol_options=options) for n in names]


# Statistics.

def stats_file(e):
    state = "envoy.filters.http.grpc_stats"
    log = access_log(e.log, {
        "typed": f"%FILTER_STATE({state})%", "plain": f"%FILTER_STATE({state}:PLAIN)%", "number": "%GRPC_STATUS_NUMBER%",
        "status": "%GRPC_STATUS%", "snake": "%GRPC_STATUS(SNAKE_STRING)%", "digits": "%GRPC_STATUS(NUMBER)%",
    })
    listed = {"services": [{"name": "shop.v1.Cart", "method_names": ["Add", "Clear"]}]}
    kinds = {
        "all": {"stats_for_all_methods": True, "emit_filter_state": True, "enable_upstream_stats": True},
        "listed": {"individual_method_stats_allowlist": listed},
        "none": {},
        "dots": {"stats_for_all_methods": True, "replace_dots_in_grpc_service_name": True},
    }
    off = {"envoy.filters.http.grpc_stats": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}}
    listeners = [
        listener(e.port(name), [hcm(
            [log], routes=[route({"path": "/shop.v1.Cart/Off"}, name, typed_per_filter_config=off), route(cluster=name)],
            filters=[extension("envoy.filters.http.grpc_stats", "grpc_stats", **fields)], stat_prefix=name, **TRAILERS,
        )], name=name)
        for name, fields in kinds.items()
    ]
    return bootstrap(e.port("admin"), listeners, clusters(e, *kinds))


STATS = Group("grpc_stats", stats_file, listeners=("all", "listed", "none", "dots"), stats=[r"cluster\.\w+\.grpc.*"], cases=[
    *(Case(f"{where}: a call that succeeds", call(), answer("world"), listener=where) for where in ("all", "listed", "none", "dots")),
    *(Case(f"{where}: a call of another method", call("/shop.v1.Cart/Pay"), answer("a", "b", status=5), listener=where) for where in ("all", "listed", "none", "dots")),
    Case("messages are counted both ways", call("/s/Stream", "one", "two", "three"), answer("1", "2", status=0), listener="all"),
    Case("a status in the head", call("/s/Head"), only_head(14), listener="all"),
    Case("a status that is none of gRPC's", call("/s/Odd"), only_head(99), listener="all"),
    Case("no status", call("/s/None"), up.respond("503 Service Unavailable", body="x"), listener="all"),
    Case("a path without method", call("/alone"), answer("x"), listener="all"),
    Case("a path of three parts", call("/a/b/c"), answer("x"), listener="all"),
    Case("a path with a query", call("/s/Query?x=1"), answer("x"), listener="all"),
    Case("empty parts", call("//"), answer("x"), listener="all"),
    Case("JSON in frames", call("/s/Json", kind="content-type: application/grpc+json"), answer("x"), listener="all"),
    Case("another content type with the same beginning", call("/s/Web", kind="content-type: application/grpc-web"), answer("x"), listener="all"),
    Case("not gRPC", post("/s/Plain", "hello"), up.respond(), listener="all"),
    Case("a route that turns it off", call("/shop.v1.Cart/Off"), answer("x"), listener="all"),
    Case("a message in pieces", chunked("/s/Pieces", "\0\0", "\0\0\5he", "llo\0\0\0\0", "\0", headers=[GRPC]), answer("x"), listener="all"),
])


# gRPC-Web.

def web_file(e):
    routes = [
        route({"path": "/dead/Call"}, "dead"), route({"path": "/slow/Call"}, "up", timeout="0.2s"),
        route({"path": "/none/Call"}, direct_response={"status": 418, "body": {"inline_string": "100% tea"}}),
        route({"prefix": "/"}, "up"),
    ]
    filters = [extension("envoy.filters.http.grpc_web", "grpc_web"), extension("envoy.filters.http.grpc_stats", "grpc_stats", stats_for_all_methods=True)]
    log = access_log(e.log, {"code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "status": "%GRPC_STATUS%", "sent": "%BYTES_SENT%", "received": "%BYTES_RECEIVED%"})
    manager = hcm([log], routes=routes, filters=filters, **TRAILERS)
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], [*clusters(e, "up"), cluster("dead", e.port("nobody"))])


BINARY, TEXT = "content-type: application/grpc-web", "content-type: application/grpc-web-text"
ACCEPT = "accept: application/grpc-web-text"


def b64(text):
    return base64.b64encode(text.encode("latin-1")).decode()


def web(path, body, *headers):
    return post(path, body, *headers)


WEB = Group("grpc_web", web_file, stats=[r"cluster\.\w+\.grpc(-web)?\.(s|dead|slow|none)\..*"], cases=[
    Case("binary", web("/s/Call", frame("hello"), BINARY), answer("world", trailers=["x-more: yes"])),
    Case("binary with its message format", web("/s/Call", frame("hello"), BINARY + "+proto"), answer("world")),
    Case("text", web("/s/Call", b64(frame("hello")), TEXT, ACCEPT), answer("world", status=3, trailers=["grpc-message: no"])),
    Case("text with its message format", web("/s/Call", b64(frame("hello")), TEXT + "+proto", ACCEPT + "+proto"), answer("world")),
    Case("text in, binary out", web("/s/Call", b64(frame("hi")), TEXT), answer("world")),
    Case("binary in, text out", web("/s/Call", frame("hi"), BINARY, ACCEPT), answer("world")),
    Case("several messages in text", web("/s/Call", b64(frame("hi") + frame("there")), TEXT, ACCEPT), answer("a", "bc", "def", "")),
    Case("text in pieces", chunked("/s/Call", *[b64(frame("hello"))[n:n + 3] for n in range(0, 16, 3)], headers=[TEXT, ACCEPT]), answer("world")),
    Case("a response message in pieces", web("/s/Call", b64(frame("hi")), TEXT, ACCEPT), up.chunked("\0\0", "\0\0\5wo", "rld\0\0\0\0\2x", "y", headers=[GRPC], trailers=["grpc-status: 0"])),
    Case("a status in the head", web("/s/Call", frame("hi"), BINARY), only_head(7, "grpc-message: denied")),
    Case("no such encoding", web("/s/Call", "!!!!", TEXT, ACCEPT)),
    Case("text that is cut off", web("/cut/Call", b64(frame("hello"))[:-1], TEXT, ACCEPT)),
    Case("an upstream that is not gRPC", web("/s/Call", frame("hi"), BINARY), up.respond("500 Internal Server Error", body="it's 100% broken\n")),
    Case("an upstream that is not gRPC and has no body", web("/s/Call", frame("hi"), BINARY), up.respond("404 Not Found", body="")),
    Case("a page", web("/s/Call", frame("hi"), BINARY, ACCEPT), up.respond("200 OK", headers=["content-type: text/html"], body="<html>")),
    Case("gRPC-Web from the upstream", web("/s/Call", frame("hi"), BINARY), up.respond(headers=["content-type: application/grpc-web+proto"], body=frame("x"))),
    Case("a refused upstream", web("/dead/Call", frame("hi"), BINARY), logs=1, mask=[r"delayed connect error[^\"]*"]),
    Case("a local reply in text", web("/slow/Call", b64(frame("hi")), TEXT, ACCEPT), up.hang),
    Case("a direct response", web("/none/Call", frame("hi"), BINARY)),
    Case("an accept-encoding of its own", web("/s/Call", frame("hi"), BINARY, "grpc-accept-encoding: gzip"), answer("x")),
    Case("gRPC passes", call("/s/Call"), answer("x")),
    Case("another type passes", web("/s/Call", "{}", "content-type: application/grpc-web+json"), up.respond()),
    Case("no content type passes", get("/s/Call"), up.respond()),
])


# Retries, timeouts, logs.

def details_file(e):
    def retry(on, **more):
        return {"retry_on": on, "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}, **more}
    routes = [
        route({"prefix": "/grpc/", "grpc": {}}, "up", name="only gRPC"),
        *(route({"path": f"/{word}"}, "up", retry_policy=retry(word)) for word in ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")),
        route({"path": "/max"}, "up", max_stream_duration={"grpc_timeout_header_max": "0.3s"}),
        route({"path": "/max-and-plain"}, "up", max_stream_duration={"max_stream_duration": "0.2s", "grpc_timeout_header_max": "5s"}),
        route({"path": "/any"}, "up", max_stream_duration={"grpc_timeout_header_max": "0s"}),
        route({"path": "/offset"}, "up", max_stream_duration={"grpc_timeout_header_max": "10s", "grpc_timeout_header_offset": "9.8s"}),
        route({"path": "/plain-max"}, "up", max_stream_duration={"max_stream_duration": "0.2s"}),
        route({"path": "/old"}, "up", max_grpc_timeout="0.2s"),
        route({"path": "/old-offset"}, "up", max_grpc_timeout="10s", grpc_timeout_offset="1s"),
        route({"path": "/direct"}, direct_response={"status": 429, "body": {"inline_string": "slow é %"}}),
        *(route({"path": f"/status/{n}"}, direct_response={"status": n}) for n in (200, 204, 400, 401, 403, 404, 405, 408, 429, 500, 501, 502, 503, 504)),
        route({"prefix": "/"}, "up"),
    ]
    fields = {
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "details": "%RESPONSE_CODE_DETAILS%", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "camel": "%GRPC_STATUS(CAMEL_STRING)%", "snake": "%GRPC_STATUS(SNAKE_STRING)%", "number": "%GRPC_STATUS_NUMBER%", "trailer": "%TRAILER(GRPC-MESSAGE)%", "route": "%ROUTE_NAME%",
    }
    failed = access_log(e.log, {"log": "failed", "number": "%GRPC_STATUS_NUMBER%"}, filter={"grpc_status_filter": {"statuses": ["OK"], "exclude": True}})
    unavailable = access_log(e.log, {"log": "unavailable"}, filter={"grpc_status_filter": {"statuses": ["UNAVAILABLE", "NOT_FOUND"]}})
    manager = hcm([access_log(e.log, fields), failed, unavailable], routes=routes, use_remote_address=False, **TRAILERS)
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], clusters(e, "up"))


def d(name, path, *behaviours, headers=(), logs=1, **rest):
    return Case(name, call(path, headers=headers), list(behaviours), logs=logs, **rest)


TIME = [r"(?<=grpc-timeout: )\d+", r"(?<=x-envoy-expected-rq-timeout-ms: )\d+"]
CODES = {"cancelled": 1, "deadline-exceeded": 4, "internal": 13, "resource-exhausted": 8, "unavailable": 14}
INTERNAL = "x-forwarded-for: 10.0.0.1"

DETAILS = Group("grpc_details", details_file, stats=[r"cluster\.\w+\.upstream_rq_(\dxx|\d\d\d|retry.*|total|completed|timeout|max_duration_reached)", r"cluster\.\w+\.external\..*", r"http\.in\.downstream_rq_(\dxx|max_duration_reached|total)"], cases=[
    d("a route for gRPC only takes gRPC", "/grpc/x", answer("x")),
    Case("a route for gRPC only leaves others", post("/grpc/x", "hello"), up.respond(), logs=2),
    Case("a route for gRPC only takes its message formats", call("/grpc/x", kind="content-type: application/grpc+thrift"), answer("x")),
    *(d(f"{word} is retried", f"/{word}", only_head(code), answer("well")) for word, code in CODES.items()),
    *(d(f"{word} is not retried for another status", f"/{word}", only_head(2), answer("well"), logs=2) for word in CODES),
    d("a status in trailers is not retried", "/unavailable", answer("x", status=14), answer("well"), logs=3),
    d("retries end", "/unavailable", only_head(14), only_head(14), only_head(14), logs=3),
    d("x-envoy-retry-grpc-on", "/free", only_head(14), answer("well"), headers=["x-envoy-retry-grpc-on: unavailable,internal", INTERNAL]),
    d("x-envoy-retry-grpc-on with other words", "/free", only_head(14), answer("well"), headers=["x-envoy-retry-grpc-on: cancelled", INTERNAL], logs=3),
    d("x-envoy-retry-grpc-on from outside", "/free", only_head(14), answer("well"), headers=["x-envoy-retry-grpc-on: unavailable", "x-forwarded-for: 8.8.8.8"], logs=3),
    d("grpc-timeout is capped", "/max", up.hang, headers=["grpc-timeout: 20S"], logs=2, mask=TIME),
    d("grpc-timeout below the cap", "/max", up.hang, headers=["grpc-timeout: 100m"], logs=2, mask=TIME),
    d("no grpc-timeout under a cap", "/max", answer("x"), mask=TIME),
    d("no grpc-timeout and another limit", "/max-and-plain", up.hang, logs=2, mask=TIME),
    d("any grpc-timeout", "/any", up.hang, headers=["grpc-timeout: 150m"], logs=2, mask=TIME),
    d("an offset", "/offset", up.hang, headers=["grpc-timeout: 10S"], logs=2, mask=TIME),
    d("a stream duration without grpc-timeout", "/plain-max", up.hang, logs=2, mask=TIME),
    d("a malformed grpc-timeout", "/any", answer("x"), headers=["grpc-timeout: abc"]),
    d("the older maximum", "/old", up.hang, headers=["grpc-timeout: 20S"], logs=2, mask=TIME),
    d("the older offset", "/old-offset", answer("x"), headers=["grpc-timeout: 5S"]),
    d("the older maximum without grpc-timeout", "/old-offset", answer("x")),
    d("a direct response", "/direct", logs=3),
    *(d(f"a direct response {n}", f"/status/{n}", logs=1 if n == 200 else 3 if n in (429, 502, 503, 504) else 2) for n in (400, 401, 403, 404, 405, 408, 429, 500, 501, 502, 503, 504)),
    *(d(f"status {n} in logs", f"/log/{n}", answer("x", status=n, trailers=["grpc-message: m"]), logs=1 if n == 0 else 3 if n in (5, 14) else 2) for n in (*range(17), 17)),
    d("no status with 200", "/log/none", up.chunked("x", headers=[GRPC]), logs=2),
    d("no status with 503", "/log/none", up.respond("503 Service Unavailable", body="x"), logs=3),
    d("a status that is no number", "/log/odd", answer("x", status="abc"), logs=2),
    Case("not gRPC", post("/log/plain", "x"), up.respond("503 Service Unavailable"), logs=3),
    Case("not gRPC and well", post("/log/plain", "x"), up.respond(), logs=2),
    d("a retry that ends well", "/unavailable", up.respond("503 Service Unavailable", body="x"), answer("x"), logs=3),
])

GROUPS = [STATS, WEB, DETAILS]
