"""Filter chains and what they are chosen by: names, ALPN, addresses; listener filters and their patience."""

import struct

from harness import upstream as up
from harness.client import ClientTLS, half_close, pause, read, read_bytes, trickle, Step
from harness.differential import Case, Group
from harness.envoyfile import (
    access_log, bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route,
)
from harness.requests import get

LOG = {
    "chain": "%FILTER_CHAIN_NAME%", "sni": "%REQUESTED_SERVER_NAME%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%", "termination": "%CONNECTION_TERMINATION_DETAILS%", "protocol": "%PROTOCOL%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
}
TLS_INSPECTOR = extension("envoy.filters.listener.tls_inspector", "tls_inspector")
HTTP_INSPECTOR = extension("envoy.filters.listener.http_inspector", "http_inspector")


def file(e):
    simple = downstream_tls(common_tls(e.authority, "server"))

    def chain(name, tls=True, **match):
        routes = [route(direct_response={"status": 200, "body": {"inline_string": name}})]
        c = {"name": name, "filters": [hcm([access_log(e.log, LOG)], routes=routes, stat_prefix=name)]}
        if match:
            c["filter_chain_match"] = match
        if tls:
            c["transport_socket"] = simple
        return c

    def where(name, *chains, filters=(TLS_INSPECTOR,), **fields):
        fields.setdefault("listener_filters_timeout", "0.4s")
        return listener(e.port(name), *chains, name=name, listener_filters=list(filters), **fields)

    cidr = lambda text: dict(zip(("address_prefix", "prefix_len"), (text.split("/")[0], int(text.split("/")[1]))))
    listeners = [
        where("in", chain("wild", server_names=["*.a.test"]), chain("exact", server_names=["b.a.test", "a.test"]),
              chain("deepwild", server_names=["*.c.a.test"]), chain("nameless")),
        where("strictnames", chain("only", server_names=["a.test"])),
        where("noretreat", chain("named-h2", server_names=["a.test"], application_protocols=["h2"]),
              chain("any-http1", application_protocols=["http/1.1"]), default_filter_chain=chain("default")),
        where("alpn", chain("y", application_protocols=["y"]), chain("x", application_protocols=["x", "z"]), chain("rest")),
        where("ports", chain("here", destination_port=e.port("ports")), chain("elsewhere", destination_port=1), chain("any")),
        where("wrongport", chain("elsewhere", destination_port=1), default_filter_chain=chain("default")),
        where("prefix", chain("eight", prefix_ranges=[cidr("127.0.0.0/8")]), chain("exactly", prefix_ranges=[cidr("127.0.0.1/32")]), chain("ten", prefix_ranges=[cidr("10.0.0.0/8")])),
        where("sources", chain("net", False, source_prefix_ranges=[cidr("127.0.0.0/8")]), chain("five", False, source_prefix_ranges=[cidr("127.0.0.5/32")]), filters=()),
        where("onlyfive", chain("five", False, source_prefix_ranges=[cidr("127.0.0.5/32")]), filters=()),
        where("direct", chain("five", False, direct_source_prefix_ranges=[cidr("127.0.0.5/32")]), chain("rest", False), filters=()),
        where("type", chain("same", False, source_type="SAME_IP_OR_LOOPBACK"), chain("external", False, source_type="EXTERNAL"), filters=()),
        where("external", chain("external", False, source_type="EXTERNAL"), filters=()),
        where("transport", chain("tls", transport_protocol="tls"), chain("raw", False, transport_protocol="raw_buffer")),
        where("istio", chain("virtualInbound-tls-alpn", transport_protocol="tls", application_protocols=["istio-http/1.1", "istio", "http/1.1"]),
              chain("virtualInbound-tls", transport_protocol="tls"), chain("virtualInbound-http", False, transport_protocol="raw_buffer", application_protocols=["http/1.1", "h2c"]),
              chain("virtualInbound-raw", False, transport_protocol="raw_buffer"), filters=(TLS_INSPECTOR, HTTP_INSPECTOR)),
        where("http", chain("eleven", False, application_protocols=["http/1.1"]), chain("ten", False, application_protocols=["http/1.0"]), chain("other", False), filters=(HTTP_INSPECTOR,)),
        where("patient", chain("tls", transport_protocol="tls"), chain("raw", False), continue_on_listener_filters_timeout=True),
        where("patienthttp", chain("eleven", False, application_protocols=["http/1.1"]), chain("other", False), filters=(HTTP_INSPECTOR,), continue_on_listener_filters_timeout=True),
        where("closing", chain("tls", transport_protocol="tls"), chain("raw", False), filters=(extension("envoy.filters.listener.tls_inspector", "tls_inspector", close_connection_on_client_hello_parsing_errors=True),)),
        where("small", chain("tls", transport_protocol="tls"), chain("raw", False), filters=(extension("envoy.filters.listener.tls_inspector", "tls_inspector", max_client_hello_size=300),)),
        where("nofilter", chain("tls", transport_protocol="tls"), chain("raw", False), filters=()),
    ]

    def tcp(name, **fields):
        proxy = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix=name, cluster="up", access_log=[access_log(e.log, LOG)])
        return where(name, {"name": "raw", "filters": [proxy]}, **fields)

    listeners += [tcp("tcp"), tcp("tcplate", continue_on_listener_filters_timeout=True), tcp("tcphttp", filters=(HTTP_INSPECTOR,)),
                  tcp("tcphttplate", filters=(HTTP_INSPECTOR,), continue_on_listener_filters_timeout=True)]
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up"))])


