"""What operators do to a running proxy: signals, drains, runtime values; and what is left when it is short of room."""

import os
import resource
import signal
import socket

import time

from harness import upstream as up
from harness.claim import Skipped

from harness.envoyfile import access_log, bootstrap, cluster, hcm, listener, route
from harness.proxy import accepts, wait_until
from harness.requests import get


def file(e, **fields):
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, **fields)])], [cluster("up", e.port("up"))])


def two_directions(e):
    return bootstrap(e.port("admin"), [
        listener(e.port("in"), [hcm(e.log)], traffic_direction="INBOUND"),
        listener(e.port("out"), [hcm(e.log, stat_prefix="out")], name="out", traffic_direction="OUTBOUND"),
    ], [cluster("up", e.port("up"))])


def open_socket(claim, name="in"):
    return socket.create_connection(("127.0.0.1", claim.environment.port(name)), timeout=5)


def ask(sock, data=None):
    """The answer's bytes to a request on an open connection; empty where it is closed."""
    try:
        sock.sendall(data or get("/"))
        return sock.recv(4000)
    except OSError:
        return b""


def says_close(answer):
    return b"\r\nconnection: close\r\n" in answer


# Drain.

def test_drained_listeners_stop_and_their_connections_are_asked_to_go(claim):
    claim.upstream("up")
    proxy = claim.start(two_directions, extra=["--drain-time-s", "2"])
    inbound, outbound = open_socket(claim), open_socket(claim, "out")
    assert b"200 OK" in ask(inbound) and b"200 OK" in ask(outbound)
    assert proxy.request("POST", "/drain_listeners?inboundonly")[:2] == (200, "OK\n")
    port = claim.environment.port
    assert wait_until(lambda: not accepts(port("in")), 1), "the inbound listener goes on"
    assert accepts(port("out")), "the outbound listener has stopped too"
    assert proxy.get("/ready")[:2] == (200, "LIVE\n"), "a drain of listeners is not the server's"
    time.sleep(2.1)
    assert says_close(ask(inbound)), "after the drain's time every response says close"
    assert not says_close(ask(outbound))
    assert proxy.stats()["listener_manager.listener_stopped"] == claim.concurrency


def test_a_graceful_drain_stops_listeners_when_its_time_is_over(claim):
    claim.upstream("up")
    proxy = claim.start(two_directions, extra=["--drain-time-s", "2"])
    kept = open_socket(claim)
    assert b"200 OK" in ask(kept)
    began = time.monotonic()
    assert proxy.request("POST", "/drain_listeners?graceful")[0] == 200
    time.sleep(0.5)
    assert accepts(claim.environment.port("in")), "a graceful drain accepts until its time is over"
    assert wait_until(lambda: not accepts(claim.environment.port("in")), 4), "it never stops"
    assert time.monotonic() - began > 1.8, "it stopped early"
    assert not accepts(claim.environment.port("out"))
    assert proxy.process.poll() is None


def test_a_graceful_drain_that_skips_the_exit_never_stops_listeners(claim):
    claim.upstream("up")
    proxy = claim.start(two_directions, extra=["--drain-time-s", "1"])
    assert proxy.request("POST", "/drain_listeners?graceful&skip_exit")[0] == 200
    time.sleep(1.5)
    fresh = open_socket(claim)
    assert says_close(ask(fresh)), "a connection that comes after the drain's time is asked to go as well"


