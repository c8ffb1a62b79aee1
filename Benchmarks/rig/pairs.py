"""Two hops of one kind, a client's and a server's, with mTLS between them: TCP in at one, TCP out of the other."""

import collections
import json
import os
import socket
import struct

from rig import capture
from rig.peers import Peer, Running, accepts, free_port, known as known_peers

# What the client calls, where it can: an address of the mesh. Elsewhere the backend is at SERVER.
VIRTUAL, SERVER = "10.9.0.1", "127.0.0.2"

# Where a client's connection begins, and what it says first (SOCKS5), whose answer is that long.
Door = collections.namedtuple("Door", "address port words answer_bytes")


class Hops:
    """The two processes, from the client's to the server's, and the way in."""

    def __init__(self, client, server, door):
        self.client, self.server, self.door = client, server, door

    def cpu(self):
        return self.client.cpu() + self.server.cpu()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.stop()
        self.server.stop()


class ProxyPair:
    """A proxy on two files: NAME-out speaks mTLS to NAME-in."""

    def __init__(self, name, peer, files):
        self.name, self.peer, self.files = name, peer, files

    def has(self, scenario):
        return self.peer.has(self.files + "-out")

    def start(self, upstream, certificates, captured=False):
        """Both hops, the second of which connects to `upstream` at SERVER."""
        between = free_port()
        server = self.peer.start(self.files + "-in", {"LISTEN": between, "UPSTREAM": upstream, "CERTIFICATES": certificates})
        values = {"LISTEN": free_port(), "UPSTREAM": between, "TARGET": upstream, "CERTIFICATES": certificates}
        client = self.peer.start(self.files + "-out", values)
        if captured:
            return Hops(client, server, captured_door(values["LISTEN"]))
        return Hops(client, server, Door("127.0.0.1", values["LISTEN"], b"", 0))


class AgentPair:
    """Two ztunnel-lite agents, each for one workload, with a development authority of their own."""

    def __init__(self, name, program, environment):
        self.name, self.program, self.environment = name, program, environment
        self.peer = Peer(name, os.path.abspath(program), ["-c", "{file}"], ".json")

    def with_environment(self, name, **environment):
        return AgentPair(name, self.program, {**self.environment, **environment})

    def has(self, scenario):
        return True

    def start(self, upstream, certificates, captured=False):
        hbone, service = free_port(), free_port()
        text = self.mesh(upstream, service)
        server = self.agent(text, "server", certificates, {"INBOUND_ADDR": f"{SERVER}:{hbone}"})
        entries = {"HBONE_PORT": hbone, "OUTBOUND_ADDR": f"127.0.0.1:{free_port()}", "SOCKS5_ADDR": f"127.0.0.1:{free_port()}"}
        client = self.agent(text, "client", certificates, entries)
        if captured:
            return Hops(client, server, captured_door(int(entries["OUTBOUND_ADDR"].split(":")[1]), service))
        words = b"\5\1\0" + b"\5\1\0\1" + socket.inet_aton(VIRTUAL) + struct.pack(">H", service)
        return Hops(client, server, Door("127.0.0.1", int(entries["SOCKS5_ADDR"].split(":")[1]), words, 12))

    def alone(self, upstream, certificates, workloads):
        """The server's agent, in a mesh of that many workloads."""
        mesh = json.loads(self.mesh(upstream, free_port()))
        other = mesh["workloads"][0]
        for i in range(len(mesh["workloads"]), workloads):
            address = f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}"
            names = {key: f"other-{i}" for key in ("uid", "name", "workloadName", "canonicalName")}
            mesh["workloads"].append({**other, **names, "serviceAccount": f"other-{i % 100}", "workloadIps": [address]})
        return self.agent(json.dumps(mesh), "server", certificates, {})

    def mesh(self, upstream, service):
        with open(self.peer.template("mesh")) as file:
            return file.read().replace("@UPSTREAM@", str(upstream)).replace("@SERVICE@", str(service))

    def agent(self, text, workload, certificates, addresses):
        environment = {
            "FAKE_CA": "true", "FAKE_CA_DIR": os.path.join(certificates, "authority"), "PROXY_MODE": "dedicated",
            "PROXY_WORKLOAD_INFO": f"default/{workload}/{workload}", "ZTUNNEL_WORKER_THREADS": "1",
            **self.environment, **addresses}
        for name in ("OUTBOUND", "INBOUND", "INBOUND_PLAINTEXT", "ADMIN", "STATS", "READINESS"):
            environment.setdefault(name + "_ADDR", f"127.0.0.1:{free_port()}")
        address, _, port = environment["INBOUND_ADDR"].rpartition(":")
        return Running(self.peer, text, lambda: accepts(int(port), address), environment)


def captured_door(port, service=None):
    """A way in that a rule of this network namespace leads to the port."""
    service = service or free_port()
    capture.redirect(VIRTUAL, service, port)
    return Door(VIRTUAL, service, b"", 0)


def known(proxy, agent, others=()):
    """Every kind of two hops that this machine has; `others` are further builds of the agent, NAME=PATH."""
    found, peers = {}, known_peers(proxy)
    for name in ("envoy", "meshproxy", "haproxy"):
        for files, suffix in (("mtls", "-mtls"), ("hbone", "-hbone")):
            if name in peers and peers[name].has(files + "-out"):
                found[name + suffix] = ProxyPair(name + suffix, peers[name], files)
    for name, path in [("ztunnel-lite", agent), *(other.split("=", 1) for other in others)]:
        if not os.access(path, os.X_OK):
            raise SystemExit(f"no program at {path}: build it with make release, or name it with --agent")
        found[name] = AgentPair(name, path, {"RUST_LOG": "warn"})
    return found
