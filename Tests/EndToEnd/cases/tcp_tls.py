"""tcp_proxy with TLS on either side, several endpoints and clusters, and how each side may end it."""

from harness import upstream as up
from harness.client import ClientTLS, Step, half_close, leave, pause, read_bytes, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import access_log, bootstrap, cluster, common_tls, downstream_tls, extension, listener, upstream_tls, LOG_FIELDS

SERVER = "spiffe://cluster.local/ns/default/sa/server"
LOG = {
    **{k: v for k, v in LOG_FIELDS.items() if k not in ("method", "path", "authority", "details", "upstream_failure")},
    "peer": "%DOWNSTREAM_PEER_URI_SAN%", "upstream_peer": "%UPSTREAM_PEER_URI_SAN%", "upstream_version": "%UPSTREAM_TLS_VERSION%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "down_in": "%DOWNSTREAM_WIRE_BYTES_RECEIVED%", "down_out": "%DOWNSTREAM_WIRE_BYTES_SENT%",
    "sni": "%REQUESTED_SERVER_NAME%", "wire_in": "%UPSTREAM_WIRE_BYTES_SENT%", "wire_out": "%UPSTREAM_WIRE_BYTES_RECEIVED%",
}


def file(e):
    ca = e.authority
    mtls = downstream_tls(common_tls(ca, "server", "ca", alpn_protocols=["istio-peer-exchange", "istio"]), require_client_certificate=True)
    inspector = {"listener_filters": [extension("envoy.filters.listener.tls_inspector", "tls_inspector")]}

    def at(name, socket=None, **fields):
        if "weighted_clusters" not in fields:
            fields.setdefault("cluster", "up")
        proxy = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix=name, access_log=[access_log(e.log, LOG)], **fields)
        chain = {"filters": [proxy]}
        if socket:
            chain["transport_socket"] = socket
        return listener(e.port(name), chain, name=name, **inspector if socket else {})

    weights = lambda *pairs: {"clusters": [{"name": n, "weight": w} for n, w in pairs]}
    subset = {"lb_subset_config": {"fallback_policy": "NO_FALLBACK", "subset_selectors": [{"keys": ["version"]}]}}
    tagged = cluster("tagged", e.port("up"), **subset)
    tagged["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["metadata"] = {"filter_metadata": {"envoy.lb": {"version": "1"}}}
    wanted = lambda version: {"filter_metadata": {"envoy.lb": {"version": version}}}
    out = lambda name, *args, **fields: cluster(name, e.port("tls"), transport_socket=upstream_tls(common_tls(ca, *args), **fields))
    listeners = [
        at("in", mtls), at("both", mtls, cluster="tls"), at("out", cluster="tls"), at("wrongname", cluster="wrongname"),
        at("foreign", cluster="foreign"), at("plainup", cluster="plainup"), at("cleartext", cluster="cleartext"),
        at("second", cluster="second", max_connect_attempts=2), at("third", cluster="dead", max_connect_attempts=3), at("one", cluster="dead"),
        at("twice", weighted_clusters=weights(("up", 5), ("up", 1))),
        at("split", weighted_clusters=weights(("up", 1), ("other", 1))),
        at("noidle", idle_timeout="0s"), at("idle", mtls, idle_timeout="0.3s"),
        at("match", cluster="tagged", metadata_match=wanted("1")), at("nomatch", cluster="tagged", metadata_match=wanted("2")),
        at("full", cluster="full"), at("pending", cluster="pending"),
        at("duration", mtls, max_downstream_connection_duration="0.4s"),
    ]
    clusters = [
        cluster("up", e.port("up")), cluster("other", e.port("other")), cluster("dead", e.port("nobody")),
        out("tls", "client", "ca", [SERVER], sni="server.default.svc"), out("wrongname", "client", "ca", [SERVER + "x"]), out("foreign", "client", "foreign"),
        cluster("plainup", e.port("up"), connect_timeout="0.5s", transport_socket=upstream_tls(common_tls(ca, "client", "ca"))),
        cluster("cleartext", e.port("tls")), cluster("second", e.port("nobody"), e.port("up")), tagged,
        cluster("full", e.port("up"), circuit_breakers={"thresholds": [{"max_connections": 1}]}),
        cluster("pending", e.port("up"), circuit_breakers={"thresholds": [{"max_pending_requests": 0}]}),
    ]
    return bootstrap(e.port("admin"), listeners, clusters)


def close_after(data):
    """Reads so much, answers, and closes."""
    def act(exchange):
        exchange.send(exchange.reader.take(len(data)).upper())
        return False
    return act


def finish_sending_then_read(exchange):
    """The upstream says all it has, ends its side, and reads on."""
    import socket
    exchange.send(b"all I have")
    exchange.sock.shutdown(socket.SHUT_WR)
    exchange.wait_end()
    exchange.record["received"] = exchange.reader.buffer.decode("latin-1")
    return False


def second_connection(e_port_name):
    """Opens another connection to the same listener and notes how it ends."""
    def play(client):
        import socket
        with socket.create_connection(client.sock.getpeername(), timeout=3) as other:
            try:
                client.seen["responses"].append({"other": len(other.recv(10))})
            except OSError as error:
                client.seen["responses"].append({"other": type(error).__name__})
    return Step(play)


def slowly_read(total):
    """Lets the proxy's buffers fill, then reads everything."""
    def play(client):
        import time
        time.sleep(0.5)
        data = b""
        client.sock.settimeout(5)
        while len(data) < total:
            part = client.sock.recv(65536)
            if not part:
                break
            data += part
        client.seen["responses"].append({"length": len(data), "last": data[-3:].decode("latin-1")})
    return Step(play)


def flood(count):
    def act(exchange):
        exchange.send(b"z" * (count - 3) + b"END")
        return False
    return act


def swallow(count):
    """Reads only after a while."""
    def act(exchange):
        exchange.pause(0.4)
        taken = exchange.reader.take(count)
        exchange.record["received"] = f"{len(taken)} {taken[-3:].decode('latin-1')}"
        exchange.send(b"got it")
        return False
    return act


GOOD = ClientTLS("client", alpn=["istio-peer-exchange", "istio"])
ECHO = [b"hello\n", read_bytes(b"hello\n")]


def c(name, where, steps=None, answer=up.echo, tls=None, **more):
    steps = steps if steps is not None else [*ECHO, leave() if tls else half_close(), *([] if tls else [read_bytes(b"\0")])]
    more.setdefault("close", 2)
    behaviours = {n: [answer] for n in ("up", "other", "tls")}
    return Case(name, steps, behaviours, listener=where, tls=tls, **more)


END = [read_bytes(b"\0")]
MIB = 1 << 20


def server(e):
    ca = e.authority
    return {"raw_tcp": True, "tls": up.server_tls(ca.path("server.pem"), ca.path("server.key"), ca.root)}


TCP = Group("tcp_tls", file, certificates=True, upstreams=[("up", {"raw_tcp": True}), ("other", {"raw_tcp": True}), ("tls", server)], stats=[
    r"tcp\.\w+\.(?!.*(buffered|flow_control|flush)).*",
    r"cluster\.(?!second)\w+\.upstream_cx_(total|active|connect_fail|connect_timeout|connect_attempts_exceeded|overflow|none_healthy|destroy\w*|rx_bytes_total|tx_bytes_total|http1_total|pool_overflow|max_requests)",
    r"cluster\.(?!second)\w+\.upstream_rq_(total|pending_\w+|active|cancelled|timeout)", r"cluster\.\w+\.ssl\.(handshake|fail_verify_\w+|connection_error)",
    r"listener\.127\.0\.0\.1_\{\w+\}\.(downstream_cx_(total|destroy|active)|ssl\.(handshake|fail_verify_\w+|connection_error))",
], cases=[
    c("TLS in", "in", tls=GOOD),
    c("TLS in without a certificate", "in", END, tls=ClientTLS(), ignore=("responses", "tls_error", "connection", "tls", "log", "upstream")),
    c("TLS in and out", "both", tls=GOOD),
    c("TLS out", "out"),
    c("TLS out, another name", "wrongname", END),
    c("TLS out, a foreign authority", "foreign", END),
    c("TLS out to plaintext that never answers", "plainup", END, lambda x: x.wait_end(), ignore=("upstream",)),
    c("TLS out to plaintext that answers", "plainup", END, lambda x: (x.send(b"HTTP/1.1 400 Bad\r\n\r\n"), x.wait_end())[1], ignore=("upstream",)),
    c("plaintext to TLS", "cleartext", [b"hello\n", *END], ignore=("upstream", "responses")),
    c("a second endpoint is tried", "second", ignore=("log",)),
    c("three attempts", "third", END), c("one attempt", "one", END),
    c("a cluster twice", "twice"),
    c("an idle timeout of zero is none", "noidle", [*ECHO, pause(0.5), b"more\n", read_bytes(b"more\n"), half_close(), *END]),
    c("idle over TLS", "idle", [*ECHO, *END], tls=GOOD),
    c("idle but for one direction", "idle", [*[s for _ in range(4) for s in (b"tick\n", read_bytes(b"tick\n"), pause(0.15))], leave()], tls=GOOD),
    c("the duration over TLS", "duration", [*ECHO, *END], tls=GOOD),
    c("endpoints by metadata", "match"), c("no endpoint has the metadata", "nomatch", END),
    c("one connection is allowed", "full", [*ECHO, second_connection("full"), half_close(), *END], logs=2),
    c("no pending connection is allowed", "pending", END),
    c("the upstream closes after an answer", "in", [b"abc", read_bytes(b"ABC"), *END], close_after(b"abc"), tls=GOOD),
    c("the upstream ends its side first", "out", [read_bytes(b"all I have"), pause(0.1), b"and I", half_close(), *END], finish_sending_then_read, ignore=("upstream",)),
    c("the upstream ends its side first, in plaintext", "twice", [read_bytes(b"all I have"), pause(0.1), b"and I", half_close(), *END], finish_sending_then_read),
    c("the upstream ends, the client never does", "twice", [read_bytes(b"all I have"), *END], up.close_now, ignore=("responses",), close=0.3),
    c("the client ends without a word", "twice", [half_close(), *END]),
    c("the client leaves before the upstream is there", "plainup", [wait_upstream("up"), leave()], lambda x: x.wait_end(), ignore=("upstream",)),
    c("the client resets under TLS", "in", [*ECHO, reset()], tls=GOOD),
    c("the upstream resets under TLS", "in", [b"x", *END], lambda x: (x.reader.take(1), up.reset_now(x))[1], tls=GOOD),
    c("much to a slow reader", "twice", [slowly_read(6 * MIB), half_close()], flood(6 * MIB)),
    c("much to a slow reader over TLS", "in", [slowly_read(6 * MIB), leave()], flood(6 * MIB), tls=GOOD),
    c("much to a slow upstream", "twice", [b"z" * (6 * MIB - 3) + b"END", read_bytes(b"got it")], swallow(6 * MIB)),
    c("much to a slow upstream, all TLS", "both", [b"z" * (6 * MIB - 3) + b"END", read_bytes(b"got it")], swallow(6 * MIB), tls=GOOD),
])

GROUPS = [TCP]
