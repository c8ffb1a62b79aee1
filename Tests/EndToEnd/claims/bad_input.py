"""Garbage, slowness, floods, exhausted descriptors, a full disk: the proxy stays up and serves others."""

import os
import random
import resource
import socket
import time

from harness import upstream as up
from harness.client import pause, read
from harness.envoyfile import access_log, bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route
from harness.proxy import wait_until
from harness.requests import get


def file(e, **fields):
    tls = {"filters": [hcm(e.log, stat_prefix="tls")], "transport_socket": downstream_tls(common_tls(e.authority, "server", "ca"), require_client_certificate=True)}
    tcp = [extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix="tcp", cluster="up")]
    return bootstrap(
        e.port("admin"),
        [listener(e.port("in"), [hcm(e.log, **fields)]), listener(e.port("tls"), tls, name="tls"), listener(e.port("tcp"), tcp, name="tcp")],
        [cluster("up", e.port("up"))],
    )


def served(claim):
    seen = claim.exchange(get("/"), read())
    return seen["responses"] and seen["responses"][0].get("line") == "HTTP/1.1 200 OK"


def alive(claim, proxy):
    assert proxy.process.poll() is None, proxy.output()[-2000:]
    assert served(claim), "others are not served"


def test_garbage_on_every_port_harms_nobody(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    generator = random.Random(7)
    before = None
    for round in range(150):
        for name in ("in", "tls", "tcp", "admin"):
            try:
                with socket.create_connection(("127.0.0.1", claim.environment.port(name)), timeout=2) as sock:
                    sock.sendall(generator.randbytes(generator.choice((1, 7, 100, 3000))))
                    if generator.random() < 0.5:
                        sock.settimeout(0.01)
                        try:
                            sock.recv(100)
                        except OSError:
                            pass
            except OSError:
                pass
        if round == 30:
            before = proxy.resident_kib()
    alive(claim, proxy)
    assert proxy.resident_kib() < before + 20_000, "memory grows with garbage"
    counted = proxy.stats().get("http.in.downstream_cx_protocol_error", 0)
    assert counted > 10, f"downstream_cx_protocol_error is {counted}"


def test_slow_heads_hold_up_nobody_else(claim):
    claim.upstream("up")
    proxy = claim.start(lambda e: file(e, request_headers_timeout="0.5s"))
    slow = []
    for _ in range(100):
        sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a")
        slow.append(sock)
    alive(claim, proxy)
    for sock in slow:
        sock.settimeout(5)
        assert b" 408 " in sock.recv(1000), "a slow head is not answered with 408"
        sock.close()
    assert proxy.stats()["http.in.downstream_rq_header_timeout"] == 100


def test_slow_bodies_hold_up_nobody_else(claim):
    claim.upstream("up")
    proxy = claim.start(lambda e: file(e, stream_idle_timeout="0.5s"))
    slow = []
    for _ in range(50):
        sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")))
        sock.sendall(get("/", "a.test", "Content-Length: 100", method="POST") + b"x")
        slow.append(sock)
    alive(claim, proxy)
    for sock in slow:
        sock.settimeout(5)
        assert b" 408 " in sock.recv(1000)
        sock.close()


def test_a_slow_reader_is_not_buffered_without_limit(claim):
    size = 64 << 20
    def flood(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        block = b"z" * (1 << 20)
        try:
            for _ in range(size >> 20):
                exchange.sock.sendall(block)
        except OSError:
            pass
        return False
    claim.upstream("up").script([flood] * 8 + [up.respond()])
    proxy = claim.start(file)
    before = proxy.resident_kib()
    slow = []
    for _ in range(8):
        sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")))
        sock.sendall(get("/"))
        sock.settimeout(5)
        sock.recv(100)
        slow.append(sock)
    wait_until(lambda: proxy.stats().get("http.in.downstream_flow_control_paused_reading_total", 0) >= 8, 5)
    time.sleep(0.3)
    grown = proxy.resident_kib() - before
    assert grown < 60_000, f"8 slow readers cost {grown} KiB"
    # The first of them wakes up and gets every byte.
    left, got = size, 0
    while got < left:
        data = slow[0].recv(1 << 20)
        assert data, f"ended after {got}"
        got += len(data)
        if got > left - 4096:
            break
    for sock in slow:
        sock.close()
    alive(claim, proxy)


def test_a_flood_of_connections_is_survived(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    sockets = []
    for _ in range(1500):
        try:
            sockets.append(socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=2))
        except OSError:
            break
    alive(claim, proxy)
    grown = proxy.resident_kib()
    for sock in sockets:
        sock.close()
    assert wait_until(lambda: proxy.stats().get("http.in.downstream_cx_active", 1) == 0, 5), "connections leak"
    alive(claim, proxy)
    assert proxy.resident_kib() < grown + 10_000


def test_the_limit_of_descriptors_is_survived(claim):
    claim.upstream("up")
    proxy = claim.start(file, limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120)))
    sockets = []
    for _ in range(300):
        sock = socket.socket()
        sock.settimeout(2)
        sock.connect(("127.0.0.1", claim.environment.port("in")))
        sockets.append(sock)
    time.sleep(0.3)
    assert proxy.process.poll() is None, proxy.output()[-2000:]
    for sock in sockets:
        sock.close()
    assert wait_until(lambda: served(claim), 5), "not served after the flood"


def test_a_full_disk_under_the_access_log_stops_no_traffic(claim):
    claim.upstream("up")
    def config(e):
        return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm([access_log("/dev/full")])])], [cluster("up", e.port("up"))])
    proxy = claim.start(config)
    for _ in range(200):
        assert served(claim)
    assert wait_until(lambda: proxy.stats().get("filesystem.write_failed", 0) > 0, 5), "no counter tells"
    alive(claim, proxy)


def test_resets_in_the_middle_leak_nothing(claim):
    claim.upstream("up").script([up.delay(0.02, up.chunked("a" * 1000, "b" * 1000))])
    proxy = claim.start(file)
    generator = random.Random(3)
    from harness.upstream import reset_socket
    for _ in range(300):
        sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")))
        data = get("/", "a.test", "Content-Length: 20", method="POST") + b"x" * 20
        sock.sendall(data[: generator.randrange(len(data))])
        time.sleep(generator.random() * 0.01)
        reset_socket(sock)
    assert wait_until(lambda: proxy.stats().get("http.in.downstream_cx_active", 1) == 0, 5), "connections leak"
    assert wait_until(lambda: proxy.stats().get("http.in.downstream_rq_active", 1) == 0, 5), "requests leak"
    stats = proxy.stats()
    assert stats.get("cluster.up.upstream_rq_active") == 0, "upstream requests leak"
    alive(claim, proxy)
