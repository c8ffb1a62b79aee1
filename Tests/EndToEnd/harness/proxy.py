"""Starts one proxy process on one Envoy file, waits until it is ready, and stops it by its id."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time


class ProxyFailed(Exception):
    """The proxy did not start; the text carries what it printed."""


def wait_until(condition, seconds, interval=0.01):
    """Polls `condition` until it returns something true, or the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(interval)


class Flavor:
    """A kind of proxy: how its command line is built."""

    def __init__(self, name, path):
        self.name = name
        self.path = path

    @property
    def is_envoy(self):
        return self.name == "envoy"

    def command(self, config, concurrency, extra):
        line = [self.path, "-c", config, "--concurrency", str(concurrency)]
        line += ["--disable-hot-restart", "-l", "warning", "--file-flush-interval-msec", "10"]
        return line + list(extra)


def find_envoy():
    """The oracle's path, or None: $ENVOY, then the test environment that scripts/setup makes."""
    candidates = [os.environ.get("ENVOY", "")]
    root = os.path.join(os.path.dirname(__file__), "..", "..", "..")
    for base in (os.path.join(root, ".build", "oracle"), os.path.expanduser("~/.cache/meshproxy/oracle")):
        lib = os.path.join(base, "lib")
        if os.path.isdir(lib):
            for python in sorted(os.listdir(lib)):
                candidates.append(os.path.join(lib, python, "site-packages", "envoy", "_bin", "envoy"))
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


class Proxy:
    """One running proxy. `admin` is its admin port; 0 where the file has no admin."""

    def __init__(self, flavor, config, directory, admin, listeners=(), concurrency=1, extra=(), limits=None, suffix=".json"):
        self.flavor = flavor
        self.admin = admin
        self.output_path = os.path.join(directory, f"{flavor.name}.out")
        self.config_path = os.path.join(directory, f"{flavor.name}{suffix}")
        with open(self.config_path, "w") as file:
            if isinstance(config, str):
                file.write(config)
            else:
                json.dump(config, file, indent=1)
        self._output = open(self.output_path, "wb")
        self.process = subprocess.Popen(
            flavor.command(self.config_path, concurrency, extra),
            stdout=self._output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=directory, preexec_fn=limits,
        )
        self._listeners = listeners

    def output(self):
        with open(self.output_path, errors="replace") as file:
            return file.read()

    def wait_ready(self, seconds=20):
        """Returns once /ready answers 200, or, without an admin port, once listeners accept."""
        began = time.monotonic()

        def ready():
            if self.process.poll() is not None:
                raise ProxyFailed(f"{self.flavor.name} ended with {self.process.returncode}:\n{self.output()[-3000:]}")
            if self.admin:
                try:
                    return self.get("/ready", seconds=1)[0] == 200
                except OSError:
                    # A proxy whose admin port is silent is still worth comparing.
                    return bool(self._listeners) and time.monotonic() > began + 1 and all(
                        accepts(port) for port in self._listeners)
            return all(accepts(port) for port in self._listeners)
        if not wait_until(ready, seconds):
            self.stop()
            raise ProxyFailed(f"{self.flavor.name} was not ready in {seconds} s:\n{self.output()[-3000:]}")
        return self

    def request(self, method, path, body=None, seconds=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=seconds)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace"), dict(response.getheaders())
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def get(self, path, seconds=5):
        return self.request("GET", path, seconds=seconds)

    def stats(self):
        """Counters and gauges of /stats as a dictionary; histograms are left out."""
        values = {}
        try:
            text = self.get("/stats")[1]
        except OSError:
            return values
        for line in text.splitlines():
            name, separator, value = line.rpartition(": ")
            if separator and value.lstrip("-").isdigit():
                values[name] = int(value)
        return values

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds):
        """The exit code, or None when it still runs after `seconds`."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        """Ends the process now; drain is a matter for the tests that ask for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        self._output.close()


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
