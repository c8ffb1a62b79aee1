"""CONNECT and websockets through every pair of wires."""

from cases.over_http2 import over
from harness import http2
from harness import upstream as up
from harness.client import half_close, pause, read, read_bytes
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, hcm, listener, route
from harness.requests import get


def file(e):
    routes = [
        route({"connect_matcher": {}}, name="connect", upgrade_configs=[{"upgrade_type": "CONNECT"}]),
        route({"prefix": "/ws"}, name="ws", upgrade_configs=[{"upgrade_type": "websocket"}]),
        route(name="other"),
    ]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=routes)])], [cluster("up", e.port("up"))])


def accept_connect(exchange):
    exchange.is_tunnel = True
    exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
    return up.echo(exchange)


CONNECT = b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"


def websocket(path):
    return get(path, "a.test", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


CASES = [
    Case("CONNECT is passed on and tunnels", [CONNECT, read(method="CONNECT"), b"ping!", read_bytes(b"ping!"), half_close(), pause(0.1)], accept_connect, close=1),
    Case("CONNECT is refused by the upstream", [CONNECT, read()], up.respond("403 Forbidden", body="no"), close=0.3),
    Case("a websocket", [websocket("/ws"), read(), b"ping!", read_bytes(b"ping!"), half_close(), pause(0.1)], up.upgrade_echo(), close=1),
    Case("a websocket is refused by the upstream", [websocket("/ws"), read()], up.respond("403 Forbidden", body="no"), close=0.3),
    Case("a websocket where the route has none", [websocket("/other"), read()], close=0.3),
]

GROUPS = [
    over(down, upstream, Group("tunnels", file, CASES)) for down in ("h1", "h2") for upstream in ("h1", "h2")
] if http2.h2 else []
