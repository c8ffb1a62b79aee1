"""Network namespaces as the nodes of a small cluster, on a bridge whose traffic can be captured; needs root.

Names are new in every lab, interfaces are made inside the namespaces, and rules too: the machine's own network
is never touched. `Lab.close` (or leaving its `with`) takes everything away and ends what was started in it.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import threading

from .claim import Skipped
from .proxy import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
REDIRECT = os.path.join(ROOT, "deploy", "ztunnel-lite", "redirect")
CLONE_NEWNET = 0x40000000
SUBNET, SUBNET6 = "10.77.0", "fd77:"
_ending = threading.Event()
_libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Why namespaces cannot be had here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            return f"{tool} is not installed; scripts/setup --ambient installs it"
    name = f"mesh-{os.getpid()}-{secrets.token_hex(2)}-try"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "this system does not let us make network namespaces"
    rules = "table inet t { chain c { type nat hook output priority -100; tcp dport 1 redirect to :2; }; }"
    able = subprocess.run(["ip", "netns", "exec", name, "nft", rules], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return None if able else "this kernel's nftables cannot redirect"


def require():
    reason = why_not()
    if reason:
        raise Skipped(reason)


def redis_server():
    """The server's command line: Debian has it in redis-tools under another name."""
    if path := shutil.which("redis-server"):
        return [path]
    if path := shutil.which("redis-check-rdb"):
        return ["bash", "-c", f'exec -a redis-server {path} "$@"', "redis"]
    return None


class Failed(Exception):
    """A command of the lab failed; the text is what it said."""