def test_failing_health_checks_end_connections_after_their_response_and_passing_ones_do_not(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    first = open_socket(claim)
    assert not says_close(ask(first))
    assert proxy.request("POST", "/healthcheck/fail")[0] == 200
    assert proxy.get("/ready")[:2] == (503, "DRAINING\n")
    assert says_close(ask(first))
    assert first.recv(10) == b"", "the connection stays open"
    assert accepts(claim.environment.port("in"))
    assert proxy.request("POST", "/healthcheck/ok")[0] == 200
    assert not says_close(ask(open_socket(claim)))
    assert proxy.stats()["http.in.downstream_cx_drain_close"] >= 1


# Signals.

def test_half_sent_requests_are_served_while_draining(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy does not drain on SIGTERM")
    upstream = claim.upstream("up")
    upstream.script([lambda x: up.respond(body=x.record["body"])(x)])
    proxy = claim.start(file)
    head, body = open_socket(claim), open_socket(claim)
    head.sendall(b"POST / HTTP/1.1\r\nHost: a.te")
    body.sendall(get("/", "a.test", "Content-Length: 4", method="POST") + b"ab")
    time.sleep(0.3)
    proxy.signal(signal.SIGTERM)
    time.sleep(0.3)
    body.sendall(b"cd")
    head.sendall(b"st\r\nContent-Length: 2\r\n\r\nok")
    for sock, wanted in ((body, b"abcd"), (head, b"ok")):
        answer = b""
        while data := sock.recv(1000):
            answer += data
        assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(wanted), answer
        assert says_close(answer), answer
    assert proxy.wait(5) == 0


def test_a_second_sigterm_ends_at_once(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy does not drain on SIGTERM")
    upstream = claim.upstream("up")
    upstream.script([up.hang])
    proxy = claim.start(file, extra=["--drain-time-s", "30"])
    busy = open_socket(claim)
    busy.sendall(get("/"))
    assert upstream.wait_requests(1)
    proxy.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert proxy.process.poll() is None, "the drain did not wait"
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(3) == 0, "the second signal does not end it"


def test_sigint_drains_like_sigterm(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    proxy.signal(signal.SIGINT)
    assert proxy.wait(5) == 0


def test_sighup_changes_nothing(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    kept = open_socket(claim)
    proxy.signal(signal.SIGHUP)
    time.sleep(0.2)
    assert b"200 OK" in ask(kept)
    assert proxy.process.poll() is None


def test_sigusr1_reopens_the_access_log(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    log = claim.environment.log

    def lines(path):
        try:
            with open(path) as file:
                return file.read().count("\n")
        except FileNotFoundError:
            return 0
    kept = open_socket(claim)
    ask(kept)
    assert wait_until(lambda: lines(log) == 1, 12)
    os.rename(log, log + ".1")
    proxy.signal(signal.SIGUSR1)
    assert wait_until(lambda: os.path.exists(log), 3), "the log was not opened anew"
    ask(kept)
    assert wait_until(lambda: lines(log) == 1, 12), "the new log stays empty"
    assert lines(log + ".1") == 1, "the old log still grows"
    # By the admin port likewise.
    os.rename(log, log + ".2")
    assert proxy.request("POST", "/reopen_logs")[0] == 200
    assert wait_until(lambda: os.path.exists(log), 3)


# Runtime values.

def runtime_file(e, admin=True):
    layers = [{"name": "file", "static_layer": {"share": 0, "nested": {"key": "x"}}}]
    if admin:
        layers.append({"name": "admin", "admin_layer": {}})
    routes = [
        route({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 0}, "runtime_key": "share"}}, direct_response={"status": 201}),
        route(),
    ]
    log = access_log(e.log, {"code": "%RESPONSE_CODE%"}, filter={"runtime_filter": {"runtime_key": "logged", "percent_sampled": {"numerator": 0}}})
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm([log], routes=routes)])], [cluster("up", e.port("up"))], layered_runtime={"layers": layers})


def test_runtime_values_are_changed_while_serving(claim):
    claim.upstream("up")
    proxy = claim.start(runtime_file)
    kept = open_socket(claim)

    def becomes(words):
        assert wait_until(lambda: words in ask(kept), 2), words
    becomes(b"200 OK")
    for value, words in (
        ("100", b"201 Created"), ("0", b"200 OK"), ("1000", b"201 Created"), ("-3", b"200 OK"),
        ("numerator:%20100", b"201 Created"), ("word", b"200 OK"),
        ("%7B%22numerator%22:10000,%22denominator%22:%22TEN_THOUSAND%22%7D", b"201 Created"), ("", b"200 OK"),
    ):
        assert proxy.request("POST", f"/runtime_modify?share={value}")[:2] == (200, "OK\n")
        becomes(words)
    stats = proxy.stats()
    assert stats["runtime.admin_overrides_active"] == 0
    assert proxy.request("POST", "/runtime_modify?logged=100&other=1")[0] == 200
    records = claim.log()
    assert wait_until(lambda: ask(kept) and records.records(1, 0.05), 5), "the log's filter has not changed"
    assert proxy.stats()["runtime.admin_overrides_active"] == 1
    assert proxy.stats()["runtime.num_keys"] == 4


def test_runtime_values_need_an_admin_layer(claim):
    claim.upstream("up")
    proxy = claim.start(lambda e: runtime_file(e, admin=False))
    assert proxy.request("POST", "/runtime_modify?share=100")[:2] == (503, "No admin layer specified")
    assert proxy.request("POST", "/runtime_modify")[0] == 400
    assert b"200 OK" in ask(open_socket(claim))


# Short of room.

