"""Two ztunnel-lite agents and what workloads see through them, on loopback addresses with SOCKS5 for capture."""

import hashlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import ambient
from harness.ambient import Server, ask, echo, ending, identity, read_all
from harness.claim import Skipped
from harness.ports import free_port
from harness.proxy import wait_until

MIB = 1 << 20


def binary(claim):
    """ztunnel-lite beside the proxy that is tested."""
    path = os.path.join(os.path.dirname(claim.flavor.path), "ztunnel-lite")
    if claim.flavor.is_envoy or not os.access(path, os.X_OK):
        raise Skipped(f"there is no ztunnel-lite beside {claim.flavor.path}")
    return path


def principals(*accounts):
    """A rule that wants one of these identities."""
    return [[[{"principals": [{"Exact": identity(a).removeprefix("spiffe://")} for a in accounts]}]]]


def new_mesh(claim, **options):
    mesh = ambient.Mesh(binary(claim), tempfile.mkdtemp(dir=claim.directory), claim.authority, **options)
    claim.proxies.append(mesh)
    return mesh


class Pair:
    """Workloads `client` and `server` with an agent each; `serve` is the server's application."""

    def __init__(self, claim, serve=echo, policies=(), variables=None, **options):
        self.mesh = new_mesh(claim, hbone_port=free_port())
        addresses = ambient.loopback_addresses()
        self.client_address, self.server_address, self.vip = next(addresses), next(addresses), "240.0.1.1"
        self.addresses = addresses
        self.server = Server(serve, self.server_address)
        claim.proxies.append(self.server)
        self.mesh.workload("client", self.client_address)
        workload = self.mesh.workload("server", self.server_address, policies=policies)
        self.mesh.service("echo", self.vip, {80: self.server.port}, workload)
        options = {"workers": claim.concurrency, "variables": variables, **options}
        self.far = self.mesh.agent("server", address=self.server_address, **options)
        self.near = self.mesh.agent("client", address=self.client_address, **options)

    def connect(self, port=None):
        return self.near.connect(self.server_address, port or self.server.port)

    def echoes(self, data=b"ping"):
        return ask(self.connect(), data) == data


def digest_of(sock):
    count, digest = 0, hashlib.sha256()
    while piece := sock.recv(MIB):
        count += len(piece)
        digest.update(piece)
    return count, digest.hexdigest()


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


def tunnels_to(port):
    """Established TCP connections to a port, from this machine."""
    count = 0
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path) as file:
            for line in list(file)[1:]:
                _, _, remote, state = line.split()[:4]
                count += state == "01" and int(remote.rpartition(":")[2], 16) == port
    return count


def test_curl_reaches_a_service_by_name_address_and_virtual_address(claim):
    """Both agents log the connection once, with both identities, and count it and its bytes."""
    def serve(sock, peer):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")

    pair = Pair(claim, serve)
    for target in (f"{pair.server_address}:{pair.server.port}", f"{pair.vip}:80", "echo.default.svc.cluster.local:80"):
        line = ["curl", "-sS", "-m", "10", "--socks5-hostname", f"{pair.near.socks[0]}:{pair.near.socks[1]}", f"http://{target}/"]
        result = subprocess.run(line, capture_output=True, text=True, timeout=20)
        assert result.stdout == "hello", (target, result.stderr, pair.near.output()[-1500:])
    near, far = pair.near.logged(direction="outbound"), pair.far.logged(direction="inbound")
    expected = {
        "src.workload": "client", "src.namespace": "default", "src.identity": identity("client"),
        "dst.workload": "server", "dst.namespace": "default", "dst.identity": identity("server"),
        "dst.hbone_addr": f"{pair.server_address}:{pair.server.port}", "bytes_recv": None, "bytes_sent": None,
    }
    for line in (near, far):
        for key, value in expected.items():
            assert key in line and value in (None, line[key]), (key, line["line"])
    assert near["dst.addr"] == f"{pair.server_address}:{pair.mesh.hbone_port}", near["line"]
    assert far["dst.addr"] == f"{pair.server_address}:{pair.mesh.hbone_port}", far["line"]
    assert (near["bytes_sent"], near["bytes_recv"]) == (far["bytes_recv"], far["bytes_sent"]), (near["line"], far["line"])
    labels = {
        "source_principal": identity("client"), "destination_principal": identity("server"), "source_workload": "client",
        "destination_workload": "server", "connection_security_policy": "mutual_tls", "response_flags": "-", "request_protocol": "tcp",
    }
    for agent, reporter in ((pair.near, "source"), (pair.far, "destination")):
        for name in ("opened", "closed"):
            metric = f"istio_tcp_connections_{name}_total"
            assert wait_until(lambda: agent.metric(metric, reporter=reporter, **labels) == 3, 15), agent.metrics(metric)
        assert wait_until(lambda: len(agent.access()) == 3, 15), agent.output()
        sent, received = (agent.metric(f"istio_tcp_{d}_bytes_total", reporter=reporter, **labels) for d in ("sent", "received"))
        lines = agent.access()
        total = [sum(int(l[k]) for l in lines) for k in ("bytes_sent", "bytes_recv")]
        # Metrics count as the server sees it, lines as the workload does.
        total = total if reporter == "destination" else total[::-1]
        assert [sent, received] == total, (sent, received, total)


