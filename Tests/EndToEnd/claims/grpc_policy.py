"""What the proxy does to real gRPC calls: refusals, retries, deadlines, statistics, gRPC-Web, slow readers, restarts."""

import base64
import http.client
import json
import struct
import threading
import time

from harness import upstream as up
from harness.envoyfile import bootstrap, cluster, extension, hcm, http2_upstream, listener, typed
from harness.grpcside import MIB, SERVICE, Service
from harness.proxy import wait_until

from .grpc_calls import Mesh, manager, one_hop, two_hops


def stats_filter(**fields):
    return extension("envoy.filters.http.grpc_stats", "grpc_stats", stats_for_all_methods=True, **fields)


def test_a_refusal_is_a_status_with_its_reason(claim):
    rules = {"action": "DENY", "policies": {"no-waiting": {
        "permissions": [{"url_path": {"path": {"suffix": "/Wait"}}}], "principals": [{"any": True}],
    }}}
    with Mesh(claim, filters=[extension("envoy.filters.http.rbac", "rbac", rules=rules)]) as mesh:
        error = mesh.caller.failure(mesh.caller.wait)
        assert (error.code().name, error.details()) == ("PERMISSION_DENIED", "RBAC: access denied"), error
        assert mesh.caller.unary(b"x", timeout=20) == b"x", "the connection serves others on"
        error = mesh.caller.failure(mesh.caller.wait)
        assert mesh.proxy.stats()["http.one.downstream_cx_total"] == 1, "a refusal costs the connection"


