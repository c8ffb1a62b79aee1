"""Retries, circuit breakers, load balancing over several endpoints."""

from harness import upstream as up
from harness.client import leave, pause, read, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import address, bootstrap, cluster, extension, hcm, listener, route, typed, virtual_host
from harness.requests import chunked, get, post

FAST = {"base_interval": "0.001s", "max_interval": "0.002s"}


def retry(on, **more):
    return {"retry_on": on, "num_retries": 2, "retry_back_off": FAST, **more}


def retries_file(e):
    routes = [
        route({"path": "/5xx"}, retry_policy=retry("5xx")),
        route({"path": "/gateway"}, retry_policy=retry("gateway-error")),
        route({"path": "/reset"}, retry_policy=retry("reset")),
        route({"path": "/before"}, retry_policy=retry("reset-before-request")),
        route({"path": "/connect"}, "dead-then-alive", retry_policy=retry("connect-failure", retry_host_predicate=[{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed("previous_hosts")}], host_selection_retry_max_attempts=5)),
        route({"path": "/dead"}, "dead", retry_policy=retry("connect-failure")),
        route({"path": "/4xx"}, retry_policy=retry("retriable-4xx")),
        route({"path": "/codes"}, retry_policy=retry("retriable-status-codes", retriable_status_codes=[418])),
        route({"path": "/headers"}, retry_policy=retry("retriable-headers", retriable_headers=[{"name": "x-retry-me", "present_match": True}])),
        route({"path": "/only-get"}, retry_policy=retry("5xx", retriable_request_headers=[{"name": ":method", "string_match": {"exact": "GET"}}])),
        route({"path": "/ratelimited"}, retry_policy=retry("envoy-ratelimited")),
        route({"path": "/istio"}, retry_policy=retry("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", retriable_status_codes=[503])),
        route({"path": "/grpc"}, retry_policy=retry("unavailable")),
        route({"path": "/none"}),
        route({"path": "/pertry"}, retry_policy=retry("5xx", per_try_timeout="0.15s")),
        route({"path": "/pertryidle"}, retry_policy=retry("5xx", num_retries=1, per_try_idle_timeout="0.15s")),
        route({"path": "/total"}, timeout="0.25s", retry_policy=retry("5xx", num_retries=10, per_try_timeout="0.1s")),
        route({"path": "/small"}, "small", retry_policy=retry("5xx")),
        route({"path": "/limited"}, "noretries", retry_policy=retry("5xx")),
        route({"path": "/budget"}, "budget", retry_policy=retry("5xx")),
        route({"path": "/after"}, retry_policy=retry("5xx", num_retries=1, rate_limited_retry_back_off={"reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": "0.05s"})),
    ]
    host = virtual_host(routes, include_request_attempt_count=True, include_attempt_count_in_response=True)
    breaker = lambda **t: {"circuit_breakers": {"thresholds": [t]}}
    clusters = [
        cluster("up", e.port("up")), cluster("dead", e.port("nobody")),
        cluster("dead-then-alive", e.port("nobody"), e.port("up")),
        cluster("small", e.port("up"), per_connection_buffer_limit_bytes=1024),
        cluster("noretries", e.port("up"), **breaker(max_retries=0)),
        cluster("budget", e.port("up"), **breaker(retry_budget={"budget_percent": {"value": 0}, "min_retry_concurrency": 0})),
    ]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, [host])])], clusters)


S503 = up.respond("503 Service Unavailable", body="no")
STATS = [r"cluster\.\w+\.upstream_rq_(retry.*|per_try_timeout|per_try_idle_timeout|timeout|pending_overflow|\d\d\d)", r"cluster\.\w+\.retry\..*"]
EXPECTED = [r"(?<=x-envoy-expected-rq-timeout-ms\", \")\d+"]

