"""A mesh of ztunnel-lite agents: its file, its development authority, and the processes, on loopback or in namespaces."""

import contextlib
import http.client
import json
import os
import random
import re
import shlex
import signal
import socket
import struct
import subprocess
import threading
import time

from .ports import free_port
from .proxy import ProxyFailed, wait_until

NAMESPACE = "default"
_taken, _lock = set(), threading.Lock()


def identity(account, namespace=NAMESPACE):
    return f"spiffe://cluster.local/ns/{namespace}/sa/{account}"


def loopback_addresses():
    """Addresses of 127/8 that no other test of this machine is likely to use, and no other of this process."""
    with _lock:
        while (prefix := f"127.{random.randrange(32, 224)}.{random.randrange(256)}") in _taken:
            pass
        _taken.add(prefix)
    return (f"{prefix}.{n}" for n in range(1, 255))


def edit(path, text):
    """Replaces a file as careful editors do."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


class Mesh:
    """What all agents of a mesh share: the file of workloads, services and policies, and who signs certificates."""

    def __init__(self, binary, directory, authority=None, hbone_port=15008):
        self.binary = binary
        self.directory = directory
        self.hbone_port = hbone_port
        self.path = os.path.join(directory, "mesh.json")
        self.authority_directory = os.path.join(directory, "authority")
        self.workloads, self.services, self.policies = [], [], []
        self.agents = []
        os.makedirs(self.authority_directory, exist_ok=True)
        if authority:
            # The agents issue their certificates from the root that also signs the tests' own.
            parts = [open(authority.path(name)).read() for name in ("ca.pem", "ca.key")]
            secret = os.path.join(self.authority_directory, "ca.pem")
            with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write("".join(parts))

    # The file.

    def workload(self, name, *addresses, protocol="HBONE", policies=(), services=None, namespace=NAMESPACE, **rest):
        """Adds one; its service account has its name unless told otherwise."""
        entry = {
            "uid": f"cluster1/{namespace}/{name}", "name": name, "namespace": namespace, "serviceAccount": name,
            "workloadName": name, "workloadType": "deployment", "canonicalName": name, "canonicalRevision": "v1",
            "workloadIps": list(addresses), "protocol": protocol,
            "authorizationPolicies": [f"{namespace}/{p}" for p in policies], "services": services or {}, **rest,
        }
        self.workloads.append(entry)
        return entry

    def service(self, name, address, ports, *workloads, namespace=NAMESPACE, **rest):
        """Adds a service at a virtual address; the workloads serve it."""
        host = f"{name}.{namespace}.svc.cluster.local"
        ports = {str(a): b for a, b in ports.items()}
        entry = {"name": name, "namespace": namespace, "hostname": host, "vips": [f"/{address}"], "ports": ports, **rest}
        self.services.append(entry)
        for workload in workloads:
            workload["services"][f"{namespace}/{host}"] = ports
        return entry

    def policy(self, name, rules, action="Allow", scope="WorkloadSelector", namespace=NAMESPACE, dry_run=False):
        """`rules` are ztunnel's: a list of rules of clauses of matches."""
        entry = {"name": name, "namespace": namespace, "scope": scope, "action": action, "dryRun": dry_run, "rules": rules}
        self.policies = [p for p in self.policies if p["name"] != name] + [entry]
        return entry

    def text(self):
        return json.dumps({"workloads": self.workloads, "services": self.services, "policies": self.policies}, indent=2)

    def write(self):
        """Publishes the file as it now is; agents that run see the edit."""
        edit(self.path, self.text())

    # The agents.

    def agent(self, name, **options):
        """Starts one; see Agent."""
        if not self.agents:
            self.write()
        agent = Agent(self, name, **options)
        self.agents.append(agent)
        return agent

    def stop(self):
        for agent in self.agents:
            agent.stop()