def test_large_transfers_arrive_whole_both_ways(claim):
    up, down = os.urandom(64 * MIB), os.urandom(64 * MIB)
    got = []

    def serve(sock, peer):
        sender = threading.Thread(target=lambda: sock.sendall(down), daemon=True)
        sender.start()
        got.append(digest_of(sock))
        sender.join()
        sock.shutdown(socket.SHUT_WR)

    pair = Pair(claim, serve)
    with pair.connect() as sock:
        def send():
            sock.sendall(up)
            sock.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        received = digest_of(sock)
        sender.join()
    assert received == digest(down), received[0]
    assert got == [digest(up)], got
    line = pair.near.logged()
    assert (line["bytes_sent"], line["bytes_recv"]) == (str(64 * MIB), str(64 * MIB)), line["line"]
    for agent in pair.mesh.agents:
        assert agent.resident_kib() < 96 * 1024, agent.resident_kib()


def test_each_direction_ends_by_itself(claim):
    """Whoever ends first still hears all that the other has to say."""
    more = os.urandom(MIB)
    got = []

    def serve(sock, peer):
        if sock.recv(1) == b"s":
            sock.sendall(b"bye")
            sock.shutdown(socket.SHUT_WR)
            got.append(digest_of(sock))
        else:
            got.append(digest_of(sock))
            sock.sendall(more)

    pair = Pair(claim, serve)
    with pair.connect() as sock:
        sock.sendall(b"s")
        assert read_all(sock) == b"bye"
        # The server has ended: this direction goes on for as long as it likes.
        sock.sendall(more[:1000])
        time.sleep(0.1)
        sock.sendall(more[1000:])
        sock.shutdown(socket.SHUT_WR)
        assert wait_until(lambda: got, 10) and got == [digest(more)], got
    got.clear()
    with pair.connect() as sock:
        sock.sendall(b"call I have")
        sock.shutdown(socket.SHUT_WR)
        assert digest_of(sock) == digest(more)
    assert got == [digest(b"all I have")], got
    assert wait_until(lambda: len(pair.near.access()) == 2 and len(pair.far.access()) == 2, 15)
    assert not pair.near.access(level="error") and not pair.far.access(level="error")


def test_a_reset_crosses_the_tunnel(claim):
    """Half of something never looks like the whole of it, from either side."""
    ends = []

    def serve(sock, peer):
        sock.sendall(b"part")
        if sock.recv(1) == b"r":
            return ambient.reset(sock)
        ends.append(ending(sock))

    pair = Pair(claim, serve)
    with pair.connect() as sock:
        assert sock.recv(4) == b"part"
        sock.sendall(b"r")
        assert ending(sock) == "rst"
    sock = pair.connect()
    assert sock.recv(4) == b"part"
    sock.sendall(b"x")
    assert wait_until(lambda: pair.server.peers and len(pair.server.peers) == 2, 15)
    time.sleep(0.1)
    ambient.reset(sock)
    assert wait_until(lambda: ends, 10) and ends == ["rst"], ends


def test_a_reset_behind_an_end_is_not_missed(claim):
    """A server that ends and then goes away with a client's bytes unread: the client is not left to wait for ever."""
    gate = threading.Event()

    def serve(sock, peer):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        sock.shutdown(socket.SHUT_WR)
        gate.wait(20)
        ambient.reset(sock)

    pair = Pair(claim, serve)
    sock = pair.connect()
    sock.settimeout(2)
    try:
        while True:
            sock.send(b"u" * 65536)
    except TimeoutError:
        pass
    gate.set()
    def writes():
        try:
            sock.send(b"more")
        except TimeoutError:
            return False
        except OSError:
            return True
    assert wait_until(writes, 10), "the client still waits"
    for agent in pair.mesh.agents:
        assert agent.logged(level="error")["error"], agent.name
        assert wait_until(lambda: '"open": 0' in agent.get("/connections")[1], 15), agent.get("/connections")[1]


def test_two_hundred_connections_share_one_tunnel_connection(claim):
    for limit, wanted in (("200", 1), (None, 2)):
        pair = Pair(claim, workers=1, variables={"POOL_MAX_STREAMS_PER_CONNECTION": limit})
        socks = [pair.connect() for _ in range(200)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number)
        for number, sock in enumerate(socks):
            assert sock.recv(10) == b"%d" % number
        assert tunnels_to(pair.mesh.hbone_port) == wanted, (limit, tunnels_to(pair.mesh.hbone_port))
        for sock in socks:
            sock.close()
        assert wait_until(lambda: len(pair.far.access()) == 200, 10), len(pair.far.access())
        assert pair.echoes() and tunnels_to(pair.mesh.hbone_port) == wanted
        pair.mesh.stop()


