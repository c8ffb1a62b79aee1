"""Certificates that come and go while connections live, and the other ways to configure an agent."""

import json
import os
import shutil
import socket
import time

from claims.ambient import Pair, binary, can
from claims.ambient_peers import Inbound
from harness import ambient, hbone
from harness.ambient import ask, identity
from harness.ports import free_port
from harness.proxy import wait_until


def test_certificates_rotate_under_traffic(claim):
    """Certificates of four seconds: every new connection is served all the time, and an old one ends before its own does."""
    hbone.require()
    pair = Inbound(claim, variables={"SECRET_TTL": "4s"})
    began = time.monotonic()
    old = pair.connect()
    serials, failures, ended = set(), 0, None
    while time.monotonic() - began < 10:
        failures += not can(pair.connect)
        peer = pair.peer(claim)
        serials.add(peer.certificate["serialNumber"])
        peer.close()
        if ended is None:
            try:
                old.sendall(b"x")
                assert old.recv(1) == b"x", "half of something looks like the whole of it"
            except ConnectionResetError:
                ended = time.monotonic() - began
        time.sleep(0.05)
    assert failures == 0, failures
    assert len(serials) >= 4, serials
    assert ended and 1.5 < ended < 6, f"a connection of an expired certificate ended after {ended}"
    assert any("expire" in line["error"] for agent in pair.mesh.agents for line in agent.access(level="error")), pair.far.output()[-2500:]


def certificate_directory(claim):
    """What somebody else issues: roots, and a pair for client and server each."""
    folder = os.path.join(claim.directory, "certificates")
    os.makedirs(folder)
    shutil.copy(claim.authority.root, os.path.join(folder, "root-cert.pem"))
    for name in ("client", "server"):
        place = os.path.join(folder, "cluster.local", "default", name)
        os.makedirs(place)
        put(claim, name, place)
    return folder


def put(claim, leaf, place):
    for source, target in ((f"{leaf}.key", "key.pem"), (f"{leaf}.pem", "cert-chain.pem")):
        shutil.copy(claim.authority.path(source), os.path.join(place, target + ".new"))
        os.rename(os.path.join(place, target + ".new"), os.path.join(place, target))


def test_certificates_from_a_directory_are_followed(claim):
    """A renewed pair is shown from then on; another workload's replaces nothing, and the log says why."""
    hbone.require()
    folder = certificate_directory(claim)
    pair = Inbound(claim, variables={"FAKE_CA": None, "FAKE_CA_DIR": None, "CERTIFICATE_DIR": folder})
    place = os.path.join(folder, "cluster.local", "default", "server")
    assert pair.echoes()
    live = pair.connect()
    def shown():
        peer = pair.peer(claim)
        peer.close()
        return peer.certificate["serialNumber"]
    first = shown()
    claim.authority.issue("server", file=f"renewed-{os.path.basename(claim.directory)}")
    put(claim, f"renewed-{os.path.basename(claim.directory)}", place)
    assert wait_until(lambda: shown() != first, 15), "the renewed certificate is not shown"
    second = shown()
    assert ask(live, b"still here") == b"still here", "a connection ended because of a renewal"
    put(claim, "intruder", place)
    assert wait_until(lambda: "no new certificate" in pair.far.output(), 15), pair.far.output()[-1500:]
    assert shown() == second and pair.echoes()


def test_an_agent_without_a_certificate_is_not_ready_and_says_what_it_waits_for(claim):
    folder = certificate_directory(claim)
    place = os.path.join(folder, "cluster.local", "default", "server")
    shutil.move(place, place + ".later")
    pair_options = {"variables": {"FAKE_CA": None, "FAKE_CA_DIR": None, "CERTIFICATE_DIR": folder}}
    mesh = ambient.Mesh(binary(claim), claim.directory, claim.authority, hbone_port=free_port())
    claim.proxies.append(mesh)
    address = next(ambient.loopback_addresses())
    mesh.workload("server", address)
    agent = mesh.agent("server", address=address, ready=False, **pair_options)
    def answer():
        try:
            return agent.http(agent.readiness, "/healthz/ready")
        except OSError:
            return None
    assert wait_until(lambda: answer() and answer()[0] == 500 and "pending" in answer()[1], 15), answer()
    assert place in agent.output(), agent.output()[-1500:]
    shutil.move(place + ".later", place)
    assert wait_until(lambda: answer() == (200, "ready\n"), 20), (answer(), agent.output()[-1500:])


