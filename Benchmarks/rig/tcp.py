"""TCP ends without a protocol: what is sent comes back, or flows one way, or is a connection's only message."""

import collections
import ctypes
import os
import select
import socket
import struct
import time

from rig.loop import End

CHUNK = memoryview(bytes(1 << 17))


class Echo(End):
    received = End.send


class Client(End):
    """Comes in by a door; `opened` when it may speak for itself."""

    def __init__(self, loop, sock, door):
        super().__init__(loop, sock)
        self.unanswered = door.answer_bytes
        if door.words:
            self.send(door.words)
        else:
            self.opened()

    @classmethod
    def enter(cls, loop, door, *arguments):
        return cls(loop, socket.create_connection((door.address, door.port)), door, *arguments)

    def received(self, data):
        if self.unanswered:
            self.unanswered -= len(data)
            if self.unanswered == 0:
                self.opened()
        else:
            self.heard(data)

    def ended(self):
        super().ended()
        raise SystemExit("a hop closed a connection in use")


class PingPong(Client):
    """One message at a time goes round, as often as it can."""

    def __init__(self, loop, sock, door, message):
        self.message, self.missing, self.rounds, self.repeats = message, len(message), 0, True
        super().__init__(loop, sock, door)

    def opened(self):
        self.send(self.message)

    def heard(self, data):
        self.missing -= len(data)
        if self.missing == 0:
            self.missing = len(self.message)
            self.rounds += 1
            if self.repeats:
                self.send(self.message)


class Visitor(Client):
    """A connection for one message; where that is back, the next visitor comes."""

    visits = 0
    welcome = True

    def __init__(self, loop, sock, door, message):
        self.door, self.message, self.missing = door, message, len(message)
        super().__init__(loop, sock, door)

    def opened(self):
        self.send(self.message)

    def heard(self, data):
        self.missing -= len(data)
        if self.missing == 0:
            Visitor.visits += 1
            self.loop.remove(self)
            if Visitor.welcome:
                Visitor.enter(self.loop, self.door, self.message)


class Sink:
    """Counts what arrives, all of them together."""

    bytes = 0
    room = bytearray(1 << 18)

    def ready(self):
        try:
            count = self.sock.recv_into(Sink.room)
        except BlockingIOError:
            return
        Sink.bytes += self.payload(count)
        if count == 0:
            self.ended()

    def payload(self, count):
        return count


class Source:
    """Sends for ever."""

    def pour(self):
        self.loop.poller.modify(self.sock, select.EPOLLIN | select.EPOLLOUT)
        self.unsent = CHUNK

    def flush(self):
        if self.unsent is not CHUNK:
            return End.flush(self)
        try:
            self.sock.send(CHUNK)
        except BlockingIOError:
            pass
        except OSError:
            self.ended()


class SinkServer(Sink, End):
    pass


class SourceServer(Source, End):
    def __init__(self, loop, sock):
        super().__init__(loop, sock)
        self.pour()


class SourceClient(Source, Client):
    opened = Source.pour


class SinkClient(Sink, Client):
    def opened(self):
        pass

    def payload(self, count):
        """What comes first may be the answer to the door's words."""
        answer = min(self.unanswered, count)
        self.unanswered -= answer
        return count - answer


class Metronome:
    """Sends a message at a time on idle connections, `rate` a second, and sleeps in between like anybody else.

    Latency counts from when a message was due.
    """

    def __init__(self, loop, door, connections, rate, message):
        self.loop, self.rate, self.message = loop, rate, message
        self.idle = [self.Beat.enter(loop, door, message, self) for _ in range(connections)]
        self.waiting, self.latencies, self.ticks = collections.deque(), [], 0
        self.sock = Timer()

    class Beat(PingPong):
        def __init__(self, loop, sock, door, message, owner):
            self.owner, self.due = owner, None
            super().__init__(loop, sock, door, message)
            self.repeats = False

        def heard(self, data):
            super().heard(data)
            if self.missing == len(self.message) and self.due is not None:
                self.owner.latencies.append(time.perf_counter() - self.due)
                self.owner.idle.append(self)
                self.owner.play()

    def begin(self):
        """Connections are there and each has carried a message."""
        self.began, self.ticks = time.perf_counter(), 0
        self.sock.set(1 / self.rate)
        self.loop.add(self)

    def ready(self):
        for _ in range(self.sock.ticks()):
            self.ticks += 1
            self.waiting.append(self.began + self.ticks / self.rate)
        self.play()

    def play(self):
        while self.waiting and self.idle:
            beat = self.idle.pop(0)
            beat.due = self.waiting.popleft()
            beat.send(self.message)


class Timer:
    """A timerfd(2), which Python knows from version 3.13."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.number = self.libc.timerfd_create(1, os.O_NONBLOCK)

    def fileno(self):
        return self.number

    def set(self, seconds):
        span = (int(seconds), int(seconds % 1 * 1e9))
        self.libc.timerfd_settime(self.number, 0, struct.pack("4q", *span, *span), None)

    def ticks(self):
        try:
            return struct.unpack("Q", os.read(self.number, 8))[0]
        except BlockingIOError:
            return 0

    def close(self):
        os.close(self.number)