RETRIES = Group("retries", retries_file, stats=STATS, cases=[
    Case("5xx: 503 then 200", get("/5xx"), [S503, up.respond()]),
    Case("5xx: 500 three times", get("/5xx"), up.respond("500 Internal Server Error")),
    Case("5xx: a reset", get("/5xx"), [up.close_now, up.respond()]),
    Case("5xx: 404 is no reason", get("/5xx"), up.respond("404 Not Found")),
    Case("5xx: a POST with a body is repeated whole", post("/5xx", "the whole body"), [S503, up.respond()]),
    Case("5xx: a chunked POST is repeated whole", chunked("/5xx", "the ", "whole"), [S503, up.respond()]),
    Case("gateway-error: 502, 503, 200", get("/gateway"), [up.respond("502 Bad Gateway"), S503, up.respond()]),
    Case("gateway-error: 500 is no reason", get("/gateway"), up.respond("500 Internal Server Error")),
    Case("reset: closed before headers", get("/reset"), [up.close_now, up.respond()]),
    Case("reset: always closed", get("/reset"), up.close_now),
    Case("reset: garbage", get("/reset"), [up.raw(b"GARBAGE\r\n\r\n", keep=False), up.respond()]),
    Case("reset: not after the response has begun", get("/reset"), up.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", keep=False)),
    Case("reset-before-request: closed after the request", get("/before"), [up.close_now, up.respond()]),
    Case("connect-failure: the other host is tried", [get("/connect"), read(), get("/connect"), read()], logs=2, ignore=("log", "upstream"), mask=[r"^[12]$"]),
    Case("connect-failure: nobody listens", get("/dead")),
    Case("retriable-4xx: 409", get("/4xx"), [up.respond("409 Conflict"), up.respond()]),
    Case("retriable-4xx: 404 is no reason", get("/4xx"), up.respond("404 Not Found")),
    Case("retriable status codes", get("/codes"), [up.respond("418 Teapot"), up.respond()]),
    Case("retriable status codes: others are no reason", get("/codes"), S503),
    Case("retriable headers", get("/headers"), [up.respond(headers=["x-retry-me: 1"]), up.respond()]),
    Case("retriable request headers allow", get("/only-get"), [S503, up.respond()]),
    Case("retriable request headers refuse", post("/only-get"), [S503, up.respond()]),
    Case("envoy-ratelimited", get("/ratelimited"), [up.respond("429 Too Many Requests", ["x-envoy-ratelimited: true"]), up.respond()]),
    Case("envoy-ratelimited: a plain 429 is no reason", get("/ratelimited"), [up.respond("429 Too Many Requests"), up.respond()]),
    Case("Istio's default set on 503", get("/istio"), [S503, up.respond()]),
    Case("Istio's default set on a reset", get("/istio"), [up.close_now, up.respond()]),
    Case("gRPC unavailable in headers", get("/grpc", "a.test", "content-type: application/grpc"), [up.respond(headers=["content-type: application/grpc", "grpc-status: 14"], body=""), up.respond(headers=["grpc-status: 0"], body="")]),
    Case("request header switches retries on", get("/none", "a.test", "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 1"), [S503, up.respond()]),
    Case("request header with retriable codes", get("/none", "a.test", "X-Envoy-Retry-On: retriable-status-codes", "X-Envoy-Retriable-Status-Codes: 418,421"), [up.respond("421 Misdirected"), up.respond()]),
    Case("no retries by default", get("/none"), S503),
    Case("per-try timeout", get("/pertry"), [up.hang, up.respond()]),
    Case("per-try idle timeout", get("/pertryidle"), [up.hang, up.respond()]),
    Case("the route's timeout ends all tries", get("/total"), up.hang, mask=[r"^\d{1,3}$"], ignore=("upstream", "log")),
    Case("a body over the limit is not repeated", post("/small", "z" * 5000), [S503, up.respond()]),
    Case("max_retries is a limit", get("/limited"), [S503, up.respond()]),
    Case("retry budget is a limit", get("/budget"), [S503, up.respond()]),
    Case("retry-after shortens nothing", get("/after"), [up.respond("503 Service Unavailable", ["retry-after: 1"]), up.respond()]),
])


def breakers_file(e):
    def limited(name, port="up", **thresholds):
        return cluster(name, e.port(port), circuit_breakers={"thresholds": [{"track_remaining": True, **thresholds}]})
    clusters = [
        limited("up"), limited("one", max_requests=1), limited("pending", max_connections=1, max_pending_requests=1),
        limited("high"), limited("perconn"),
    ]
    clusters[-1]["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
        "http_options", common_http_protocol_options={"max_requests_per_connection": 1}, explicit_http_config={"http_protocol_options": {}})}
    clusters[3]["circuit_breakers"]["thresholds"] = [{"priority": "DEFAULT", "max_requests": 0, "max_pending_requests": 0}, {"priority": "HIGH", "max_requests": 10}]
    routes = [route({"path": f"/{c['name']}"}, c["name"]) for c in clusters] + [route({"path": "/prio"}, "high", priority="HIGH")]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=routes)])], clusters)


BREAKERS = Group("circuit_breakers", breakers_file, stats=[
    r"cluster\.\w+\.circuit_breakers\.\w+\.\w+", r"cluster\.\w+\.upstream_rq_(pending_overflow|active_overflow|pending_total|total|\d\d\d)", r"cluster\.\w+\.upstream_cx_(total|overflow|max_requests|pool_overflow)",
], cases=[
    Case("within the limits", get("/up")),
    Case("priority without room", get("/high")),
    Case("priority with room", get("/prio")),
    Case("one request per connection", [get("/perconn"), read(), get("/perconn"), read()], logs=2),
    Case("one request at a time, in turn", [get("/one"), read(), get("/one"), read()], logs=2),
])


