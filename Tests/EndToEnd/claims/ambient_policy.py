"""L4 policy in front of a workload: who is let in, who is told why not, and what an edit does to what is open."""

import json
import socket

from claims.ambient import Pair, can, principals
from harness import ambient
from harness.ambient import Server, ask, echo, edit, ending, identity
from harness.proxy import wait_until

PRESENT = {"Presence": []}
STRICT = [[[{"notPrincipals": [PRESENT]}]]]
DENIED = 2  # SOCKS5: not allowed by the rules


def refusal(connect):
    """How a connection ends that is not let in: a SOCKS5 code, or `rst`, `fin`."""
    try:
        sock = connect()
    except ambient.Refused as error:
        return error.code
    except ConnectionResetError:
        return "rst"
    with sock:
        return ending(sock)


class Trio(Pair):
    """The pair, and a third workload `intruder`."""

    def __init__(self, claim, **options):
        super().__init__(claim, **options)
        address = next(self.addresses)
        self.mesh.workload("intruder", address)
        self.apply()
        self.intruder = self.mesh.agent("intruder", address=address, workers=claim.concurrency)

    def intrude(self):
        return self.intruder.connect(self.server_address, self.server.port)

    def apply(self):
        """Publishes the file; returns once the server's agent has taken it."""
        before = self.far.output().count("the mesh has changed")
        self.mesh.write()
        assert wait_until(lambda: self.far.output().count("the mesh has changed") > before, 15), self.far.output()[-1500:]


def test_an_intruder_is_denied_and_everybody_says_why(claim):
    """The caller is told that the rules forbid it; both logs, the metrics and /explain name policy and condition."""
    trio = Trio(claim, policies=["only-client"])
    trio.mesh.policy("only-client", principals("client"))
    trio.apply()
    assert trio.echoes()
    assert refusal(trio.intrude) == DENIED
    assert trio.server.peers and len(trio.server.peers) == 1, "the workload saw the intruder"
    near, far = trio.intruder.logged(level="error"), trio.far.logged(level="error")
    assert near["error"] == "http status: 401 Unauthorized" and near["direction"] == "outbound", near["line"]
    assert far["src.identity"] == identity("intruder") and far["direction"] == "inbound", far["line"]
    assert "allow policies exist, but none allowed" in far["error"], far["line"]
    assert "only-client" in far["error"], f"the line does not say which policy: {far['line']}"
    denied = {"reporter": "destination", "response_flags": "DENY", "source_principal": identity("intruder")}
    assert wait_until(lambda: trio.far.metric("istio_tcp_connections_failed_total", **denied) == 1, 15), trio.far.metrics("istio_tcp_connections_f")
    question = {"src": trio.intruder.address, "dst": f"{trio.server_address}:{trio.server.port}"}
    status, text = trio.far.get("/explain?" + "&".join(f"{k}={v}" for k, v in question.items()))
    assert status == 200 and "only-client" in text and "client" in text, (status, text)


def test_an_explicit_denial_beats_what_is_allowed(claim):
    trio = Trio(claim, policies=["everybody", "not-them"])
    trio.mesh.policy("everybody", [[[{"principals": [PRESENT]}]]])
    trio.mesh.policy("not-them", principals("intruder"), action="Deny")
    trio.apply()
    assert trio.echoes()
    assert refusal(trio.intrude) == DENIED
    assert "explicitly denied by: default/not-them" in trio.far.logged(level="error")["error"]


def test_a_dry_run_denies_nobody_and_says_so(claim):
    trio = Trio(claim, policies=["perhaps"])
    trio.mesh.policy("perhaps", principals("intruder"), action="Deny", dry_run=True)
    trio.apply()
    assert ask(trio.intrude(), b"x") == b"x"
    assert wait_until(lambda: "default/perhaps" in trio.far.output(), 15), trio.far.output()[-1500:]
    assert not trio.far.access(level="error")


def test_an_edit_of_policy_ends_what_is_no_longer_allowed_and_nothing_else(claim):
    trio = Trio(claim, policies=["callers"])
    trio.mesh.policy("callers", principals("client", "intruder"))
    trio.apply()
    ours, theirs = trio.connect(), trio.intrude()
    for sock in (ours, theirs):
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
    trio.mesh.policy("callers", principals("client"))
    trio.apply()
    assert ending(theirs, 5) == "rst", "half of something looks like the whole of it"
    assert "connection closed due to policy change" in trio.far.logged(level="error")["error"]
    assert ask(ours, b"still here") == b"still here"
    assert refusal(trio.intrude) == DENIED
    trio.mesh.policy("callers", principals("client", "intruder"))
    trio.apply()
    assert ask(trio.intrude(), b"back") == b"back"


