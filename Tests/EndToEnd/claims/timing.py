"""Where the time goes: histograms in /stats, points of our own in the access log, `server-timing`."""

import re

from harness import upstream as up
from harness.client import ClientTLS, read
from harness.envoyfile import TYPES, bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route
from harness.requests import get

PHASES = ["parse", "authorize", "route", "pool_wait", "send", "upstream", "receive", "flush"]
POINTS = ["DS_RX_HDR_END", "mesh.authorized", "mesh.routed", "mesh.pool_ready", "US_TX_BEG", "mesh.request_flushed", "US_RX_BEG", "DS_TX_END"]
LINE = "%RESPONSE_CODE%" + "".join(f" {p}=%COMMON_DURATION(DS_RX_BEG:{p}:ns)%" for p in POINTS) + "\n"


def file(trusted="127.0.0.1", histograms=True, log=LINE, secure=False):
    def make(e):
        logs = [{"name": "envoy.access_loggers.file", "typed_config": {
            "@type": "type.googleapis.com/" + TYPES["file_log"], "path": e.log, "log_format": {"text_format_source": {"inline_string": log}},
        }}]
        closed = {"permissions": [{"url_path": {"path": {"prefix": "/closed"}}}], "principals": [{"any": True}]}
        rbac = extension("envoy.filters.http.rbac", "rbac", rules={"action": "DENY", "policies": {"closed": closed}})
        chain = {"filters": [hcm(logs, filters=[rbac], routes=[route({"path": "/direct"}, direct_response={"status": 200}), route()])]}
        if secure:
            chain["transport_socket"] = downstream_tls(common_tls(e.authority, "server"))
        values = {**({"mesh.timing.histograms": True} if histograms else {}), **({"mesh.explain.trusted_addresses": trusted} if trusted else {})}
        layers = [{"name": "timing", "static_layer": values}]
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))], layered_runtime={"layers": layers})
    return make


def series(proxy):
    """Sums and counts of the histograms, by name."""
    text = proxy.request("GET", "/stats/prometheus?filter=timing")[1]
    return {
        (name, kind): int(float(value))
        for name, kind, value in re.findall(r"^envoy_http_timing_(\w+)_ns_(sum|count)\{.*\} (\S+)$", text, re.M)
    }


def answer(claim, path, *headers):
    return claim.exchange(get(path, "a.test", *headers), read())["responses"][0]


def test_histograms_count_requests_and_sum_to_their_time(claim):
    claim.upstream("up").script([up.delay(0.05, up.respond())] * 3)
    proxy = claim.start(file())
    for path in ["/a", "/b", "/c", "/closed", "/direct"]:
        answer(claim, path)
    assert proxy.stats()["http.in.downstream_rq_completed"] == 5
    found = series(proxy)
    counts = {phase: found[phase, "count"] for phase in PHASES}
    assert counts == {"parse": 5, "authorize": 5, "route": 5, "pool_wait": 3, "send": 3, "upstream": 3, "receive": 3, "flush": 5}, counts
    assert found["connect", "count"] >= 1 and found["connect", "sum"] <= found["pool_wait", "sum"], found
    assert found["upstream", "sum"] >= 3 * 50_000_000, found
    # What the client waits for is in one of the phases.
    assert sum(found[phase, "sum"] for phase in PHASES if phase != "upstream") < 1_000_000_000, found
    text = proxy.request("GET", "/stats?filter=timing\\.upstream_ns")[1]
    assert text.startswith("http.in.timing.upstream_ns: P0("), text


def test_a_handshake_is_timed_by_connection(claim):
    claim.upstream("up")
    proxy = claim.start(file(secure=True, log="%COMMON_DURATION(DS_HS_BEG:DS_HS_END:us)% %DOWNSTREAM_HANDSHAKE_DURATION%\n"))
    claim.exchange(get("/"), read(), get("/"), read(), tls=ClientTLS())
    found = series(proxy)
    assert found["downstream_handshake", "count"] == 1 and found["downstream_handshake", "sum"] > 100_000, found
    assert found["parse", "count"] == 2, found
    micros, millis = claim.log().records(2)[0].split()
    assert int(micros) > 100 and int(millis) == int(micros) // 1000 or abs(int(millis) - int(micros) // 1000) <= 1, (micros, millis)


def test_the_log_has_every_point_in_order(claim):
    claim.upstream("up")
    claim.start(file(trusted=None, histograms=False))
    answer(claim, "/a")
    answer(claim, "/closed")
    served, denied = claim.log().records(2)
    times = [int(part.split("=")[1]) for part in served.split()[1:]]
    assert times == sorted(times) and times[0] > 0, served
    assert [part.split("=")[1] == "-" for part in denied.split()[1:]] == [False, True, True, True, True, True, True, False], denied


def test_a_trusted_peer_is_told_the_times(claim):
    upstream = claim.upstream("up")
    upstream.script([up.respond(headers=["server-timing: db;dur=53"]), up.respond()])
    proxy = claim.start(file(histograms=False))
    head = answer(claim, "/a", "x-mesh-timing: 1")
    told = [value for name, value in head["headers"] if name.lower() == "server-timing"]
    assert told[0] == "db;dur=53" and len(told) == 2, head
    number = r";dur=\d+\.\d{6}"
    names = ["parse", "authorize", "route", "pool_wait", "connect", "send", "upstream"]
    assert re.fullmatch(", ".join(name + number for name in names), told[1]), told
    denied = answer(claim, "/closed", "x-mesh-timing: 1")
    assert any(re.fullmatch(", ".join(name + number for name in names[:3]), value) for _, value in denied["headers"]), denied
    assert "server-timing" not in str(answer(claim, "/b")).lower()
    assert "x-mesh-timing" not in str(upstream.requests).lower(), upstream.requests
    assert "timing" not in proxy.request("GET", "/stats")[1]


def test_others_are_told_nothing(claim):
    for trusted in ["10.0.0.0/8", None]:
        upstream = claim.upstream("up")
        proxy = claim.start(file(trusted))
        assert "server-timing" not in str(answer(claim, "/a", "x-mesh-timing: 1", "x-forwarded-for: 10.0.0.1")).lower()
        assert "x-mesh-timing" not in str(upstream.requests).lower(), upstream.requests
        proxy.stop()


def test_a_switch_that_is_no_switch_is_refused(claim):
    def config(e):
        made = file()(e)
        made["layered_runtime"]["layers"][0]["static_layer"]["mesh.timing.histograms"] = "yes"
        return made
    proxy = claim.start(config, ready=False)
    assert proxy.wait(10) == 1
    assert '"mesh.timing.histograms" must be true or false' in proxy.output(), proxy.output()