def balance_file(e):
    def endpoints(*entries, name, **fields):
        lb = [{"endpoint": {"address": address(e.port(p))}, **more} for p, more in entries]
        return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": lb}]}, **fields}
    meta = lambda **kv: {"metadata": {"filter_metadata": {"envoy.lb": kv}}}
    subset = {"fallback_policy": "NO_FALLBACK", "subset_selectors": [{"keys": ["version"]}]}
    anyset = {"fallback_policy": "ANY_ENDPOINT", "subset_selectors": [{"keys": ["version"]}]}
    default = {"fallback_policy": "DEFAULT_SUBSET", "default_subset": {"version": "v1"}, "subset_selectors": [{"keys": ["version"]}]}
    versions = [("up", meta(version="v1")), ("two", meta(version="v2"))]
    clusters = [
        endpoints(("up", {"health_status": "UNHEALTHY"}), ("two", {}), name="sick", common_lb_config={"healthy_panic_threshold": {"value": 0}}),
        endpoints(("up", {"health_status": "UNHEALTHY"}), name="panic"),
        endpoints(("up", {"health_status": "UNHEALTHY"}), name="nopanic", common_lb_config={"healthy_panic_threshold": {"value": 0}}),
        endpoints(("up", {"health_status": "DRAINING"}), ("two", {}), name="draining"),
        endpoints(*versions, name="subset", lb_subset_config=subset),
        endpoints(*versions, name="anyset", lb_subset_config=anyset),
        endpoints(*versions, name="default", lb_subset_config=default),
        endpoints(("up", {}), name="least", lb_policy="LEAST_REQUEST"),
        endpoints(("up", {}), name="random", lb_policy="RANDOM"),
        {"name": "dns", "type": "STRICT_DNS", "connect_timeout": "1s", "dns_lookup_family": "V4_ONLY", "load_assignment": {"cluster_name": "dns", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "localhost", "port_value": e.port("up")}}}}]}]}},
        {"name": "logical", "type": "LOGICAL_DNS", "connect_timeout": "1s", "dns_lookup_family": "V4_ONLY", "load_assignment": {"cluster_name": "logical", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "localhost", "port_value": e.port("up")}}}}]}]}},
    ]
    match = lambda v: {"metadata_match": {"filter_metadata": {"envoy.lb": {"version": v}}}}
    routes = [
        route({"path": "/subset/v2"}, "subset", **match("v2")), route({"path": "/subset/v3"}, "subset", **match("v3")),
        route({"path": "/subset/none"}, "subset"), route({"path": "/anyset/v3"}, "anyset", timeout="1s", **match("v3")),
        route({"path": "/default/v3"}, "default", **match("v3")), route({"path": "/default/none"}, "default"),
        route({"path": "/weighted"}, weighted_clusters={"clusters": [{"name": "subset", "weight": 1, "metadata_match": match("v1")["metadata_match"]}]}),
    ] + [route({"path": f"/{c['name']}"}, c["name"]) for c in clusters]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=routes)])], clusters)


def each(name, path, **more):
    return Case(name, get(path), **more)


BALANCE = Group("load_balancing", balance_file, upstreams=("up", "two"), stats=[
    r"cluster\.\w+\.lb_(subsets|healthy_panic)\w*", r"cluster\.\w+\.membership_\w+",
], cases=[
    each("an unhealthy endpoint is passed over", "/sick"),
    each("panic sends to the unhealthy", "/panic"),
    each("no panic at threshold zero", "/nopanic"),
    each("a draining endpoint is passed over", "/draining"),
    each("subset by route metadata", "/subset/v2"),
    each("subset without endpoints", "/subset/v3"),
    each("no metadata and no fallback", "/subset/none"),
    each("fallback to any endpoint", "/anyset/v3", ignore=("upstream", "log")),
    each("fallback to the default subset", "/default/v3"),
    each("default subset without metadata", "/default/none"),
    each("weighted cluster with its own metadata", "/weighted"),
    each("least request", "/least"),
    each("random", "/random"),
    each("strict DNS", "/dns"),
    each("logical DNS", "/logical"),
])


def reasons_file(e):
    routes = [
        route({"path": "/pertry"}, retry_policy=retry("5xx", per_try_timeout="0.15s")),
        route({"path": "/idle"}, retry_policy=retry("5xx", per_try_idle_timeout="0.15s")),
        route({"path": "/5xx"}, retry_policy=retry("5xx", per_try_timeout="0.15s")),
    ]
    host = virtual_host(routes, include_is_timeout_retry_header=True)
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, virtual_hosts=[host])])], [cluster("up", e.port("up"))])


# Whether a retry is made because the attempt before it took too long (include_is_timeout_retry_header).
REASONS = Group("retry_reasons", reasons_file, cases=[
    Case("after a per-try timeout", get("/pertry"), [up.hang, up.respond()]),
    Case("after a per-try idle timeout", get("/idle"), [up.hang, up.respond()]),
    Case("after a response", get("/5xx"), [up.respond("503 Service Unavailable"), up.respond()]),
    Case("after both", get("/5xx"), [up.hang, up.respond("503 Service Unavailable"), up.respond()]),
])

GROUPS = [RETRIES, BREAKERS, BALANCE, REASONS]
