"""The upstreams of the suite over HTTP/2: behaviours are those of HTTP/1.1, what they send is translated."""

import socket
import threading

from . import wire
from .http2 import HOP_BY_HOP, Session, code_name, fields_of, h2
from .upstream import PATIENCE, Exchange, Upstream


class StreamReader:
    """The bytes of one stream, as an echoing behaviour reads them."""

    def __init__(self, stream):
        self.stream = stream
        self.buffer = b""

    def more(self, seconds=PATIENCE):
        stream = self.stream
        with stream.session.changed:
            stream.session.changed.wait_for(lambda: stream.data or stream.end, seconds)
            if stream.data:
                self.buffer += stream.data
                stream.data = b""
            elif stream.end:
                raise wire.Closed(stream.end)
            else:
                raise wire.Timeout()


class ResettableSocket:
    """What a behaviour may do to the connection; the thread that reads it is woken first."""

    def __init__(self, sock, session):
        self.sock = sock
        self.session = session

    def setsockopt(self, *arguments):
        self.sock.setsockopt(*arguments)

    def close(self):
        self.session.is_closed = True
        self.sock.shutdown(socket.SHUT_RD)


class StreamExchange(Exchange):
    """One request on one stream; what behaviours send is translated."""

    def __init__(self, server, sock, session, identifier, record):
        super().__init__(server, ResettableSocket(sock, session), None, record)
        self.session = session
        self.identifier = identifier
        self.reader = StreamReader(self)
        self.data = b""
        self.end = None
        self.out = b""
        self.left = None
        self.is_over = False
        self.is_tunnel = False

    def send(self, data):
        self.out += data
        try:
            with self.session.lock:
                while self.out and not self.is_over and (self._head() if self.left is None else self._body()):
                    pass
        except (h2.exceptions.ProtocolError, KeyError):
            pass
        except (ValueError, IndexError):
            # Not HTTP: in frames that is a broken connection.
            self.session.flush()
            self.sock.sock.sendall(self.out)
        self.session.flush()

    def _head(self):
        head, mark, rest = self.out.partition(b"\r\n\r\n")
        if not mark:
            return False
        self.out = rest
        line, fields = wire.parse_head(head)
        status = line.split(" ")[1]
        kept = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in fields if n.lower() not in HOP_BY_HOP]
        length, coding = wire.field(fields, "content-length"), wire.field(fields, "transfer-encoding")
        if status == "101":
            status, self.is_tunnel, length = "200", True, None
        if status.startswith("1"):
            self.session.h2.send_headers(self.identifier, [(b":status", status.encode()), *kept])
            return True
        if self.record["line"].startswith("HEAD ") or status in ("204", "304"):
            length, coding = "0", None
        self.left = "chunked" if coding else int(length) if length is not None else "close"
        self.is_over = self.left == 0
        self.session.h2.send_headers(self.identifier, [(b":status", status.encode()), *kept], end_stream=self.is_over)
        return True

    def _body(self):
        if self.left == "chunked":
            size, mark, rest = self.out.partition(b"\r\n")
            count = int(size.split(b";")[0], 16) if mark else 0
            if not mark or len(rest) < count + 2 or (not count and b"\r\n\r\n" not in self.out):
                return False
            if count:
                self._data(rest[:count])
                self.out = rest[count + 2:]
                return True
            lines = [line.partition(b":") for line in self.out[len(size):].split(b"\r\n") if line]
            self.is_over = True
            if lines:
                self.session.h2.send_headers(self.identifier, [(n.lower(), v.strip()) for n, _, v in lines], end_stream=True)
            else:
                self.session.h2.end_stream(self.identifier)
            return False
        data, self.out = (self.out, b"") if self.left == "close" else (self.out[:self.left], self.out[self.left:])
        self._data(data)
        if self.left != "close":
            self.left -= len(data)
            if self.left == 0:
                self.is_over = True
                self.session.h2.end_stream(self.identifier)
        return True

    def _data(self, data):
        while data:
            room = self.session.window(self.identifier)
            if room <= 0:
                self.session.flush()
                if not self.session.changed.wait(PATIENCE) or self.end not in (None, "fin"):
                    return
                continue
            self.session.h2.send_data(self.identifier, data[:room])
            data = data[room:]
        self.session.flush()

    def finish(self, keep):
        """Ends the stream after its behaviour; without `keep` the connection too, as in HTTP/1.1."""
        with self.session.lock:
            try:
                if not self.is_over and self.left == "close":
                    self.session.h2.end_stream(self.identifier)
            except (h2.exceptions.ProtocolError, KeyError):
                pass
        self.session.flush()
        if not keep and not self.is_tunnel and self.end in (None, "fin"):
            try:
                self.sock.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def read_body(self):
        with self.session.changed:
            self.session.changed.wait_for(lambda: self.end, PATIENCE)
        if self.end != "fin":
            self.record["ended"] = self.end
            raise wire.Closed(self.end or "stalled")

    def wait_end(self):
        with self.session.changed:
            self.session.changed.wait_for(lambda: self.end not in (None, "fin"), PATIENCE)
        self.record["connection"] = self.end


class H2Upstream(Upstream):
    """A scripted server whose behaviours are given streams."""

    def _serve(self, entry):
        sock = entry[0]
        streams = {}
        session = None
        try:
            session = Session(sock, False)
            while (data := sock.recv(65536)) and not session.is_closed:
                for event in session.receive(data):
                    with session.changed:
                        self._event(event, sock, session, streams)
                        session.changed.notify_all()
            how = "fin"
        except (h2.exceptions.ProtocolError, OSError):
            how = "rst"
        if session:
            with session.changed:
                if session.is_closed:
                    sock.close()
                session.is_closed = True
                for stream in streams.values():
                    if stream.end in (None, "fin"):
                        stream.end = how if stream.end is None else "closed"
                session.changed.notify_all()
        self._finish(sock)

    def _event(self, event, sock, session, streams):
        stream = streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            pseudo, fields = fields_of(event.headers)
            line = f"{pseudo.pop(':method', None)} {pseudo.pop(':path', '')} HTTP/2"
            record = {"line": line, "headers": sorted(fields + [[n, v] for n, v in pseudo.items()]), "body": ""}
            stream = streams[event.stream_id] = StreamExchange(self, sock, session, event.stream_id, record)
            behaviour = self._record(record)
            threading.Thread(target=self._behave, args=(stream, behaviour), daemon=True).start()
        elif stream is None:
            return
        elif isinstance(event, h2.events.DataReceived):
            stream.record["body"] += wire.text(event.data)
            stream.data += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            stream.record["trailers"] = sorted(fields_of(event.headers)[1])
        elif isinstance(event, h2.events.StreamEnded):
            stream.end = stream.end or "fin"
        elif isinstance(event, h2.events.StreamReset):
            stream.end = f"reset {code_name(event.error_code)}"

    def _behave(self, stream, behaviour):
        keep = False
        try:
            is_tunnel = [":protocol", "websocket"] in stream.record["headers"] or stream.record["line"].startswith("CONNECT")
            if not getattr(behaviour, "before_body", False) and not is_tunnel:
                stream.read_body()
            keep = behaviour(stream)
        except (wire.Closed, wire.Timeout, OSError):
            return
        stream.finish(keep)
