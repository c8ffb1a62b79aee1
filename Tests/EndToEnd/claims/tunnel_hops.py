"""TCP through tunnels, from end to end: a `tcp_proxy` that begins them and a route where they end, ours or Envoy's."""

import hashlib
import os
import socket
import threading
import time

from harness.claim import Skipped
from harness.envoyfile import bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route, typed, upstream_tls, virtual_host
from harness.ports import free_port
from harness.proxy import Flavor, Proxy, find_envoy, wait_until

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CONNECT = [{"upgrade_type": "CONNECT", "connect_config": {}}]
MIB = 1 << 20


class Server:
    """A TCP server whose connections each run `serve(socket)` on a thread."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.failures = []
        threading.Thread(target=self._accept, args=(serve,), daemon=True).start()

    def _accept(self, serve):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(serve, sock), daemon=True).start()

    def _serve(self, serve, sock):
        sock.settimeout(30)
        try:
            serve(sock)
        except OSError as error:
            self.failures.append(error)
        finally:
            sock.close()

    def stop(self):
        self.listener.close()


def read_all(sock):
    data = b""
    while piece := sock.recv(262144):
        data += piece
    return data


def digest_of(sock):
    """Number and digest of all bytes up to the FIN."""
    count, digest = 0, hashlib.sha256()
    while piece := sock.recv(262144):
        count += len(piece)
        digest.update(piece)
    return count, digest.hexdigest()


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


def echo(sock):
    while piece := sock.recv(65536):
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)


def client_tls(certificates):
    return upstream_tls(common_tls(certificates, "client", "ca", alpn_protocols=["h2"]))


def near(e, port, admin, far, wire, tls=None):
    """A plain port whose connections go to `far` through tunnels."""
    proxy = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix="near", cluster="far", tunneling_config={"hostname": "b.test:443"})
    rest = {"typed_extension_protocol_options": {OPTIONS: typed("http_options", explicit_http_config={"http2_protocol_options": {}})}} if wire == "h2" else {}
    if tls:
        rest["transport_socket"] = tls
    return bootstrap(admin, [listener(port, [proxy])], [cluster("far", far, **rest)])


def far(e, port, admin, target, tls=None):
    """Where tunnels end: their payload goes to `target`."""
    chain = {"filters": [hcm(e.log, codec_type="AUTO", stat_prefix="far", routes=[route({"connect_matcher": {}}, upgrade_configs=CONNECT)])]}
    if tls:
        chain["transport_socket"] = tls
    return bootstrap(admin, [listener(port, chain)], [cluster("up", target)])


class Hops:
    """Two proxies in a row, with mutual TLS and ALPN h2 between them, or one of the plain wires."""

    def __init__(self, claim, server, flavors, wire="h2", secure=False):
        ports = [free_port() for _ in range(4)]
        certificates, e = claim.authority, claim.environment
        server_tls = downstream_tls(common_tls(certificates, "server", "ca", alpn_protocols=["h2"]), require_client_certificate=True) if secure else None
        self.port = ports[0]
        self.proxies = []
        files = (
            (flavors[1], far(e, ports[2], ports[3], server.port, server_tls), ports[3]),
            (flavors[0], near(e, ports[0], ports[1], ports[2], wire, client_tls(certificates) if secure else None), ports[1]),
        )
        try:
            for flavor, file, admin in files:
                directory = os.path.join(claim.directory, f"{flavor.name}-{admin}")
                os.makedirs(directory)
                self.proxies.append(Proxy(flavor, file, directory, admin))
                self.proxies[-1].wait_ready()
        except Exception:
            self.stop()
            raise
        self.far, self.near = self.proxies

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def stop(self):
        for proxy in self.proxies:
            proxy.stop()


def echoes(hops, data=b"ping"):
    with hops.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def pairs(claim):
    """Ours with ours, and each way round with Envoy, where it is there."""
    yield claim.flavor, claim.flavor
    envoy = find_envoy()
    if envoy and not claim.flavor.is_envoy:
        yield claim.flavor, Flavor("envoy", envoy)
        yield Flavor("envoy", envoy), claim.flavor


def test_large_transfers_arrive_whole_both_ways(claim):
    """Tens of megabytes in both directions at once, over mutual TLS and HTTP/2, also with Envoy at one end."""
    up, down = os.urandom(24 * MIB), os.urandom(24 * MIB)
    got = []

    def serve(sock):
        sender = threading.Thread(target=lambda: sock.sendall(down), daemon=True)
        sender.start()
        got.append(digest_of(sock))
        sender.join()
        sock.shutdown(socket.SHUT_WR)

    server = Server(serve)
    try:
        for flavors in pairs(claim):
            got.clear()
            hops = Hops(claim, server, flavors, secure=True)
            try:
                with hops.connect() as sock:
                    def send():
                        sock.sendall(up)
                        sock.shutdown(socket.SHUT_WR)
                    sender = threading.Thread(target=send, daemon=True)
                    sender.start()
                    received = digest_of(sock)
                    sender.join()
                names = [f.name for f in flavors]
                assert received == digest(down), (names, received[0])
                assert got == [digest(up)], (names, got)
                assert not server.failures, (names, server.failures)
            finally:
                hops.stop()
    finally:
        server.stop()


def test_each_direction_of_a_tunnel_ends_by_itself(claim):
    """Whoever ends first still hears all that the other has to say, over every wire."""
    if claim.flavor.is_envoy:
        raise Skipped("Envoy ends both directions at once")
    more = os.urandom(MIB)
    got = []

    def server_first(sock):
        sock.sendall(b"bye")
        sock.shutdown(socket.SHUT_WR)
        got.append(digest_of(sock))

    def client_first(sock):
        got.append(digest_of(sock))
        sock.sendall(more)
        sock.shutdown(socket.SHUT_WR)

    for wire, secure in (("h1", False), ("h2", False), ("h2", True)):
        server = Server(server_first)
        hops = Hops(claim, server, (claim.flavor, claim.flavor), wire, secure)
        try:
            got.clear()
            with hops.connect() as sock:
                assert read_all(sock) == b"bye", wire
                # The far side has ended: this direction goes on for as long as it likes.
                sock.sendall(more[:1000])
                time.sleep(0.1)
                sock.sendall(more[1000:])
                sock.shutdown(socket.SHUT_WR)
                assert wait_until(lambda: got, 10) and got == [digest(more)], (wire, got)
            assert wait_until(lambda: hops.far.stats()["cluster.up.upstream_cx_active"] == 0, 5), wire
        finally:
            hops.stop()
            server.stop()
        server = Server(client_first)
        hops = Hops(claim, server, (claim.flavor, claim.flavor), wire, secure)
        try:
            got.clear()
            with hops.connect() as sock:
                sock.sendall(b"all I have")
                sock.shutdown(socket.SHUT_WR)
                assert digest_of(sock) == digest(more), wire
            assert got == [digest(b"all I have")], (wire, got)
            stats = hops.near.stats()
            assert stats["tcp.near.downstream_cx_total"] == 1 and stats["cluster.far.upstream_rq_active"] == 0, wire
        finally:
            hops.stop()
            server.stop()


def test_a_reset_crosses_a_tunnel(claim):
    """Half of something never looks like the whole of it, from either side and over both wires."""
    if claim.flavor.is_envoy:
        raise Skipped("Envoy says FIN")
    ends = []

    def serve(sock):
        sock.sendall(b"part")
        asked = sock.recv(1)
        sock.sendall(b"ok")
        if asked == b"r":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        try:
            sock.recv(1)
            ends.append("fin")
        except ConnectionResetError:
            ends.append("rst")

    for wire in ("h1", "h2"):
        server = Server(serve)
        hops = Hops(claim, server, (claim.flavor, claim.flavor), wire)
        try:
            ends.clear()
            with hops.connect() as sock:
                assert sock.recv(4) == b"part"
                sock.sendall(b"r")
                try:
                    assert read_all(sock) is None, f"{wire}: an end in good order"
                except ConnectionResetError:
                    pass
            sock = hops.connect()
            assert sock.recv(4) == b"part"
            sock.sendall(b"x")
            assert sock.recv(2) == b"ok"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
            assert wait_until(lambda: ends, 10) and ends == ["rst"], (wire, ends)
        finally:
            hops.stop()
            server.stop()


def test_thousands_of_short_tunnels_leave_nothing_behind(claim):
    """They share a connection per worker, and afterwards there is no stream, no connection and no memory of them."""
    server = Server(echo)
    hops = Hops(claim, server, (claim.flavor, claim.flavor), secure=True)
    try:
        for _ in range(50):
            assert echoes(hops) == b"ping"
        before = [proxy.resident_kib() for proxy in hops.proxies]
        wrong = []

        def some():
            for _ in range(250):
                if echoes(hops) != b"ping":
                    wrong.append(1)
        threads = [threading.Thread(target=some, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not wrong and not any(t.is_alive() for t in threads), len(wrong)
        stats = hops.near.stats()
        assert stats["cluster.far.upstream_rq_total"] == 2050, stats["cluster.far.upstream_rq_total"]
        assert stats["cluster.far.upstream_cx_total"] <= 2, stats["cluster.far.upstream_cx_total"]
        assert wait_until(lambda: hops.near.stats()["cluster.far.upstream_rq_active"] == 0, 5)
        assert wait_until(lambda: hops.far.stats()["cluster.up.upstream_cx_active"] == 0, 5)
        assert hops.far.stats()["http.far.downstream_rq_active"] == 0
        for proxy, start in zip(hops.proxies, before):
            assert proxy.resident_kib() - start < 8 * 1024, "memory grew"
    finally:
        hops.stop()
        server.stop()


def test_a_reader_that_stands_still_holds_bounded_memory_and_nobody_else(claim):
    def serve(sock):
        if sock.recv(1) == b"e":
            return echo(sock)
        piece = b"z" * MIB
        sock.settimeout(None)
        for _ in range(256):
            sock.sendall(piece)

    server = Server(serve)
    hops = Hops(claim, server, (claim.flavor, claim.flavor))
    try:
        assert echoes(hops, b"eping") == b"ping"
        before = [proxy.resident_kib() for proxy in hops.proxies]
        idle = hops.connect()
        idle.sendall(b"f")

        def blocked():
            count = hops.far.stats()["cluster.up.upstream_cx_rx_bytes_total"]
            time.sleep(0.3)
            return hops.far.stats()["cluster.up.upstream_cx_rx_bytes_total"] == count > MIB
        assert wait_until(blocked, 20), "nobody stopped the sender"
        for proxy, start in zip(hops.proxies, before):
            assert proxy.resident_kib() - start < 40 * 1024, (proxy.resident_kib(), start)
        for _ in range(20):
            assert echoes(hops, b"eping") == b"ping"
        assert hops.near.stats()["cluster.far.upstream_cx_total"] == 1
        idle.close()
        assert wait_until(lambda: hops.far.stats()["cluster.up.upstream_cx_active"] == 0, 10)
    finally:
        hops.stop()
        server.stop()


def ends(claim, clusters, hosts):
    """A proxy of ours where tunnels end."""
    e = claim.environment
    return claim.start(bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, hosts, codec_type="AUTO")])], clusters))


def connect_to(host):
    return f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode()


def test_bytes_that_come_with_the_connect_are_not_lost(claim):
    """A client that does not wait for the answer, and even one that has ended before it."""
    server = Server(echo)
    try:
        ends(claim, [cluster("up", server.port)], [virtual_host([route({"connect_matcher": {}}, upgrade_configs=CONNECT)])])
        for early in (b"", b"early", b"e" * 300_000):
            with socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=20) as sock:
                sender = threading.Thread(target=lambda: (sock.sendall(connect_to("a") + early), sock.shutdown(socket.SHUT_WR)), daemon=True)
                sender.start()
                head, _, body = read_all(sock).partition(b"\r\n\r\n")
                sender.join()
                assert head.startswith(b"HTTP/1.1 200") and body == early, (head, len(body))
    finally:
        server.stop()


def test_clients_that_leave_before_the_tunnel_stands_leave_nothing(claim):
    """The upstream never answers: who waits for it holds one place, which a reset gives back at once."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    filling = []
    for _ in range(3):
        filling.append(socket.socket())
        filling[-1].setblocking(False)
        filling[-1].connect_ex(silent.getsockname())
    try:
        limits = {"thresholds": [{"max_pending_requests": 2, "max_connections": 2}]}
        proxy = ends(claim, [cluster("up", silent.getsockname()[1], connect_timeout="1s", circuit_breakers=limits)],
                     [virtual_host([route({"connect_matcher": {}}, upgrade_configs=CONNECT)])])
        for _ in range(6):
            sock = socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=5)
            sock.sendall(connect_to("a"))
            assert wait_until(lambda: proxy.stats().get("cluster.up.upstream_rq_pending_active"), 2)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
            assert wait_until(lambda: proxy.stats()["cluster.up.upstream_rq_pending_active"] == 0, 2)
        stats = proxy.stats()
        assert stats["cluster.up.upstream_rq_cancelled"] == 6 and stats["cluster.up.upstream_rq_pending_overflow"] == 0, stats["cluster.up.upstream_rq_cancelled"]
        assert wait_until(lambda: proxy.stats()["cluster.up.upstream_cx_active"] == 0, 5)
        assert proxy.stats()["http.in.downstream_rq_active"] == 0
    finally:
        for sock in [*filling, silent]:
            sock.close()
