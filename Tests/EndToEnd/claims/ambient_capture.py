"""Unmodified programs in network namespaces, captured by deploy/ztunnel-lite/redirect; needs root."""

import glob
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time

from claims.ambient import MIB, digest, digest_of, new_mesh, principals
from claims.ambient_policy import STRICT
from harness.ambient import Server, ask, echo, ending, identity
from harness.claim import Skipped
from harness.netlab import Lab, redis_server
from harness.proxy import wait_until

MODES = ("pod", "pod --tproxy", "node")


def says_who(sock, peer):
    """Tells the client whom it took it for, then echoes."""
    sock.sendall(f"you are {peer[0]}; ".encode())
    echo(sock, peer)


class Nodes:
    """`client` and `server` on two nodes, and `outside`, which is in no mesh. In the mode `node` each node has
    pods and one shared agent, else a node is its one workload."""

    def __init__(self, claim, mode="pod", serve=says_who, policies=(), variables=None):
        lab = self.lab = Lab()
        claim.proxies.append(self)
        self.mode = mode
        mesh = self.mesh = new_mesh(claim)
        one, two, self.outside = lab.node("one"), lab.node("two"), lab.node("outside")
        self.nodes = (one, two)
        if mode == "node":
            self.client, self.server = lab.pod(one, "client"), lab.pod(two, "server")
            self.neighbour = lab.pod(one, "neighbour")
            places = [("client", self.client, "one"), ("server", self.server, "two"), ("neighbour", self.neighbour, "one")]
        else:
            self.client, self.server = one, two
            places = [("client", one, "one"), ("server", two, "two")]
        for name, space, node in places:
            addresses = [space.address] + ([space.address6] if mode != "node" else [])
            mesh.workload(name, *addresses, node=node, policies=policies if name == "server" else ())
        self.vip = "10.96.0.1"
        mesh.service("echo", self.vip, {80: 8080}, mesh.workloads[1])
        for space in [*self.nodes, self.outside]:
            # A service's address leads somewhere: that is for the rules, not for routes, to change.
            space.run("ip", "route", "add", "10.96.0.0/16", "dev", "eth0")
        self.app = Server(serve, "0.0.0.0", 8080, self.server)
        options = {"workers": claim.concurrency, "variables": variables}
        if mode == "node":
            one.redirect("node", self.client.address, self.neighbour.address)
            two.redirect("node", self.server.address)
            self.near, self.far = (mesh.agent(n, space=s, shared=True, **options) for n, s in (("one", one), ("two", two)))
        else:
            for node in self.nodes:
                node.redirect(*mode.split())
            self.near, self.far = (mesh.agent(n, space=s, **options) for n, s in (("client", one), ("server", two)))

    def ask(self, space, address, port, data=b"hello"):
        return ask(space.connect(address, port), data)

    def apply(self):
        before = [agent.output().count("the mesh has changed") for agent in self.mesh.agents]
        self.mesh.write()
        assert wait_until(lambda: all(a.output().count("the mesh has changed") > n for a, n in zip(self.mesh.agents, before)), 15)

    def stop(self):
        self.mesh.stop()
        self.lab.close()


def test_captured_connections_cross_the_link_in_tunnels_only(claim):
    """In each way to capture: the server sees the client's own address, and the link neither a word nor a port of theirs."""
    for mode in MODES:
        nodes = Nodes(claim, mode)
        word = secrets.token_hex(8).encode()
        with nodes.lab.capture(os.path.join(claim.directory, "link.pcap")) as link:
            who = f"you are {nodes.client.address}; ".encode()
            for address, port in ((nodes.server.address, 8080), (nodes.vip, 80)):
                assert nodes.ask(nodes.client, address, port, word) == who + word, (mode, address)
        ports = {}
        for (source, sport, destination, dport), payload in link.streams().items():
            assert word not in payload and b"you are" not in payload, f"{mode}: plaintext from {source}:{sport} to {destination}:{dport}"
            if payload:
                assert 15008 in (sport, dport), f"{mode}: bytes from {source}:{sport} to {destination}:{dport}"
                assert payload[0] == 0x16 and payload[1] == 3, (mode, bytes(payload[:8]))
                ports[dport == 15008] = bytes(payload)
        assert len(ports) == 2 and all(len(p) > 500 for p in ports.values()), mode
        # A ClientHello without a name in it: HBONE has no SNI.
        assert nodes.server.address.encode() not in ports[True] and b"echo.default" not in ports[True], mode
        for agent, direction in ((nodes.near, "outbound"), (nodes.far, "inbound")):
            line = agent.logged(direction=direction)
            assert line["src.identity"] == identity("client") and line["dst.identity"] == identity("server"), (mode, line["line"])
            assert line["src.addr"].rpartition(":")[0] == nodes.client.address, (mode, line["line"])
        nodes.stop()


