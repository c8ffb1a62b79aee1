"""%COMMON_DURATION%: which of Envoy's points a stream has passed, and in which order."""

from harness import upstream as up
from harness.client import ClientTLS, read, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import TYPES, bootstrap, cluster, common_tls, downstream_tls, hcm, listener, route, upstream_tls
from harness.requests import chunked, get

# Before the request's first byte, on its connection or on the upstream's; and behind it.
EARLIER = ["DS_CX_BEG", "DS_HS_BEG", "DS_HS_END", "US_CX_BEG", "US_CX_END", "US_HS_END"]
LATER = [
    "DS_RX_HDR_END", "DS_RX_END", "US_CX_BEG", "US_CX_END", "US_HS_END", "US_TX_BEG", "US_TX_END", "US_RX_BEG", "US_RX_BODY_BEG",
    "US_RX_END", "DS_TX_BEG", "DS_TX_END", "DS_CX_END",
]
FORMAT = "%RESPONSE_CODE%" + "".join(f" {p}=%COMMON_DURATION(DS_RX_BEG:{p}:ns)%" for p in LATER)
FORMAT += "".join(f" {p}-=%COMMON_DURATION({p}:DS_RX_BEG:us)%" for p in EARLIER)
FORMAT += " backwards=%COMMON_DURATION(DS_TX_END:DS_RX_BEG:ms)% nothing=%COMMON_DURATION(DS_RX_BEG:DS_RX_BEG:ns)%\n"


def file(e):
    log = {"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/" + TYPES["file_log"], "path": e.log,
        "log_format": {"text_format_source": {"inline_string": FORMAT}},
    }}
    routes = [
        route({"path": "/direct"}, direct_response={"status": 200, "body": {"inline_string": "direct"}}),
        route({"path": "/dead"}, "dead"), route({"path": "/tls"}, "tls"), route({"path": "/retried"}, retry_policy={"retry_on": "5xx"}),
        route({"path": "/"}),
    ]
    ca = e.authority
    secure = {"filters": [hcm([log], routes=routes)], "transport_socket": downstream_tls(common_tls(ca, "server"))}
    clusters = [
        cluster("up", e.port("up")), cluster("dead", e.port("nobody")),
        cluster("tls", e.port("tls"), transport_socket=upstream_tls(common_tls(ca, "client", "ca"))),
    ]
    return bootstrap(
        e.port("admin"),
        [listener(e.port("in"), [hcm([log], routes=routes)]), listener(e.port("secure"), secure, name="secure")], clusters)


def server(e):
    return {"tls": up.server_tls(e.authority.path("server.pem"), e.authority.path("server.key"), e.authority.root)}


# Digits behind "=" are what differs from run to run.
NUMBER = [r"(?<==)\d+"]


def c(name, send, up_=(), **more):
    return Case(name, send, up_ or up.respond(), mask=NUMBER, **more)


GROUPS = [Group("time_points", file, upstreams=["up", ("tls", server)], certificates=True, cases=[
    c("a new connection to the upstream", get("/")),
    c("two requests on one connection", [get("/"), read(), get("/"), read()], [up.respond(), up.respond()], logs=2),
    c("a body in chunks", chunked("/", "some", "body"), up.chunked("answer")),
    c("a response without a body", get("/"), up.respond("204 No Content", body="")),
    c("HEAD", [get("/", method="HEAD"), read(method="HEAD")]),
    c("a direct response", get("/direct")),
    c("no route", get("/nowhere")),
    c("a refused connect", get("/dead")),
    c("an upstream that closes", get("/"), up.close_now),
    c("a retry", get("/retried"), [up.respond("503 Service Unavailable"), up.respond()]),
    c("a client that leaves", [get("/"), wait_upstream("up"), reset()], up.hang),
    c("TLS to the upstream", get("/tls"), {"tls": [up.respond()]}),
    c("TLS from the client", get("/"), listener="secure", tls=ClientTLS()),
])]
