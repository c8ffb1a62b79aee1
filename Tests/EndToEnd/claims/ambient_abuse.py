"""What hostile or broken peers do to an agent: bounded memory, and neighbours who notice nothing."""

import random
import socket
import ssl
import struct
import threading
import time

from claims.ambient import MIB, can, tunnels_to
from claims.ambient_peers import Inbound
from harness import ambient, hbone
from harness.ambient import echo, ending
from harness.proxy import wait_until

HBONE_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def settles(agent, start_kib, room_mib, seconds=10):
    """Memory comes back to what it was, and some."""
    return wait_until(lambda: agent.resident_kib() - start_kib < room_mib * 1024, seconds)


class Neighbour:
    """A client of the server's that talks all the time; `worst` is the longest it had to wait, in seconds."""

    def __init__(self, pair):
        self.pair, self.worst, self.count, self.failures = pair, 0.0, 0, []
        self._stop = threading.Event()
        self._open = pair.connect()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._open.sendall(b"x" * 1000)
                if ambient.exactly(self._open, 1000) != b"x" * 1000:
                    self.failures.append("other bytes")
                if not can(self.pair.connect):
                    self.failures.append("a new connection failed")
            except OSError as error:
                self.failures.append(str(error))
                return
            self.worst, self.count = max(self.worst, time.monotonic() - began), self.count + 1
            self._stop.wait(0.02)

    def unharmed(self, seconds=2.0):
        wait_until(lambda: self.count > 10 or self.failures, 10)
        self._stop.set()
        self._thread.join(20)
        assert not self.failures, self.failures[:3]
        assert self.count > 10 and self.worst < seconds, (self.count, self.worst)


def raw(pair):
    return socket.create_connection((pair.server_address, pair.mesh.hbone_port), timeout=20)


def test_garbage_on_the_tunnel_port_is_dropped(claim):
    pair = Inbound(claim)
    assert pair.echoes()
    before, neighbour = pair.far.resident_kib(), Neighbour(pair)
    numbers = random.Random(1)
    junk = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HBONE_PREFACE, b"\0" * 5000, b"\x16\x03\x01\xff\xff" + b"a" * 20000, b""]
    junk += [numbers.randbytes(numbers.randrange(1, 3000)) for _ in range(60)]
    junk += [b"\x16\x03\x01" + struct.pack("!H", 200) + b"\x01" + numbers.randbytes(199) for _ in range(60)]
    for data in junk:
        with raw(pair) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            assert ending(sock, 15) != "open", data[:20]
    neighbour.unharmed()
    assert settles(pair.far, before, 8), pair.far.resident_kib() - before
    assert len(pair.far.output()) < 400_000, "the log can be filled"


def test_handshakes_that_stop_halfway_end_by_themselves(claim):
    """Five hundred clients that say nothing, or half a ClientHello, cost little, block nobody and are closed in time."""
    pair = Inbound(claim)
    assert pair.echoes()
    before, neighbour = pair.far.resident_kib(), Neighbour(pair)
    hello = client_hello(claim)
    socks = []
    for number in range(500):
        sock = raw(pair)
        sock.sendall(hello[:(number * 7) % len(hello)])
        socks.append(sock)
    # Each costs some KiB while it lasts.
    assert pair.far.resident_kib() - before < 500 * 100, pair.far.resident_kib() - before
    began = time.monotonic()
    assert all(ending(sock, max(0.1, 15 - (time.monotonic() - began))) != "open" for sock in socks), "some are still open after 15 s"
    for sock in socks:
        sock.close()
    neighbour.unharmed()


def client_hello(claim):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = hbone.context(claim.authority, "client").wrap_bio(incoming, outgoing)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def test_bytes_that_come_one_by_one_block_nobody(claim):
    """A slow loris at the preface and in a CONNECT: others go on, and it is served if it ever ends."""
    pair = Inbound(claim)
    hbone.require()
    neighbour = Neighbour(pair)
    tls = hbone.context(claim.authority, "client")
    slow = tls.wrap_socket(raw(pair))
    data = HBONE_PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, connect_block(pair.target)) + frame(0, 1, 1, b"slow but sure")
    for byte in data:
        slow.sendall(bytes([byte]))
    slow.settimeout(10)
    seen = b""
    while b"slow but sure" not in seen:
        piece = slow.recv(4000)
        assert piece, "closed"
        seen += piece
    slow.close()
    neighbour.unharmed()