def test_ipv6_is_captured_too(claim):
    for mode in MODES[:2]:
        nodes = Nodes(claim, mode)
        six = Server(says_who, "::", 8081, nodes.server)
        claim.proxies.append(six)
        word = secrets.token_hex(8).encode()
        with nodes.lab.capture(os.path.join(claim.directory, "link.pcap")) as link:
            assert nodes.ask(nodes.client, nodes.server.address6, 8081, word) == f"you are {nodes.client.address6}; ".encode() + word, mode
        assert not any(word in payload for payload in link.streams().values()), mode
        nodes.stop()


def test_two_workloads_of_one_node_meet_in_a_tunnel_too(claim):
    """The agent is at both ends, and each end has its identity and its policy."""
    nodes = Nodes(claim, "node", policies=["callers"])
    Server(says_who, "0.0.0.0", 8080, nodes.neighbour)
    assert nodes.ask(nodes.client, nodes.neighbour.address, 8080) == f"you are {nodes.client.address}; hello".encode()
    line = nodes.near.logged(direction="inbound")
    assert (line["src.identity"], line["dst.identity"]) == (identity("client"), identity("neighbour")), line["line"]
    nodes.mesh.policy("callers", principals("neighbour"))
    nodes.apply()
    assert nodes.ask(nodes.neighbour, nodes.server.address, 8080) == f"you are {nodes.neighbour.address}; hello".encode()
    assert refused(lambda: nodes.client.connect(nodes.server.address, 8080)) == "rst"
    assert nodes.far.logged(direction="inbound", level="error")["src.identity"] == identity("client")
    # What a node itself asks of its workload, as health checks do, is not captured.
    nodes.mesh.policy("callers", STRICT, action="Deny")
    nodes.apply()
    count = len(nodes.far.access(direction="inbound"))
    assert nodes.ask(nodes.nodes[1], nodes.server.address, 8080) == f"you are {nodes.nodes[1].address}; hello".encode()
    assert len(nodes.far.access(direction="inbound")) == count


def refused(connect):
    """How a connection ends that is not let in."""
    try:
        sock = connect()
    except ConnectionResetError:
        return "rst"
    except OSError as error:
        return str(error)
    with sock:
        return ending(sock)


def test_plaintext_from_outside_is_let_in_until_a_policy_wants_an_identity(claim):
    """The server sees the outsider's address; STRICT ends what is open without an identity, and nothing else."""
    for mode in MODES:
        nodes = Nodes(claim, mode, policies=["strict"])
        assert nodes.ask(nodes.outside, nodes.server.address, 8080) == f"you are {nodes.outside.address}; hello".encode(), mode
        line = nodes.far.logged(direction="inbound")
        assert "src.identity" not in line and line["src.addr"].startswith(nodes.outside.address + ":"), (mode, line["line"])
        assert "dst.hbone_addr" not in line, (mode, line["line"])
        outsider, client = (space.connect(nodes.server.address, 8080) for space in (nodes.outside, nodes.client))
        for sock in (outsider, client):
            sock.sendall(b".")
            while not sock.recv(100).endswith(b"."):
                pass
        nodes.mesh.policy("strict", STRICT, action="Deny")
        nodes.apply()
        assert ending(outsider, 5) == "rst", mode
        assert ask(client, b"on") == b"on", mode
        assert refused(lambda: nodes.outside.connect(nodes.server.address, 8080)) == "rst", mode
        denied = nodes.far.metric("istio_tcp_connections_failed_total", response_flags="DENY", source_principal="unknown", connection_security_policy="unknown")
        assert wait_until(lambda: nodes.far.access(level="error", direction="inbound"), 15) and denied >= 1, (mode, nodes.far.metrics("istio_tcp_connections_failed"))
        assert any("default/strict" in l["error"] for l in nodes.far.access(level="error")), (mode, nodes.far.output()[-2000:])
        assert nodes.ask(nodes.client, nodes.vip, 80).endswith(b"hello"), mode
        nodes.stop()


def test_the_unknown_is_passed_through(claim):
    """Plain TCP to where the client meant, in each way to capture."""
    for mode in MODES:
        nodes = Nodes(claim, mode)
        Server(says_who, "0.0.0.0", 8080, nodes.outside)
        answer = nodes.ask(nodes.client, nodes.outside.address, 8080)
        # A node's agent connects as the node: the workload's address is for tunnels.
        source = nodes.nodes[0].address
        assert answer == f"you are {source}; hello".encode(), (mode, answer)
        line = nodes.near.logged(direction="outbound")
        assert line["dst.addr"] == f"{nodes.outside.address}:8080" and line["src.workload"] == "client", line["line"]
        nodes.stop()


