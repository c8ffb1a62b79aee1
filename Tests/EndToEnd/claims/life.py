"""Start, load, limits over all workers, drain, admin commands, rotation of secrets."""

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

from harness import upstream as up
from harness.client import ClientTLS, read
from harness.claim import Skipped
from harness.envoyfile import TYPES, bootstrap, cluster, common_tls, downstream_tls, hcm, listener, route
from harness.proxy import wait_until
from harness.requests import get, post


def file(e, cluster_fields=None, **fields):
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, **fields)])], [cluster("up", e.port("up"), **(cluster_fields or {}))])


def status(seen):
    return seen["responses"][0].get("line", "") if seen["responses"] else "nothing"


def open_socket(claim, name="in"):
    return socket.create_connection(("127.0.0.1", claim.environment.port(name)), timeout=10)


def test_many_clients_are_all_served(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    failures = []
    def client():
        for _ in range(4):
            seen = claim.exchange(*[x for n in range(25) for x in (get(f"/{n}"), read())])
            failures.extend(r for r in seen["responses"] if r.get("line") != "HTTP/1.1 200 OK")
            if len(seen["responses"]) != 25:
                failures.append(seen)
    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures[:3]
    assert proxy.stats()["http.in.downstream_rq_2xx"] == 1600


def test_a_large_body_passes_both_ways(claim):
    claim.upstream("up").script([lambda x: up.respond(body=x.record["body"])(x)])
    claim.start(file)
    body = "0123456789abcdef" * (1 << 17)
    seen = claim.exchange(post("/", body), read())
    assert status(seen) == "HTTP/1.1 200 OK"
    assert seen["responses"][0]["body"] == body


def limited(claim, **thresholds):
    return claim.start(lambda e: file(e, {"circuit_breakers": {"thresholds": [thresholds]}}))


def hold(claim, count):
    """Sends requests that hang upstream; returns their sockets."""
    sockets = []
    for _ in range(count):
        sock = open_socket(claim)
        sock.sendall(get("/hold"))
        sockets.append(sock)
    return sockets


def test_max_requests_is_exact_over_all_workers(claim):
    release = threading.Event()
    upstream = claim.upstream("up")
    upstream.script([lambda x: (release.wait(8), up.respond()(x))[1]])
    proxy = limited(claim, max_requests=5, max_connections=100, max_pending_requests=100)
    sockets = hold(claim, 5)
    assert upstream.wait_requests(5), "five requests are allowed"
    refused = [status(claim.exchange(get("/"), read())) for _ in range(12)]
    assert refused == ["HTTP/1.1 503 Service Unavailable"] * 12, refused
    release.set()
    for sock in sockets:
        assert b"200 OK" in sock.recv(1000)
        sock.close()
    assert wait_until(lambda: proxy.stats()["cluster.up.upstream_rq_active"] == 0, 3)
    assert status(claim.exchange(get("/"), read())) == "HTTP/1.1 200 OK"
    overflows = proxy.stats()["cluster.up.upstream_rq_active_overflow"]
    assert overflows == 12, f"{overflows} overflows are counted"


def test_a_queued_request_wakes_when_another_worker_frees_capacity(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy always allows one connection per worker")
    release = threading.Event()
    upstream = claim.upstream("up")
    upstream.script([lambda x: (release.wait(8), up.respond()(x))[1]])
    limited(claim, max_connections=2, max_pending_requests=100, max_requests=100)
    sockets = hold(claim, 12)
    assert upstream.wait_requests(2)
    time.sleep(0.2)
    assert len(upstream.requests) == 2, f"{len(upstream.requests)} connections although two are allowed"
    release.set()
    for sock in sockets:
        sock.settimeout(5)
        assert b"200 OK" in sock.recv(1000), "a queued request was forgotten"
        sock.close()


def test_sigterm_lets_requests_finish_and_closes_idle_connections(claim):
    upstream = claim.upstream("up")
    upstream.script([up.respond(), up.delay(0.6, up.respond(body="late"))])
    proxy = claim.start(file, extra=["--drain-time-s", "5"])
    idle = open_socket(claim)
    idle.sendall(get("/"))
    assert b"200 OK" in idle.recv(1000)
    busy = open_socket(claim)
    busy.sendall(get("/slow"))
    assert upstream.wait_requests(2)
    if claim.flavor.is_envoy:
        raise Skipped("Envoy does not drain on SIGTERM")
    proxy.signal(signal.SIGTERM)
    began = time.monotonic()
    idle.settimeout(2)
    assert idle.recv(100) == b"", "the idle connection stays open"
    assert time.monotonic() - began < 0.4, "the idle connection was closed late"
    answer = b""
    busy.settimeout(3)
    while data := busy.recv(1000):
        answer += data
    assert b"200 OK" in answer and answer.endswith(b"late"), answer
    assert b"connection: close" in answer.lower(), answer
    assert proxy.wait(5) == 0, "exit code"


def test_sigterm_gives_up_at_the_drain_time(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy does not drain on SIGTERM")
    upstream = claim.upstream("up")
    upstream.script([up.hang])
    proxy = claim.start(file, extra=["--drain-time-s", "1"])
    busy = open_socket(claim)
    busy.sendall(get("/never"))
    assert upstream.wait_requests(1)
    began = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(6) == 0
    assert 0.8 < time.monotonic() - began < 3, "the drain time was not kept"


def test_no_request_is_lost_under_load_while_draining(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy does not drain on SIGTERM")
    claim.upstream("up").script([up.delay(0.01, up.respond())])
    proxy = claim.start(file)
    lost, served = [], [0]
    def client():
        while True:
            try:
                sock = open_socket(claim)
            except OSError:
                return
            with sock:
                while True:
                    try:
                        sock.sendall(get("/"))
                        data = sock.recv(1000)
                    except OSError:
                        return
                    if not data:
                        # The close crossed the request: nothing was promised.
                        return
                    if b"200 OK" not in data:
                        lost.append(data)
                    served[0] += 1
                    if b"connection: close" in data.lower():
                        break
    threads = [threading.Thread(target=client) for _ in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    proxy.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(10)
    assert proxy.wait(8) == 0
    assert not lost and served[0] > 100, (lost[:2], served)


def test_admin_quits(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    assert proxy.request("POST", "/quitquitquit")[:2] == (200, "OK\n")
    assert proxy.wait(10) == 0


def test_health_check_failure_closes_connections_after_their_response(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    assert proxy.request("POST", "/healthcheck/fail")[0] == 200
    assert proxy.get("/ready")[0] == 503
    assert proxy.request("POST", "/healthcheck/ok")[0] == 200
    assert proxy.get("/ready")[:2] == (200, "LIVE\n")


def test_drained_listeners_accept_nobody(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    assert proxy.request("POST", "/drain_listeners")[0] == 200
    def refused():
        try:
            open_socket(claim).close()
            return False
        except OSError:
            return True
    assert wait_until(refused, 10), "the listener still accepts"
    assert proxy.get("/ready")[0] in (200, 503)


def test_log_levels_can_be_changed(claim):
    proxy = claim.start(file)
    assert proxy.request("POST", "/logging?level=debug")[0] == 200
    assert proxy.request("POST", "/logging?level=nonsense")[0] == 400


def test_hot_restart_flags_are_taken(claim):
    claim.upstream("up")
    claim.start(file, extra=["--base-id", "7", "--component-log-level", "http:warning"])
    assert status(claim.exchange(get("/"), read())) == "HTTP/1.1 200 OK"


def tls_file(e):
    chain = {"filters": [hcm(e.log)], "transport_socket": downstream_tls(common_tls(e.authority, "server", "ca"), require_client_certificate=True)}
    return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))])


def test_private_keys_are_never_dumped(claim):
    claim.upstream("up")
    def config(e):
        key = open(claim.authority.path("server.key")).read()
        cert = open(claim.authority.path("server.pem")).read()
        pair = {"certificate_chain": {"inline_string": cert}, "private_key": {"inline_string": key}}
        chain = {"filters": [hcm(e.log)], "transport_socket": downstream_tls({"tls_certificates": [pair]})}
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))])
    proxy = claim.start(config)
    code, dump, _ = proxy.get("/config_dump")
    assert code == 200
    secret = open(claim.authority.path("server.key")).read().splitlines()[1]
    assert secret not in dump, "the private key is in the dump"
    assert "static_resources" in dump or "static_listeners" in dump, dump[:500]