def hello(name=b"a.test", alpn=(), padding=0, version=b"\x03\x03"):
    """A ClientHello by hand, to be cut up and broken."""
    def block(size, data):
        return struct.pack({1: "!B", 2: "!H"}[size], len(data)) + data
    def ext(kind, data):
        return struct.pack("!H", kind) + block(2, data)
    extensions = ext(0, block(2, b"\0" + block(2, name))) if name else b""
    extensions += ext(43, block(1, b"\x03\x04\x03\x03")) + ext(10, block(2, b"\0\x17")) + ext(13, block(2, b"\x04\x03"))
    if alpn:
        extensions += ext(16, block(2, b"".join(block(1, a) for a in alpn)))
    if padding:
        extensions += ext(21, b"\0" * padding)
    body = version + b"r" * 32 + b"\0" + block(2, b"\x13\x01\xc0\x2b") + b"\1\0" + block(2, extensions)
    return b"\1" + struct.pack("!I", len(body))[1:] + body


def records(message, size=16384, version=b"\x03\x01"):
    return b"".join(b"\x16" + version + struct.pack("!H", len(part)) + part for part in (message[i:i + size] for i in range(0, len(message), size)))


def any_answer():
    """Whether the proxy answers with a TLS record, and of what kind."""
    def play(client):
        try:
            client.reader.more()
            client.seen["responses"].append({"first": client.reader.buffer[:1].hex()})
            client.reader.buffer = b""
        except Exception as error:
            client.seen["responses"].append({"ended": type(error).__name__})
            client.ended = "closed"
    return Step(play)


def c(name, where, sni=None, alpn=(), **more):
    return Case(name, get("/", "x.test"), listener=where, tls=ClientTLS(sni=sni, alpn=alpn), **more)


def plain(name, where, **more):
    return Case(name, get("/", "x.test"), listener=where, **more)


def raw(name, where, *steps, **more):
    more.setdefault("close", 2)
    more.setdefault("logs", 0)
    return Case(name, [*steps, any_answer()], listener=where, **more)


HANDSHAKE_ENDS = {"logs": 0, "ignore": ("tls", "tls_error", "connection", "responses")}

