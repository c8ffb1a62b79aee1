"""tcp_proxy: bytes both ways, half-close, failures, timeouts, weights."""

from harness import upstream as up
from harness.client import half_close, leave, pause, read_bytes, reset, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import access_log, bootstrap, cluster, extension, listener


def file(e):
    def proxy(name, **fields):
        fields.setdefault("cluster", "up")
        if "weighted_clusters" in fields:
            fields.pop("cluster")
        return listener(e.port(name), [extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix=name, access_log=[access_log(e.log)], **fields)], name=name)
    listeners = [
        proxy("in"), proxy("idle", idle_timeout="0.3s"), proxy("dead", cluster="dead", max_connect_attempts=2),
        proxy("duration", max_downstream_connection_duration="0.4s"), proxy("empty", cluster="empty"),
        proxy("weighted", weighted_clusters={"clusters": [{"name": "up", "weight": 1}]}),
        proxy("full", cluster="full"),
    ]
    clusters = [
        cluster("up", e.port("up")), cluster("dead", e.port("nobody")), {"name": "empty", "type": "STATIC", "connect_timeout": "1s"},
        cluster("full", e.port("up"), circuit_breakers={"thresholds": [{"max_connections": 0}]}),
    ]
    return bootstrap(e.port("admin"), listeners, clusters)


def send_first(data, then):
    def act(exchange):
        exchange.send(data)
        return then(exchange)
    return act


def read_all_then_answer(exchange):
    """Waits for the client's FIN, then answers."""
    exchange.wait_end()
    exchange.record["received"] = exchange.reader.buffer.decode("latin-1")
    exchange.send(b"after your FIN")
    return False


def read_then_reset(exchange):
    exchange.reader.take(1)
    return up.reset_now(exchange)


def flood(count):
    def act(exchange):
        exchange.send(b"z" * count + b"END")
        return False
    return act


TCP = Group("tcp_proxy", file, upstreams=[("up", {"raw_tcp": True})], stats=[
    r"tcp\.\w+\.(downstream_cx_(total|no_route|rx_bytes_total|tx_bytes_total)|idle_timeout|max_downstream_connection_duration)",
    r"cluster\.\w+\.upstream_cx_(total|connect_fail|connect_attempts_exceeded|overflow|rx_bytes_total|tx_bytes_total|none_healthy)",
], cases=[
    Case("echo", [b"hello\n", read_bytes(b"hello\n"), half_close(), read_bytes(b"\0")], up.echo, close=2),
    Case("the upstream speaks first", [read_bytes(b"220 hi\n"), b"x", read_bytes(b"x"), half_close(), read_bytes(b"\0")], send_first(b"220 hi\n", up.echo), close=2),
    Case("half-close passes to the upstream", [b"request", half_close(), read_bytes(b"after your FIN")], read_all_then_answer, close=2),
    Case("the upstream closes", [wait_upstream("up"), read_bytes(b"\0")], up.close_now, close=2),
    Case("the upstream resets", [b"x", read_bytes(b"\0")], read_then_reset, close=2),
    Case("the client resets", [b"x", read_bytes(b"x"), reset()], up.echo),
    Case("a megabyte arrives whole", [read_bytes(b"END")], flood(1 << 20), close=2),
    Case("idle timeout", [b"x", read_bytes(b"x")], up.echo, listener="idle", close=3),
    Case("connection duration", [b"x", read_bytes(b"x")], up.echo, listener="duration", close=3),
    Case("nobody listens", [read_bytes(b"\0")], listener="dead", close=2),
    Case("no healthy upstream", [read_bytes(b"\0")], listener="empty", close=2),
    Case("weighted clusters", [b"x", read_bytes(b"x"), half_close(), read_bytes(b"\0")], up.echo, listener="weighted", close=2),
    Case("connection limit of the cluster", [read_bytes(b"\0")], listener="full", close=2),
])

GROUPS = [TCP]
