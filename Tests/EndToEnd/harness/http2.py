"""The client of the suite over HTTP/2, and what it shares with the upstreams: cases stay written as HTTP/1.1 bytes.

What a case sends is translated into frames, what arrives is noted in the same shape as in HTTP/1.1, so that one
table serves both wires. Framing is that of the `h2` library with its own checks of messages switched off.
"""

import glob
import os
import sys
import threading
import time

from . import wire
from .client import Client, summary


def _import():
    """The h2 library of this Python, or of the environment that scripts/setup --tests makes; None without."""
    try:
        import h2.connection
    except ImportError:
        sys.path += glob.glob(os.path.expanduser("~/.cache/meshproxy/oracle/lib/python3*/site-packages"))
        try:
            import h2.connection
        except ImportError:
            return None
    import h2.config
    import h2.errors
    import h2.events
    import h2.exceptions
    import h2.settings
    return h2


h2 = _import()
if h2:
    from hyperframe.frame import GoAwayFrame
HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host")


def code_name(code):
    """An error code of RFC 9113 in letters."""
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return str(code)


def fields_of(headers):
    """(pseudo-headers, other fields) in text."""
    headers = [(wire.text(n) if isinstance(n, bytes) else n, wire.text(v) if isinstance(v, bytes) else v) for n, v in headers]
    return {n: v for n, v in headers if n.startswith(":")}, [[n, v] for n, v in headers if not n.startswith(":")]


class Session:
    """An h2 connection on a socket; whoever writes holds `lock`."""

    def __init__(self, sock, is_client):
        self.sock = sock
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.is_closed = False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=is_client, header_encoding=None, validate_inbound_headers=False, validate_outbound_headers=False,
            normalize_inbound_headers=False, normalize_outbound_headers=False))
        if not is_client:
            self.h2.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        # The library takes nothing any more behind a GOAWAY; streams under way go on (RFC 9113 section 6.8).
        self.h2._frame_dispatch_table[GoAwayFrame] = self._go_away
        self.h2.initiate_connection()
        self.flush()

    @staticmethod
    def _go_away(frame):
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]

    def flush(self):
        with self.lock:
            data = self.h2.data_to_send()
            if data:
                try:
                    self.sock.sendall(data)
                except OSError:
                    self.is_closed = True

    def receive(self, data):
        with self.lock:
            events = self.h2.receive_data(data)
            for event in events:
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    try:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    except (h2.exceptions.ProtocolError, KeyError):
                        pass
            self.flush()
            return events

    def window(self, stream):
        return min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)