def test_explain_and_routes_find_the_policy_behind_other_filters(claim):
    deny = {"action": "DENY", "policies": {"nobody": {"permissions": [{"any": True}], "principals": [{"any": True}]}}}
    rules = typed("rbac_per_route", rbac={"rules": deny})
    filters = [extension("envoy.filters.http.grpc_web", "grpc_web"), stats_filter(), extension("envoy.filters.http.rbac", "rbac")]

    def build(e, service):
        file = one_hop(e, service, filters=filters)
        chain = file["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        chain["route_config"]["virtual_hosts"][0]["typed_per_filter_config"] = {"envoy.filters.http.rbac": rules}
        return file
    with Mesh(claim, build) as mesh:
        assert mesh.caller.failure(mesh.caller.unary).code().name == "PERMISSION_DENIED"
        question = {"listener": "in", "method": "POST", "path": f"/{SERVICE}/Unary", "authority": "a.test"}
        status, body, _ = mesh.proxy.request("POST", "/explain", json.dumps(question))
        assert status == 200 and '"nobody"' in body and "403" in body, body


def test_a_service_that_is_not_there_is_unavailable(claim):
    def build(e, service):
        options = http2_upstream()
        return bootstrap(e.port("admin"), [listener(e.port("in"), [manager(e, "one", "app")])],
                         [cluster("app", e.port("nobody"), typed_extension_protocol_options=options)])
    with Mesh(claim, build) as mesh:
        error = mesh.caller.failure(mesh.caller.unary)
        assert error.code().name == "UNAVAILABLE" and "upstream connect error" in error.details(), error


def test_an_unavailable_answer_is_tried_again(claim):
    retry = {"retry_policy": {"retry_on": "unavailable", "num_retries": 3, "retry_back_off": {"base_interval": "0.01s"}}}
    with Mesh(claim, action=retry) as mesh:
        mesh.service.statuses = [14, 14, 0]
        assert mesh.caller.fail(b"", timeout=20) == b"well"
        assert mesh.service.calls == ["Fail"] * 3
        stats = mesh.proxy.stats()
        assert stats["cluster.app.upstream_rq_retry"] == 2 and stats["cluster.app.upstream_rq_retry_success"] == 1
        mesh.service.statuses = [5]
        assert mesh.caller.failure(mesh.caller.fail).code().name == "NOT_FOUND", "no other status is tried again"


def test_the_routes_limit_ends_a_call_whose_caller_would_wait_longer(claim):
    with Mesh(claim, action={"max_stream_duration": {"max_stream_duration": "0.3s"}}) as mesh:
        error = mesh.caller.failure(mesh.caller.wait)
        assert error.code().name == "DEADLINE_EXCEEDED", error
        # The service was told of the limit too; either clock may strike first.
        assert error.details() in ("downstream duration timeout", "Deadline Exceeded"), error.details()
        assert mesh.service.cancelled.wait(10), "the service never heard of it"


def test_a_limit_on_deadlines_holds_and_is_passed_on(claim):
    with Mesh(claim, action={"max_stream_duration": {"grpc_timeout_header_max": "0.4s"}}) as mesh:
        began = time.monotonic()
        error = mesh.caller.failure(mesh.caller.wait, timeout=20)
        assert error.code().name == "DEADLINE_EXCEEDED" and time.monotonic() - began < 5, error


def test_calls_and_messages_are_counted(claim):
    with Mesh(claim, two_hops, filters=[stats_filter(enable_upstream_stats=True)]) as mesh:
        assert mesh.caller.unary(b"x", timeout=20) == b"x"
        assert len(list(mesh.caller.count(b"20", timeout=20))) == 20
        assert mesh.caller.collect(iter([b"a"] * 7), timeout=20) == b"7 7"
        mesh.caller.failure(mesh.caller.fail, b"9")
        stats = mesh.proxy.stats()
        for hop in ("mesh", "app"):
            prefix = f"cluster.{hop}.grpc.{SERVICE}."
            found = {name.removeprefix(prefix): value for name, value in stats.items() if name.startswith(prefix)}
            expected = {
                "Unary.0": 1, "Unary.success": 1, "Unary.total": 1, "Unary.request_message_count": 1, "Unary.response_message_count": 1,
                "Count.0": 1, "Count.success": 1, "Count.total": 1, "Count.request_message_count": 1, "Count.response_message_count": 20,
                "Collect.0": 1, "Collect.success": 1, "Collect.total": 1, "Collect.request_message_count": 7, "Collect.response_message_count": 1,
                "Fail.9": 1, "Fail.failure": 1, "Fail.total": 1, "Fail.request_message_count": 1,
            }
            assert found == expected, f"{hop}: {found}"
            names = mesh.proxy.get(f"/stats?filter=cluster.{hop}.grpc.*upstream_rq_time")[1]
            assert names.count("upstream_rq_time: ") == 4, names


def test_an_endpoint_answers_for_the_statuses_of_its_calls(claim):
    with Mesh(claim) as mesh:
        assert mesh.caller.unary(b"x", timeout=20) == b"x"
        for status in (5, 12, 14):
            mesh.caller.failure(mesh.caller.fail, str(status).encode())
        lines = mesh.proxy.get("/clusters")[1]
        assert "::rq_success::2\n" in lines and "::rq_error::2\n" in lines, lines


def test_prometheus_tells_service_and_method_apart(claim):
    counted = stats_filter(replace_dots_in_grpc_service_name=True)
    with Mesh(claim, filters=[counted]) as mesh:
        mesh.caller.unary(b"x", timeout=20)
        text = mesh.proxy.get("/stats/prometheus")[1]
        line = next(l for l in text.splitlines() if l.startswith("envoy_cluster_grpc_success"))
        for label in ('envoy_grpc_bridge_method="Unary"', 'envoy_grpc_bridge_service="mesh_test_Echo"', 'envoy_cluster_name="app"'):
            assert label in line, line


def web_call(claim, path, message, text=False):
    """One gRPC-Web call over HTTP/1.1; returns status, head and body."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    kind = "application/grpc-web-text" if text else "application/grpc-web"
    connection = http.client.HTTPConnection("127.0.0.1", claim.environment.port("in"), timeout=20)
    try:
        connection.request("POST", path, base64.b64encode(body) if text else body, {"content-type": kind, "accept": kind, "x-grpc-web": "1"})
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    if text:
        # Each frame is padded by itself.
        data = b"".join(base64.b64decode(data[at:at + 4]) for at in range(0, len(data), 4))
    return response.status, dict(response.getheaders()), data


def frames(data):
    found = []
    while data:
        flags, size = struct.unpack(">BI", data[:5])
        found.append((flags, data[5:5 + size]))
        data = data[5 + size:]
    return found


def test_a_browser_calls_a_real_service(claim):
    web = extension("envoy.filters.http.grpc_web", "grpc_web")
    with Mesh(claim, two_hops, filters=[web, stats_filter()]) as mesh:
        for text in (False, True):
            status, head, data = web_call(claim, f"/{SERVICE}/Unary", b"hello", text)
            assert status == 200 and head["content-type"].startswith("application/grpc-web"), head
            assert head["x-initial"] == "one", head
            message, trailers = frames(data)
            assert message == (0, b"hello") and trailers[0] == 0x80, (message, trailers)
            assert b"grpc-status:0\r\n" in trailers[1] and b"x-trailing:two\r\n" in trailers[1], trailers
            large = bytes(range(256)) * 4096 * 3
            status, head, data = web_call(claim, f"/{SERVICE}/Unary", large, text)
            assert frames(data)[0] == (0, large), "three MiB came back otherwise"
            status, head, data = web_call(claim, f"/{SERVICE}/Count", b"100", text)
            assert [m for _, m in frames(data)[:-1]] == [str(n).encode() for n in range(100)]
            status, head, data = web_call(claim, f"/{SERVICE}/Fail", b"7", text)
            said = head.get("grpc-status") or frames(data)[-1][1].decode()
            assert "7" in said, (head, data)
        assert mesh.caller.unary(b"plain gRPC", timeout=20) == b"plain gRPC", "gRPC itself no longer passes"
        assert mesh.proxy.stats()[f"cluster.app.grpc.{SERVICE}.Unary.total"] == 5


def test_a_page_in_place_of_an_answer_becomes_a_status_however_small_buffers_are(claim):
    upstream = claim.upstream("up")
    upstream.script([up.respond("502 Bad Gateway", body="x" * 300000)])
    web = extension("envoy.filters.http.grpc_web", "grpc_web")
    for size in (1024, 1024 * 1024):
        claim.environment.ports.pop("in", None)
        proxy = claim.start(lambda e: bootstrap(
            e.port("admin"), [listener(e.port("in"), [hcm(e.log, filters=[web])], per_connection_buffer_limit_bytes=size)],
            [cluster("up", e.port("up"))],
        ))
        status, head, data = web_call(claim, f"/{SERVICE}/Unary", b"hello")
        assert status == 502 and head["grpc-status"] == "14" and data == b"", (status, head)
        assert head["grpc-message"] == "x" * min(size, 16384), len(head["grpc-message"])
        proxy.stop()


def test_a_slow_reader_holds_bounded_memory_and_stops_nobody(claim):
    with Mesh(claim, two_hops) as mesh:
        before = mesh.proxy.resident_kib()
        # The service would send 400 MB; the caller reads one message.
        slow = mesh.caller.channel.unary_stream(f"/{SERVICE}/Flood")(b"400", timeout=60)
        assert len(next(slow)) == MIB
        for number in range(20):
            assert mesh.caller.unary(b"x" * 1000, timeout=20) == b"x" * 1000
        grown = mesh.proxy.resident_kib() - before
        assert grown < 120 * 1024, f"{grown} KiB are held for one caller that does not read"
        slow.cancel()


def test_a_service_that_restarts_is_found_again(claim):
    with Mesh(claim, action={"retry_policy": {"retry_on": "reset-before-request,refused-stream,connect-failure", "num_retries": 3, "retry_back_off": {"base_interval": "0.05s"}}}) as mesh:
        assert mesh.caller.unary(b"one", timeout=20) == b"one"
        port = mesh.service.port
        mesh.service.stop()
        mesh.service = Service(port)
        assert wait_until(lambda: succeeds(mesh.caller), 10, 0.1), "calls fail although the service is back"


def succeeds(caller):
    try:
        return caller.unary(b"again", timeout=5) == b"again"
    except caller.grpc.RpcError:
        return False


def test_a_draining_service_loses_no_call(claim):
    """A service with a short connection age sends GOAWAY all the time."""
    age = [("grpc.max_connection_age_ms", 150), ("grpc.max_connection_age_grace_ms", 5000)]
    with Mesh(claim, service=age) as mesh:
        failures, ends = [], time.monotonic() + 3

        def work():
            while time.monotonic() < ends:
                try:
                    mesh.caller.unary(b"x", timeout=20)
                except mesh.caller.grpc.RpcError as error:
                    failures.append(f"{error.code().name} {error.details()}")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, f"{len(failures)} calls were lost, e.g. {failures[0]}"
        assert mesh.proxy.stats()["cluster.app.upstream_cx_total"] > 3, "the service never drained"