CHAINS = Group("filter_chains", file, certificates=True, upstreams=[("up", {"raw_tcp": True})], stats=[
    r"listener\.127\.0\.0\.1_\{\w+\}\.(no_filter_chain_match|downstream_cx_total|downstream_pre_cx_timeout|downstream_cx_destroy|downstream_listener_filter_\w+)",
    r"(tls|http)_inspector\..*", r"tcp\.\w+\.downstream_cx_total",
], cases=[
    c("an exact name", "in", "a.test"),
    c("an exact name before a wildcard", "in", "b.a.test"),
    c("a wildcard", "in", "other.a.test"),
    c("the longer wildcard", "in", "x.c.a.test"),
    c("the longer wildcard over two labels", "in", "y.x.c.a.test"),
    c("a wildcard's own name is the next one's", "in", "c.a.test"),
    c("a name in upper case", "in", "A.Test"),
    c("no name", "in"),
    c("an unknown name", "in", "b.test"),
    c("a name that only ends alike", "in", "xa.test"),
    c("an unknown name where no other chain is", "strictnames", "b.test", **HANDSHAKE_ENDS),
    c("no name where no other chain is", "strictnames", **HANDSHAKE_ENDS),
    c("no way back from a name", "noretreat", "a.test", ["http/1.1"]),
    c("name and ALPN", "noretreat", "a.test", ["h2"]),
    c("ALPN without the name", "noretreat", "b.test", ["http/1.1"]),
    c("neither name nor ALPN", "noretreat", "b.test", ["x"]),
    c("the client's first ALPN decides", "alpn", None, ["x", "y"]),
    c("the client's first ALPN decides, reversed", "alpn", None, ["y", "x"]),
    c("the second of a chain's ALPNs", "alpn", None, ["unknown", "z"]),
    c("no known ALPN", "alpn", None, ["unknown"]),
    c("no ALPN", "alpn"),
    c("the destination port", "ports"),
    c("another destination port", "wrongport"),
    c("the longest destination prefix", "prefix"),
    plain("a source network", "sources"),
    plain("the longest source prefix", "sources", source="127.0.0.5"),
    plain("a source that is not there", "onlyfive", close=1, logs=0),
    plain("a source that is there", "onlyfive", source="127.0.0.5"),
    plain("a direct source", "direct", source="127.0.0.5"),
    plain("another direct source", "direct"),
    plain("a local source", "type"),
    plain("a local source where only others are wanted", "external", close=1, logs=0),
    c("TLS", "transport"),
    plain("no TLS", "transport"),
    c("Istio's inbound with mesh ALPN", "istio", "outbound_.80_._.x", ["istio-http/1.1", "istio", "http/1.1"]),
    c("Istio's inbound with other ALPN", "istio", "x", ["spdy"]),
    c("Istio's inbound without ALPN", "istio"),
    plain("Istio's inbound in plaintext", "istio"),
    plain("HTTP/1.1 is seen", "http"),
    Case("HTTP/1.0 is seen", b"GET / HTTP/1.0\r\nHost: x.test\r\n\r\n", listener="http", close=2),
    Case("an unknown method is HTTP", b"BREW /pot HTTP/1.1\r\nHost: x.test\r\n\r\n", listener="http", close=2),
    Case("a method of many letters is HTTP", b"VERSION-CONTROL / HTTP/1.1\r\nHost: x.test\r\n\r\n", listener="http", close=2),
    Case("HTTP in small pieces", [trickle(get("/", "x.test"), 40, 0.003), read()], listener="http"),
    Case("no HTTP at all", [b"\x00\x01\x02garbage\r\n\r\n", read()], listener="http", close=2),
    Case("half a word of HTTP, then silence", [b"GET / HT", read_bytes(b"\0")], listener="http", close=2, logs=0),
    Case("nothing at all, then a timeout", [read_bytes(b"\0")], listener="http", close=2, logs=0),
    Case("half a word of HTTP, then the patience ends and the rest comes", [b"GET / HT", pause(0.8), b"TP/1.1\r\nHost: x.test\r\n\r\n", read()], listener="patienthttp"),
    plain("HTTP where patience is not needed", "patienthttp"),
    plain("a match for TLS without inspector", "nofilter"),
    c("a match for TLS without inspector, and TLS", "nofilter", ignore=("tls", "tls_error", "connection")),
    c("TLS where patience is not needed", "patient"),
    plain("no TLS where patience is not needed", "patient"),
    Case("no byte, then the patience ends", [pause(0.8), get("/", "x.test"), read()], listener="patient"),
    raw("half a ClientHello, then silence", "transport", records(hello())[:40]),
    raw("half a ClientHello, then the patience ends", "patient", records(hello())[:40], ignore=("responses", "connection"), logs=1),
    raw("a ClientHello byte by byte", "transport", trickle(records(hello()), 200, 0.0005), ignore=("connection",)),
    raw("a ClientHello in records of one byte", "strictnames", records(hello(), 1), ignore=("connection",)),
    raw("a ClientHello in records of one byte, unknown name", "strictnames", records(hello(b"b.test"), 1), ignore=("connection",)),
    raw("a large ClientHello", "strictnames", records(hello(padding=9000)), ignore=("connection",)),
    raw("a ClientHello that is too large", "strictnames", records(hello(padding=40000)), ignore=("connection",)),
    raw("a ClientHello that is too large, where no name is needed", "in", records(hello(padding=40000)), ignore=("connection",)),
    raw("a ClientHello that is far too large, where no name is needed", "in", *[records(hello(padding=65000) + b"x" * 20000)], ignore=("connection",)),
    raw("a record that claims too much", "transport", b"\x16\x03\x01\xff\xff" + b"\1" * 2000, ignore=("connection",), logs=1),
    raw("a record of no length", "transport", b"\x16\x03\x01\x00\x00", ignore=("connection",)),
    raw("a hello that is no hello", "transport", records(b"\x02" + hello()[1:]), ignore=("connection",), logs=1),
    raw("a hello with a broken length", "transport", records(hello()[:1] + b"\0\0\5" + hello()[4:]), ignore=("connection",), logs=1),
    raw("a hello with broken extensions", "transport", records(hello()[:-3]), ignore=("connection", "responses")),
    raw("a hello with an empty name", "in", records(hello(b"\0")), ignore=("connection", "responses")),
    plain("no TLS where broken hellos are refused", "closing"),
    raw("a hello that is no hello where broken ones are refused", "closing", records(b"\x02" + hello()[1:]), ignore=("connection",)),
    raw("a hello with a broken length where broken ones are refused", "closing", records(hello()[:1] + b"\0\0\5" + hello()[4:]), ignore=("connection",)),
    raw("a hello with broken extensions where broken ones are refused", "closing", records(hello()[:-3]), ignore=("connection",)),
    raw("an alert where broken hellos are refused", "closing", b"\x15\x03\x01\x00\x02\x02\x28", ignore=("connection",)),
    raw("a hello within a limit of its own", "small", records(hello()), ignore=("connection",)),
    raw("a hello beyond a limit of its own", "small", records(hello(padding=400)), ignore=("connection",)),
    raw("an alert first", "transport", b"\x15\x03\x01\x00\x02\x02\x28", ignore=("connection",), logs=1),
    raw("a connection that says nothing", "transport"),
    raw("a connection that ends at once", "transport", half_close(), ignore=("connection",)),
    Case("TCP: the server speaks after the client's first byte", [b"hello", read_bytes(b"hello"), half_close(), read_bytes(b"\0")], up.echo, listener="tcp", close=2),
    Case("TCP: a silent client is closed", [read_bytes(b"\0")], up.echo, listener="tcp", close=2, logs=0),
    Case("TCP: a silent client waits for the server", [pause(0.7), b"late", read_bytes(b"late"), half_close(), read_bytes(b"\0")], up.echo, listener="tcplate", close=2),
    Case("TCP: bytes that look like TLS pass", [b"\x16\x03\x01\x00\x05hello", read_bytes(b"hello"), half_close(), read_bytes(b"\0")], up.echo, listener="tcp", close=2),
    Case("TCP: half a ClientHello passes when the patience ends", [records(hello())[:50], read_bytes(b"a.test"[:0] + b"\x00\x17"[:0] + b"r"), half_close(), read_bytes(b"\0")], up.echo, listener="tcplate", close=2),
    Case("TCP: bytes that are no HTTP pass", [b"SSH-2.0-x\r\n", read_bytes(b"\r\n"), half_close(), read_bytes(b"\0")], up.echo, listener="tcphttp", close=2),
    Case("TCP: half a line passes when the patience ends", [b"GET", read_bytes(b"GET"), half_close(), read_bytes(b"\0")], up.echo, listener="tcphttplate", close=2),
    Case("TCP: a client that says nothing and leaves", [half_close(), read_bytes(b"\0")], up.echo, listener="tcp", close=2, logs=0),
])

GROUPS = [CHAINS]
