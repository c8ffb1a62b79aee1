"""Limits of clusters whose connections carry many requests at once: exact, with one worker and with several."""

import socket
import threading
import time

from claims.http2_hops import HEAD, OPTIONS, PREFACE, SETTINGS, ending, frame, h2_client, h2_upstream, needs_library
from harness import upstream as up
from harness.claim import Skipped
from harness.client import read
from harness.envoyfile import bootstrap, cluster, hcm, listener, typed
from harness.http2 import h2
from harness.proxy import wait_until
from harness.requests import get

OVERFLOW = ["x-envoy-overloaded", "true"]


def limited(streams=None, **limits):
    """An HTTP/2 cluster with these limits, of so many streams for each connection."""
    def config(e):
        options = {"max_concurrent_streams": streams} if streams else {}
        extensions = {OPTIONS: typed("http_options", explicit_http_config={"http2_protocol_options": options})}
        limits_of_all = {"max_connections": 100, "max_pending_requests": 100, "max_requests": 100, **limits}
        made = cluster("up", e.port("up"), circuit_breakers={"thresholds": [limits_of_all]}, typed_extension_protocol_options=extensions)
        return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, codec_type="HTTP2")])], [made])
    return config


class Held:
    """A behaviour that answers when it is let go, and knows how many wait for that."""

    def __init__(self):
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __call__(self, exchange):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.gate.wait(up.PATIENCE)
        with self.lock:
            self.now -= 1
        return up.respond()(exchange)


def flood(claim, clients, each):
    """So many requests on each of so many connections, all sent at once."""
    made = [h2_client(claim) for _ in range(clients)]
    for client in made:
        for n in range(each):
            client.send(get(f"/{n}"))
    return made


def outcomes(clients, each):
    """How many were served, refused by a limit, and anything else."""
    served = refused = 0
    other = []
    for client in clients:
        client.play([read(each)])
        for response in client.seen["responses"]:
            if response.get("line") == "HTTP/2 200":
                served += 1
            elif response.get("line") == "HTTP/2 503" and OVERFLOW in response["headers"]:
                refused += 1
            else:
                other.append(response)
    return served, refused, other


def requests_are_limited(claim, workers):
    held = Held()
    h2_upstream(claim).script([held])
    proxy = claim.start(limited(max_requests=5), concurrency=workers)
    clients = flood(claim, 8, 3)
    assert wait_until(lambda: proxy.stats().get("cluster.up.upstream_rq_503", 0) == 24 - 5, 5), proxy.stats().get("cluster.up.upstream_rq_503")
    assert wait_until(lambda: held.now == 5, 5), held.now
    assert proxy.stats()["cluster.up.circuit_breakers.default.rq_open"] == 1
    held.gate.set()
    assert outcomes(clients, 3) == (5, 19, []), "not five served and nineteen refused"
    assert held.most == 5, held.most
    assert proxy.stats()["cluster.up.circuit_breakers.default.rq_open"] == 0


def test_max_requests_counts_streams(claim):
    requests_are_limited(claim, 1)


def test_max_requests_counts_streams_of_all_workers(claim):
    requests_are_limited(claim, 4)


def test_max_pending_requests_holds_behind_full_connections(claim):
    held = Held()
    h2_upstream(claim).script([held])
    proxy = claim.start(limited(streams=2, max_connections=1, max_pending_requests=3), concurrency=1)
    clients = flood(claim, 4, 3)
    # Until the connection stands, those who wait for it are pending too.
    assert wait_until(lambda: held.now == 2, 5), held.now
    held.gate.set()
    served, refused, other = outcomes(clients, 3)
    assert not other and served + refused == 12 and 3 <= served <= 5, (served, refused, other)
    stats = proxy.stats()
    assert stats["cluster.up.upstream_rq_pending_overflow"] == refused, stats["cluster.up.upstream_rq_pending_overflow"]
    assert stats["cluster.up.upstream_cx_total"] == 1 and held.most == 2, (stats["cluster.up.upstream_cx_total"], held.most)


def test_one_connection_serves_the_streams_of_all_workers_in_turn(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy always allows one connection per worker")
    server = h2_upstream(claim)
    server.script([up.delay(0.02, up.respond())])
    proxy = claim.start(limited(max_connections=1), concurrency=4)
    clients = flood(claim, 12, 2)
    assert outcomes(clients, 2) == (24, 0, []), "requests were lost over the limit of connections"
    stats = proxy.stats()
    assert stats["cluster.up.upstream_cx_active"] <= 1
    assert stats["cluster.up.upstream_cx_destroy_with_active_rq"] == 0, "a connection was taken from its requests"


def test_a_server_may_lower_its_limit_while_streams_run(claim):
    held = Held()
    seen = []

    def lower(exchange):
        with exchange.session.lock:
            exchange.session.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        exchange.session.flush()
        return held(exchange)

    def alone(exchange):
        with held.lock:
            seen.append(held.now)
        time.sleep(0.02)
        return up.respond()(exchange)
    h2_upstream(claim).script([held, held, held, lower, alone])
    proxy = claim.start(limited(max_connections=1))
    client = h2_client(claim)
    for n in range(4):
        client.send(get(f"/{n}"))
        assert wait_until(lambda n=n: held.now == n + 1, 5), f"{held.now} streams of {n + 1}"
    for n in range(4):
        client.send(get(f"/later/{n}"))
    assert wait_until(lambda: proxy.stats().get("cluster.up.upstream_rq_pending_active") == 4, 5), proxy.stats().get("cluster.up.upstream_rq_pending_active")
    assert not seen, "a stream was opened beyond the new limit"
    held.gate.set()
    assert outcomes([client], 8) == (8, 0, []), client.seen
    stats = proxy.stats()
    assert stats["cluster.up.upstream_cx_total"] == 1 and stats["cluster.up.http2.stream_refused_errors"] == 0


def test_a_server_hears_goaway_before_an_idle_connection_ends(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy closes without a word")
    needs_library()
    with socket.create_server(("127.0.0.1", 0)) as server:
        claim.environment.ports["up"] = server.getsockname()[1]

        def idle(e):
            made = limited()(e)
            made["static_resources"]["clusters"][0]["typed_extension_protocol_options"][OPTIONS]["common_http_protocol_options"] = {"idle_timeout": "0.2s"}
            return made
        proxy = claim.start(idle)
        client = h2_client(claim)
        client.send(get("/x"))
        server.settimeout(5)
        sock, _ = server.accept()
        begun = sock.recv(len(PREFACE), socket.MSG_WAITALL)
        assert begun == PREFACE, begun
        sock.sendall(frame(SETTINGS) + frame(HEAD, 5, 1, b"\x88"))
        client.play([read()])
        assert client.seen["responses"][0].get("line") == "HTTP/2 200", client.seen
        assert ending(sock) == 0, "no GOAWAY with NO_ERROR before the end"
        sock.close()
        assert wait_until(lambda: proxy.stats()["cluster.up.upstream_cx_active"] == 0, 3)
        stats = proxy.stats()
        assert (stats["cluster.up.upstream_cx_idle_timeout"], stats["cluster.up.upstream_cx_destroy_local"]) == (1, 1)