def test_large_transfers_and_half_closes_cross_captured(claim):
    """64 MiB each way at once, and each direction ends by itself."""
    up, down = os.urandom(64 * MIB), os.urandom(64 * MIB)
    got = []

    def serve(sock, peer):
        sender = threading.Thread(target=lambda: (sock.sendall(down), sock.shutdown(socket.SHUT_WR)), daemon=True)
        sender.start()
        got.append(digest_of(sock))
        sender.join()

    nodes = Nodes(claim, serve=serve)
    with nodes.client.connect(nodes.server.address, 8080) as sock:
        sender = threading.Thread(target=sock.sendall, args=(up,), daemon=True)
        sender.start()
        # The server has ended long before the client does.
        assert digest_of(sock) == digest(down)
        sender.join()
        sock.shutdown(socket.SHUT_WR)
        assert wait_until(lambda: got, 10) and got == [digest(up)], got
    line = nodes.near.logged()
    assert line["level"] == "info" and line["bytes_sent"] == line["bytes_recv"] == str(64 * MIB), line["line"]


def test_redis_talks_through_the_mesh_unmodified(claim):
    """Also a database that allows one caller only: whoever else asks is denied by policy, not by the database."""
    server, cli = redis_server(), shutil.which("redis-cli")
    if not server or not cli:
        raise Skipped("redis is not installed; scripts/setup --ambient installs it")
    nodes = Nodes(claim, policies=["callers"])
    child = nodes.server.start(*server, "--port", "6379", "--bind", nodes.server.address, "--save", "", "--protected-mode", "no", "--dir", claim.directory)
    assert wait_until(lambda: nodes.server.accepts(nodes.server.address, 6379) or child.poll() is not None, 10) and child.poll() is None
    with nodes.lab.capture(os.path.join(claim.directory, "link.pcap")) as link:
        value = secrets.token_hex(2000)
        base = (cli, "-h", nodes.server.address)
        assert nodes.client.run(*base, "set", "color", value).strip() == "OK"
        assert nodes.client.run(*base, "get", "color").strip() == value
        assert nodes.server.run(*base, "dbsize").strip() == "1"
    assert not any(value[:40].encode() in payload for payload in link.streams().values())
    assert nodes.far.logged(dst_hbone_addr=f"{nodes.server.address}:6379")["src.identity"] == identity("client")
    nodes.mesh.policy("callers", principals("somebody-else"))
    nodes.apply()
    result = subprocess.run(nodes.client.command(*base, "get", "color"), capture_output=True, text=True, timeout=20)
    assert value not in result.stdout and result.returncode != 0, result
    assert "none allowed" in nodes.far.logged(direction="inbound", level="error")["error"]


def test_postgresql_talks_through_the_mesh_unmodified(claim):
    homes = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    psql = shutil.which("psql")
    if not homes or not psql:
        raise Skipped("PostgreSQL is not installed")
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        raise Skipped("there is no user postgres, and PostgreSQL does not run as root")
    nodes = Nodes(claim)
    folder = os.path.join(claim.directory, "database")
    os.makedirs(folder)
    os.chmod(claim.directory, 0o755)
    os.chown(folder, account.pw_uid, account.pw_gid)
    as_them = ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    home = homes[-1]
    nodes.server.run(*as_them, f"{home}/initdb", "-D", folder, "-A", "trust", "-U", "mesh", "-N", seconds=60)
    with open(os.path.join(folder, "pg_hba.conf"), "a") as file:
        file.write("host all all all trust\n")
    child = nodes.server.start(*as_them, f"{home}/postgres", "-D", folder, "-h", nodes.server.address, "-p", "5432", "-k", folder, "-c", "fsync=off")
    base = (psql, "-h", nodes.server.address, "-U", "mesh", "-d", "postgres", "-At", "-c")
    assert wait_until(lambda: nodes.server.accepts(nodes.server.address, 5432) or child.poll() is not None, 20) and child.poll() is None
    with nodes.lab.capture(os.path.join(claim.directory, "link.pcap")) as link:
        # PostgreSQL itself says whose connection it is.
        assert nodes.client.run(*base, "select host(inet_client_addr())").strip() == nodes.client.address
        rows = nodes.client.run(*base, "select md5('mesh' || i) from generate_series(1, 20000) i").split()
        assert len(rows) == 20000
    assert not any(rows[7].encode() in payload or b"generate_series" in payload for payload in link.streams().values())
    nodes.server.end(child)