class Agent:
    """One ztunnel-lite process.

    `space` is the network namespace it runs in, with ztunnel's ports; without, it listens on `address` at ports
    of its own. Dedicated to the workload `name` unless `shared`. `variables` are the environment's.
    """

    def __init__(self, mesh, name, space=None, address=None, shared=False, workers=2, ready=True, limits=None, namespace=NAMESPACE, variables=None):
        self.mesh, self.name, self.space = mesh, name, space
        self.address = address or (space.address if space else "127.0.0.1")
        self.output_path = os.path.join(mesh.directory, f"{name}.log")
        self.socks = None
        values = {
            "LOCAL_XDS_PATH": mesh.path, "FAKE_CA": "true", "FAKE_CA_DIR": mesh.authority_directory,
            "CLUSTER_ID": "Kubernetes", "ZTUNNEL_WORKER_THREADS": str(workers), "HBONE_PORT": str(mesh.hbone_port),
            "PROXY_MODE": "shared" if shared else "dedicated",
        }
        if not shared:
            values["PROXY_WORKLOAD_INFO"] = f"{namespace}/{name}/{name}"
        if space:
            self.admin, self.stats, self.readiness = ("127.0.0.1", 15000), ("127.0.0.1", 15020), ("127.0.0.1", 15021)
            values["PACKET_MARK"] = "0x539"
            if shared:
                values["NODE_NAME"] = name
        else:
            inbound = self.address if not shared else "0.0.0.0"
            self.outbound, self.plaintext, self.socks, self.admin, self.stats, self.readiness = (
                (self.address, free_port()) for _ in range(6))
            for variable, place in {
                "OUTBOUND_ADDR": self.outbound, "INBOUND_PLAINTEXT_ADDR": self.plaintext, "SOCKS5_ADDR": self.socks,
                "INBOUND_ADDR": (inbound, mesh.hbone_port), "ADMIN_ADDR": self.admin, "STATS_ADDR": self.stats,
                "READINESS_ADDR": self.readiness,
            }.items():
                values[variable] = f"{place[0]}:{place[1]}"
        values.update(variables or {})
        self.variables = {k: v for k, v in values.items() if v is not None}
        self._limits = limits
        self.process = None
        self.launch(ready)

    def launch(self, ready=True):
        """Starts the process (anew)."""
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **self.variables}
        line = [self.mesh.binary]
        self._output = open(self.output_path, "ab")
        self.process = subprocess.Popen(
            self.space.command(*line) if self.space else line, env=environment, stdin=subprocess.DEVNULL,
            stdout=self._output, stderr=subprocess.STDOUT, preexec_fn=self._limits, cwd=self.mesh.directory)
        if ready:
            try:
                self.wait_ready()
            except BaseException:
                self.stop()
                raise
        return self

    def command_line(self):
        """How a person would start it."""
        return " ".join(f"{k}={shlex.quote(v)}" for k, v in self.variables.items()) + f" {self.mesh.binary}"

    def wait_ready(self, seconds=20):
        def ready():
            if self.process.poll() is not None:
                raise ProxyFailed(f"{self.name} ended with {self.process.returncode}:\n{self.output()[-3000:]}")
            with contextlib.suppress(OSError):
                return self.http(self.readiness, "/healthz/ready", seconds=1)[0] == 200
        if not wait_until(ready, seconds):
            raise ProxyFailed(f"{self.name} was not ready in {seconds} s:\n{self.output()[-3000:]}")
        return self

    # What it says.

    def output(self):
        with open(self.output_path, errors="replace") as file:
            return file.read()

    def http(self, place, path, method="GET", body=None, seconds=5):
        """(status, text) of one of its own HTTP servers."""
        connection = http.client.HTTPConnection(*place, timeout=seconds)
        try:
            if self.space:
                connection.sock = self.space.connect(*place, seconds=seconds)
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def get(self, path, **options):
        return self.http(self.admin, path, **options)

    def metrics(self, name=""):
        """[(name, {label: value}, number)] of /metrics."""
        found = []
        for line in self.http(self.stats, "/metrics")[1].splitlines():
            match = re.fullmatch(r"([a-z_:0-9]+)(?:\{(.*)\})? ([-0-9.e+]+)", line)
            if match and match[1].startswith(name):
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
                found.append((match[1], labels, float(match[3])))
        return found

    def metric(self, name, **labels):
        """The sum of all series of a metric that have these labels."""
        return sum(n for metric, seen, n in self.metrics(name) if metric == name and all(seen.get(k) == v for k, v in labels.items()))

    def mark(self):
        """A place in its output, for `access`."""
        return len(self.output())

    def access(self, message="connection complete", since=0, **fields):
        """Fields of the access log's lines that have these values, as dictionaries; `dst_addr` stands for dst.addr."""
        wanted = {k.replace("_", ".", 1) if k.startswith(("src_", "dst_")) else k: str(v) for k, v in fields.items()}
        found = []
        for line in self.output()[since:].splitlines():
            parts = line.split("\t")
            if len(parts) >= 4 and parts[2] == "access" and parts[3] == message:
                seen = {"level": parts[1], "line": line}
                for key, quoted, plain in re.findall(r'([\w.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))', line):
                    seen[key] = quoted or plain
                if all(seen.get(k) == v for k, v in wanted.items()):
                    found.append(seen)
        return found

    def logged(self, seconds=15, **fields):
        """The first access-log line with these values, waiting for it."""
        found = wait_until(lambda: self.access(**fields), seconds)
        assert found, f"{self.name} has no access-log line with {fields}:\n{self.output()[-2500:]}"
        return found[0]

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    # Through it.

    def connect(self, address, port, seconds=30):
        """A connection of its workload to somebody: captured in its namespace, or through SOCKS5."""
        if self.space:
            return self.space.connect(address, port, seconds=seconds)
        return socks5(self.socks, address, port, seconds=seconds)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        self._output.close()


