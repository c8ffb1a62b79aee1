"""A waypoint under many tunnels at once: what is inside is served whole, judged by its own sender, and stops no other."""

import hashlib
import http.client
import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from claims.tunnel_hops import CONNECT, MIB, Server, client_tls, digest, digest_of, pairs
from harness.envoyfile import (
    INTERNAL_LISTENERS, access_log, bootstrap, cluster, common_tls, downstream_tls, extension, hcm, http2_upstream, internal_cluster,
    internal_listener, listener, route, state, upstream_tls,
)
from harness.http2 import h2
from harness.claim import Skipped
from harness.ports import free_port
from harness.proxy import Proxy, wait_until

ID = "spiffe://cluster.local/ns/default/sa/"
PEER = "io.istio.peer_principal"
DST = "envoy.filters.listener.original_dst"


class App(BaseHTTPRequestHandler):
    """Answers with the digest of what came, or with so many bytes, or late."""

    protocol_version = "HTTP/1.1"
    gate = None

    def do_GET(self):
        if self.path.startswith("/held"):
            self.gate.wait(20)
        body = b"x" * int(self.path.rpartition("/")[2]) if self.path.startswith("/bytes/") else f"{self.path} {self.headers.get('x-peer', '')}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        left, seen = int(self.headers["content-length"]), hashlib.sha256()
        while left:
            piece = self.rfile.read(min(left, 65536))
            seen.update(piece)
            left -= len(piece)
        body = seen.hexdigest().encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class AppServer(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # Proxies that stop reset their connections.


class Mesh:
    """Two HBONE clients, with identities `client` and `server`, and a waypoint before an app and a raw server."""

    def __init__(self, claim, raw=None, near=None, buffer_kib=None, destination=None):
        if not h2:
            raise Skipped("the h2 library is not there")
        self.claim, e, certificates = claim, claim.environment, claim.authority
        self.gate = threading.Event()
        self.app = AppServer(("127.0.0.1", 0), type("App", (App,), {"gate": self.gate}))
        threading.Thread(target=self.app.serve_forever, daemon=True).start()
        self.raw = Server(raw or (lambda sock: None))
        self.port, self.admin = free_port(), free_port()
        self.ports = {(who, to): free_port() for who in ("client", "server") for to in (80, 90, 99)}
        self.proxies = []
        add = {"header": {"key": "x-peer", "value": f"%FILTER_STATE({PEER}:PLAIN)%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        allow = extension("rbac", "rbac", rules={"action": "ALLOW", "policies": {
            "client": {"permissions": [{"any": True}], "principals": [{"filter_state": {"key": PEER, "string_match": {"exact": ID + "client"}}}]},
            "open": {"permissions": [{"url_path": {"path": {"prefix": "/open"}}}], "principals": [{"any": True}]}}})
        identity = extension("connect_authority", "set_filter_state", on_request_headers=[
            state(f"{DST}.local_ip", "%REQ(:AUTHORITY)%"), state(f"{DST}.remote_ip", "%DOWNSTREAM_REMOTE_ADDRESS%"),
            state(PEER, "%DOWNSTREAM_PEER_URI_SAN%", "envoy.string")])
        tls = downstream_tls(common_tls(certificates, "server", "ca", alpn_protocols=["h2"]), require_client_certificate=True)
        terminate = hcm(e.log, codec_type="AUTO", stat_prefix="terminate", filters=[identity], http2_protocol_options={"allow_connect": True},
                        upgrade_configs=[{"upgrade_type": "CONNECT"}], stream_idle_timeout="0s", routes=[
            route({"connect_matcher": {}}, "main_internal", upgrade_configs=CONNECT),
            # Not a tunnel: requests whose connections to the inner listener are pooled.
            route({"prefix": "/"}, "pooled_internal")])
        inner = lambda port: {"filter_chain_match": {"destination_port": port}, "filters": [hcm(
            e.log, codec_type="AUTO", stat_prefix="inner", filters=[allow], routes=[route(cluster="app", request_headers_to_add=[add], timeout="60s")])]}
        chains = [inner(80), inner(None), {"filter_chain_match": {"destination_port": 90}, "filters": [extension("t", "tcp_proxy", stat_prefix="raw", cluster="raw")]}]
        del chains[1]["filter_chain_match"]
        limits = {"circuit_breakers": {"thresholds": [{"max_connections": 5000, "max_pending_requests": 5000, "max_requests": 5000}]}}
        extensions = dict(INTERNAL_LISTENERS)
        if buffer_kib:
            extensions = {"bootstrap_extensions": [extension("envoy.bootstrap.internal_listener", "internal_listeners", buffer_size_kb=buffer_kib)]}
        app, originate = cluster("app", self.app.server_port, **limits), []
        if destination:
            app = self._through(destination, tls, limits, originate)
        self.waypoint = self._start(claim.flavor, self.admin, bootstrap(self.admin, [
            listener(self.port, {"transport_socket": tls, "filters": [terminate]}, name="connect_terminate"),
            internal_listener("main_internal", *chains, listener_filters=[extension("original_dst", "original_dst")]),
            *([] if not originate else [internal_listener(
                "connect_originate", [extension("t", "tcp_proxy", stat_prefix="originate", cluster="connect_originate", tunneling_config={"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"})],
                listener_filters=[extension("original_dst", "original_dst")])]),
        ], [
            *originate,
            internal_cluster("main_internal", "main_internal", **limits), internal_cluster("pooled_internal", "main_internal", **limits),
            app, cluster("raw", self.raw.port, **limits),
        ], **extensions))
        admin = free_port()
        hbone = lambda who, port: extension("t", "tcp_proxy", stat_prefix="near", cluster=who, tunneling_config={"hostname": f"10.1.0.1:{port}"})
        # As ztunnel has it, about: eight readers that stand still do not fill the connection's window.
        to = lambda who: cluster(who, self.port, transport_socket=upstream_tls(common_tls(certificates, who, "ca", alpn_protocols=["h2"])),
                                 typed_extension_protocol_options=http2_upstream(max_concurrent_streams=1000, initial_stream_window_size=1 << 20), **limits)
        self.near = self._start(near or claim.flavor, admin, bootstrap(admin, [
            listener(port, [hbone(who, number) if number != 99 else hcm(e.log, stat_prefix="plain", routes=[route(cluster=who)])], name=f"{who}-{number}")
            for (who, number), port in self.ports.items()], [to("client"), to("server")]))

    def _through(self, flavor, tls, limits, clusters):
        """The app stands behind a third proxy, which takes tunnels apart; the waypoint begins them as Istio's does."""
        port, admin = free_port(), free_port()
        self.destination = self._start(flavor, admin, bootstrap(admin, [listener(port, {"transport_socket": tls, "filters": [hcm(
            [access_log(os.path.join(self.claim.directory, "destination.log"), {"authority": "%REQ(:AUTHORITY)%", "peer": "%DOWNSTREAM_PEER_URI_SAN%"})],
            codec_type="AUTO", http2_protocol_options={"allow_connect": True}, upgrade_configs=[{"upgrade_type": "CONNECT"}],
            routes=[route({"connect_matcher": {}}, "app", upgrade_configs=CONNECT)])]})], [cluster("app", self.app.server_port, **limits)]))
        clusters.append(cluster(
            "connect_originate", port, transport_socket=upstream_tls(common_tls(self.claim.authority, "server", "ca", alpn_protocols=["h2"])),
            typed_extension_protocol_options=http2_upstream(), **limits))
        return internal_cluster("app", "connect_originate", "10.2.0.7:8080", {DST: {"local": "10.2.0.7:8080"}}, passthrough=[("host", DST)], **limits)

    def _start(self, flavor, admin, file):
        directory = os.path.join(self.claim.directory, f"{flavor.name}-{admin}")
        os.makedirs(directory)
        proxy = Proxy(flavor, file, directory, admin, concurrency=self.claim.concurrency)
        self.proxies.append(proxy)
        return proxy.wait_ready()

    def connect(self, port=80, who="client"):
        return socket.create_connection(("127.0.0.1", self.ports[who, port]), timeout=30)

    def http(self, who="client", port=80):
        return http.client.HTTPConnection("127.0.0.1", self.ports[who, port], timeout=30)

    def stop(self):
        self.gate.set()
        for proxy in self.proxies:
            proxy.stop()
        self.app.shutdown()
        self.app.server_close()
        self.raw.stop()