def test_a_bad_edit_keeps_the_last_good_mesh_and_says_where_it_is_bad(claim):
    pair = Pair(claim)
    for bad, wanted in (
        ("{", "mesh.json:1:"),
        (pair.mesh.text().replace('"workloadIps"', '"workloadIPs"', 1), "workloadIPs"),
        (pair.mesh.text().replace('"HBONE"', '"QUIC"', 1), "QUIC"),
        (pair.mesh.text().replace(f'"{pair.client_address}"', '"10.0.0.300"', 1), "10.0.0.300"),
    ):
        edit(pair.mesh.path, bad)
        for agent in pair.mesh.agents:
            assert wait_until(lambda: wanted in agent.output(), 15), (wanted, agent.output()[-1500:])
            line = next(l for l in agent.output().splitlines() if wanted in l)
            assert "mesh.json:" in line and "error" in line, line
        assert pair.echoes(), "the last good mesh is gone"
    pair.mesh.workload("new", "10.9.9.9")
    pair.mesh.write()
    assert all(wait_until(lambda: "3 workloads" in agent.output(), 15) for agent in pair.mesh.agents)
    assert pair.echoes()


def plaintext(pair):
    """A client outside the mesh, at the port where captured plaintext arrives."""
    return socket.create_connection(pair.far.plaintext, timeout=10)


def test_strict_refuses_whoever_has_no_identity(claim):
    """Plaintext from outside is let in until a policy wants an identity; tunnels go on."""
    pair = Pair(claim, policies=["strict"])
    # Without capture the connection's own destination is the port itself: it is sent back to nobody.
    assert refusal(lambda: plaintext(pair)) in ("rst", "fin")
    pair.mesh.policy("strict", STRICT, action="Deny")
    pair.mesh.write()
    assert wait_until(lambda: "the mesh has changed" in pair.far.output(), 15)
    assert pair.echoes()


def test_the_unknown_is_reached_as_it_is_and_the_agent_itself_is_not(claim):
    """Plain TCP to what no file names; no way through the agent back into itself."""
    pair = Pair(claim)
    outside = Server(echo, next(pair.addresses))
    claim.proxies.append(outside)
    assert ask(pair.near.connect(outside.address, outside.port), b"plain") == b"plain"
    line = pair.near.logged(**{"dst_addr": f"{outside.address}:{outside.port}"})
    assert "dst.hbone_addr" not in line and "src.identity" not in line, line["line"]
    metric = "istio_tcp_connections_closed_total"
    assert wait_until(lambda: pair.near.metric(metric, connection_security_policy="unknown", destination_workload="unknown") == 1, 15), pair.near.metrics(metric)
    for address, port in (pair.near.outbound, pair.near.plaintext, pair.near.socks, (pair.client_address, pair.mesh.hbone_port)):
        assert refusal(lambda: pair.near.connect(address, port)) in (1, 2, 4, 5, "rst", "fin"), port
    assert wait_until(lambda: len(pair.near.access("connection failed", error="attempted recursive call to ourselves")) + len(pair.near.access(error="attempted recursive call to ourselves")) >= 4, 15), pair.near.output()[-2000:]
    assert pair.echoes()


def test_a_service_without_healthy_endpoints_is_an_error_that_names_it(claim):
    pair = Pair(claim)
    pair.mesh.workloads[1]["status"] = "Unhealthy"
    pair.mesh.write()
    assert wait_until(lambda: not can(lambda: pair.near.connect(pair.vip, 80)), 15)
    assert wait_until(lambda: f'error="no healthy upstream: {pair.vip}:80"' in pair.near.output(), 15), pair.near.output()[-1500:]
    pair.mesh.workloads[1]["status"] = "Healthy"
    pair.mesh.write()
    assert wait_until(lambda: can(lambda: pair.near.connect(pair.vip, 80)), 15), "healthy again, and not used"


def test_the_dump_shows_what_is_in_force(claim):
    pair = Pair(claim, policies=["callers"])
    pair.mesh.policy("callers", principals("client"))
    pair.mesh.write()
    def shown():
        status, text = pair.far.get("/config_dump")
        dump = json.loads(text)
        names = {w.get("name") for w in dump["workloads"]}
        return status == 200 and {"client", "server"} <= names and any(p.get("name") == "callers" for p in dump["policies"]) and dump
    dump = wait_until(shown, 15)
    assert dump, pair.far.get("/config_dump")[1][:2000]
    text = json.dumps(dump)
    assert identity("server") in text and pair.vip in text, text[:3000]
    assert "PRIVATE KEY" not in text
