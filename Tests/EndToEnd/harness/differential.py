"""Differential cases: the same bytes, the same file, two proxies; what can be observed is compared.

A group is one Envoy file with its upstreams; its cases run one after another on one proxy process.
What Envoy did is kept in golden/GROUP.json, so that the suite runs where Envoy is not installed.
"""

import json
import os
import re
import shutil
import socket
import tempfile
import time

from .client import Client, read
from .ports import free_port
from .proxy import Proxy, ProxyFailed, wait_until
from .upstream import Upstream

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden")

# Counted once by each worker, in Envoy too; the golden results are those of one worker.
PER_WORKER = re.compile(r"server\.concurrency|listener_manager\.listener_create_success|.*\.lb_subsets_(active|created)")


class Case:
    """One claim: bytes in, everything observable out.

    send       bytes, or a list of bytes and client steps; bytes alone are followed by one read.
    up         behaviours of the upstream "up", or a dictionary by upstream name.
    logs       how many access-log records the case ends with.
    close      seconds to wait for the connection to end; by default only where the answer says so.
    mask       regular expressions whose matches are blanked on both sides.
    ignore     keys of the result that are not compared ("log", "connection", ...).
    """

    def __init__(self, name, send, up=(), logs=1, close=None, mask=(), ignore=(), listener="in", tls=None, source=None):
        self.name = name
        self.steps = [send, read()] if isinstance(send, bytes) else list(send)
        self.up = up if isinstance(up, dict) else {"up": list(up) if isinstance(up, (list, tuple)) else [up]}
        self.logs = logs
        self.close = close
        self.mask = mask
        self.ignore = ignore
        self.listener = listener
        self.tls = tls
        self.source = source


class Group:
    """One file. `config(e)` gets an Environment and returns the bootstrap dictionary.

    unlogged   access-log records with these details are left out on both sides.
    """

    def __init__(self, name, config, cases, upstreams=("up",), closed=(), stats=(), certificates=False, admin_paths=(), tags=(), listeners=("in",), client=None, unlogged=()):
        self.name = name
        self.config = config
        self.cases = cases
        self.upstreams = upstreams
        self.closed = closed
        self.stats = [re.compile(s) for s in stats]
        self.certificates = certificates
        self.admin_paths = admin_paths
        self.listeners = listeners
        self.client = client or Client
        self.unlogged = unlogged


class Environment:
    """What a config may ask for: ports by name, the log file, certificates, a scratch directory."""

    def __init__(self, directory, authority=None):
        self.directory = directory
        self.log = os.path.join(directory, "access.log")
        self.authority = authority
        self.ports = {}

    def port(self, name):
        if name not in self.ports:
            self.ports[name] = free_port()
        return self.ports[name]

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path


UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
DATE = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")
START = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def host_address():
    """This machine's own address, which Envoy puts in place of a loopback client's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


HOST = host_address()


class Mask:
    """Blanks what differs from run to run: ports, ids, dates, paths, TLS-library words."""

    def __init__(self, environment, extra):
        self.ports = {str(port): name for name, port in environment.ports.items()}
        self.directory = environment.directory
        self.extra = [re.compile(e) for e in extra]

    def text(self, value):
        value = value.replace(self.directory, "{dir}")
        if HOST != "127.0.0.1":
            value = value.replace(HOST, "{host}")
        value = UUID.sub("{uuid}", value)
        value = DATE.sub("{date}", value)
        value = START.sub("{time}", value)
        value = re.sub(r"(?<![0-9])[0-9]{5}(?![0-9])", lambda m: "{%s}" % self.ports[m[0]] if m[0] in self.ports else m[0], value)
        value = re.sub(r"(127\.\d+\.\d+\.\d+):\d{4,5}\b", r"\1:{client}", value)
        if "TLS_error" in value or "TLS error" in value:
            value = "{tls error}"
        for pattern in self.extra:
            value = pattern.sub("{masked}", value)
        return value

    @staticmethod
    def header(name, value):
        if name.lower() == "x-envoy-upstream-service-time":
            value = "{ms}"
        if name.lower() == "x-envoy-expected-rq-timeout-ms" and value.isdigit():
            # A retry tells what is left of the timeout, which is a little less than it was.
            unit = 1000 if int(value) > 2000 else 100
            value = str(-(-int(value) // unit) * unit)
        return [name, value]

    def apply(self, value):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            masked = [self.apply(v) for v in value]
            if len(masked) == 2 and all(isinstance(v, str) for v in masked):
                return self.header(*masked)
            return masked
        if isinstance(value, dict):
            return {key: self.apply(v) for key, v in value.items()}
        if isinstance(value, int) and str(value) in self.ports:
            return "{%s}" % self.ports[str(value)]
        return value


class LogFile:
    """Reads the access log as it grows."""

    def __init__(self, path):
        self.path = path
        self.position = 0

    def records(self, count, seconds=3.0):
        """At least `count` complete new records, or what there is when the time is up."""
        lines = []

        def enough():
            try:
                with open(self.path, "rb") as file:
                    file.seek(self.position)
                    data = file.read()
            except FileNotFoundError:
                return count == 0
            complete = data[: data.rfind(b"\n") + 1]
            self.position += len(complete)
            lines.extend(complete.decode(errors="replace").splitlines())
            return len(lines) >= count

        wait_until(enough, seconds if count else 0.0)
        return [_json_or_text(line) for line in lines]


def _json_or_text(line):
    try:
        return json.loads(line)
    except ValueError:
        return line


class GroupRun:
    """One group on one proxy."""

    def __init__(self, group, flavor, concurrency=1, authority=None, keep=None):
        self.group = group
        self.flavor = flavor
        self.concurrency = concurrency
        self.directory = tempfile.mkdtemp(prefix=f"mesh-{group.name}-")
        self.environment = Environment(self.directory, authority)
        self.keep = keep
        self.proxy = None
        self.upstreams = {}

    def start(self):
        for attempt in range(3):
            try:
                self._start()
                return
            except ProxyFailed as error:
                self.stop()
                if attempt == 2 or "in use" not in str(error):
                    raise
                os.makedirs(self.directory, exist_ok=True)
                self.environment.ports.clear()

    def _start(self):
        e = self.environment
        for entry in self.group.upstreams:
            name, options = entry if isinstance(entry, tuple) else (entry, {})
            if callable(options):
                options = options(e)
            kind = {**options}.pop("kind", Upstream)
            upstream = kind(name, **{k: v for k, v in options.items() if k != "kind"})
            self.upstreams[name] = upstream
            e.ports[name] = upstream.port
        config = self.group.config(e)
        self.proxy = Proxy(
            self.flavor, config, self.directory, e.port("admin"), [e.port("in")], self.concurrency
        )
        self.proxy.wait_ready()
        self.log = LogFile(e.log)

    def stop(self):
        if self.proxy:
            self.proxy.stop()
            self.proxy = None
        for upstream in self.upstreams.values():
            upstream.stop()
        self.upstreams = {}
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def play(self, case):
        """Runs one case and returns its masked result."""
        for name, upstream in self.upstreams.items():
            upstream.script(case.up.get(name, ()))
        certificates = self.environment.authority.directory if self.environment.authority else None
        try:
            client = self.group.client(
                self.environment.port(case.listener), self.upstreams, certificates, case.tls, case.source
            )
        except OSError as error:
            return {"connect": type(error).__name__}
        client.play(case.steps)
        client.finish(self._patience(case, client))
        result = dict(client.seen)
        logs = self.log.records(case.logs)
        for upstream in self.upstreams.values():
            upstream.settle()
        logs += self.log.records(max(0, case.logs - len(logs)), seconds=1.0)
        logs = [r for r in logs if not isinstance(r, dict) or r.get("details") not in self.group.unlogged]
        if logs:
            result["log"] = logs
        received = {n: u.requests for n, u in self.upstreams.items() if u.requests}
        if received:
            result["upstream"] = received
        result = json.loads(json.dumps(Mask(self.environment, case.mask).apply(result)))
        for key in case.ignore:
            result.pop(key, None)
        return result

    @staticmethod
    def _patience(case, client):
        if case.close is not None:
            return case.close
        for response in client.seen["responses"]:
            if ["connection", "close"] in response.get("headers", []):
                return 3.0
        return 0.03

    def stats(self, expected=None):
        """The group's statistics; waits for them to become `expected` where that is given."""
        values = {}

        def settled():
            nonlocal values
            values = self._stats_now()
            return expected is None or values == {**values, **expected}

        if expected is None:
            time.sleep(0.3)
        wait_until(settled, 2.5, 0.05)
        return values

    def _stats_now(self):
        mask = Mask(self.environment, ())
        picked = {}
        for name, value in self.proxy.stats().items():
            name = mask.text(name)
            if self.concurrency > 1 and PER_WORKER.fullmatch(name):
                continue
            if any(pattern.fullmatch(name) for pattern in self.group.stats):
                picked[name] = value
        return picked

    def admin(self):
        """Status, content type and body of the group's admin paths."""
        mask = Mask(self.environment, ())
        answers = {}
        for path in self.group.admin_paths:
            method, target = path.split(" ")
            try:
                status, body, headers = self.proxy.request(method, target)
            except OSError:
                answers[path] = {"status": "no answer"}
                continue
            headers = {name.lower(): value for name, value in headers.items()}
            answer = {"status": status, "type": headers.get("content-type")}
            if answer["type"] == "application/json":
                answer["body"] = _json_or_text(body)
            else:
                answer["lines"] = sorted(body.splitlines())
            # Build identity and the list of commands are each proxy's own.
            if target == "/server_info":
                answer["body"] = {k: v for k, v in answer["body"].items() if k in ("state", "hot_restart_version")}
            if status == 404:
                answer["lines"] = body.splitlines()[:1]
            answers[path] = mask.apply(answer)
        return answers