def test_an_edit_under_traffic_loses_no_byte(claim):
    """Workloads, services and policies come and go while bytes flow both ways; new connections see the edit."""
    pair = Pair(claim)
    data = os.urandom(256 * 1024)
    stop, wrong, rounds = threading.Event(), [], [0]

    def talk():
        with pair.connect() as sock:
            while not stop.is_set():
                sender = threading.Thread(target=sock.sendall, args=(data,), daemon=True)
                sender.start()
                try:
                    if ambient.exactly(sock, len(data)) != data:
                        wrong.append("other bytes")
                except OSError as error:
                    wrong.append(str(error))
                    return
                sender.join()
                rounds[0] += 1
    threads = [threading.Thread(target=talk, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for edit in range(20):
        before = rounds[0]
        pair.mesh.workload(f"other-{edit}", f"10.1.0.{edit + 1}")
        pair.mesh.service(f"service-{edit}", f"240.1.1.{edit}", {80: pair.server.port}, pair.mesh.workloads[1])
        pair.mesh.policy(f"unused-{edit}", principals(f"other-{edit}"))
        pair.mesh.write()
        assert wait_until(lambda: rounds[0] > before + 1 or wrong, 20), "no more bytes"
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not wrong, wrong
    assert wait_until(lambda: can(lambda: pair.near.connect("240.1.1.19", 80)), 15), "the last edit is not in force"


def can(connect):
    try:
        return ask(connect(), b"x") == b"x"
    except OSError:
        return False


def test_a_killed_peer_is_a_reset_and_not_a_hang(claim):
    pair = Pair(claim)
    sock = pair.connect()
    sock.sendall(b"a")
    assert sock.recv(1) == b"a"
    pair.far.stop()
    assert ending(sock, 5) == "rst"
    line = pair.near.logged(level="error")
    assert line.get("error"), line["line"]
    # Nobody takes HBONE there any more: that is an error soon, and the agent says which.
    began = time.monotonic()
    assert not can(pair.connect) and time.monotonic() - began < 8
    assert wait_until(lambda: any("connection failed" in l["error"] for l in pair.near.access(level="error")), 15), pair.near.output()[-1500:]
    assert pair.near.metric("istio_tcp_connections_failed_total", response_flags="CONNECT") >= 1 or pair.near.metrics("istio_tcp_connections_failed") == [], pair.near.metrics("istio_tcp_connections_failed")
    pair.far.launch()
    assert pair.echoes(), "the peer is back, and is not used"


def test_a_request_to_stop_lets_connections_end(claim):
    """Nothing new is taken, what is open may go on until the deadline; whoever stays longer is told by a reset."""
    pair = Pair(claim, variables={"CONNECTION_TERMINATION_DEADLINE": "2s"})
    first, second = pair.connect(), pair.connect()
    for sock in (first, second):
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
    pair.far.signal(signal.SIGTERM)
    def refuses():
        try:
            socket.create_connection((pair.server_address, pair.mesh.hbone_port), timeout=1).close()
        except OSError:
            return True
    assert wait_until(refuses, 1.5), "still accepts"
    assert pair.far.process.poll() is None
    assert ask(first, b"the rest") == b"the rest"
    assert ending(second, 5) == "rst"
    assert pair.far.wait(5) == 0, pair.far.output()[-1000:]
    # Where nothing is open there is nothing to wait for.
    began = time.monotonic()
    pair.near.signal(signal.SIGTERM)
    assert pair.near.wait(2) == 0 and time.monotonic() - began < 1.5


def test_a_shared_agent_gives_each_workload_its_own_identity(claim):
    """Two workloads on one agent, told apart by their addresses, on both sides of a tunnel."""
    mesh = new_mesh(claim, hbone_port=free_port())
    addresses = ambient.loopback_addresses()
    names = {name: next(addresses) for name in ("red", "blue", "server")}
    servers = {name: Server(echo, address) for name, address in names.items()}
    claim.proxies.extend(servers.values())
    for name, address in names.items():
        mesh.workload(name, address, policies=["reds"] if name == "server" else [])
    mesh.policy("reds", principals("red"))
    agent = mesh.agent("node", address=next(addresses), shared=True, workers=claim.concurrency)
    target = (names["server"], servers["server"].port)
    assert ask(ambient.socks5(agent.socks, *target, source=names["red"]), b"hi") == b"hi"
    sock = None
    try:
        sock = ambient.socks5(agent.socks, *target, source=names["blue"])
        assert ending(sock) == "rst"
    except (ambient.Refused, ConnectionError):
        pass
    finally:
        if sock:
            sock.close()
    denied = agent.logged(direction="inbound", level="error")
    assert denied["src.identity"] == identity("blue"), denied["line"]
    allowed = agent.logged(direction="inbound", level="info")
    assert allowed["src.identity"] == identity("red") and allowed["dst.identity"] == identity("server"), allowed["line"]
    assert servers["server"].peers == [names["red"]] or servers["server"].peers == ["127.0.0.1"], servers["server"].peers
