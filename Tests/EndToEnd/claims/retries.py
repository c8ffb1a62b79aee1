"""What a retry owes a client whose first upstream would not take the request."""

import socket
import struct
import threading

from harness.envoyfile import bootstrap, cluster, hcm, listener, route
from harness.proxy import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Servers:
    """Accepts one connection after the other and hands each to the next function."""

    def __init__(self, *plays):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run, args=(plays,), daemon=True)
        self.thread.start()

    def run(self, plays):
        for play in plays:
            connection, _ = self.socket.accept()
            with connection:
                connection.settimeout(20)
                play(connection)
        self.socket.close()


def receive(connection, size):
    taken = 0
    while taken < size:
        part = connection.recv(1 << 20)
        if not part:
            break
        taken += len(part)


def test_a_request_that_one_upstream_would_not_read_goes_on_to_the_next(claim):
    size = 20_000_000
    backed_up = lambda: proxy.stats()["cluster.up.upstream_flow_control_backed_up_total"] > 0

    def refuse(connection):
        connection.recv(1000)
        wait_until(backed_up, 10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def serve(connection):
        receive(connection, size)
        connection.sendall(ANSWER)

    servers = Servers(refuse, serve)
    again = {**route(timeout="0s", retry_policy={"retry_on": "reset"}), "request_body_buffer_limit": 2 * size}
    narrow = cluster("up", servers.port, per_connection_buffer_limit_bytes=1024)
    proxy = claim.start(lambda e: bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=[again])])], [narrow]))
    with socket.create_connection(("127.0.0.1", claim.environment.port("in"))) as client:
        client.settimeout(20)
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