def frame(kind, flags, stream, payload):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def connect_block(authority):
    """Field block of a CONNECT, as literals without indexing."""
    def literal(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return literal(b":method", b"CONNECT") + literal(b":authority", authority.encode())


def test_a_flood_of_connects_is_bounded(claim):
    """Opened and reset in a row, thousands of times; and more at once than the agent allows."""
    hbone.require()
    pair = Inbound(claim)
    assert pair.echoes()
    before, neighbour = pair.far.resident_kib(), Neighbour(pair)
    tls = hbone.context(claim.authority, "client")
    for target in (pair.target, f"{pair.client_address}:1", "nowhere.test:80"):
        block = connect_block(target)
        with tls.wrap_socket(raw(pair)) as sock:
            try:
                sock.sendall(HBONE_PREFACE + frame(4, 0, 0, b""))
                for number in range(3000):
                    stream = 2 * number + 1
                    sock.sendall(frame(1, 4, stream, block) + frame(3, 0, stream, struct.pack("!I", 8)))
            except OSError:
                pass  # An agent that has had enough may say so.
    peer = pair.peer(claim)
    allowed = 200
    tunnels = [peer.open(pair.target) for _ in range(allowed)]
    assert all(t.answered() == "200" for t in tunnels), [t.status for t in tunnels].count("200")
    neighbour.unharmed(4)
    assert settles(pair.far, before, 24), pair.far.resident_kib() - before
    peer.close()
    assert wait_until(lambda: can(pair.connect), 15)
    assert pair.far.process.poll() is None


def test_a_peer_that_never_reads_is_bounded(claim):
    """Fifty streams of a client that takes nothing hold their windows and no more; others are served meanwhile."""
    hbone.require()
    piece = b"z" * MIB

    def serve(sock, peer):
        if sock.recv(1) == b"x":
            sock.sendall(b"x")
            return echo(sock, peer)
        sock.settimeout(60)
        for _ in range(64):
            sock.sendall(piece)

    pair = Inbound(claim, serve=serve)
    assert pair.echoes(b"x" * 1000)
    before = pair.far.resident_kib()
    tls = hbone.context(claim.authority, "client")
    socks = []
    block = connect_block(pair.target)
    for _ in range(5):
        sock = tls.wrap_socket(raw(pair))
        # Windows as large as they get: only the socket holds the server back.
        settings = struct.pack("!HI", 4, (1 << 31) - 1)
        data = HBONE_PREFACE + frame(4, 0, 0, settings) + frame(8, 0, 0, struct.pack("!I", (1 << 31) - 65536))
        for number in range(10):
            data += frame(1, 4, 2 * number + 1, block) + frame(0, 0, 2 * number + 1, b"f")
        sock.sendall(data)
        socks.append(sock)
    neighbour = Neighbour(pair)
    time.sleep(3)
    used = pair.far.resident_kib() - before
    assert used < 96 * 1024, f"{used} KiB for 50 streams"
    neighbour.unharmed(4)
    for sock in socks:
        sock.close()
    assert wait_until(lambda: tunnels_to(pair.mesh.hbone_port) <= 2 * max(1, claim.concurrency), 10), tunnels_to(pair.mesh.hbone_port)


def test_a_captured_client_that_never_reads_is_bounded_too(claim):
    def serve(sock, peer):
        if sock.recv(1) == b"x":
            sock.sendall(b"x")
            return echo(sock, peer)
        sock.settimeout(60)
        for _ in range(128):
            sock.sendall(b"z" * MIB)

    pair = Inbound(claim, serve=serve)
    assert pair.echoes(b"x" * 1000)
    before = [agent.resident_kib() for agent in (pair.near, pair.far)]
    stuck = [pair.connect() for _ in range(4)]
    for sock in stuck:
        sock.sendall(b"f")
    neighbour = Neighbour(pair)
    time.sleep(3)
    for agent, start in zip((pair.near, pair.far), before):
        assert agent.resident_kib() - start < 64 * 1024, (agent.name, agent.resident_kib() - start)
    neighbour.unharmed(4)
    for sock in stuck:
        ambient.reset(sock)
    assert pair.echoes(b"x" * 1000)


def test_ten_thousand_workloads_edited_every_second_lose_no_byte(claim):
    """A large mesh that never rests: traffic goes on, memory stays, and the last edit is in force."""
    pair = Inbound(claim)
    for number in range(10_000):
        pair.mesh.workload(f"filler-{number}", f"10.{100 + number // 65536}.{number // 256 % 256}.{number % 256}")
    count = lambda agent: agent.output().count("the mesh has changed")
    pair.mesh.write()
    assert wait_until(lambda: all(count(a) >= 1 for a in (pair.near, pair.far)), 60), "a large file is not taken"
    neighbour, sizes = Neighbour(pair), []
    for edit in range(6):
        pair.mesh.workloads[5]["workloadIps"] = [f"10.250.0.{edit}"]
        pair.mesh.write()
        assert wait_until(lambda: count(pair.far) >= edit + 2 and count(pair.near) >= edit + 2, 60), edit
        time.sleep(0.5)
        sizes.append(pair.far.resident_kib())
    neighbour.unharmed(5)
    assert sizes[-1] < sizes[1] * 1.5 + 8192, sizes


def test_a_socks_port_takes_nothing_but_socks(claim):
    pair = Inbound(claim)
    neighbour = Neighbour(pair)
    numbers = random.Random(2)
    words = [b"GET / HTTP/1.1\r\n\r\n", b"\5", b"\5\0", b"\5\1\2", b"\4\1\0\x50\1\2\3\4\0", b"\5\1\0\5\2\0\1", b"\5\1\0\5\1\0\3\0\0\0", b"\5\1\0\5\1\0\7"]
    words += [numbers.randbytes(numbers.randrange(1, 400)) for _ in range(60)]
    for data in words:
        with socket.create_connection(pair.near.socks, timeout=15) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert ending(sock, 15) != "open", data[:20]
    neighbour.unharmed()
