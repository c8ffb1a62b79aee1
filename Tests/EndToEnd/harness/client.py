"""A downstream client that follows a list of steps and notes everything it sees."""

import hashlib
import select
import socket
import ssl
import time

from . import wire
from .upstream import describe_tls, reset_socket


class Step:
    """One thing the client does. `play(client)` does it."""

    def __init__(self, play):
        self.play = play


def read(count=1, method=None):
    """Reads `count` final responses; interim ones are noted on the way."""
    return Step(lambda client: [client.read_response(method) for _ in range(count)])


def read_bytes(mark):
    """Reads raw bytes up to and including `mark` (an upgraded or TCP stream)."""
    return Step(lambda client: client.read_raw(mark))


def half_close():
    """Sends FIN and goes on reading."""
    return Step(lambda client: client.half_close())


def reset():
    """Drops the connection with RST."""
    return Step(lambda client: client.drop(reset=True))


def leave():
    """Closes the connection."""
    return Step(lambda client: client.drop(reset=False))


def pause(seconds):
    """Lets the proxy's timers run."""
    return Step(lambda client: time.sleep(seconds))


def wait_readable(seconds=2.0):
    """Waits until the proxy has sent something, or ended the connection."""
    return Step(lambda client: client.wait_readable(seconds))


def wait_upstream(name, requests=1):
    """Waits until that upstream has seen so many requests of this case."""
    return Step(lambda client: client.upstreams[name].wait_requests(requests))


def trickle(data, pieces=8, gap=0.02):
    """Sends the bytes in several segments."""
    def play(client):
        size = max(1, len(data) // pieces)
        for start in range(0, len(data), size):
            client.send(data[start:start + size])
            time.sleep(gap)
    return Step(play)


class ClientTLS:
    """How the client speaks TLS: certificate, trust, name, ALPN and version limits."""

    def __init__(self, name=None, trust="ca", sni="server.default.svc", alpn=(), maximum=None, minimum=None, ciphers=None):
        self.name = name
        self.trust = trust
        self.sni = sni
        self.alpn = alpn
        self.maximum = maximum
        self.minimum = minimum
        self.ciphers = ciphers

    def context(self, certificates):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        if self.trust:
            context.load_verify_locations(f"{certificates}/{self.trust}.pem")
        else:
            context.verify_mode = ssl.CERT_NONE
        if self.name:
            context.load_cert_chain(f"{certificates}/{self.name}.pem", f"{certificates}/{self.name}.key")
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        if self.maximum:
            context.maximum_version = self.maximum
        if self.minimum:
            context.minimum_version = self.minimum
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        return context


def alert_name(error):
    """The alert in a TLS error, for example TLSV13_ALERT_CERTIFICATE_REQUIRED."""
    reason = getattr(error, "reason", None)
    return reason or type(error).__name__


def summary(data, most=4096):
    """The bytes as text; of many, their number and SHA-256: golden files are read by people."""
    if len(data) <= most:
        return wire.text(data)
    return f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}"


class Client:
    """One connection. `seen` is the record that is compared."""

    def __init__(self, port, upstreams, certificates=None, tls=None, source=None, seconds=6.0):
        self.upstreams = upstreams
        self.seen = {"responses": []}
        self.sent = b""
        self.methods = []
        self.ended = None
        self.sock = socket.socket()
        self.sock.settimeout(seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.sock.bind((source, 0))
        try:
            self.sock.connect(("127.0.0.1", port))
        except ConnectionResetError:
            # Accepted and refused before this side had a look.
            self.ended = "closed"
            self.seen["responses"].append({"ended": "closed"})
        self.port = self.sock.getsockname()[1]
        if tls and not self.ended:
            try:
                self.sock = tls.context(certificates).wrap_socket(self.sock, server_hostname=tls.sni)
                self.seen["tls"] = describe_tls(self.sock)
            except (ssl.SSLError, OSError) as error:
                self.seen["tls_error"] = alert_name(error)
                self.ended = "handshake"
        self.reader = wire.Reader(self.sock, seconds)

    def play(self, steps):
        for step in steps:
            if self.ended:
                break
            try:
                if isinstance(step, bytes):
                    self.send(step)
                else:
                    step.play(self)
            except OSError:
                self.ended = "closed"
                self.seen["responses"].append({"ended": "closed"})

    def send(self, data):
        first = data.split(b" ", 1)[0]
        if first.isalpha() and first.isupper():
            self.methods.append(first.decode())
        try:
            self.sock.sendall(data)
        except (ssl.SSLError, OSError):
            pass

    def read_response(self, method=None):
        if self.ended:
            return
        method = method or (self.methods[-1] if self.methods else "GET")
        try:
            while True:
                message = wire.read_message(self.reader, True, method)
                self.seen["responses"].append(message)
                if "ended" in message:
                    self.ended = message["ended"]
                status = message["line"].split(" ")
                if len(status) < 2 or not status[1].startswith("1") or status[1] == "101":
                    return
        except wire.Closed as end:
            self.ended = end.how
            if end.partial:
                self.seen["responses"].append({"partial": wire.text(end.partial)})
            self.seen["responses"].append({"ended": self._end_name(end.how)})
        except ssl.SSLError as error:
            self.ended = "alert"
            self.seen["tls_error"] = alert_name(error)
        except (wire.Timeout, ValueError, IndexError) as error:
            self.ended = "stalled"
            self.seen["responses"].append({"ended": "stalled", "partial": wire.text(self.reader.buffer)})

    def read_raw(self, mark):
        try:
            data = self.reader.until(mark) + mark
            self.seen["responses"].append({"bytes": summary(data)})
        except wire.Closed as end:
            self.ended = end.how
            self.seen["responses"].append({"bytes": wire.text(end.partial), "ended": self._end_name(end.how)})
        except ssl.SSLError as error:
            self.ended = "alert"
            self.seen["tls_error"] = alert_name(error)
        except wire.Timeout:
            self.seen["responses"].append({"bytes": wire.text(self.reader.buffer), "ended": "stalled"})

    @staticmethod
    def _end_name(how):
        # Whether unread bytes turn the FIN into an RST is the kernel's business and a race.
        return "closed" if how in ("fin", "rst") else how

    def wait_readable(self, seconds):
        select.select([self.sock], [], [], seconds)

    def half_close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def drop(self, reset):
        if reset:
            reset_socket(self.sock)
        else:
            self.sock.close()
        self.ended = "left"

    def finish(self, wait):
        """Notes whether the connection is still open; waits up to `wait` seconds for its end."""
        if self.ended in ("left",):
            return
        if self.ended is None:
            try:
                self.reader.more(wait)
                self.seen["surplus"] = wire.text(self.reader.buffer)
                self.seen["connection"] = "open"
            except wire.Closed:
                self.seen["connection"] = "closed"
            except wire.Timeout:
                self.seen["connection"] = "open"
            except ssl.SSLError as error:
                self.seen["connection"] = "closed"
                self.seen["tls_error"] = alert_name(error)
            except OSError:
                self.seen["connection"] = "closed"
        try:
            self.sock.close()
        except OSError:
            pass
