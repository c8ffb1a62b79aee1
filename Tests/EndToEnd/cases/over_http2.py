"""The tables of HTTP/1.1 again, over the other pairs of wires: client and upstream each in either version."""

import copy

from cases import authorization, http1, local_replies, observability, resilience, routing
from harness import http2, http2_upstream
from harness.differential import Group
from harness.envoyfile import TYPES, typed

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Written in HTTP/1.1 because they are about it: framing, versions, spelling, the end of connections.
ONLY_HTTP1 = {
    "http1_requests": {
        "pipelined requests are answered in order", "HTTP/1.0 accepted", "HTTP/1.0 without a host", "HTTP/1.0 keep-alive",
        "HTTP/1.0 gets no chunks", "absolute form", "absolute form without a path", "absolute form with https", "a leading empty line",
        "proper case", "preserved case", "length and chunked together where allowed", "HTTP/1.0 response",
        "half-close of the client after the request", "a head arrives in pieces", "no reason phrase", "h2c upgrade is ignored",
        "upgrade to something else", "response without framing ends with the connection", "empty reason phrase",
    },
    # Half a head: frames come whole or not at all.
    "timeouts": {"request timeout in the head", "request headers timeout"},
}


def wires(down, up, group):
    """The group's file with those wires in every connection manager and cluster."""
    def config(e):
        file = copy.deepcopy(group.config(e))
        if down == "h2":
            for manager in managers(file):
                manager["codec_type"] = "HTTP2"
                manager["http2_protocol_options"] = {"allow_connect": True}
        if up == "h2":
            for cluster in file["static_resources"]["clusters"]:
                extensions = cluster.setdefault("typed_extension_protocol_options", {})
                options = extensions.setdefault(OPTIONS, typed("http_options"))
                options["explicit_http_config"] = {"http2_protocol_options": {"allow_connect": True}}
        return file
    return config


def managers(value):
    if isinstance(value, dict):
        if value.get("@type", "").endswith(TYPES["hcm"]):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from managers(child)


STATS = [
    r"http\.in\.downstream_(cx|rq)_http[12]_total", r"http\.in\.downstream_rq_(\dxx|total|tx_reset|rx_reset)",
    r"cluster\.up\.upstream_cx_http[12]_total", r"cluster\.up\.upstream_rq_(\dxx|total|rx_reset|tx_reset)",
    # Not GOAWAY and RST_STREAM, where we say more (docs/http2.md), nor counters of ours.
    r"(cluster\.up\.)?http2\.(?!goaway|tx_reset|premature_resets|inbound_(reset|continuation)|protocol_error|.*underscores).*",
]


def over(down, up, group, every=1, start=0):
    """One case in `every` of the group, over these wires."""
    left_out = ONLY_HTTP1.get(group.name, ())
    cases = [c for c in group.cases if c.name not in left_out and not c.tls][start::every]
    upstreams = [n if isinstance(n, tuple) else (n, {"kind": http2_upstream.H2Upstream}) for n in group.upstreams] if up == "h2" else group.upstreams
    return Group(
        f"{down}_{up}.{group.name}", wires(down, up, group), cases, upstreams=upstreams, stats=STATS if group in WHOLE else (), listeners=group.listeners,
        certificates=group.certificates, client=http2.H2Client if down == "h2" else None)


TABLES = [
    http1.REQUESTS, routing.MATCHES, routing.ACTIONS, routing.MUTATIONS, routing.PATHS, authorization.HTTP, local_replies.REPLIES,
    local_replies.DENIED, local_replies.TIMEOUTS, observability.LOGS, observability.REPLIES, resilience.RETRIES, resilience.BREAKERS,
    resilience.REASONS,
]
# The tables that the wire matters to are played whole over both; of the others each pair has its share.
WHOLE = (http1.REQUESTS, local_replies.REPLIES, local_replies.TIMEOUTS, resilience.RETRIES)

GROUPS = [
    over(down, up, table, *((1, 0) if table in WHOLE and (down, up) == ("h2", "h2") else (4, place) if table not in WHOLE else (2, place % 2)))
    for table in TABLES
    for place, (down, up) in enumerate((("h2", "h2"), ("h2", "h1"), ("h1", "h2")))
] if http2.h2 else []
