"""HTTP/1.1 ends: a backend of 1 KiB responses, a client in closed loop, one at a fixed rate, and a scraper."""

import collections
import time

from rig.loop import End

BODY = b"0123456789abcdef" * 64
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
REQUEST = b"GET /bench/1k HTTP/1.1\r\nhost: bench\r\nuser-agent: bench\r\naccept: */*\r\n\r\n"


class Backend(End):
    def __init__(self, loop, sock):
        super().__init__(loop, sock)
        self.head = b""

    def received(self, data):
        self.head += data
        count = self.head.count(b"\r\n\r\n")
        if count:
            self.head = self.head.rpartition(b"\r\n\r\n")[2]
            self.send(RESPONSE * count)


class Exchange(End):
    """One request at a time; `done` hears of the end of each response."""

    def __init__(self, loop, sock):
        super().__init__(loop, sock)
        self.missing = None
        self.head = b""

    def ask(self):
        self.missing = None
        self.send(REQUEST)

    def received(self, data):
        if self.missing is None:
            self.head += data
            head, mark, body = self.head.partition(b"\r\n\r\n")
            if not mark:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not served: {head[:200]!r}")
            self.head = b""
            self.missing = len(BODY) - len(body)
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.done()

    def ended(self):
        super().ended()
        raise SystemExit("the proxy closed a connection in use")


class ClosedLoop(Exchange):
    """Asks again as soon as it has been answered."""

    served = 0

    def done(self):
        ClosedLoop.served += 1
        self.ask()


class FixedRate:
    """Requests at their times, however long the answers take; latency counts from when each was due."""

    class Client(Exchange):
        def __init__(self, loop, sock, owner):
            super().__init__(loop, sock)
            self.owner = owner

        def done(self):
            self.owner.answered(self)

    def __init__(self, loop, port, connections, rate):
        self.loop, self.interval = loop, 1 / rate
        self.idle = [self.Client.connect(loop, port, self) for _ in range(connections)]
        self.waiting = collections.deque()
        self.latencies = []

    def answered(self, client):
        self.latencies.append(time.perf_counter() - client.due)
        if self.waiting:
            client.due = self.waiting.popleft()
            client.ask()
        else:
            self.idle.append(client)

    def run(self, seconds, also=lambda now: None):
        """Seconds of each answer. Never sleeps, so that what is measured is the proxy and not our waking up."""
        self.latencies = []
        due = began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            while due <= now:
                self.waiting.append(due)
                due += self.interval
            while self.waiting and self.idle:
                client = self.idle.pop()
                client.due = self.waiting.popleft()
                client.ask()
            also(now)
            self.loop.turn(0)
        return self.latencies


class Scraper:
    """GET of an admin path once a second."""

    class Connection(End):
        def __init__(self, loop, sock, owner):
            super().__init__(loop, sock)
            self.owner = owner
            self.send(b"GET %s HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n" % owner.path.encode())

        def received(self, data):
            self.owner.bytes += len(data)
            self.owner.lines += data.count(b"\n") - data.count(b"# ")

        def ended(self):
            super().ended()
            self.owner.scrapes += 1

    def __init__(self, loop, port, path):
        self.loop, self.port, self.path = loop, port, path
        self.next = 0.0
        self.bytes = self.lines = self.scrapes = 0

    def __call__(self, now):
        if now >= self.next:
            self.next = now + 1
            self.Connection.connect(self.loop, self.port, self)
