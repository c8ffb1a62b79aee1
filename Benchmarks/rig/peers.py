"""The proxies under test: how each is started on its file, and what the kernel says that it cost."""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)
# The proxy has the first CPU for itself; what plays client and server has the last one.
PROXY_CPU, LOAD_CPU = 0, (os.cpu_count() or 1) - 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_envoy():
    """$ENVOY, then PATH, then what scripts/setup --tests installs; None without."""
    installed = glob.glob(os.path.expanduser("~/.cache/meshproxy/oracle/lib/python3*/site-packages/envoy/_bin/envoy"))
    candidates = [os.environ.get("ENVOY"), *installed, shutil.which("envoy")]
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


class Peer:
    """A program that can be a proxy: `command` is its command line, {file} its configuration."""

    def __init__(self, name, program, arguments, suffix):
        self.name, self.program, self.arguments, self.suffix = name, program, arguments, suffix

    def template(self, scenario):
        return os.path.join(HERE, "configs", scenario + self.suffix)

    def has(self, scenario):
        return os.path.exists(self.template(scenario))

    def start(self, scenario, values, change=None):
        """A process on the scenario's file, accepting.

        values: what stands for @NAME@ in the file. change: for Envoy's files, a function of the parsed file.
        """
        with open(self.template(scenario)) as file:
            text = file.read()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        if change:
            text = json.dumps(change(json.loads(text)))
        return Running(self, text, lambda: accepts(values["LISTEN"]))


def known(proxy, others=()):
    """Every peer of this machine by name; `others` are further builds of MeshProxy as NAME=PATH."""
    envoys = ["-c", "{file}", "--concurrency", "1"]
    found = {}
    if find_envoy():
        found["envoy"] = Peer("envoy", find_envoy(), [*envoys, "--disable-hot-restart", "-l", "error"], ".json")
    if shutil.which("haproxy"):
        found["haproxy"] = Peer("haproxy", shutil.which("haproxy"), ["-db", "-q", "-f", "{file}"], ".cfg")
    if shutil.which("nghttpx"):
        found["nghttpx"] = Peer("nghttpx", shutil.which("nghttpx"), ["--conf={file}"], ".conf")
    for name, path in [("meshproxy", proxy), *(other.split("=", 1) for other in others)]:
        if not os.access(path, os.X_OK):
            raise SystemExit(f"no program at {path}: build it with make release, or name it with --proxy")
        found[name] = Peer(name, os.path.abspath(path), envoys, ".json")
    return found


class Running:
    """One process of a peer. CPU time and memory are those of all its threads and children."""

    def __init__(self, peer, text, is_up, environment=None):
        """Returns when `is_up` says so; `seconds` is what that took."""
        self.name = peer.name
        self.directory = tempfile.mkdtemp(prefix="meshproxy-bench-")
        path = os.path.join(self.directory, "proxy" + peer.suffix)
        with open(path, "w") as file:
            file.write(text)
        self.output = open(os.path.join(self.directory, "output"), "wb")
        self.process = subprocess.Popen(
            [peer.program, *(a.replace("{file}", path) for a in peer.arguments)],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, cwd=self.directory,
            preexec_fn=lambda: os.sched_setaffinity(0, {PROXY_CPU}),
            env={**os.environ, **{name: str(value) for name, value in (environment or {}).items()}})
        began = time.monotonic()
        while not is_up():
            if self.process.poll() is not None or time.monotonic() > began + 20:
                with open(self.output.name, errors="replace") as file:
                    said = file.read()[-2000:]
                self.stop()
                raise SystemExit(f"{self.name} does not serve:\n{said}")
            time.sleep(0.001)
        self.seconds = time.monotonic() - began

    def pids(self):
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            for path in glob.glob(f"/proc/{pid}/task/*/children"):
                with open(path) as file:
                    left += [int(child) for child in file.read().split()]
        return found

    def cpu(self):
        """Seconds of CPU until now, user and system."""
        total = 0
        for pid in self.pids():
            for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
                with open(path) as file:
                    total += int(file.read().split()[0])
        return total / 1e9

    def memory(self, kind="Pss"):
        """KiB that are resident, shared pages by their share (PSS) or, as "Rss", in full."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith(kind + ":"))
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def accepts(port, address="127.0.0.1"):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) == 0
