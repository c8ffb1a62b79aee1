"""What the proxy says about the request's origin: forwarded-for, request ids, server names."""

from harness import upstream as up
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, virtual_host
from harness.requests import get, post

ENVOY_HEADERS = (
    "X-Envoy-Internal: true", "X-Envoy-Upstream-Rq-Timeout-Ms: 5000", "X-Envoy-Retry-On: 5xx",
    "X-Envoy-Max-Retries: 2", "X-Envoy-Expected-Rq-Timeout-Ms: 9", "X-Envoy-Attempt-Count: 7",
    "X-Envoy-External-Address: 9.9.9.9", "X-Envoy-Original-Path: /evil", "X-Envoy-Decorator-Operation: op",
    "X-Envoy-Force-Trace: 1", "X-Envoy-Ip-Tags: x",
    "X-Envoy-Upstream-Alt-Stat-Name: alt", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 100",
)
ID = "X-Request-Id: 11111111-2222-3333-4444-555555555555"


def file(e):
    internal = {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}, {"address_prefix": "10.0.0.0", "prefix_len": 8}], "unix_sockets": False}
    routes = [route(timeout="7s")]
    variants = {
        "in": {},
        "edge": {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}},
        "inner": {"use_remote_address": True, "internal_address_config": internal},
        "hops": {"use_remote_address": True, "xff_num_trusted_hops": 1, "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}},
        "sidehops": {"xff_num_trusted_hops": 1, "internal_address_config": internal},
        "skip": {"use_remote_address": True, "skip_xff_append": True, "internal_address_config": internal},
        "noid": {"generate_request_id": False},
        "keepid": {"use_remote_address": True, "preserve_external_request_id": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}},
        "replyid": {"always_set_request_id_in_response": True},
        "named": {"server_name": "mesh", "via": "mesh-via"},
        "absent": {"server_header_transformation": "APPEND_IF_ABSENT", "server_name": "mesh"},
        "pass": {"server_header_transformation": "PASS_THROUGH"},
        "quiet": {"router_fields": {"suppress_envoy_headers": True}},
        "agent": {"add_user_agent": True},
        "scheme": {"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
        "proxy100": {"proxy_100_continue": True},
        "detect": {"use_remote_address": False, "represent_ipv4_remote_address_as_ipv4_mapped_ipv6": False},
    }
    return bootstrap(
        e.port("admin"),
        [listener(e.port(n), [hcm(e.log, routes=routes, stat_prefix=n, **v)], name=n) for n, v in variants.items()],
        [cluster("up", e.port("up"))],
    )


def c(name, where, *headers, up_headers=(), mask=()):
    return Case(name, get("/", "a.test", *headers), up.respond(headers=up_headers), listener=where, mask=mask)


IDENTITY = Group("identity", file, cases=[
    c("a sidecar adds what Envoy adds", "in"),
    c("a sidecar passes x-envoy headers of others", "in", *ENVOY_HEADERS),
    c("a sidecar keeps forwarded-for as it is", "in", "X-Forwarded-For: 1.2.3.4, 10.1.1.1"),
    c("a sidecar keeps forwarded-proto", "in", "X-Forwarded-Proto: https"),
    c("a sidecar replaces a foreign forwarded-proto", "in", "X-Forwarded-Proto: gopher"),
    c("a sidecar keeps the request id", "in", ID),
    c("a sidecar treats a private forwarded-for as internal", "in", "X-Forwarded-For: 10.1.1.1", *ENVOY_HEADERS),
    c("an edge appends the peer", "edge"),
    c("an edge appends the peer to others", "edge", "X-Forwarded-For: 1.2.3.4"),
    c("an edge removes x-envoy headers", "edge", *ENVOY_HEADERS),
    c("an edge replaces the request id", "edge", ID),
    c("an edge replaces forwarded-proto", "edge", "X-Forwarded-Proto: https"),
    c("an edge for internal clients keeps x-envoy headers", "inner", *ENVOY_HEADERS),
    c("an edge for internal clients replaces nothing", "inner", ID),
    c("one trusted hop at the edge", "hops", "X-Forwarded-For: 1.2.3.4, 5.6.7.8"),
    c("one trusted hop at the edge, internal", "hops", "X-Forwarded-For: 10.1.2.3", *ENVOY_HEADERS),
    c("one trusted hop at a sidecar", "sidehops", "X-Forwarded-For: 1.2.3.4, 5.6.7.8"),
    c("append can be skipped", "skip", "X-Forwarded-For: 1.2.3.4"),
    c("no request id", "noid"),
    c("an external request id may be kept", "keepid", ID),
    c("request id in the response", "replyid", ID),
    c("server name and via", "named", up_headers=["server: nginx"]),
    c("server header only if absent", "absent", up_headers=["server: nginx"]),
    c("server header if absent", "absent"),
    c("server header passes", "pass", up_headers=["server: nginx"]),
    c("no server header passes", "pass"),
    c("envoy headers suppressed", "quiet"),
    c("user agent is added", "agent"),
    c("scheme is overwritten", "scheme"),
    c("request timeout header shortens the route's", "in", "X-Envoy-Upstream-Rq-Timeout-Ms: 3000"),
    c("malformed forwarded-for", "edge", "X-Forwarded-For: not an address"),
    c("bad request id", "in", "X-Request-Id: short"),
    c("upstream's x-envoy headers", "in", up_headers=["x-envoy-upstream-healthchecked-cluster: x", "x-envoy-overloaded: true", "x-envoy-upstream-service-time: 5", "x-envoy-immediate-health-check-fail: 1"]),
    c("upstream's date is kept", "in", up_headers=["date: Mon, 01 Jan 2001 00:00:00 GMT"]),
])

GROUPS = [IDENTITY]