def test_certificates_are_listed(claim):
    claim.upstream("up")
    proxy = claim.start(tls_file)
    code, body, _ = proxy.get("/certs")
    listed = json.loads(body)
    assert code == 200 and len(listed["certificates"]) == 1, body
    assert "spiffe://cluster.local/ns/default/sa/server" in body


def test_curl_and_openssl_speak_with_it(claim):
    claim.upstream("up")
    claim.start(tls_file)
    ca = claim.authority.path
    result = subprocess.run([
        "curl", "-s", "-m", "5", "--cacert", ca("ca.pem"), "--cert", ca("client.pem"), "--key", ca("client.key"),
        "--resolve", f"server.default.svc:{claim.environment.port('in')}:127.0.0.1",
        f"https://server.default.svc:{claim.environment.port('in')}/",
    ], capture_output=True, text=True, timeout=10)
    assert result.stdout == "ok", result
    result = subprocess.run([
        "openssl", "s_client", "-connect", f"127.0.0.1:{claim.environment.port('in')}", "-CAfile", ca("ca.pem"),
        "-cert", ca("client.pem"), "-key", ca("client.key"), "-verify_return_error", "-quiet",
    ], input="GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", capture_output=True, text=True, timeout=10)
    assert "200 OK" in result.stdout, result


