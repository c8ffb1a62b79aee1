"""HTTP/2 with real clients and hostile ones: who speaks what, how connections end, who is closed for abuse."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import time

from harness import upstream as up
from harness.claim import Skipped
from harness.client import read
from harness.envoyfile import bootstrap, cluster, common_tls, downstream_tls, hcm, listener, route, typed, upstream_tls
from harness.http2 import H2Client, h2
from harness.ports import free_port
from harness.proxy import Flavor, Proxy, find_envoy, wait_until
from harness.requests import get

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# ":method: GET", ":scheme: http", ":path: /" of HPACK's static table, and ":authority: a" as a literal.
HEADERS = b"\x82\x86\x84\x01\x01a"
DATA, HEAD, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def file(upstream_h2=False, upstream_options=None, **manager):
    def make(e):
        extensions = {}
        if upstream_h2:
            extensions = {"typed_extension_protocol_options": {OPTIONS: typed(
                "http_options", explicit_http_config={"http2_protocol_options": {}}, **(upstream_options or {}))}}
        routes = [route({"prefix": "/direct"}, direct_response={"status": 200, "body": {"inline_string": "direct"}}),
                  route(retry_policy={"retry_on": "refused-stream", "num_retries": 9, "retry_back_off": {"base_interval": "0.001s"}})]
        entry = hcm(e.log, routes=routes, **{"codec_type": "AUTO", **manager})
        return bootstrap(e.port("admin"), [listener(e.port("in"), [entry])], [cluster("up", e.port("up"), circuit_breakers={"thresholds": [{"max_retries": 100}]}, **extensions)])
    return make


def needs_library():
    if not h2:
        raise Skipped("the Python library h2 is not installed (scripts/setup --tests)")


def h2_upstream(claim):
    needs_library()
    from harness.http2_upstream import H2Upstream
    server = claim.upstreams["up"] = H2Upstream("up")
    claim.environment.ports["up"] = server.port
    return server


def h2_client(claim):
    needs_library()
    return H2Client(claim.environment.port("in"), claim.upstreams)


def tool(*arguments, seconds=20):
    if not shutil.which(arguments[0]):
        raise Skipped(f"{arguments[0]} is not installed")
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds)
    return result.returncode, result.stdout + result.stderr


def open_raw(claim):
    sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=5)
    sock.sendall(PREFACE + frame(SETTINGS))
    return sock


def ending(sock, seconds=5):
    """The code of the last GOAWAY before the connection ended; "open" where it did not end."""
    sock.settimeout(seconds)
    data, code = b"", None
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionError:
        pass
    except (socket.timeout, TimeoutError):
        return "open"
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        if data[3] == GOAWAY and len(data) >= 17:
            code = int.from_bytes(data[13:17], "big")
        data = data[9 + size:]
    return code


def attack(claim, counter, data, expected=ENHANCE_YOUR_CALM, begin=b"", file=file()):
    """One offender among neighbours: it is closed with this code, named by this counter, and alone in that."""
    claim.upstream("up")
    proxy = claim.start(file)
    neighbour = claim.client()
    neighbour.play([get("/direct"), read()])
    before = proxy.resident_kib()
    sock = open_raw(claim)
    try:
        sock.sendall(begin + data)
    except OSError:
        pass
    code = ending(sock)
    assert code == expected, f"the connection ended with {code}"
    stats = proxy.stats()
    assert stats.get(f"http2.{counter}") == 1, {k: v for k, v in stats.items() if k.startswith("http2.") and v}
    neighbour.play([get("/direct"), read()])
    assert [r["line"] for r in neighbour.seen["responses"]] == ["HTTP/1.1 200 OK"] * 2, neighbour.seen
    assert proxy.resident_kib() - before < 16 * 1024, "memory grew"


# Real clients.

def test_curl_is_answered_in_the_version_it_speaks(claim):
    claim.upstream("up")
    claim.start(file())
    url = f"http://127.0.0.1:{claim.environment.port('in')}/x"
    for option, version in (("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http2", "1.1")):
        code, text = tool("curl", "-sS", option, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", url)
        assert (code, text) == (0, f"{version} 200"), (option, text)


def test_h2load_has_every_request_answered(claim):
    claim.upstream("up")
    proxy = claim.start(file())
    for path, count in (("direct", 2000), ("x", 300)):
        _, text = tool("h2load", "-n", str(count), "-c", "4", "-m", "20", f"http://127.0.0.1:{claim.environment.port('in')}/{path}")
        assert f"{count} succeeded, 0 failed, 0 errored" in text, text
    assert proxy.stats()["http.in.downstream_cx_http2_total"] == 8


def test_nghttp_gets_a_body_larger_than_its_window(claim):
    claim.upstream("up").script([up.respond(body="x" * 3_000_000)])
    claim.start(file())
    code, text = tool("nghttp", "-w", "14", "-W", "15", f"http://127.0.0.1:{claim.environment.port('in')}/x")
    assert code == 0 and len(text.strip()) == 3_000_000, (code, len(text))


# The ends of connections.

def test_a_drain_tells_clients_and_serves_what_is_under_way(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy does not drain on SIGTERM")
    claim.upstream("up").script([up.delay(0.5, up.respond(body="late"))])
    proxy = claim.start(file(), extra=["--drain-time-s", "5"])
    client = h2_client(claim)
    client.send(get("/x"))
    assert claim.upstreams["up"].wait_requests(1)
    proxy.signal(signal.SIGTERM)
    client.play([read()])
    assert client.seen["responses"][0].get("body") == "late", client.seen
    assert proxy.wait(4) == 0, "the proxy did not end with its last stream"


def test_an_idle_connection_is_told_and_closed(claim):
    claim.upstream("up")
    claim.start(file(common_http_protocol_options={"idle_timeout": "0.2s"}, drain_timeout="0.2s"))
    sock = open_raw(claim)
    assert ending(sock) == 0, "no GOAWAY with NO_ERROR before the end"


def test_an_aged_connection_finishes_its_streams(claim):
    claim.upstream("up").script([up.delay(0.6, up.respond(body="late"))])
    claim.start(file(common_http_protocol_options={"max_connection_duration": "0.2s"}, drain_timeout="0.1s"))
    client = h2_client(claim)
    client.play([get("/x"), read()])
    assert client.seen["responses"][0].get("body") == "late", client.seen
    client.finish(3)
    assert client.seen["connection"] == "closed", client.seen


# Upstreams.

def test_streams_share_one_upstream_connection(claim):
    server = h2_upstream(claim)
    server.script([up.delay(0.2, up.respond())])
    proxy = claim.start(file(upstream_h2=True))
    client = h2_client(claim)
    client.play([get("/0"), read(), *[get(f"/{n}") for n in range(1, 9)], read(8)])
    assert [r.get("line") for r in client.seen["responses"]] == ["HTTP/2 200"] * 9, client.seen
    assert proxy.stats()["cluster.up.upstream_cx_http2_total"] == 1


def test_requests_per_connection_are_limited_without_loss(claim):
    h2_upstream(claim)
    options = {"common_http_protocol_options": {"max_requests_per_connection": 2}}
    proxy = claim.start(file(upstream_h2=True, upstream_options=options))
    client = h2_client(claim)
    client.play([step for n in range(6) for step in (get(f"/{n}"), read())])
    assert [r.get("line") for r in client.seen["responses"]] == ["HTTP/2 200"] * 6, client.seen
    assert proxy.stats()["cluster.up.upstream_cx_http2_total"] == 3


def test_a_refused_stream_is_tried_again(claim):
    def refuse(exchange):
        exchange.session.h2.reset_stream(exchange.identifier, h2.errors.ErrorCodes.REFUSED_STREAM)
        exchange.session.flush()
        exchange.is_over = True
        return True
    h2_upstream(claim).script([refuse, up.respond(body="second")])
    proxy = claim.start(file(upstream_h2=True))
    client = h2_client(claim)
    client.play([get("/x"), read()])
    assert client.seen["responses"][0].get("body") == "second", client.seen
    assert proxy.stats()["cluster.up.upstream_rq_retry_success"] == 1


def test_a_full_upstream_connection_is_joined_by_a_second(claim):
    server = h2_upstream(claim)
    server.script([up.delay(0.3, up.respond())])
    config = file(upstream_h2=True)

    def limited(e):
        made = config(e)
        made["static_resources"]["clusters"][0]["typed_extension_protocol_options"][OPTIONS]["explicit_http_config"] = {
            "http2_protocol_options": {"max_concurrent_streams": 2}}
        return made
    proxy = claim.start(limited)
    client = h2_client(claim)
    client.play([*[get(f"/{n}") for n in range(4)], read(4)])
    assert [r.get("line") for r in client.seen["responses"]] == ["HTTP/2 200"] * 4, client.seen
    assert proxy.stats()["cluster.up.upstream_cx_http2_total"] == 2


# Abuse.

def test_rapid_resets_end_the_connection(claim):
    pairs = b"".join(frame(HEAD, 5, n, HEADERS) + frame(RESET, 0, n, b"\0\0\0\x08") for n in range(1, 4001, 2))
    attack(claim, "premature_resets_flood", pairs)
    assert claim.proxies[0].stats()["http.in.downstream_rq_too_many_premature_resets"] == 1


def test_what_a_slow_reader_leaves_in_the_output_shows(claim):
    claim.upstream("up").script([up.respond(body="x" * 3_000_000)])
    proxy = claim.start(file(codec_type="HTTP2"))
    sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=5)
    widest = b"\x7f\xff\xff\xff"
    requests = b"".join(frame(HEAD, 5, n, HEADERS) for n in range(1, 41, 2))
    sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\0\x04" + widest) + frame(WINDOW, 0, 0, b"\x7f\0\0\0") + requests)
    assert wait_until(lambda: proxy.stats().get("http2.outbound_frames_active", 0) > 0, 5), "no frame waits"
    sock.close()
    assert wait_until(lambda: proxy.stats().get("http2.outbound_frames_active") == 0, 5), "frames of nobody wait"


def test_a_flood_of_continuations_ends_the_connection(claim):
    attack(claim, "inbound_continuation_frames_flood", frame(HEAD, 1, 1, HEADERS) + frame(CONTINUATION, 0, 1, b"\x40\x01a\x01b") * 2000)


def test_a_flood_of_empty_data_ends_the_connection(claim):
    attack(claim, "inbound_empty_frames_flood", frame(HEAD, 4, 1, HEADERS.replace(b"\x82", b"\x83")) + frame(DATA, 0, 1) * 50)


def test_a_flood_of_priorities_ends_the_connection(claim):
    attack(claim, "inbound_priority_frames_flood", frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 2000)


def test_a_flood_of_window_updates_ends_the_connection(claim):
    attack(claim, "inbound_window_update_frames_flood", frame(WINDOW, 0, 0, b"\0\0\0\x01") * 2000)


def test_pings_and_settings_that_are_not_read_end_the_connection(claim):
    claim.upstream("up")
    proxy = claim.start(file())
    for flood in (frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"\0\x04\0\1\0\0")):
        before = proxy.resident_kib()
        sock = open_raw(claim)
        sock.settimeout(2)
        try:
            for _ in range(400):
                sock.sendall(flood * 4000)
        except (OSError, TimeoutError):
            pass
        assert wait_until(lambda: proxy.stats().get("http.in.downstream_cx_active") == 0, 3), "the offender stays"
        assert proxy.resident_kib() - before < 16 * 1024, "memory grew"
        sock.close()
    assert proxy.stats()["http2.outbound_control_flood"] == 2, proxy.stats().get("http2.outbound_control_flood")


def test_a_header_bomb_costs_its_stream_only(claim):
    claim.upstream("up")
    proxy = claim.start(file())
    before = proxy.resident_kib()
    # One entry of nearly 4 KiB, then four thousand references of one byte to it.
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    sock = open_raw(claim)
    sock.sendall(frame(HEAD, 5, 1, HEADERS + entry + b"\xbe" * 4000))
    assert wait_until(lambda: proxy.stats().get("http2.header_list_size_too_large") == 1, 3), {
        k: v for k, v in proxy.stats().items() if k.startswith("http2.") and v}
    assert proxy.resident_kib() - before < 8 * 1024, "memory grew"
    sock.close()


def test_closed_windows_hold_little_and_stop_nobody(claim):
    claim.upstream("up").script([up.respond(body="x" * 3_000_000)])
    proxy = claim.start(file(stream_idle_timeout="1s"))
    before = proxy.resident_kib()
    sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=5)
    requests = b"".join(frame(HEAD, 5, n, HEADERS) for n in range(1, 41, 2))
    sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0") + requests)
    assert claim.upstreams["up"].wait_requests(20)
    assert claim.exchange(get("/direct"), read())["responses"][0]["line"] == "HTTP/1.1 200 OK"
    assert proxy.resident_kib() - before < 24 * 1024, proxy.resident_kib() - before
    assert wait_until(lambda: proxy.stats().get("http.in.downstream_rq_active") == 0, 5), "stalled streams stay"
    sock.close()


# Who speaks what.

def both_ways(claim, upstream_options, alpn):
    """Two hops of this proxy: mutual TLS between them, the second one with these names in ALPN."""
    certificates = claim.authority
    claim.upstream("up")

    def config(e):
        server = downstream_tls(common_tls(certificates, "server", "ca", alpn_protocols=alpn), require_client_certificate=True)
        client = upstream_tls(common_tls(certificates, "client", "ca"))
        plain = hcm(e.log, codec_type="AUTO", routes=[route(cluster="far")], stat_prefix="near")
        secure = hcm(e.log, codec_type="AUTO", stat_prefix="far")
        options = {OPTIONS: typed("http_options", **upstream_options)}
        return bootstrap(
            e.port("admin"),
            [listener(e.port("in"), [plain]), listener(e.port("tls"), {"filters": [secure], "transport_socket": server}, name="tls")],
            [cluster("up", e.port("up")), cluster("far", e.port("tls"), transport_socket=client, typed_extension_protocol_options=options)])
    return claim.start(config)


def asks(claim, *versions):
    url = f"http://127.0.0.1:{claim.environment.port('in')}/x"
    for option in versions:
        code, text = tool("curl", "-sS", option, "-o", "/dev/null", "-w", "%{http_code}", url)
        assert (code, text) == (0, "200"), (option, text)


def test_alpn_chooses_the_version_of_a_hop(claim):
    proxy = both_ways(claim, {"auto_config": {"http2_protocol_options": {}, "http_protocol_options": {}}}, ["h2", "http/1.1"])
    asks(claim, "--http1.1", "--http2-prior-knowledge")
    stats = proxy.stats()
    # Each worker that was asked has a connection of its own.
    assert 1 <= stats["cluster.far.upstream_cx_http2_total"] <= claim.concurrency
    assert stats["cluster.far.upstream_cx_http1_total"] == 0
    assert stats["http.far.downstream_cx_http2_total"] == stats["cluster.far.upstream_cx_http2_total"]


def test_a_server_without_h2_is_spoken_to_in_http1(claim):
    proxy = both_ways(claim, {"auto_config": {"http2_protocol_options": {}, "http_protocol_options": {}}}, ["http/1.1"])
    asks(claim, "--http1.1", "--http2-prior-knowledge")
    stats = proxy.stats()
    assert stats["cluster.far.upstream_cx_http2_total"] == 0 and stats["http.far.downstream_cx_http1_total"] >= 1


def test_the_upstream_may_hear_what_the_client_spoke(claim):
    proxy = both_ways(claim, {"use_downstream_protocol_config": {"http2_protocol_options": {}, "http_protocol_options": {}}}, ["h2", "http/1.1"])
    asks(claim, "--http1.1", "--http2-prior-knowledge")
    stats = proxy.stats()
    assert stats["cluster.far.upstream_cx_http2_total"] == 1 and stats["cluster.far.upstream_cx_http1_total"] == 1, stats


def test_a_real_envoy_on_either_side(claim):
    envoy = find_envoy()
    if not envoy or claim.flavor.is_envoy:
        raise Skipped("Envoy is not installed")
    claim.upstream("up")
    certificates, e = claim.authority, claim.environment
    tls = downstream_tls(common_tls(certificates, "server", "ca", alpn_protocols=["h2"]), require_client_certificate=True)
    h2c = {OPTIONS: typed("http_options", explicit_http_config={"http2_protocol_options": {}})}

    def near(port, admin, far):
        """A plain listener on `port` whose requests go on over mutual TLS and HTTP/2 to `far`."""
        socket_ = upstream_tls(common_tls(certificates, "client", "ca", alpn_protocols=["h2"]))
        return bootstrap(admin, [listener(port, [hcm(e.log, codec_type="AUTO", routes=[route(cluster="far")])])],
                         [cluster("far", far, transport_socket=socket_, typed_extension_protocol_options=h2c)])

    def last(port, admin):
        return bootstrap(admin, [listener(port, {"filters": [hcm(e.log, codec_type="AUTO")], "transport_socket": tls})], [cluster("up", e.port("up"))])

    for first, second in ((claim.flavor, Flavor("envoy", envoy)), (Flavor("envoy", envoy), claim.flavor)):
        ports = [free_port() for _ in range(4)]
        proxies = []
        try:
            for flavor, made, admin in ((second, last(ports[0], ports[1]), ports[1]), (first, near(ports[2], ports[3], ports[0]), ports[3])):
                directory = os.path.join(claim.directory, f"{flavor.name}-{admin}")
                os.makedirs(directory)
                proxies.append(Proxy(flavor, made, directory, admin))
                proxies[-1].wait_ready()
            for path in ("x", "y"):
                _, text = tool("h2load", "-n", "200", "-c", "2", "-m", "10", f"http://127.0.0.1:{ports[2]}/{path}")
                assert "200 succeeded, 0 failed, 0 errored" in text, (first.name, text)
            assert proxies[0].stats()["http.in.downstream_cx_http2_total"] >= 1
            assert proxies[0].stats()["http.in.downstream_cx_protocol_error"] == 0
        finally:
            for proxy in proxies:
                proxy.stop()


def test_a_servers_goaway_loses_no_request(claim):
    needs_library()
    seen = {"count": 0}

    def now_and_then(exchange):
        session = exchange.session
        with session.lock:
            seen["count"] += 1
            last = seen.get(session, (0, False))
            if last[1] and exchange.identifier > last[0]:
                return True
            seen[session] = (max(last[0], exchange.identifier), last[1] or seen["count"] % 20 == 0)
            if seen[session][1] and not last[1]:
                session.sock.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", seen[session][0], 0)))
        return up.respond()(exchange)
    h2_upstream(claim).script([now_and_then])
    proxy = claim.start(file(upstream_h2=True))
    _, text = tool("h2load", "-n", "300", "-c", "2", "-m", "5", f"http://127.0.0.1:{claim.environment.port('in')}/x")
    assert "300 succeeded, 0 failed, 0 errored" in text and "status codes: 300 2xx" in text, text
    assert proxy.stats()["cluster.up.upstream_cx_http2_total"] >= 10