YAML = """
workloads:
- {{uid: a, name: client, namespace: default, serviceAccount: client, workloadIps: [{client}], protocol: HBONE, services: {{}}}}
- uid: b
  name: server
  namespace: default
  serviceAccount: server
  workloadIps: ["{server}"]
  protocol: HBONE
  authorizationPolicies: [default/callers]
  services:
    default/echo.default.svc.cluster.local: {{80: {port}}}
services:
- name: echo
  namespace: default
  hostname: echo.default.svc.cluster.local
  vips: ["/240.0.3.1"]
  ports: {{80: {port}}}
policies:
- name: callers
  namespace: default
  scope: WorkloadSelector
  action: Allow
  dryRun: false
  rules:
  - - - principals: [!Exact cluster.local/ns/default/sa/client]
"""


def test_the_mesh_may_be_yaml_in_a_variable_and_logs_json(claim):
    """LOCAL_XDS with ztunnel's own spelling, LOG_FORMAT=json with its keys."""
    pair = Pair(claim)
    pair.mesh.stop()
    pair.mesh.agents.clear()
    text = YAML.format(client=pair.client_address, server=pair.server_address, port=pair.server.port)
    variables = {"LOCAL_XDS_PATH": None, "LOCAL_XDS": text, "LOG_FORMAT": "json"}
    far = pair.mesh.agent("server", address=pair.server_address, variables=variables)
    near = pair.mesh.agent("client", address=pair.client_address, variables=variables)
    assert ask(near.connect("240.0.3.1", 80), b"hello") == b"hello"

    def records(agent):
        """Lines of the log as objects; those of the agents before are text."""
        return [json.loads(line) for line in agent.output().splitlines() if line.startswith("{")]
    def access(agent):
        return [r for r in records(agent) if r.get("scope") == "access"]
    assert wait_until(lambda: access(near) and access(far), 15), near.output()[-1500:]
    line = access(near)[0]
    assert line["level"] == "info" and line["message"] == "connection complete" and line["direction"] == "outbound", line
    assert line["src.identity"] == identity("client") and line["dst.service"] == "echo.default.svc.cluster.local", line
    assert (int(line["bytes_sent"]), int(line["bytes_recv"])) == (5, 5), line


def test_what_cannot_be_meant_is_refused_at_the_start(claim):
    """Every mistake at once, with the variable's name; nothing listens."""
    mesh = ambient.Mesh(binary(claim), claim.directory, claim.authority)
    mesh.write()
    address = next(ambient.loopback_addresses())
    taken = socket.create_server((address, 0))
    for variables, words in (
        ({"PROXY_MODE": "sometimes", "HBONE_PORT": "0"}, ("PROXY_MODE=sometimes", "HBONE_PORT=0")),
        ({"PROXY_WORKLOAD_INFO": "default"}, ("PROXY_WORKLOAD_INFO", "NAMESPACE/NAME")),
        ({"XDS_ADDRESS": "https://istiod:15012"}, ("XDS_ADDRESS is not supported",)),
        ({"LOCAL_XDS_PATH": os.path.join(claim.directory, "nowhere.yaml")}, ("nowhere.yaml",)),
        ({"FAKE_CA": None}, ("no identity",)),
        ({"INBOUND_ADDR": f"{address}:{taken.getsockname()[1]}"}, (f"{address}:{taken.getsockname()[1]}", "in use")),
    ):
        agent = ambient.Agent(mesh, "server", address=address, ready=False, variables=variables)
        claim.proxies.append(agent)
        try:
            code = agent.wait(10)
            text = agent.output()
            assert code == 1 and all(word in text for word in words), (variables, code, text[-1500:])
        finally:
            agent.stop()
            os.remove(agent.output_path)
    taken.close()
