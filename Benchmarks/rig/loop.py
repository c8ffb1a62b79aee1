"""One loop that plays clients and servers alike.

One process for both ends leaves the other CPU to the proxy and has nobody to wait for but the proxy.
"""

import select
import socket
import time


class Loop:
    def __init__(self):
        self.poller = select.epoll()
        self.ends = {}
        self.listeners = []

    def add(self, end):
        self.ends[end.sock.fileno()] = end
        self.poller.register(end.sock, select.EPOLLIN)

    def remove(self, end):
        if self.ends.pop(end.sock.fileno(), None):
            self.poller.unregister(end.sock)
            end.sock.close()

    def listen(self, kind, *arguments, address="127.0.0.1"):
        """Accepts on a free port, which is returned; every connection becomes a `kind`."""
        sock = socket.create_server((address, 0), backlog=4096)
        sock.setblocking(False)
        self.listeners.append(sock)
        self.ends[sock.fileno()] = Acceptor(self, sock, kind, arguments)
        self.poller.register(sock, select.EPOLLIN)
        return sock.getsockname()[1]

    def turn(self, seconds):
        """Serves what is ready, having waited for it no longer than that."""
        ends = self.ends
        for number, events in self.poller.poll(seconds):
            end = ends.get(number)
            if end is None:
                continue
            if events & select.EPOLLOUT:
                end.flush()
            if events & ~select.EPOLLOUT:
                end.ready()

    def run(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.turn(left)

    def until(self, condition, what, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"gave up after {seconds} s waiting for {what}")
            self.turn(0.05)

    def close(self):
        for end in list(self.ends.values()):
            end.sock.close()
        self.poller.close()


class Acceptor:
    def __init__(self, loop, sock, kind, arguments):
        self.loop, self.sock, self.kind, self.arguments = loop, sock, kind, arguments

    def ready(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except BlockingIOError:
                return
            self.kind(self.loop, sock, *self.arguments)


class End:
    """One end of a connection: what cannot be sent at once waits; `received` hears what comes."""

    def __init__(self, loop, sock):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop, self.sock = loop, sock
        self.unsent = b""
        loop.add(self)

    @classmethod
    def connect(cls, loop, port, *arguments):
        return cls(loop, socket.create_connection(("127.0.0.1", port)), *arguments)

    def send(self, data):
        if self.unsent:
            self.unsent += data
            return
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            return self.ended()
        if count < len(data):
            self.unsent = data[count:]
            self.loop.poller.modify(self.sock, select.EPOLLIN | select.EPOLLOUT)

    def flush(self):
        data, self.unsent = self.unsent, b""
        self.loop.poller.modify(self.sock, select.EPOLLIN)
        if data:
            self.send(data)

    def ready(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self.ended()

    def ended(self):
        self.loop.remove(self)
