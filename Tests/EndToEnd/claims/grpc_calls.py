"""Real gRPC through one hop, through two with mutual TLS and HTTP/2 between, and over HTTP/1.1 with trailers."""

import concurrent.futures
import time

from harness.envoyfile import (
    access_log, bootstrap, cluster, common_tls, downstream_tls, hcm, http2_upstream, listener, route, typed, upstream_tls,
)
from harness.grpcside import MIB, Caller, Service

SERVER = "spiffe://cluster.local/ns/default/sa/server"
LOG = {
    "path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "status": "%GRPC_STATUS%",
    "snake": "%GRPC_STATUS(SNAKE_STRING)%", "number": "%GRPC_STATUS_NUMBER%", "protocol": "%PROTOCOL%",
    "hop": "%ROUTE_NAME%", "upstream": "%UPSTREAM_PROTOCOL%",
}


def manager(e, name, target, **fields):
    action = {"timeout": "0s", **fields.pop("action", {})}
    return hcm([access_log(e.log, LOG)], routes=[route(cluster=target, name=name, **action)], stat_prefix=name, codec_type="AUTO", **fields)


def one_hop(e, service, **fields):
    return bootstrap(
        e.port("admin"), [listener(e.port("in"), [manager(e, "one", "app", **fields)])],
        [cluster("app", service.port, typed_extension_protocol_options=http2_upstream())],
    )


def two_hops(e, service, **fields):
    """Plaintext in, mutual TLS with ALPN h2 between, plaintext out."""
    ca = e.authority
    strict = downstream_tls(common_tls(ca, "server", "ca", alpn_protocols=["h2", "http/1.1"]), require_client_certificate=True)
    between = upstream_tls(common_tls(ca, "client", "ca", [SERVER], alpn_protocols=["h2"]), sni="server.default.svc")
    chain = {"filters": [manager(e, "inbound", "app", **fields)], "transport_socket": strict}
    return bootstrap(
        e.port("admin"),
        [listener(e.port("in"), [manager(e, "outbound", "mesh", **fields)]), listener(e.port("mesh"), chain, name="mesh")],
        [
            cluster("mesh", e.port("mesh"), transport_socket=between, typed_extension_protocol_options=http2_upstream()),
            cluster("app", service.port, typed_extension_protocol_options=http2_upstream()),
        ],
    )


def over_http1(e, service):
    """HTTP/2 in, HTTP/1.1 with trailers between, HTTP/2 out."""
    trailers = {"http_protocol_options": {"enable_trailers": True}}
    options = typed("http_options", explicit_http_config={"http_protocol_options": {"enable_trailers": True}})
    return bootstrap(
        e.port("admin"),
        [
            listener(e.port("in"), [manager(e, "outbound", "mesh")]),
            listener(e.port("mesh"), [manager(e, "inbound", "app", **trailers)], name="mesh"),
        ],
        [
            cluster("mesh", e.port("mesh"), typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}),
            cluster("app", service.port, typed_extension_protocol_options=http2_upstream()),
        ],
    )


class Mesh:
    """A service, the proxy in front of it, and a caller; one more thing that is stopped at the end."""

    def __init__(self, claim, build=one_hop, options=(), service=(), **fields):
        self.claim = claim
        self.service = Service(options=service)
        try:
            self.proxy = claim.start(lambda e: build(e, self.service, **fields))
            self.caller = Caller(claim.environment.port("in"), options)
        except BaseException:
            self.service.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.caller.close()
        self.service.stop()


def every_shape(mesh):
    """The four shapes of a call."""
    caller = mesh.caller
    assert caller.unary(b"hello", timeout=20) == b"hello"
    assert caller.unary(b"", timeout=20) == b"", "an empty message"
    assert caller.collect((bytes(n) for n in range(500)), timeout=20) == b"500 124750"
    assert list(caller.count(b"500", timeout=20)) == [str(n).encode() for n in range(500)]
    assert list(caller.count(b"0", timeout=20)) == [], "a stream without messages"
    turn, answers = [], None

    def questions():
        for number in range(50):
            # The next question is asked when the last was answered: nothing may be held back.
            while len(turn) < number:
                time.sleep(0.001)
            yield str(number).encode()
    for answer in caller.chat(questions(), timeout=20):
        assert answer == b"re: %d" % len(turn)
        turn.append(answer)
    assert len(turn) == 50


def metadata_both_ways(mesh):
    sent = (("x-text", "a b c"), ("x-text", "second"), ("x-raw-bin", bytes(range(256))))
    answer, call = mesh.caller.unary.with_call(b"", metadata=sent, timeout=20)
    seen = mesh.service.metadata[-1]
    assert seen["x-raw-bin"] == bytes(range(256)), seen
    assert "second" in seen["x-text"], seen
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-initial"] == "one" and initial["x-initial-bin"] == b"\x00\x01\xfe\xff", initial
    assert trailing["x-trailing"] == "two" and trailing["x-trailing-bin"] == b"\xff\x00\x80", trailing
    assert call.code().name == "OK"


