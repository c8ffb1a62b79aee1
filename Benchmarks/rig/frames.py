"""HTTP/2 by hand: frames are written once and sent many times, so that both ends cost little.

Windows are as wide as they can be, and fewer bytes are under way than any proxy's windows have room for: nobody
here counts windows (RFC 9113 section 6.9). Fields are literals that need no HPACK table (RFC 7541 section 6.2.2).
"""

import struct

from rig.loop import End

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WIDEST = (1 << 31) - 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATUS_200 = 0x88  # the static table's eighth entry
unpack = struct.Struct(">BHBBI").unpack_from


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


OPENING = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, WIDEST)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDEST - 65535))
CALL = b"".join(literal(*field) for field in (
    (":method", "POST"), (":scheme", "http"), (":path", "/bench.Echo/Stream"), (":authority", "bench"),
    ("content-type", "application/grpc"), ("te", "trailers")))
ANSWER = bytes([STATUS_200]) + literal("content-type", "application/grpc")
TRAILERS = literal("grpc-status", "0")


def message(size):
    """A gRPC message of that many bytes, with its prefix."""
    return struct.pack(">BI", 0, size) + bytes(size)


class Wire(End):
    """One end of an HTTP/2 connection: cuts what comes into frames and answers SETTINGS and PING."""

    def __init__(self, loop, sock):
        super().__init__(loop, sock)
        self.rest = b""

    def received(self, data):
        if self.rest:
            data = self.rest + data
        at, end = self.prologue(data), len(data)
        while end - at >= 9:
            high, low, kind, flags, stream = unpack(data, at)
            after = at + 9 + (high << 16) + low
            if after > end:
                break
            if kind == DATA:
                self.data(stream, flags, data, at, after)
            elif kind == HEADERS:
                self.headers(stream, flags, data[at + 9:after])
            elif kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, data[at + 9:after]))
            elif kind in (RST_STREAM, GOAWAY):
                self.refused(kind, data[at + 9:after])
            at = after
        self.rest = data[at:]
        self.batch_ended()

    def prologue(self, data):
        return 0

    def batch_ended(self):
        pass

    def refused(self, kind, payload):
        pass


class EchoServer(Wire):
    """Sends every message back on its stream: a DATA frame is its own echo, number and all."""

    def __init__(self, loop, sock):
        super().__init__(loop, sock)
        self.greeted = False
        self.out = []

    def prologue(self, data):
        if self.greeted or len(data) < len(PREFACE):
            return 0
        self.greeted = True
        self.send(OPENING)
        return len(PREFACE)

    def headers(self, stream, flags, block):
        self.out.append(frame(HEADERS, END_HEADERS, stream, ANSWER))
        if flags & END_STREAM:
            self.out.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS))

    def data(self, stream, flags, data, at, after):
        self.out.append(data[at:after])

    def batch_ended(self):
        if self.out:
            out, self.out = b"".join(self.out), []
            self.send(out)


class Caller(Wire):
    """A connection with streams that are kept open, over which batches of messages go round.

    Every stream has `ahead` messages under way; when all of them are back, all are sent again.
    """

    def __init__(self, loop, sock, streams, ahead, size):
        super().__init__(loop, sock)
        numbers = range(1, 2 * streams, 2)
        payload = message(size)
        self.batch = b"".join(frame(DATA, 0, number, payload) for _ in range(ahead) for number in numbers)
        self.batch_bytes = len(payload) * ahead * streams
        self.batch_messages = ahead * streams
        self.echoed = 0
        self.answered = 0
        self.messages = 0
        self.repeats = True
        self.send(PREFACE + OPENING + b"".join(frame(HEADERS, END_HEADERS, number, CALL) for number in numbers) + self.batch)

    def headers(self, stream, flags, block):
        if STATUS_200 not in block[:4]:
            raise SystemExit(f"a call was not answered with 200: {block!r}")
        self.answered += 1

    def data(self, stream, flags, data, at, after):
        self.echoed += after - at - 9

    def batch_ended(self):
        if self.echoed == self.batch_bytes:
            self.echoed = 0
            self.messages += self.batch_messages
            if self.repeats:
                self.send(self.batch)

    def refused(self, kind, payload):
        raise SystemExit(f"the proxy sent {'RST_STREAM' if kind == RST_STREAM else 'GOAWAY'} {payload!r}")

    def ended(self):
        super().ended()
        raise SystemExit("the proxy closed a connection with calls on it")