def golden_path(group):
    return os.path.join(GOLDEN, f"{group.name}.json")


def load_golden(group):
    try:
        with open(golden_path(group)) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def save_golden(group, results):
    with open(golden_path(group), "w") as file:
        json.dump(results, file, indent=1, sort_keys=True, ensure_ascii=True)
        file.write("\n")


def flatten(value, path=""):
    """Leaves of a result by path, for messages and for the list of differences."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from flatten(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list) and not _is_header(value):
        yield f"{path}.count", len(value)
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}[{index}]")
    else:
        yield path, value


def _is_header(value):
    return len(value) == 2 and all(isinstance(v, str) for v in value)


def header_dictionary(result):
    """Turns header lists into dictionaries, so that one header is one difference."""
    if isinstance(result, dict):
        return {
            key: _headers(value) if key in ("headers", "trailers") else header_dictionary(value)
            for key, value in result.items()
        }
    if isinstance(result, list):
        return [header_dictionary(value) for value in result]
    return result


def _headers(pairs):
    fields = {}
    for name, value in pairs:
        fields[name] = value if name not in fields else f"{fields[name]} | {value}"
    return fields


def _summary(result, key, missing):
    text = json.dumps(result[key]) if key in result else missing
    return text if len(text) < 300 else text[:300] + "..."


def in_order_of(expected, actual):
    """`actual` with its log records in the order of `expected`'s: workers do not wait for each other to log."""
    records = list(actual.get("log") or [])
    wanted = expected.get("log") or []
    if not wanted or len(records) != len(wanted) or not all(isinstance(r, dict) for r in [*records, *wanted]):
        return actual
    ordered = []
    for want in wanted:
        nearest = max(records, key=lambda r: sum(r.get(k) == v for k, v in want.items()))
        records.remove(nearest)
        ordered.append(nearest)
    return {**actual, "log": ordered}


def differences(expected, actual):
    """[(path, expected, actual)] of two results."""
    missing = "(absent)"
    whole = []
    for key in sorted(set(expected) ^ set(actual)):
        # A whole part that one side lacks is one difference, not one per leaf.
        whole.append((key, _summary(expected, key, missing), _summary(actual, key, missing)))
    both = set(expected) & set(actual)
    left = dict(flatten(header_dictionary({k: v for k, v in expected.items() if k in both})))
    right = dict(flatten(header_dictionary({k: v for k, v in actual.items() if k in both})))
    return whole + [
        (path, left.get(path, missing), right.get(path, missing))
        for path in sorted(set(left) | set(right))
        if left.get(path, missing) != right.get(path, missing)
    ]