def statuses(mesh):
    for number in range(1, 17):
        error = mesh.caller.failure(mesh.caller.fail, str(number).encode())
        assert error.code().value[0] == number, f"{number}: {error}"
        assert error.details() == f"told to: 100% {number} é", error.details()
        assert dict(error.trailing_metadata())["x-why"] == "because"
    error = mesh.caller.failure(mesh.caller.unknown)
    assert error.code().name == "UNIMPLEMENTED", error


def sizes(mesh, *sizes):
    for size in sizes:
        message = b"\xa5" * size
        assert mesh.caller.unary(message, timeout=60) == message, f"a message of {size} bytes came back otherwise"
        answer = mesh.caller.unary(b"", metadata=(("x-size", str(size)),), timeout=60)
        assert len(answer) == size
    assert mesh.caller.collect(iter([bytes(MIB)] * 8), timeout=60) == b"8 %d" % (8 * MIB)


def cancellation(mesh):
    future = mesh.caller.wait.future(b"", timeout=20)
    assert mesh.service.waiting.acquire(timeout=10), "the call never arrived"
    future.cancel()
    assert mesh.service.cancelled.wait(10), "the service never heard that its caller has gone"
    assert mesh.caller.unary(b"next", timeout=20) == b"next", "the channel is unusable after a cancelled call"


def deadline(mesh):
    began = time.monotonic()
    error = mesh.caller.failure(mesh.caller.wait, timeout=0.4)
    assert error.code().name == "DEADLINE_EXCEEDED", error
    assert time.monotonic() - began < 3
    assert mesh.service.cancelled.wait(10), "the service never heard that the time is up"


def test_every_shape_of_call_passes_one_hop(claim):
    with Mesh(claim) as mesh:
        every_shape(mesh)
        metadata_both_ways(mesh)
        statuses(mesh)


def test_every_shape_of_call_passes_two_hops_with_mutual_tls(claim):
    with Mesh(claim, two_hops) as mesh:
        every_shape(mesh)
        metadata_both_ways(mesh)
        statuses(mesh)
        stats = mesh.proxy.stats()
        assert stats["cluster.mesh.upstream_cx_http2_total"] >= 1 and stats["cluster.mesh.ssl.handshake"] >= 1
        assert stats["http.inbound.downstream_rq_http2_total"] >= 24


def test_calls_and_their_trailers_pass_a_hop_of_http1(claim):
    with Mesh(claim, over_http1) as mesh:
        assert mesh.caller.unary(b"hello", timeout=20) == b"hello"
        assert mesh.caller.collect(iter([b"a"] * 10), timeout=20) == b"10 10"
        assert len(list(mesh.caller.count(b"100", timeout=20))) == 100
        metadata_both_ways(mesh)
        statuses(mesh)
        assert mesh.proxy.stats()["cluster.mesh.upstream_cx_http1_total"] >= 1


def test_large_messages_pass_one_hop(claim):
    with Mesh(claim) as mesh:
        sizes(mesh, 4 * MIB, 64 * MIB)


def test_large_messages_pass_two_hops_with_mutual_tls(claim):
    with Mesh(claim, two_hops) as mesh:
        sizes(mesh, 4 * MIB, 64 * MIB)


def test_a_cancelled_call_is_cancelled_at_the_service(claim):
    with Mesh(claim) as mesh:
        cancellation(mesh)
        record = claim.log().records(1)[0]
        assert record["flags"] == "DR" and record["path"] == "/mesh.test.Echo/Wait", record


def test_a_cancelled_call_is_cancelled_at_the_service_two_hops_away(claim):
    with Mesh(claim, two_hops) as mesh:
        cancellation(mesh)


def test_a_deadline_ends_the_call_at_both_ends(claim):
    with Mesh(claim) as mesh:
        deadline(mesh)


def test_a_deadline_ends_the_call_at_both_ends_two_hops_away(claim):
    with Mesh(claim, two_hops) as mesh:
        deadline(mesh)


def test_keepalive_pings_are_answered_and_the_channel_lives_on(claim):
    pings = [
        ("grpc.keepalive_time_ms", 300), ("grpc.keepalive_timeout_ms", 2000),
        ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
    ]
    with Mesh(claim, options=pings) as mesh:
        assert mesh.caller.unary(b"one", timeout=20) == b"one"
        future = mesh.caller.wait.future(b"", timeout=20)
        assert mesh.service.waiting.acquire(timeout=10)
        time.sleep(1.5)
        assert not future.done(), "the waiting call did not survive the pings"
        assert mesh.caller.unary(b"two", timeout=20) == b"two"
        assert mesh.proxy.stats()["http.one.downstream_cx_total"] == 1, "the channel had to connect again"
        future.cancel()


def test_a_hundred_calls_at_once_share_a_connection(claim):
    with Mesh(claim, two_hops) as mesh:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda n: mesh.caller.unary(str(n).encode(), timeout=20), range(100)))
        assert answers == [str(n).encode() for n in range(100)]
        assert mesh.proxy.stats()["cluster.mesh.upstream_cx_total"] <= claim.concurrency
