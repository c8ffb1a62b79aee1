"""What request headers may change of a route's timeouts and retries, and whose headers count."""

from harness import upstream as up
from harness.client import pause, read, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, virtual_host
from harness.requests import chunked, get, post

FAST = {"base_interval": "0.001s", "max_interval": "0.002s"}
S503 = up.respond("503 Service Unavailable", body="no")


def header(key, value, action=None):
    return {"header": {"key": key, "value": value}, **({"append_action": action} if action else {})}


def file(e):
    policy = lambda on, **more: {"retry_policy": {"retry_on": on, "retry_back_off": FAST, **more}}
    routes = [
        route({"path": "/plain"}, timeout="2s"),
        route({"path": "/one"}, **policy("5xx")),
        route({"path": "/none"}, **policy("5xx", num_retries=0)),
        route({"path": "/wordless"}, retry_policy={"num_retries": 2, "retry_back_off": FAST}),
        route({"path": "/reads"}, **policy("5xx", retriable_request_headers=[{"name": ":method", "string_match": {"exact": "GET"}}])),
        route({"path": "/both"}, **policy("retriable-status-codes,retriable-headers", retriable_status_codes=[418], retriable_headers=[{"name": "x-again", "string_match": {"exact": "yes"}}])),
        route({"path": "/added"}, request_headers_to_add=[header("x-envoy-retry-on", "5xx"), header("x-envoy-max-retries", "2")]),
        route({"path": "/counted"}, request_headers_to_add=[header("x-tries", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"), header("x-appended", "once")],
              response_headers_to_add=[header("x-tries", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%")], **policy("5xx", num_retries=3)),
        route({"path": "/forever"}, timeout="0s", **policy("5xx", per_try_timeout="0.15s")),
        route({"path": "/idle"}, timeout="0s", **policy("5xx", per_try_idle_timeout="0.15s", num_retries=0)),
        route({"path": "/long"}, timeout="0.2s", **policy("5xx", per_try_timeout="5s")),
        route({"path": "/duration"}, max_stream_duration={"max_stream_duration": "0.3s"}, **policy("5xx")),
        route({"path": "/grpc"}, max_stream_duration={"max_stream_duration": "2s", "grpc_timeout_header_max": "1s", "grpc_timeout_header_offset": "0.1s"}),
        route({"path": "/oldgrpc"}, max_grpc_timeout="1s", grpc_timeout_offset="0.1s"),
        route({"path": "/grpcretry"}, **policy("cancelled,deadline-exceeded,internal,resource-exhausted,unavailable")),
        route({"path": "/limit"}, **policy("5xx")),
        route({"path": "/early"}, **policy("5xx,retriable-4xx")),
        route({"path": "/ratelimited"}, **policy("5xx", rate_limited_retry_back_off={"reset_headers": [{"name": "retry-after", "format": "SECONDS"}, {"name": "x-reset", "format": "UNIX_TIMESTAMP"}], "max_interval": "300s"})),
        route({"path": "/4xx"}, **policy("retriable-4xx,envoy-ratelimited")),
        route({"path": "/gateway"}, **policy("gateway-error")),
        route({"path": "/hosted"}),
    ]
    limited = {**route({"path": "/limited"}, **policy("5xx")), "per_request_buffer_limit_bytes": 10}
    limited2 = {**route({"path": "/limited2"}, **policy("5xx")), "request_body_buffer_limit": 10}
    routes += [limited, limited2]
    host = virtual_host(routes, include_request_attempt_count=True, include_attempt_count_in_response=True)
    hosted = virtual_host([route({"path": "/own"}, **policy("gateway-error")), route()], name="hosted", domains=["hosted.test"], retry_policy={"retry_on": "5xx", "num_retries": 2, "retry_back_off": FAST})
    quiet = virtual_host(routes)
    edge = {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
    inside = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}, "use_remote_address": True}
    variants = {
        "in": hcm(e.log, [host, hosted]), "edge": hcm(e.log, [host], stat_prefix="edge", **edge), "inside": hcm(e.log, [host], stat_prefix="inside", **inside),
        "respect": hcm(e.log, [host], stat_prefix="respect", router_fields={"respect_expected_rq_timeout": True}),
        "quiet": hcm(e.log, [quiet], stat_prefix="quiet", router_fields={"suppress_envoy_headers": True}),
        "strict": hcm(e.log, [host], stat_prefix="strict", router_fields={"strict_check_headers": ["x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retry-grpc-on"]}),
    }
    return bootstrap(e.port("admin"), [listener(e.port(n), [m], name=n) for n, m in variants.items()], [cluster("up", e.port("up"))])


def ask(name, path, *headers, answers=(), where="inside", **more):
    return Case(name, get(path, "a.test", *headers), list(answers), listener=where, **more)


GRPC = "content-type: application/grpc"
grpc = lambda status: up.respond(headers=["content-type: application/grpc", f"grpc-status: {status}"], body="")
LEFT = r"^\d{1,3}$"

OVERRIDES = Group("overrides", file, stats=[r"cluster\.up\.upstream_rq_(retry\w*|timeout|per_try\w*|total|\d\d\d|max_duration_reached|tx_reset)", r"cluster\.up\.retry_or_shadow_abandoned"], cases=[
    ask("timeout header", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 150", answers=[up.hang]),
    ask("timeout header of zero is none", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 0"),
    ask("timeout header that is no number", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: soon"),
    ask("timeout header with a sign", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: -5"),
    ask("timeout header with a blank", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 5 0"),
    ask("timeout header twice", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 3000", "X-Envoy-Upstream-Rq-Timeout-Ms: 4000"),
    ask("timeout header that is huge", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 99999999999999999999"),
    ask("timeout header of an outsider", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 150", where="edge"),
    ask("timeout header at a sidecar", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 1500", where="in"),
    ask("per-try timeout header", "/one", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 500", answers=[up.hang, up.respond()]),
    ask("per-try timeout header without retries", "/plain", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 150", answers=[up.hang]),
    ask("per-try timeout header over the timeout", "/plain", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 5000"),
    ask("both timeout headers", "/one", "X-Envoy-Upstream-Rq-Timeout-Ms: 4000", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 1000"),
    ask("expected timeout is not trusted", "/plain", "X-Envoy-Expected-Rq-Timeout-Ms: 150"),
    ask("expected timeout where respected", "/plain", "X-Envoy-Expected-Rq-Timeout-Ms: 1500", where="respect"),
    ask("expected timeout where respected, no number", "/plain", "X-Envoy-Expected-Rq-Timeout-Ms: x", "X-Envoy-Upstream-Rq-Timeout-Ms: 1800", where="respect"),
    ask("expected timeout beside the timeout header", "/plain", "X-Envoy-Expected-Rq-Timeout-Ms: 1500", "X-Envoy-Upstream-Rq-Timeout-Ms: 1000", where="respect"),
    ask("more retries asked for", "/one", "X-Envoy-Max-Retries: 3", answers=[S503, S503, S503, up.respond()]),
    ask("no retries asked for", "/one", "X-Envoy-Max-Retries: 0", answers=[S503, up.respond()]),
    ask("retries that are no number", "/one", "X-Envoy-Max-Retries: many", answers=[S503, up.respond()]),
    ask("max retries alone asks for none", "/plain", "X-Envoy-Max-Retries: 2", answers=[S503, up.respond()]),
    ask("one retry by default", "/one", answers=[S503, S503, up.respond()]),
    ask("policy without words", "/wordless", answers=[S503, up.respond()]),
    ask("policy without words, words from a header", "/wordless", "X-Envoy-Retry-On: 5xx", answers=[S503, S503, up.respond()]),
    ask("policy of zero retries", "/none", answers=[S503, up.respond()]),
    ask("policy of zero retries, more asked for", "/none", "X-Envoy-Max-Retries: 1", answers=[S503, up.respond()]),
    ask("retry-on header adds to the policy", "/gateway", "X-Envoy-Retry-On: retriable-4xx", answers=[up.respond("409 Conflict"), up.respond()]),
    ask("retry-on header with unknown words", "/plain", "X-Envoy-Retry-On: nonsense, 5xx", answers=[S503, up.respond()]),
    ask("retry-on header with capitals", "/plain", "X-Envoy-Retry-On: 5XX", answers=[S503, up.respond()]),
    ask("retry-on header with blanks", "/plain", "X-Envoy-Retry-On:  gateway-error ,  retriable-4xx", answers=[S503, up.respond()]),
    ask("retry-on header twice", "/plain", "X-Envoy-Retry-On: retriable-4xx", "X-Envoy-Retry-On: 5xx", answers=[S503, up.respond()]),
    ask("retry-on header of an outsider", "/plain", "X-Envoy-Retry-On: 5xx", answers=[S503, up.respond()], where="edge"),
    ask("retry-on header at a sidecar", "/plain", "X-Envoy-Retry-On: 5xx", answers=[S503, up.respond()], where="in"),
    ask("gRPC retry-on header", "/plain", "X-Envoy-Retry-Grpc-On: unavailable", GRPC, answers=[grpc(14), grpc(0)]),
    ask("gRPC retry-on header, status as a code", "/plain", "X-Envoy-Retry-Grpc-On: unavailable", GRPC, answers=[grpc(13), grpc(0)]),
    ask("gRPC word in the HTTP header", "/plain", "X-Envoy-Retry-On: unavailable", GRPC, answers=[grpc(14), grpc(0)]),
    ask("HTTP word in the gRPC header", "/plain", "X-Envoy-Retry-Grpc-On: 5xx", answers=[S503, up.respond()]),
    ask("gRPC cancelled", "/grpcretry", GRPC, answers=[grpc(1), grpc(0)]),
    ask("gRPC deadline exceeded", "/grpcretry", GRPC, answers=[grpc(4), grpc(0)]),
    ask("gRPC resource exhausted", "/grpcretry", GRPC, answers=[grpc(8), grpc(0)]),
    ask("gRPC internal", "/grpcretry", GRPC, answers=[grpc(13), grpc(0)]),
    ask("gRPC not found", "/grpcretry", GRPC, answers=[grpc(5), grpc(0)]),
    ask("gRPC status that is none", "/grpcretry", GRPC, answers=[grpc("x"), grpc(0)]),
    ask("gRPC words on an HTTP 503", "/grpcretry", answers=[S503, up.respond()]),
    ask("retriable codes header", "/plain", "X-Envoy-Retry-On: retriable-status-codes", "X-Envoy-Retriable-Status-Codes: 404, 418 ,x", answers=[up.respond("418 Teapot"), up.respond()]),
    ask("retriable codes header beside the policy's", "/both", "X-Envoy-Retriable-Status-Codes: 404", answers=[up.respond("404 Not Found"), up.respond()]),
    ask("retriable header names", "/plain", "X-Envoy-Retry-On: retriable-headers", "X-Envoy-Retriable-Header-Names: X-Foo, X-Upstream-Retry", answers=[up.respond(headers=["x-upstream-retry: 1"]), up.respond()]),
    ask("retriable header with its value", "/both", answers=[up.respond(headers=["x-again: yes"]), up.respond()]),
    ask("retriable header with another value", "/both", answers=[up.respond(headers=["x-again: no"]), up.respond()]),
    Case("request headers that are not retriable, with a header", post("/reads", "x", "X-Envoy-Retry-On: 5xx"), [S503, up.respond()], listener="inside"),
    ask("a route adds the retry headers", "/added", answers=[S503, S503, up.respond()]),
    ask("a route adds the retry headers for outsiders", "/added", answers=[S503, S503, up.respond()], where="edge"),
    ask("headers are added once over retries", "/counted", answers=[S503, S503, up.respond()]),
    ask("attempt count of the client", "/counted", "X-Envoy-Attempt-Count: 9", answers=[S503, up.respond()]),
    ask("attempt count of the upstream", "/one", answers=[up.respond(headers=["x-envoy-attempt-count: 9"])]),
    ask("attempt count on a failure", "/one", answers=[up.close_now]),
    ask("attempt count where not asked for", "/one", answers=[S503, up.respond(headers=["x-envoy-attempt-count: 9"])], where="quiet"),
    ask("a whole timeout of zero leaves the per-try one", "/forever", answers=[up.hang, up.respond()]),
    ask("idle try without retries", "/idle", answers=[up.hang]),
    ask("idle try within the response", "/idle", answers=[up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")], close=3),
    ask("a try may not outlast the whole", "/long", answers=[up.hang]),
    ask("stream duration over retries", "/duration", answers=[S503, up.hang]),
    ask("gRPC timeout with an offset", "/grpc", GRPC, "grpc-timeout: 500m"),
    ask("gRPC timeout over its maximum", "/grpc", GRPC, "grpc-timeout: 5S"),
    ask("gRPC timeout below the offset", "/grpc", GRPC, "grpc-timeout: 50m", answers=[up.hang], ignore=("upstream",)),
    ask("gRPC timeout that is none", "/grpc", GRPC, "grpc-timeout: soon"),
    ask("gRPC timeout without gRPC", "/grpc", "grpc-timeout: 500m"),
    ask("gRPC timeout, older fields", "/oldgrpc", GRPC, "grpc-timeout: 500m"),
    ask("gRPC timeout, older fields, none given", "/oldgrpc", GRPC),
    ask("gRPC timeout, older fields, in hours", "/oldgrpc", GRPC, "grpc-timeout: 1H"),
    Case("the body is under the route's limit", post("/limited", "small"), [S503, up.respond()], listener="inside"),
    Case("the body is over the route's limit", post("/limited", "over the limit"), [S503, up.respond()], listener="inside"),
    Case("the body is just at the route's limit", post("/limited", "0123456789"), [S503, up.respond()], listener="inside"),
    Case("the body is over the route's other limit", post("/limited2", "over the limit"), [S503, up.respond()], listener="inside"),
    Case("the body is under the route's other limit", post("/limited2", "small"), [S503, up.respond()], listener="inside"),
    Case("a chunked body with trailers is repeated", chunked("/one", "a", "b", trailers=["x-t: 1"]), [S503, up.respond()], listener="inside"),
    Case("a 503 while the body is on its way", [get("/early", "a.test", "Content-Length: 10", method="POST") + b"abc", wait_upstream("up"), pause(0.1), b"defghij", read()], [up.before_body(up.respond("503 Service Unavailable", body="no", keep=False)), up.respond()], listener="inside", ignore=("log",)),
    Case("a reset while the body is on its way", [get("/early", "a.test", "Content-Length: 10", method="POST") + b"abc", wait_upstream("up"), pause(0.1), b"defghij", read()], [up.before_body(up.close_now), up.respond()], listener="inside", ignore=("log",)),
    Case("the client leaves between tries", [get("/one"), wait_upstream("up"), reset()], [up.hang], listener="inside", ignore=("log", "upstream")),
    ask("rate limited by a header far in the future", "/ratelimited", answers=[up.respond("503 Service Unavailable", ["retry-after: 301"]), up.respond()]),
    ask("rate limited by a header that is no number", "/ratelimited", answers=[up.respond("503 Service Unavailable", ["retry-after: soon"]), up.respond()]),
    ask("rate limited by zero seconds", "/ratelimited", answers=[up.respond("503 Service Unavailable", ["retry-after: 0"]), up.respond()]),
    ask("rate limited until the past", "/ratelimited", answers=[up.respond("503 Service Unavailable", ["x-reset: 1000"]), up.respond()]),
    ask("rate limited for a second", "/ratelimited", answers=[up.respond("503 Service Unavailable", ["retry-after: 1"]), up.respond()]),
    ask("409 and rate limited both", "/4xx", answers=[up.respond("409 Conflict", ["x-envoy-ratelimited: true"]), up.respond()]),
    ask("rate limited 503 under 5xx", "/one", answers=[up.respond("503 Service Unavailable", ["x-envoy-ratelimited: true"]), up.respond()]),
    ask("overloaded 503 under 5xx", "/one", answers=[up.respond("503 Service Unavailable", ["x-envoy-overloaded: true"]), up.respond()]),
    Case("the virtual host's policy", get("/x", "hosted.test"), [up.respond("500 Internal Server Error"), up.respond("500 Internal Server Error"), up.respond()]),
    Case("the route's own policy wins", get("/own", "hosted.test"), [up.respond("500 Internal Server Error"), up.respond()]),
    ask("strict headers: good ones", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 1000", "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 1", where="strict"),
    ask("strict headers: timeout", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: soon", where="strict"),
    ask("strict headers: per-try timeout", "/plain", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: -1", where="strict"),
    ask("strict headers: retries", "/plain", "X-Envoy-Max-Retries: many", where="strict"),
    ask("strict headers: retry-on", "/plain", "X-Envoy-Retry-On: 5xx,nonsense", where="strict"),
    ask("strict headers: gRPC retry-on", "/plain", "X-Envoy-Retry-Grpc-On: nonsense", where="strict"),
    ask("quiet: nothing of Envoy's", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 1000", where="quiet", answers=[up.respond(headers=["x-envoy-overloaded: true", "x-envoy-upstream-service-time: 7"])]),
    ask("quiet: a failure", "/plain", where="quiet", answers=[up.close_now]),
    ask("alt response", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 100", "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 204", answers=[up.hang]),
    ask("alt stat name", "/plain", "X-Envoy-Upstream-Alt-Stat-Name: other"),
    ask("hedge on per-try timeout", "/one", "X-Envoy-Hedge-On-Per-Try-Timeout: true", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 2000"),
    ask("stream duration header", "/plain", "X-Envoy-Upstream-Stream-Duration-Ms: 150", answers=[up.delay(0.3, up.respond())]),
    ask("stream duration header, in time", "/plain", "X-Envoy-Upstream-Stream-Duration-Ms: 2000"),
    ask("stream duration header of zero is none", "/plain", "X-Envoy-Upstream-Stream-Duration-Ms: 0"),
    ask("stream duration header that is no number", "/plain", "X-Envoy-Upstream-Stream-Duration-Ms: soon"),
    ask("stream duration header of an outsider", "/plain", "X-Envoy-Upstream-Stream-Duration-Ms: 2000", where="edge"),
    ask("stream duration of one try, then another", "/one", "X-Envoy-Upstream-Stream-Duration-Ms: 150", answers=[up.hang, up.respond()]),
    ask("stream duration within the response", "/plain", "X-Envoy-Upstream-Stream-Duration-Ms: 150", answers=[up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")], close=3),
    ask("alt response to a per-try timeout", "/none", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 100", "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1", answers=[up.hang]),
    ask("alt response to a failure", "/plain", "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1", answers=[up.close_now]),
    ask("alt response of an outsider", "/forever", "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1", answers=[up.hang, up.hang], where="edge"),
    ask("per-try timeout header twice", "/one", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 3000", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 4000"),
    ask("most retries header twice", "/one", "X-Envoy-Max-Retries: 3", "X-Envoy-Max-Retries: 4", answers=[S503, S503, up.respond()]),
    ask("retriable status codes header twice", "/plain", "X-Envoy-Retry-On: retriable-status-codes", "X-Envoy-Retriable-Status-Codes: 418", "X-Envoy-Retriable-Status-Codes: 503", answers=[S503, up.respond()]),
    ask("retriable header names twice", "/plain", "X-Envoy-Retry-On: retriable-headers", "X-Envoy-Retriable-Header-Names: x-a", "X-Envoy-Retriable-Header-Names: x-b", answers=[up.respond(headers=["x-b: 1"]), up.respond()]),
    ask("gRPC retry-on header twice", "/plain", GRPC, "X-Envoy-Retry-Grpc-On: internal", "X-Envoy-Retry-Grpc-On: cancelled", answers=[grpc(1), grpc(0)]),
    ask("a gRPC timeout of zero", "/grpc", GRPC, "grpc-timeout: 0m", answers=[up.hang], ignore=("upstream",)),
    ask("a route timeout while the response streams", "/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 150", answers=[up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")], close=3),
    ask("a per-try timeout does not cut a response", "/one", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 150", answers=[up.send_then_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")]),
    ask("decorator, tags and trace of an insider", "/plain", "X-Envoy-Decorator-Operation: op", "X-Envoy-Ip-Tags: t", "X-Envoy-Force-Trace: 1", "X-Envoy-Downstream-Service-Cluster: c", "X-Envoy-Downstream-Service-Node: n"),
    ask("decorator, tags and trace of an outsider", "/plain", "X-Envoy-Decorator-Operation: op", "X-Envoy-Ip-Tags: t", "X-Envoy-Force-Trace: 1", "X-Envoy-Downstream-Service-Cluster: c", "X-Envoy-Downstream-Service-Node: n", where="edge"),
    ask("the upstream's decorator and canary", "/plain", answers=[up.respond(headers=["x-envoy-decorator-operation: x", "x-envoy-upstream-canary: true", "x-envoy-degraded: 1"])]),
])

GROUPS = [OVERRIDES]