def test_iperf_measures_through_the_mesh_both_ways(claim):
    if not shutil.which("iperf3"):
        raise Skipped("iperf3 is not installed; scripts/setup --ambient installs it")
    nodes = Nodes(claim)
    nodes.server.start("iperf3", "-s", "-B", nodes.server.address)
    assert wait_until(lambda: nodes.server.accepts(nodes.server.address, 5201), 15)
    for direction in ([], ["-R"]):
        report = json.loads(nodes.client.run("iperf3", "-c", nodes.server.address, "-n", "20M", "-P", "4", "-J", *direction, seconds=60))
        assert "error" not in report and report["end"]["sum_sent"]["bytes"] >= 20 * MIB, (direction, report.get("error"))
    # Four streams and a connection for control, each way. What is under way when iperf has seen enough it resets.
    for agent in nodes.mesh.agents:
        assert wait_until(lambda: len(agent.access()) == 10, 15), (agent.name, len(agent.access()), agent.output()[-3000:])


def test_connections_of_a_node_share_a_tunnel_connection(claim):
    nodes = Nodes(claim, variables={"ZTUNNEL_WORKER_THREADS": "1", "POOL_MAX_STREAMS_PER_CONNECTION": "200"})
    socks = [nodes.client.connect(nodes.server.address, 8080) for _ in range(200)]
    for sock in socks:
        sock.sendall(b"!")
    for sock in socks:
        while not sock.recv(100).endswith(b"!"):
            pass
    assert len(nodes.client.connections(15008)) == 1, nodes.client.connections(15008)
    for sock in socks:
        sock.close()


def test_the_rules_leave_nothing_behind(claim):
    """A second run replaces the first; `remove` takes away all of it; other people's rules stay."""
    with Lab() as lab:
        node = lab.node("one")
        node.run("nft", "add table inet theirs; add chain inet theirs c { type filter hook input priority 0; }")
        before = (node.run("nft", "list", "ruleset"), node.run("ip", "rule"), node.run("ip", "-6", "rule"))
        for mode in MODES:
            node.redirect(*mode.split(), *(["10.0.0.1", "fd00::1"] if mode == "node" else []))
            once = node.run("nft", "list", "ruleset")
            node.redirect(*mode.split(), *(["10.0.0.1", "fd00::1"] if mode == "node" else []))
            assert node.run("nft", "list", "ruleset") == once, mode
            assert node.run("ip", "rule").count("fwmark 0x111") == 1
            assert "15001" in node.redirect("show")
        node.redirect("remove")
        assert (node.run("nft", "list", "ruleset"), node.run("ip", "rule"), node.run("ip", "-6", "rule")) == before


def test_an_agent_that_stops_lets_captured_connections_end(claim):
    """SIGTERM to the server's agent: what is under way ends in order, the client's agent does not use it again."""
    nodes = Nodes(claim, variables={"CONNECTION_TERMINATION_DEADLINE": "3s"})
    sock = nodes.client.connect(nodes.server.address, 8080)
    sock.sendall(b"a")
    while not sock.recv(100).endswith(b"a"):
        pass
    nodes.far.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert ask(sock, b"the rest") == b"the rest"
    assert nodes.far.wait(4) == 0, nodes.far.output()[-1000:]
    nodes.far.launch()
    assert nodes.ask(nodes.client, nodes.server.address, 8080).endswith(b"hello")


def test_a_policy_of_the_network_is_noticed(claim):
    """Packets vanish: what is open ends with a reset when nobody answers pings, what is new fails in ten seconds."""
    nodes = Nodes(claim)
    sock = nodes.client.connect(nodes.server.address, 8080)
    sock.sendall(b"a")
    while not sock.recv(100).endswith(b"a"):
        pass
    nodes.server.run("nft", "table inet cut { chain c { type filter hook prerouting priority -400; tcp dport 15008 drop; }; }")
    began = time.monotonic()
    ends = []
    thread = threading.Thread(target=lambda: ends.append(ending(sock, 45)), daemon=True)
    thread.start()
    # The tunnel is still believed in: nothing new gets an answer through it, or by a new connection.
    assert refused(lambda: nodes.client.connect(nodes.server.address, 8080)) in ("rst", "open")
    thread.join(50)
    assert ends == ["rst"] and time.monotonic() - began < 40, (ends, time.monotonic() - began)
    began = time.monotonic()
    with nodes.client.connect(nodes.server.address, 8080) as late:
        assert ending(late, 15) == "rst" and time.monotonic() - began < 12, time.monotonic() - began
    assert wait_until(lambda: "NetworkPolicy is blocking HBONE port 15008" in nodes.near.output(), 15), nodes.near.output()[-2000:]
    nodes.server.run("nft", "delete", "table", "inet", "cut")
    assert wait_until(lambda: nodes.ask(nodes.client, nodes.server.address, 8080).endswith(b"hello"), 10)
