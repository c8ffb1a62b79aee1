"""What an end-to-end test without an oracle gets: a proxy on a file, upstreams, clients."""

import os
import shutil
import tempfile

from .client import Client
from .differential import Environment, LogFile
from .proxy import Proxy
from .upstream import Upstream


class Skipped(Exception):
    """The test cannot say anything here; the text says why."""


class Claim:
    def __init__(self, flavor, concurrency, authority):
        self.flavor = flavor
        self.concurrency = concurrency
        self.authority = authority
        self.directory = tempfile.mkdtemp(prefix="mesh-claim-")
        self.environment = Environment(self.directory, authority)
        self.upstreams = {}
        self.proxies = []

    def upstream(self, name="up", **options):
        upstream = Upstream(name, **options)
        self.upstreams[name] = upstream
        self.environment.ports[name] = upstream.port
        return upstream

    def start(self, config, ready=True, **options):
        """Starts the proxy on `config(environment)`, or on a text as it stands."""
        if callable(config):
            config = config(self.environment)
        options.setdefault("concurrency", self.concurrency)
        proxy = Proxy(self.flavor, config, self.directory, self.environment.port("admin"), **options)
        self.proxies.append(proxy)
        if ready:
            proxy.wait_ready()
        return proxy

    def client(self, listener="in", tls=None, **options):
        return Client(self.environment.port(listener), self.upstreams, self.authority.directory, tls, **options)

    def exchange(self, *steps, listener="in", tls=None, **options):
        """Plays steps on a fresh connection and returns what the client saw."""
        client = self.client(listener, tls, **options)
        client.play(steps)
        client.finish(0.0)
        return client.seen

    def log(self):
        return LogFile(self.environment.log)

    def stop(self):
        for proxy in self.proxies:
            proxy.stop()
        for upstream in self.upstreams.values():
            upstream.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