class Namespace:
    """One network namespace, with a loopback interface that is up."""

    def __init__(self, name):
        self.name = name
        self.children = []
        _run(["ip", "netns", "add", name])
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *line):
        return ["ip", "netns", "exec", self.name, *line]

    def run(self, *line, env=None, seconds=30):
        """Runs a command to its end and returns what it printed; Failed where it fails."""
        return _run(self.command(*line), env, seconds)

    def start(self, *line, **options):
        """Starts a process that is ended with the lab."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        child = subprocess.Popen(self.command(*line), **options)
        self.children.append(child)
        return child

    def redirect(self, *arguments, **variables):
        return self.run(REDIRECT, *arguments, env={**os.environ, **variables})

    @contextlib.contextmanager
    def inside(self):
        """What this thread opens in the block is of this namespace, and stays so."""
        own = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _enter(there)
            yield self
        finally:
            _enter(own)
            os.close(there)
            os.close(own)

    def connect(self, address, port, source=None, seconds=20):
        with self.inside():
            return socket.create_connection((address, port), timeout=seconds, source_address=(source, 0) if source else None)

    def listen(self, address, port, backlog=512):
        with self.inside():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=backlog)

    def accepts(self, address, port):
        try:
            self.connect(address, port, seconds=1).close()
            return True
        except OSError:
            return False

    def connections(self, port, state="established"):
        """Local and remote ends of the connections to or from a port."""
        text = self.run("ss", "-Hnt", "state", state, f"( sport = :{port} or dport = :{port} )")
        return [tuple(line.split()[2:4]) for line in text.splitlines()]

    def end(self, child):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5)

    def close(self):
        for child in reversed(self.children):
            self.end(child)
        _delete(self.name)


class Lab:
    """Nodes on a bridge, which is a namespace of its own: `link`."""

    def __init__(self):
        require()
        if _ending.is_set():
            raise Failed("this process is ending")
        self._all = []
        self.token = f"mesh-{os.getpid()}-{secrets.token_hex(2)}"
        self.nodes = {}
        self._next = 1
        try:
            self.link = self._namespace("link")
            self.link.run("ip", "link", "add", "bridge", "type", "bridge")
            self.link.run("ip", "link", "set", "bridge", "up")
        except Exception:
            self.close()
            raise

    def _namespace(self, name):
        space = Namespace(f"{self.token}-{name}")
        self._all.append(space)
        return space

    def node(self, name):
        """A namespace on the bridge; `address` and `address6` are its own."""
        node = self._namespace(name)
        number, self._next = self._next, self._next + 1
        node.address, node.address6 = f"{SUBNET}.{number}", f"{SUBNET6}:{number}"
        _run(["ip", "link", "add", "eth0", "netns", node.name, "type", "veth", "peer", "name", f"port{number}", "netns", self.link.name])
        self.link.run("ip", "link", "set", f"port{number}", "master", "bridge", "up")
        node.run("ip", "addr", "add", f"{node.address}/24", "dev", "eth0")
        node.run("ip", "-6", "addr", "add", f"{node.address6}/64", "dev", "eth0", "nodad")
        node.run("ip", "link", "set", "eth0", "up")
        node.pods, node.number = [], number
        self.nodes[name] = node
        return node

    def pod(self, node, name):
        """A namespace behind a node, which routes for it."""
        pod = self._namespace(name)
        number = len(node.pods) + 1
        pod.address, pod.node = f"10.78.{node.number}.{number}", node
        _run(["ip", "link", "add", "eth0", "netns", pod.name, "type", "veth", "peer", "name", f"pod{number}", "netns", node.name])
        pod.run("ip", "addr", "add", f"{pod.address}/32", "dev", "eth0")
        pod.run("ip", "link", "set", "eth0", "up")
        pod.run("ip", "route", "add", node.address, "dev", "eth0")
        pod.run("ip", "route", "add", "default", "via", node.address)
        node.run("ip", "link", "set", f"pod{number}", "up")
        node.run("ip", "route", "add", f"{pod.address}/32", "dev", f"pod{number}")
        node.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        node.pods.append(pod)
        for other in self.nodes.values():
            if other is not node:
                other.run("ip", "route", "replace", f"10.78.{node.number}.0/24", "via", node.address)
        return pod

    @contextlib.contextmanager
    def capture(self, path):
        """Everything on the bridge while the block runs, as a Capture."""
        capture = Capture(self.link, path)
        try:
            yield capture
        finally:
            capture.stop()

    def close(self):
        for space in reversed(self._all):
            space.close()
        self._all.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def close_all():
    """For whoever has to end at once: no namespace of this process is left, and no other begins."""
    _ending.set()
    for _ in range(2):
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.split()
        for name in names:
            if name.startswith(f"mesh-{os.getpid()}-"):
                _delete(name)


def _delete(name):
    """Ends who is in a namespace of ours, who was started by us therefore, and takes it away."""
    left = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
    for pid in left:
        if int(pid) != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Capture:
    """Packets of the bridge in a pcap file: tcpdump's, or our own where it is not installed."""

    def __init__(self, link, path):
        self.path = path
        self.link = link
        self.tool = "tcpdump" if shutil.which("tcpdump") else "a packet socket"
        self._stopping = threading.Event()
        if self.tool == "tcpdump":
            log = path + ".log"
            with open(log, "wb") as errors:
                self._child = link.start(
                    "tcpdump", "--immediate-mode", "-i", "bridge", "-U", "-s", "0", "-n", "-B", "65536", "-Z", "root", "-w", path, stderr=errors)
            if not wait_until(lambda: b"listening on" in open(log, "rb").read() or self._child.poll() is not None, 10) or self._child.poll() is not None:
                raise Failed(open(log).read())
        else:
            with link.inside():
                self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.bind(("bridge", 0))
            self._socket.settimeout(0.2)
            # PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC
            self._socket.setsockopt(263, 1, struct.pack("iHH8s", self._index(), 1, 0, b""))
            self._thread = threading.Thread(target=self._copy, daemon=True)
            self._thread.start()

    def _index(self):
        with self.link.inside():
            return socket.if_nametoindex("bridge")

    def _copy(self):
        with open(self.path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
            while not self._stopping.is_set():
                try:
                    frame = self._socket.recv(262144)
                except TimeoutError:
                    continue
                file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)

    def stop(self):
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self.tool == "tcpdump":
            self.link.end(self._child)
        else:
            self._thread.join(5)
            self._socket.close()

    def segments(self):
        """(source, source port, destination, destination port, payload) of every TCP packet."""
        self.stop()
        with open(self.path, "rb") as file:
            data = file.read()
        order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        at, found = 24, []
        while at + 16 <= len(data):
            length = struct.unpack_from(order + "I", data, at + 8)[0]
            segment = _tcp(data[at + 16:at + 16 + length])
            at += 16 + length
            if segment:
                found.append(segment)
        return found

    def streams(self):
        """{(source, source port, destination, destination port): payload} of each direction, in order of arrival."""
        found = {}
        for *ends, payload in self.segments():
            found.setdefault(tuple(ends), bytearray()).extend(payload)
        return found


def _tcp(frame):
    kind, at = struct.unpack_from("!H", frame, 12)[0], 14
    if kind == 0x0800 and frame[at + 9] == 6:
        header = (frame[at] & 15) * 4
        end = at + struct.unpack_from("!H", frame, at + 2)[0]
        source, destination = (socket.inet_ntop(socket.AF_INET, frame[at + o:at + o + 4]) for o in (12, 16))
    elif kind == 0x86DD and frame[at + 6] == 6:
        header = 40
        end = at + 40 + struct.unpack_from("!H", frame, at + 4)[0]
        source, destination = (socket.inet_ntop(socket.AF_INET6, frame[at + o:at + o + 16]) for o in (8, 24))
    else:
        return None
    at += header
    ports = struct.unpack_from("!HH", frame, at)
    return source, ports[0], destination, ports[1], frame[at + (frame[at + 12] >> 4) * 4:end]


def _enter(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _run(line, env=None, seconds=30):
    result = subprocess.run(line, capture_output=True, text=True, timeout=seconds, env=env)
    if result.returncode:
        raise Failed(f"{' '.join(line)}: {(result.stderr or result.stdout).strip()}")
    return result.stdout