def test_without_descriptors_others_are_served_and_the_admin_tells(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy's admin port does not answer then")
    claim.upstream("up")
    proxy = claim.start(file, limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)))
    served = open_socket(claim)
    assert b"200 OK" in ask(served)
    flood = []
    for _ in range(250):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", claim.environment.port("in")))
        flood.append(sock)

    def overflows():
        name = f"listener.127.0.0.1_{claim.environment.port('in')}.downstream_cx_overflow"
        return proxy.stats().get(name, 0)
    assert wait_until(lambda: overflows() > 0, 5), "no counter tells, or the admin port is silent"
    for _ in range(20):
        assert b"200 OK" in ask(served), "those who are there are not served"
    before = proxy.resident_kib()
    time.sleep(1.0)
    assert proxy.resident_kib() < before + 2000
    lines = [l for l in proxy.output().splitlines() if "Too many open files" in l]
    assert 1 <= len(lines) <= 2 * claim.concurrency, f"{len(lines)} lines in the log"
    for sock in flood:
        sock.close()
    assert wait_until(lambda: b"200 OK" in ask(open_socket(claim)), 5), "it does not recover"


def test_silent_clients_do_not_occupy_the_admin_port(claim):
    claim.upstream("up")
    proxy = claim.start(file)
    silent = []
    for n in range(400):
        sock = socket.create_connection(("127.0.0.1", claim.environment.port("admin")), timeout=5)
        if n % 2:
            sock.sendall(b"GET /stats HTTP/1.1\r\nHo")
        silent.append(sock)
    for _ in range(5):
        assert proxy.get("/ready")[:2] == (200, "LIVE\n")
    assert proxy.process.poll() is None


def test_a_log_at_its_size_limit_stops_no_traffic_and_recovers(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy ends with the signal SIGXFSZ")
    claim.upstream("up")
    proxy = claim.start(file, limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)))
    kept = open_socket(claim)

    def failed():
        for _ in range(50):
            assert b"200 OK" in ask(kept)
        return proxy.stats().get("filesystem.write_failed", 0) > 0
    assert wait_until(failed, 10), "no counter tells"
    assert os.path.getsize(claim.environment.log) <= 40_000
    os.rename(claim.environment.log, claim.environment.log + ".full")
    proxy.signal(signal.SIGUSR1)
    assert wait_until(lambda: ask(kept) and os.path.exists(claim.environment.log) and os.path.getsize(claim.environment.log) > 0, 10), "the new log stays empty"


# The command line and the file.

def test_components_that_nobody_knows_are_refused(claim):
    proxy = claim.start(file, ready=False, extra=["--component-log-level", "http:debug,ruter:info"])
    assert proxy.wait(10) == 1
    assert "ruter" in proxy.output() and "router" in proxy.output(), proxy.output()


def test_an_optional_filter_that_is_not_known_is_left_out_with_a_warning(claim):
    claim.upstream("up")

    def config(e):
        unknown = {"name": "later", "is_optional": True, "typed_config": {
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": "type.googleapis.com/example.Later", "value": {"a": 1}}}
        return file(e, filters=[unknown])
    proxy = claim.start(config)
    assert b"200 OK" in ask(open_socket(claim))
    if not claim.flavor.is_envoy:
        assert "example.Later" in proxy.output() and "left out" in proxy.output(), proxy.output()


def test_a_logical_name_is_one_endpoint(claim):
    claim.upstream("up")

    def config(e):
        address = {"socket_address": {"address": "localhost", "port_value": e.port("up")}}
        logical = {
            "name": "up", "type": "LOGICAL_DNS", "dns_lookup_family": "V4_ONLY", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        }
        return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log)])], [logical])
    proxy = claim.start(config)
    assert b"200 OK" in ask(open_socket(claim))
    listed = proxy.get("/clusters")[1]
    assert f"up::127.0.0.1:{claim.environment.port('up')}::hostname::localhost" in listed, listed
    assert proxy.stats()["cluster.up.membership_total"] == 1


def test_the_admin_port_counts_its_own_connections_and_requests(claim):
    proxy = claim.start(file)
    before = proxy.stats()
    assert proxy.get("/ready")[0] == 200 and proxy.get("/nonsense")[0] == 404
    after = proxy.stats()
    grown = lambda name: after[name] - before[name]
    # The two requests, and the one that read the first numbers; the one that reads is under way.
    expected = {
        "http.admin.downstream_rq_total": 3, "http.admin.downstream_rq_http1_total": 3, "http.admin.downstream_rq_2xx": 2, "http.admin.downstream_rq_4xx": 1,
        "http.admin.downstream_rq_completed": 3, "http.admin.downstream_cx_total": 3, "http.admin.downstream_cx_destroy": 3,
        "listener.admin.http.admin.downstream_rq_4xx": 1, "listener.admin.downstream_cx_total": 3, "listener.admin.main_thread.downstream_cx_total": 3,
        "http.admin.downstream_rq_active": 0, "listener.admin.downstream_cx_active": 0,
    }
    assert {name: grown(name) for name in expected} == expected
    assert after["http.admin.downstream_rq_active"] == 1 and after["listener.admin.downstream_cx_active"] == 1
    assert grown("http.admin.downstream_cx_rx_bytes_total") > 100 and grown("http.admin.downstream_cx_tx_bytes_total") > 1000
