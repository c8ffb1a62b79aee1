"""A small ambient mesh to look at: client, server and intruder with an agent each, and an outsider without one.

`Namespaces` gives each of them a node of its own, where connections are captured (root); `Loopback` gives each an
address in 127/8, where clients speak SOCKS5 to their agent. scripts/demo-ambient and scripts/ambient-lab use it.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import ambient, netlab
from .ambient import Server
from .ports import free_port
from .proxy import wait_until

MEMBERS = ("client", "server", "intruder")
REPLY = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"


class Application:
    """A small HTTP service in plaintext: `/` says whom it serves, `/stream` says so ten times a second, for ever."""

    def __init__(self, address, port=0, space=None):
        self.stopping = threading.Event()
        self.seen = []
        self.server = Server(self._serve, address, port, space)
        self.port = self.server.port

    def _serve(self, sock, peer):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(65536)
            if not piece:
                return
            head += piece
        self.seen.append(head.decode(errors="replace"))
        path = head.split(b" ")[1].decode(errors="replace")
        sock.sendall(REPLY.encode())
        line = f"hello {peer[0]}, you asked for {path}\n".encode()
        sock.sendall(line)
        while path == "/stream" and not self.stopping.wait(0.1):
            sock.sendall(line)

    def stop(self):
        self.stopping.set()
        self.server.stop()


class Stage:
    """What both stages share. `say` is told of everything that is started."""

    is_captured = False

    def __init__(self, binary):
        self.directory = tempfile.mkdtemp(prefix="mesh-ambient-")
        self.binary = binary
        self.background = []
        self.agents = {}

    def describe(self):
        """Puts the workloads and the service into the mesh's file."""
        for name in MEMBERS:
            self.mesh.workload(name, self.addresses[name])
        self.mesh.service("hello", self.vip, {80: self.port}, self.mesh.workloads[1])
        self.mesh.write()

    def apply(self):
        """Publishes the mesh's file as it is now; returns once every agent has taken it."""
        before = {agent: agent.output().count("the mesh has changed") for agent in self.mesh.agents}
        self.mesh.write()
        return wait_until(lambda: all(a.output().count("the mesh has changed") > n for a, n in before.items()), 15)

    def picture(self):
        members = ", ".join(f"{name} {address}" for name, address in self.addresses.items())
        return (f"{members}\n   curl ─{self.how}─▶ agent ═HBONE, mTLS═▶ agent ─▶ the service on {self.addresses['server']}:{self.port}, "
                f"also at {self.vip}:80")

    def shown(self, who, *line):
        """How a person at `who` would type it."""
        return f"{who}$ {shlex.join(line)}"

    def run(self, who, *line, seconds=20):
        """Runs a program where `who` is; returns (exit code, what it printed)."""
        result = subprocess.run(self.command(who, *line), capture_output=True, text=True, timeout=seconds)
        return result.returncode, (result.stdout + result.stderr).strip()

    def start(self, who, *line):
        """The same in the background, into a file; returns (process, path of the file)."""
        path = os.path.join(self.directory, f"{who}-{len(self.background)}.out")
        with open(path, "wb") as output:
            child = subprocess.Popen(self.command(who, *line), stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        self.background.append(child)
        return child, path

    def stop(self):
        for child in self.background:
            if child.poll() is None:
                child.kill()
            child.wait(5)
        for agent in self.agents.values():
            if agent.process.poll() is None:
                agent.signal(signal.SIGTERM)
        for agent in self.agents.values():
            agent.wait(6)
        if hasattr(self, "mesh"):
            self.mesh.stop()
        if hasattr(self, "app"):
            self.app.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Namespaces(Stage):
    """Each member is a network namespace on one bridge. `mode` is what deploy/ztunnel-lite/redirect is told."""

    is_captured = True

    def __init__(self, binary, mode="pod"):
        super().__init__(binary)
        self.mode, self.port, self.vip = mode, 8080, "10.96.0.1"
        self.lab = netlab.Lab()
        try:
            self._build()
        except BaseException:
            self.stop()
            raise

    def _build(self):
        self.mesh = ambient.Mesh(self.binary, self.directory)
        self.spaces, nodes = {}, {}
        if self.mode == "node":
            # Client and intruder share a node, and so an agent.
            nodes = {name: self.lab.node(name) for name in ("node1", "node2")}
            for name in MEMBERS:
                self.spaces[name] = self.lab.pod(nodes["node2" if name == "server" else "node1"], name)
        else:
            self.spaces = {name: self.lab.node(name) for name in MEMBERS}
        self.spaces["outside"] = self.lab.node("outside")
        self.addresses = {name: space.address for name, space in self.spaces.items()}
        for space in [*nodes.values(), *self.spaces.values()]:
            if space not in (n for node in nodes.values() for n in node.pods):
                space.run("ip", "route", "add", "10.96.0.0/16", "dev", "eth0")
        self.app = Application("0.0.0.0", self.port, self.spaces["server"])
        self.describe()
        for name, node in nodes.items():
            for pod in node.pods:
                self.mesh.workloads[MEMBERS.index(pod.name.rpartition("-")[2])]["node"] = name
            node.redirect("node", *(pod.address for pod in node.pods))
        self.mesh.write()
        for name, node in nodes.items():
            self.agents[name] = self.mesh.agent(name, space=node, shared=True)
        if not nodes:
            for name in MEMBERS:
                self.spaces[name].redirect(*self.mode.split())
                self.agents[name] = self.mesh.agent(name, space=self.spaces[name])

    def agent_of(self, name):
        return self.agents.get(name) or self.agents["node2" if name == "server" else "node1"]

    def command(self, who, *line):
        return self.spaces[who].command(*line)

    def curl(self, who, url, *arguments):
        return ("curl", "-sS", "-m", "10", *arguments, url)

    how = "captured"

    def hints(self):
        enter = {name: f"ip netns exec {space.name}" for name, space in self.spaces.items()}
        server = self.agent_of("server").space.name
        home = f"http://{self.addresses['server']}:{self.port}"
        return "\n".join((
            f"   {enter['client']} curl {home}/                  (also as intruder and outside)",
            f"   {enter['client']} curl http://{self.vip}/",
            f"   ip netns exec {self.lab.link.name} tcpdump -i bridge -nA",
            f"   ip netns exec {server} {netlab.REDIRECT} show",
            f"   ip netns exec {server} curl http://127.0.0.1:15000/      (the server's agent; metrics at port 15020)",
            f"   $EDITOR {self.mesh.path}", f"   tail -f {self.directory}/*.log"))

    def stop(self):
        super().stop()
        self.lab.close()


class Loopback(Stage):
    """Each member is an address of this machine; clients speak SOCKS5 to their agent."""

    def __init__(self, binary):
        super().__init__(binary)
        try:
            addresses = ambient.loopback_addresses()
            self.addresses = {name: next(addresses) for name in (*MEMBERS, "outside")}
            self.mesh = ambient.Mesh(binary, self.directory, hbone_port=free_port())
            self.app = Application(self.addresses["server"])
            self.port, self.vip = self.app.port, "240.96.0.1"
            self.describe()
            for name in MEMBERS:
                self.agents[name] = self.mesh.agent(name, address=self.addresses[name])
        except BaseException:
            self.stop()
            raise

    def agent_of(self, name):
        return self.agents[name]

    def command(self, who, *line):
        return list(line)

    def curl(self, who, url, *arguments):
        socks = self.agents[who].socks
        return ("curl", "-sS", "-m", "10", "--socks5-hostname", f"{socks[0]}:{socks[1]}", *arguments, url)

    how = "SOCKS5"

    def hints(self):
        client, server = self.agents["client"], self.agents["server"]
        home = f"http://{self.addresses['server']}:{self.port}"
        return "\n".join((
            f"   curl --socks5-hostname {client.socks[0]}:{client.socks[1]} {home}/",
            f"   curl http://{server.admin[0]}:{server.admin[1]}/      (the server's agent)",
            f"   curl http://{server.stats[0]}:{server.stats[1]}/metrics",
            f"   $EDITOR {self.mesh.path}", f"   tail -f {self.directory}/*.log"))


def lines_of(path):
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        return file.read().splitlines()
    return []


def grows(path, seconds=3):
    """Whether more lines come."""
    before = len(lines_of(path))
    return bool(wait_until(lambda: len(lines_of(path)) > before + 2, seconds))


def wait_forever():
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()