def ask(connection, method, path, body=None, **headers):
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def with_mesh(claim, body, **options):
    mesh = Mesh(claim, **options)
    try:
        body(mesh)
    finally:
        mesh.stop()


def test_every_tunnel_is_judged_by_its_own_sender(claim):
    """Two identities, sixty tunnels each, three requests in each: allowed, denied and open, all at once."""
    wrong = []

    def tunnel(mesh, who, number):
        try:
            connection = mesh.http(who)
            for path in (f"/own/{number}", f"/open/{number}", f"/own/again/{number}"):
                status, body = ask(connection, "GET", path)
                is_served = who == "client" or path.startswith("/open")
                expected = (200, f"{path} {ID}{who}".encode()) if is_served else (403, b"RBAC: access denied")
                if (status, body) != expected:
                    wrong.append((who, path, status, body))
            connection.close()
        except OSError as error:
            wrong.append((who, number, error))

    def run(mesh):
        threads = [threading.Thread(target=tunnel, args=(mesh, who, n)) for n in range(60) for who in ("client", "server")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, (len(wrong), wrong[:3])
        stats = mesh.waypoint.stats()
        assert stats["http.inner.rbac.denied"] == 120 and stats["http.inner.rbac.allowed"] == 240, stats["http.inner.rbac.denied"]
        assert stats["http.terminate.downstream_cx_total"] <= 4 * claim.concurrency, "tunnels share connections"
        settled = lambda: all(mesh.waypoint.stats()[name] == 0 for name in (
            "cluster.main_internal.upstream_cx_active", "listener.envoy_internal_main_internal.downstream_cx_active"))
        assert wait_until(settled, 5), "what is over leaves nothing behind"
    for near, _ in pairs(claim):
        wrong.clear()
        with_mesh(claim, run, near=near)
        claim.directory = os.path.join(claim.directory, "next")


def test_pooled_connections_keep_senders_apart(claim):
    """Requests that are no tunnels go to the inner listener over kept connections: never over another identity's."""
    if claim.flavor.is_envoy:
        raise Skipped("Envoy puts identities that are plain strings on shared connections")

    def run(mesh):
        connections = {who: mesh.http(who, 99) for who in ("client", "server")}
        for number in range(20):
            for who, connection in connections.items():
                got = ask(connection, "GET", f"/open/{number}")
                assert got == (200, f"/open/{number} {ID}{who}".encode()), (who, got)
        assert mesh.waypoint.stats()["cluster.pooled_internal.upstream_cx_total"] <= 2 * claim.concurrency
    with_mesh(claim, run)


def test_the_inside_of_a_tunnel_explains_itself(claim):
    """POST /explain at the inner listener, with what would come with the connection, says why."""
    if claim.flavor.is_envoy:
        raise Skipped("Envoy has no such question")

    def run(mesh):
        def asked(who, path="/orders", **more):
            question = {"listener": "main_internal", "filter_state": {PEER: ID + who, f"{DST}.local_ip": "10.1.0.1:80"}, "path": path, "authority": "a.test", **more}
            status, body, _ = mesh.waypoint.request("POST", "/explain", json.dumps(question))
            return status, json.loads(body)
        status, answer = asked("server")
        assert status == 200 and answer["outcome"]["status"] == 403, answer["outcome"]
        assert answer["request"]["local_address"] == "10.1.0.1:80", answer["request"]
        policies = {p["name"]: p["first_failure"] for p in answer["http_filters"][0]["rules"]["policies"]}
        assert PEER in policies["client"] and ID + "server" in policies["client"], policies
        assert asked("client")[1]["outcome"]["action"] == "forward"
        assert asked("server", "/open")[1]["outcome"]["action"] == "forward"
        assert asked("client", filter_state={PEER: 1})[0] == 400
    with_mesh(claim, run)


def test_a_waypoint_begins_tunnels_as_istios_does(claim):
    """HBONE in, routes and RBAC, HBONE out to the endpoint that was chosen, named by its metadata; also to an Envoy."""
    def run(mesh):
        connection = mesh.http()
        for number in range(3):
            assert ask(connection, "GET", f"/own/{number}") == (200, f"/own/{number} {ID}client".encode())
        assert ask(mesh.http("server"), "GET", "/own")[0] == 403
        assert ask(connection, "POST", "/digest", b"y" * MIB) == (200, hashlib.sha256(b"y" * MIB).hexdigest().encode())
        assert mesh.waypoint.stats()["cluster.connect_originate.upstream_cx_total"] == 1
        connection.close()
        mesh.waypoint.stop()
        log = os.path.join(claim.directory, "destination.log")
        assert wait_until(lambda: os.path.exists(log) and open(log).read(), 5)
        records = [json.loads(line) for line in open(log)]
        assert {(r["authority"], r["peer"]) for r in records} == {("10.2.0.7:8080", ID + "server")}, records
    for destination, _ in pairs(claim):
        with_mesh(claim, run, destination=destination)
        claim.directory = os.path.join(claim.directory, "next")


def test_large_bodies_pass_whole_both_ways(claim):
    """Through buffers of 4 KiB and of 1 MiB: eight megabytes up and down in each of four tunnels at once."""
    data = os.urandom(8 * MIB)
    wrong = []

    def tunnel(mesh):
        connection = mesh.http()
        if ask(connection, "POST", "/digest", data) != (200, hashlib.sha256(data).hexdigest().encode()):
            wrong.append("up")
        status, body = ask(connection, "GET", f"/bytes/{8 * MIB}")
        if status != 200 or digest(body) != digest(b"x" * (8 * MIB)):
            wrong.append(("down", status, len(body)))

    def run(mesh):
        threads = [threading.Thread(target=tunnel, args=(mesh,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong
    for buffer_kib in (4, None):
        with_mesh(claim, run, buffer_kib=buffer_kib)
        claim.directory = os.path.join(claim.directory, "next")


def test_a_client_inside_that_has_said_all_still_hears_the_answer(claim):
    """FIN behind the request is END_STREAM, then FIN inside: the answer comes, and the tunnel ends in order."""
    if claim.flavor.is_envoy:
        raise Skipped("Envoy drops the request")

    def run(mesh):
        with mesh.connect() as sock:
            sock.sendall(b"GET /late HTTP/1.1\r\nhost: a.test\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200") and b"/late" in answer, answer
    with_mesh(claim, run)


def test_a_reader_that_stands_still_holds_bounded_memory_and_nobody_else(claim):
    """Eight tunnels whose clients read nothing, from a server that never stops: the server is held up, others are served."""
    sent = []

    def flood(sock):
        piece, total = b"z" * 65536, 0
        sock.settimeout(2)
        try:
            while total < 256 * MIB:
                total += sock.send(piece)
        except OSError:
            pass
        sent.append(total)

    def run(mesh):
        ask(mesh.http(), "GET", "/warm")
        before = mesh.waypoint.resident_kib()
        stuck = [mesh.connect(90) for _ in range(8)]
        assert wait_until(lambda: len(sent) == 8, 20), sent
        # Two proxies, their windows and the kernel's buffers.
        assert max(sent) < 48 * MIB, sent
        assert mesh.waypoint.resident_kib() - before < 8 * 6 * 1024, mesh.waypoint.resident_kib() - before
        for number in range(20):
            assert ask(mesh.http(), "GET", f"/quick/{number}")[0] == 200
        for sock in stuck:
            sock.close()
    with_mesh(claim, run, raw=flood)


def test_a_reset_inside_is_a_reset_of_its_tunnel(claim):
    """The server resets: so does the tunnel, behind what came before; the next one on the connection is not touched."""
    def reset(sock):
        sock.sendall(b"part")
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def run(mesh):
        keeps = mesh.http()
        assert ask(keeps, "GET", "/one")[0] == 200
        with mesh.connect(90) as sock:
            assert sock.recv(4) == b"part"
            sock.sendall(b"r")
            try:
                assert sock.recv(1) is None, "an end in good order"
            except ConnectionResetError:
                pass
        assert ask(keeps, "GET", "/two")[0] == 200
    with_mesh(claim, run, raw=reset)


def test_nonsense_inside_harms_only_its_tunnel(claim):
    """Random bytes, halves of requests and clients that vanish, among tunnels that are served."""
    def run(mesh):
        keeps = mesh.http()
        for number in range(60):
            sock = mesh.connect()
            sock.sendall((os.urandom(500), b"GET / HTTP/1.1\r\nhost", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(200))[number % 3])
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
            assert ask(keeps, "GET", f"/{number}")[0] == 200, number
        active = lambda: mesh.waypoint.stats()["listener.envoy_internal_main_internal.downstream_cx_active"]
        assert wait_until(lambda: active() == 1, 8), active()
        assert mesh.waypoint.process.poll() is None
    with_mesh(claim, run)


def test_a_request_under_way_survives_the_drain(claim):
    """SIGTERM: the answer inside arrives, then the process ends."""
    if claim.flavor.is_envoy:
        raise Skipped("Envoy ends at once")

    def run(mesh):
        connection = mesh.http()
        connection.request("GET", "/held")
        assert wait_until(lambda: mesh.waypoint.stats()["cluster.app.upstream_rq_active"] == 1, 5)
        mesh.waypoint.process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, mesh.gate.set).start()
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, f"/held {ID}client".encode())
        mesh.near.stop()
        assert mesh.waypoint.process.wait(10) == 0
    with_mesh(claim, run)