class Refused(ConnectionError):
    """A SOCKS5 proxy's answer other than 0; `code` is it."""

    def __init__(self, code):
        super().__init__(f"SOCKS5 answered {code}")
        self.code = code


def socks5(proxy, host, port, seconds=30, source=None):
    """A connection through a SOCKS5 proxy, by address or name."""
    sock = socket.create_connection(proxy, timeout=seconds, source_address=(source, 0) if source else None)
    try:
        sock.sendall(b"\5\1\0")
        if exactly(sock, 2) != b"\5\0":
            raise Refused(-1)
        try:
            target = b"\1" + socket.inet_aton(host)
        except OSError:
            target = b"\3" + bytes([len(host)]) + host.encode()
        sock.sendall(b"\5\1\0" + target + struct.pack("!H", port))
        answer = exactly(sock, 4)
        exactly(sock, (16 if answer[3] == 4 else 4) + 2)
        if answer[1]:
            raise Refused(answer[1])
        return sock
    except BaseException:
        sock.close()
        raise


def exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("ended early")
        data += piece
    return data


class Server:
    """A TCP server whose connections each run `serve(socket, peer)` on a thread; `space` is its namespace."""

    def __init__(self, serve, address="127.0.0.1", port=0, space=None):
        self.listener = space.listen(address, port) if space else socket.create_server((address, port), backlog=512)
        self.address, self.port = self.listener.getsockname()[:2]
        self.peers, self.failures = [], []
        self._serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            threading.Thread(target=self._one, args=(sock, peer), daemon=True).start()

    def _one(self, sock, peer):
        sock.settimeout(60)
        try:
            self._serve(sock, peer)
        except OSError as error:
            self.failures.append(error)
        finally:
            sock.close()

    def stop(self):
        # Closing alone does not wake a thread in accept.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(sock, peer):
    while piece := sock.recv(262144):
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)


def read_all(sock):
    data = bytearray()
    while piece := sock.recv(262144):
        data += piece
    return bytes(data)


def ask(sock, data):
    """Sends, ends, and reads to the end; closes."""
    with sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def ending(sock, seconds=10):
    """How the other side ends: `fin`, `rst`, or `open` where it does not; bytes before are dropped."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return "fin"
    except ConnectionResetError:
        return "rst"
    except TimeoutError:
        return "open"


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def elapsed(began):
    return time.monotonic() - began