def secret(name, certificate, key, directory=None):
    pair = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
    if directory:
        pair["watched_directory"] = {"path": directory}
    return {"resources": [{"@type": "type.googleapis.com/" + TYPES["secret"], "name": name, "tls_certificate": pair}]}


def sds(claim):
    """A listener whose certificate comes from a watched file; returns (path of the file, proxy)."""
    folder = os.path.join(claim.directory, "secrets")
    os.makedirs(folder)
    path = os.path.join(folder, "identity.json")
    write(path, secret("identity", claim.authority.path("server.pem"), claim.authority.path("server.key")))
    def config(e):
        common = {"tls_certificate_sds_secret_configs": [{"name": "identity", "sds_config": {"path_config_source": {"path": path, "watched_directory": {"path": folder}}}}]}
        chain = {"filters": [hcm(e.log)], "transport_socket": downstream_tls(common)}
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))])
    claim.upstream("up")
    return path, claim.start(config)


def write(path, value):
    with open(path + ".new", "w") as file:
        json.dump(value, file) if not isinstance(value, str) else file.write(value)
    os.rename(path + ".new", path)


def served_identity(claim):
    seen = claim.exchange(tls=ClientTLS())
    return (seen.get("tls") or {}).get("peer")


def test_a_rotated_secret_is_served_and_live_connections_carry_on(claim):
    path, proxy = sds(claim)
    assert served_identity(claim) == "spiffe://cluster.local/ns/default/sa/server"
    client = claim.client(tls=ClientTLS())
    client.play([get("/1"), read()])
    write(path, secret("identity", claim.authority.path("intruder.pem"), claim.authority.path("intruder.key")))
    assert wait_until(lambda: served_identity(claim) == "spiffe://cluster.local/ns/default/sa/intruder", 5, 0.05), "the new certificate is not served"
    client.play([get("/2"), read()])
    client.finish(0)
    assert [r.get("line") for r in client.seen["responses"]] == ["HTTP/1.1 200 OK"] * 2, client.seen


def test_a_bad_secret_keeps_the_last_good_one(claim):
    path, proxy = sds(claim)
    for bad in ("{ not json", secret("identity", "/nonexistent", "/nonexistent"), secret("identity", claim.authority.path("server.pem"), claim.authority.path("client.key"))):
        write(path, bad)
        time.sleep(0.3)
        assert served_identity(claim) == "spiffe://cluster.local/ns/default/sa/server"
    assert proxy.process.poll() is None
    write(path, secret("identity", claim.authority.path("intruder.pem"), claim.authority.path("intruder.key")))
    assert wait_until(lambda: served_identity(claim) == "spiffe://cluster.local/ns/default/sa/intruder", 5, 0.05), "a good secret after bad ones is not served"


def test_sessions_are_resumed(claim):
    claim.upstream("up")
    proxy = claim.start(tls_file)
    tls = ClientTLS("client", maximum=ssl.TLSVersion.TLSv1_2)
    context = tls.context(claim.authority.directory)
    session = None
    for expected in (False, True):
        raw = open_socket(claim)
        sock = context.wrap_socket(raw, server_hostname="server.default.svc", session=session)
        sock.sendall(get("/"))
        assert b"200 OK" in sock.recv(1000)
        assert sock.session_reused == expected, f"reused: {sock.session_reused}"
        session = sock.session
        sock.close()


def test_a_failed_handshake_is_one_line_that_names_both_sides(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy logs it at debug level")
    claim.upstream("up")
    proxy = claim.start(tls_file)
    claim.exchange(get("/"), read(), tls=ClientTLS("rogue"))
    assert wait_until(lambda: "handshake failed" in proxy.output(), 3), proxy.output()
    lines = [l for l in proxy.output().splitlines() if "handshake failed" in l]
    assert len(lines) == 1, lines
