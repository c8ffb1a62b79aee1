"""Scripted upstreams: a raw server that records what arrives and answers as the case says.

A behaviour is a function of an Exchange that returns True when the connection may carry another
request. Behaviours are used up one per request; when none is left the last one given repeats, and
without any the answer is a plain 200.
"""

import socket
import ssl
import struct
import threading

from . import wire
from .ports import free_port

PATIENCE = 8.0


def reset_socket(sock):
    """Closes with RST instead of FIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    except OSError:
        pass


class Exchange:
    """One request on one upstream connection."""

    def __init__(self, server, sock, reader, record):
        self.server = server
        self.sock = sock
        self.reader = reader
        self.record = record

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def pause(self, seconds):
        """Scripted slowness; ends early when the suite stops the server."""
        self.server.stopping.wait(seconds)

    def read_body(self):
        wire.read_message_body(self.reader, self.record)

    def wait_end(self):
        """Waits until the proxy gives this connection up, and records how it did."""
        try:
            while True:
                self.reader.more(PATIENCE)
        except wire.Closed as end:
            self.record["connection"] = end.how
        except (wire.Timeout, OSError):
            self.record["connection"] = "left open"


# Behaviours.

def respond(status="200 OK", headers=(), body="ok", keep=True):
    """A complete response with content-length."""
    def act(exchange):
        lines = [f"HTTP/1.1 {status}", *headers]
        if not any(h.lower().startswith(("content-length", "transfer-encoding")) for h in headers):
            lines.append(f"content-length: {len(body)}")
        text = "" if exchange.record["line"].startswith("HEAD ") else body
        exchange.send(("\r\n".join(lines) + "\r\n\r\n" + text).encode("latin-1"))
        return keep
    return act


def raw(data, keep=True):
    """Exactly these bytes."""
    def act(exchange):
        exchange.send(data)
        return keep
    return act


def chunked(*chunks, trailers=(), headers=()):
    """A chunked response."""
    def act(exchange):
        head = ["HTTP/1.1 200 OK", "transfer-encoding: chunked", *headers]
        data = "\r\n".join(head) + "\r\n\r\n"
        for chunk in chunks:
            data += f"{len(chunk):x}\r\n{chunk}\r\n"
        data += "0\r\n" + "".join(f"{t}\r\n" for t in trailers) + "\r\n"
        exchange.send(data.encode("latin-1"))
        return True
    return act


def delay(seconds, then):
    """Waits before the next behaviour."""
    def act(exchange):
        exchange.pause(seconds)
        return then(exchange)
    return act


def close_now(exchange):
    """Closes without a byte."""
    return False


def reset_now(exchange):
    """Resets without a byte."""
    reset_socket(exchange.sock)
    return False


def partial_then_reset(data):
    """Some bytes, then RST once the proxy had time to read them."""
    def act(exchange):
        exchange.send(data)
        exchange.pause(0.15)
        reset_socket(exchange.sock)
        return False
    return act


def hang(exchange):
    """Never answers; ends when the proxy gives up."""
    exchange.wait_end()
    return False


def send_then_hang(data):
    """Some bytes, then silence."""
    def act(exchange):
        exchange.send(data)
        exchange.wait_end()
        return False
    return act


def continue_then(then):
    """100 Continue, then the body is read, then the next behaviour."""
    def act(exchange):
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.read_body()
        return then(exchange)
    act.before_body = True
    return act


def before_body(then):
    """Answers as soon as the head is there."""
    def act(exchange):
        return then(exchange)
    act.before_body = True
    return act


def upgrade_echo(protocol="websocket"):
    """Switches protocols and then echoes until the end, which it records."""
    def act(exchange):
        exchange.send(
            f"HTTP/1.1 101 Switching Protocols\r\nupgrade: {protocol}\r\nconnection: Upgrade\r\n\r\n".encode()
        )
        return echo(exchange)
    return act


def echo(exchange):
    """Sends back what arrives; ends with FIN when the other side does."""
    received = exchange.record.setdefault("received", "")
    try:
        while True:
            if not exchange.reader.buffer:
                exchange.reader.more(PATIENCE)
            data, exchange.reader.buffer = exchange.reader.buffer, b""
            received += wire.text(data)
            exchange.record["received"] = received
            exchange.send(data)
    except wire.Closed as end:
        exchange.record["connection"] = end.how
    except wire.Timeout:
        exchange.record["connection"] = "left open"
    return False


class Upstream:
    """One scripted server on its own port. `raw_tcp` hands over connections instead of requests."""

    def __init__(self, name, tls=None, raw_tcp=False, backlog=128, port=None):
        self.name = name
        self.tls = tls
        self.raw_tcp = raw_tcp
        self.port = port or free_port()
        self.requests = []
        self.behaviours = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections = []
        self._next = 0
        self._arrived = threading.Condition(self._lock)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(backlog)
        threading.Thread(target=self._accept, daemon=True).start()

    def script(self, behaviours):
        """Starts a case: forgets what was recorded, sets what to answer."""
        with self._lock:
            self.requests = []
            self.behaviours = list(behaviours)
            self._next = 0

    def wait_requests(self, count, seconds=5.0):
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.requests) >= count, seconds)

    def settle(self, seconds=2.0):
        """Ends the case: closes what is left open and waits until the proxy has noticed."""
        with self._lock:
            connections, self._connections = self._connections, []
        for sock, thread in connections:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        for sock, thread in connections:
            thread.join(seconds)

    def stop(self):
        self.stopping.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The socket is exchanged for its TLS wrapper later, so the entry is a list.
            entry = [sock, None]
            entry[1] = threading.Thread(target=self._serve, args=(entry,), daemon=True)
            with self._lock:
                entry[1].start()
                self._connections.append(entry)

    def _record(self, record):
        with self._arrived:
            self.requests.append(record)
            behaviours = self.behaviours or [respond()]
            behaviour = behaviours[min(self._next, len(behaviours) - 1)]
            self._next += 1
            self._arrived.notify_all()
        return behaviour

    def _serve(self, entry):
        sock = entry[0]
        try:
            details = {}
            if self.tls:
                sock.settimeout(PATIENCE)
                names = []
                context = self.tls(names)
                try:
                    sock = context.wrap_socket(sock, server_side=True)
                    entry[0] = sock
                except (ssl.SSLError, OSError) as error:
                    return
                details = {"tls": describe_tls(sock), "sni": names[-1] if names else None}
            reader = wire.Reader(sock, PATIENCE)
            if self.raw_tcp:
                record = {"line": "(connection)", **details}
                self._record(record)(Exchange(self, sock, reader, record))
                return
            while self._one(sock, reader, details):
                pass
        except (wire.Closed, wire.Timeout, OSError, ValueError):
            pass
        finally:
            self._finish(sock)

    def _one(self, sock, reader, details):
        head = reader.until(b"\r\n\r\n")
        line, fields = wire.parse_head(head)
        record = {"line": line, "headers": sorted([list(f) for f in fields]), "body": "", **details}
        exchange = Exchange(self, sock, reader, record)
        behaviour = self._record(record)
        if not getattr(behaviour, "before_body", False):
            exchange.read_body()
        return behaviour(exchange)

    def _finish(self, sock):
        """FIN, then read until the proxy has closed too: afterwards it cannot reuse this one."""
        try:
            sock.settimeout(2.0)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        except (OSError, ValueError):
            pass
        finally:
            try:
                sock.close()
            except OSError:
                pass


def describe_tls(sock):
    """What both sides agreed on, and who the peer says it is."""
    certificate = sock.getpeercert() or {}
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    return {"version": sock.version(), "alpn": sock.selected_alpn_protocol(), "peer": uris[0] if uris else None}


def server_tls(certificate, key, trusted=None, alpn=(), require=False, maximum=None):
    """A factory of server contexts that notes the server name each client asked for."""
    def make(names):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if trusted:
            context.load_verify_locations(trusted)
            context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_OPTIONAL
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if maximum:
            context.maximum_version = maximum
        context.sni_callback = lambda s, name, c: names.append(name)
        return context
    return make