class H2Client(Client):
    """One connection with one stream for each request of the case."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.session = Session(self.sock, True)
        self.pending = b""
        self.open = None  # (stream, bytes left or "chunked" or "tunnel")
        self.unread = []
        self.messages = {}

    def send(self, data):
        self.pending += data
        try:
            while self.pending and (self._body() if self.open else self._head()):
                pass
        except h2.exceptions.ProtocolError:
            pass
        self.session.flush()

    def _head(self):
        head, mark, rest = self.pending.partition(b"\r\n\r\n")
        if not mark:
            return False
        self.pending = rest
        line, fields = wire.parse_head(head)
        method, target, _ = line.split(" ")
        upgrade = wire.field(fields, "upgrade")
        length, coding = wire.field(fields, "content-length"), wire.field(fields, "transfer-encoding")
        pseudo = [(":method", method), (":scheme", "http"), (":authority", wire.field(fields, "host") or ""), (":path", target)]
        if method == "CONNECT":
            pseudo = [(":method", method), (":authority", target)]
        elif upgrade:
            pseudo = [(":method", "CONNECT"), (":protocol", upgrade), *pseudo[1:]]
        kept = [(n.lower(), v) for n, v in fields if n.lower() not in HOP_BY_HOP]
        tunnel = method == "CONNECT" or upgrade
        left = "tunnel" if tunnel else "chunked" if coding else int(length or 0)
        with self.session.lock:
            stream = self.session.h2.get_next_available_stream_id()
            self.session.h2.send_headers(stream, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in pseudo + kept], end_stream=left == 0)
        self.session.flush()
        self.messages[stream] = {"body": "", "done": False, "tunnel": bool(tunnel)}
        self.unread.append(stream)
        self.last = stream
        if left:
            self.open = (stream, left)
        return True

    def _body(self):
        stream, left = self.open
        if left == "tunnel":
            data, self.pending = self.pending, b""
            self._data(stream, data, False)
        elif left == "chunked":
            return self._chunk(stream)
        else:
            data, self.pending = self.pending[:left], self.pending[left:]
            left -= len(data)
            self.open = (stream, left) if left else None
            self._data(stream, data, left == 0)
        return True

    def _chunk(self, stream):
        size, mark, rest = self.pending.partition(b"\r\n")
        count = int(size.split(b";")[0], 16) if mark else 0
        if not mark or len(rest) < count + 2 or (not count and b"\r\n\r\n" not in self.pending):
            return False
        if count:
            self._data(stream, rest[:count], False)
            self.pending = rest[count + 2:]
            return True
        trailers, _, self.pending = self.pending[len(size):].partition(b"\r\n\r\n")
        lines = [line.partition(b":") for line in trailers.split(b"\r\n") if line]
        self.open = None
        if lines:
            self.session.h2.send_headers(stream, [(n.lower(), v.strip()) for n, _, v in lines], end_stream=True)
            self.session.flush()
        else:
            self._data(stream, b"", True)
        return True

    def _data(self, stream, data, ends):
        while data:
            room = self.session.window(stream)
            if room <= 0:
                if not self._more(self.reader.seconds):
                    return
                continue
            is_last = ends and len(data) <= room
            self.session.h2.send_data(stream, data[:room], end_stream=is_last)
            data = data[room:]
            self.session.flush()
            if is_last:
                return
        if ends:
            self.session.h2.end_stream(stream)
            self.session.flush()

    def half_close(self):
        if self.open and self.open[1] == "tunnel":
            try:
                self._data(self.open[0], b"", True)
            except h2.exceptions.ProtocolError:
                pass  # It was reset.
            return
        super().half_close()

    def drop(self, reset):
        """A client that goes away on HTTP/2 resets its stream."""
        with self.session.lock:
            for stream in self.unread or [self.last]:
                try:
                    self.session.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                except h2.exceptions.ProtocolError:
                    pass
        self.session.flush()
        self._more(0.2)
        self.sock.close()
        self.ended = "left"

    def _more(self, seconds):
        """Reads once and notes what came; False after the time is up or the connection has ended."""
        try:
            self.reader.more(seconds)
        except wire.Timeout:
            return False
        except wire.Closed as end:
            self.closed = end.how
            return False
        data, self.reader.buffer = self.reader.buffer, b""
        try:
            for event in self.session.receive(data):
                self._note(event)
        except h2.exceptions.ProtocolError as error:
            self.seen["protocol_error"] = f"{type(error).__name__}: {error}"
        return True

    closed = None

    def _note(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            if event.error_code:
                self.seen["goaway"] = code_name(event.error_code)
            return
        message = self.messages.get(getattr(event, "stream_id", None))
        if message is None:
            return
        if isinstance(event, (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)):
            pseudo, fields = fields_of(event.headers)
            head = {"line": f"HTTP/2 {pseudo.get(':status')}", "headers": sorted(fields)}
            if isinstance(event, h2.events.InformationalResponseReceived):
                message.setdefault("interim", []).append({**head, "body": ""})
            else:
                message.update(head)
        elif isinstance(event, h2.events.DataReceived):
            message["body"] += wire.text(event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            message["trailers"] = sorted(fields_of(event.headers)[1])
        elif isinstance(event, h2.events.StreamEnded):
            message["done"] = True
        elif isinstance(event, h2.events.StreamReset):
            if not message["done"]:
                message["ended"] = f"reset {code_name(event.error_code)}"
            message["done"] = True

    def read_response(self, method=None):
        if self.ended or not self.unread:
            return
        stream = self.unread.pop(0)
        message = self.messages[stream]
        # A tunnel's answer is its head, unless it is refused.
        def complete():
            return message["done"] or (message["tunnel"] and message.get("line") == "HTTP/2 200")
        deadline = time.monotonic() + self.reader.seconds
        while not complete() and time.monotonic() < deadline and self._more(deadline - time.monotonic()):
            pass
        self.seen["responses"] += message.pop("interim", [])
        if not complete():
            self.ended = "closed" if self.closed else "stalled"
            message["ended"] = self.ended
        shown = {k: v for k, v in message.items() if k not in ("done", "tunnel", "inner") and not (k == "body" and "line" not in message)}
        if message["tunnel"] and message.get("line") == "HTTP/2 200":
            shown["body"] = ""
        self.seen["responses"].append(shown)

    def read_raw(self, mark):
        message = self.messages[self.last]
        text = wire.text(mark)
        while text not in message["body"] and not message["done"] and self._more(self.reader.seconds):
            pass
        note = {"bytes": summary(message["body"].encode("latin-1"))}
        if text not in message["body"]:
            note["ended"] = "closed" if message["done"] or self.closed else "stalled"
        self.seen["responses"].append(note)

    def read_inner(self, method):
        """One HTTP/1.1 response out of the last tunnel."""
        message = self.messages[self.last]
        if "inner" not in message:
            message["inner"] = TunnelReader(self, message)
        reader = message["inner"]
        try:
            self.seen["responses"].append(wire.read_message(reader, True, method))
        except (wire.Closed, wire.Timeout) as end:
            note = {"ended": "stalled" if isinstance(end, wire.Timeout) else message.get("ended", "end of stream")}
            if reader.buffer:
                note["partial"] = wire.text(reader.buffer)
            self.seen["responses"].append(note)

    def finish(self, wait):
        if self.ended == "left":
            return
        deadline = time.monotonic() + max(wait, 0.05)
        while not self.closed and time.monotonic() < deadline and self._more(max(0.001, deadline - time.monotonic())):
            pass
        for stream, message in self.messages.items():
            if message["tunnel"] and message["done"]:
                self.seen["tunnel"] = message.get("ended", "end of stream")
        self.seen["connection"] = "closed" if self.closed else "open"
        try:
            self.sock.close()
        except OSError:
            pass


class TunnelReader(wire.Reader):
    """Reads what comes out of a client's tunnel."""

    def __init__(self, client, message):
        super().__init__(None, client.reader.seconds)
        self.client, self.message, self.taken = client, message, 0

    def more(self, seconds=None):
        while len(self.message["body"]) == self.taken:
            if self.message["done"] or self.client.closed:
                raise wire.Closed(self.message.get("ended", "fin"), self.buffer)
            if not self.client._more(seconds or self.seconds) and not self.client.closed:
                raise wire.Timeout()
        self.buffer += self.message["body"][self.taken:].encode("latin-1")
        self.taken = len(self.message["body"])
