"""HBONE by hand: HTTP/2 CONNECT over mutual TLS, on Python's ssl and the h2 library, to see the other side's exact words."""

import select
import socket
import ssl
import threading

from . import http2
from .claim import Skipped


def require():
    if not http2.h2:
        raise Skipped("the Python library h2 is not installed; scripts/setup --tests installs it")


def context(authority, name, is_server=False, alpn=("h2",), version=ssl.TLSVersion.TLSv1_3):
    """TLS with the leaf `name` of a harness authority (None: no certificate); the peer's chain is checked, its name is not."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.maximum_version = version
    tls.load_verify_locations(authority.root)
    if name:
        tls.load_cert_chain(authority.path(f"{name}.pem"), authority.path(f"{name}.key"))
    if alpn:
        tls.set_alpn_protocols(list(alpn))
    return tls


def identity_of(certificate):
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]


class TLSSocket:
    """A TLS socket that one thread may read while others write."""

    def __init__(self, sock):
        self.sock = sock
        self.lock = threading.Lock()
        sock.setblocking(False)

    def recv(self, count):
        while True:
            try:
                with self.lock:
                    return self.sock.recv(count)
            except ssl.SSLWantReadError:
                select.select([self.sock], [], [], 0.5)
            except ssl.SSLWantWriteError:
                select.select([], [self.sock], [], 0.5)
            except ssl.SSLEOFError:
                return b""

    def sendall(self, data):
        data = memoryview(data)
        while data:
            try:
                with self.lock:
                    data = data[self.sock.send(data):]
            except ssl.SSLWantWriteError:
                select.select([], [self.sock], [], 0.5)
            except ssl.SSLWantReadError:
                select.select([self.sock], [], [], 0.5)

    def close(self):
        # Not while the other thread reads: the next socket may get this one's number.
        with self.lock:
            self.sock.close()


class Tunnel:
    """One stream. All fields are the peer's: what it answered and sent, and how it ended."""

    def __init__(self, peer, stream):
        self.peer, self.stream = peer, stream
        self.headers = None
        self.data = bytearray()
        self.is_ended = False
        self.reset = None

    @property
    def status(self):
        return dict(self.headers or ()).get(":status")

    def fields(self):
        return dict(self.headers or ())

    def wait(self, condition, seconds=10):
        with self.peer.session.changed:
            return self.peer.session.changed.wait_for(lambda: condition(self) or self.peer.is_closed, seconds) and condition(self)

    def answered(self, seconds=10):
        self.wait(lambda t: t.headers is not None or t.reset is not None, seconds)
        return self.status

    def ended(self, seconds=10):
        return self.wait(lambda t: t.is_ended or t.reset is not None, seconds)

    def send(self, data, ends=False):
        session = self.peer.session
        data = memoryview(data)
        while data:
            with session.changed:
                if not session.changed.wait_for(lambda: self.peer.is_closed or self.reset is not None or session.window(self.stream) > 0, 20):
                    raise TimeoutError("no window")
                if self.peer.is_closed or self.reset is not None:
                    raise ConnectionResetError("the stream has ended")
                room = session.window(self.stream)
                session.h2.send_data(self.stream, bytes(data[:room]))
                data = data[room:]
                session.flush()
        if ends:
            self.end()

    def end(self):
        session = self.peer.session
        with session.lock:
            session.h2.end_stream(self.stream)
            session.flush()

    def cancel(self):
        session = self.peer.session
        with session.lock:
            session.h2.reset_stream(self.stream, http2.h2.errors.ErrorCodes.CANCEL)
            session.flush()


class Peer:
    """A connection that speaks HBONE; a thread reads it and hands events to tunnels."""

    def __init__(self, sock, is_client, reads=True):
        self.raw = sock
        self.certificate = sock.getpeercert()
        self.sock = TLSSocket(sock)
        self.tunnels = {}
        self.is_closed = False
        self.goaway = None
        self.on_tunnel = None
        self.session = http2.Session(self.sock, is_client)
        if reads:
            threading.Thread(target=self._read, daemon=True).start()

    @classmethod
    def connect(cls, address, port, authority, name="client", space=None, source=None, reads=True, **options):
        """The TLS handshake as the leaf `name`; ssl.SSLError or OSError where it is refused."""
        tls = context(authority, name, **options)
        sock = space.connect(address, port, source) if space else socket.create_connection((address, port), timeout=10, source_address=(source, 0) if source else None)
        try:
            return cls(tls.wrap_socket(sock), True, reads)
        except BaseException:
            sock.close()
            raise

    def _read(self):
        try:
            while data := self.sock.recv(262144):
                for event in self.session.receive(data):
                    self._handle(event)
                with self.session.changed:
                    self.session.changed.notify_all()
        except (OSError, ValueError, http2.h2.exceptions.ProtocolError):
            pass
        with self.session.changed:
            self.is_closed = True
            self.session.changed.notify_all()

    def _handle(self, event):
        h2 = http2.h2.events
        if isinstance(event, h2.ConnectionTerminated):
            self.goaway = http2.code_name(event.error_code)
            return
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.RequestReceived):
            tunnel = self.tunnels[stream] = Tunnel(self, stream)
        tunnel = self.tunnels.get(stream)
        if tunnel is None:
            return
        if isinstance(event, (h2.ResponseReceived, h2.RequestReceived)):
            tunnel.headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
        elif isinstance(event, h2.DataReceived):
            tunnel.data += event.data
        elif isinstance(event, h2.StreamEnded):
            tunnel.is_ended = True
        elif isinstance(event, h2.StreamReset):
            tunnel.reset = http2.code_name(event.error_code)
        if isinstance(event, h2.RequestReceived) and self.on_tunnel:
            threading.Thread(target=self.on_tunnel, args=(tunnel,), daemon=True).start()

    def open(self, authority, *fields, method="CONNECT", ends=False):
        """A stream with these pseudo-headers and fields."""
        headers = [(b":method", method.encode())]
        if authority is not None:
            headers.append((b":authority", authority.encode()))
        headers += [(n.encode(), v.encode()) for n, v in fields]
        with self.session.lock:
            stream = self.session.h2.get_next_available_stream_id()
            tunnel = self.tunnels[stream] = Tunnel(self, stream)
            self.session.h2.send_headers(stream, headers, end_stream=ends)
            self.session.flush()
        return tunnel

    def close(self):
        self.sock.close()


class HBONEServer:
    """Where tunnels end: each runs `serve(tunnel)` after it was answered with 200. `peers` are connections so far."""

    def __init__(self, address, port, authority, name, serve, space=None, answer=((":status", "200"),)):
        tls = context(authority, name, is_server=True)
        self.listener = space.listen(address, port) if space else socket.create_server((address, port))
        self.peers, self.tunnels, self.failures, self.server_names = [], [], [], []
        self.alpn = []
        self._serve, self._answer = serve, answer
        tls.sni_callback = lambda sock, name, _: self.server_names.append(name)
        threading.Thread(target=self._accept, args=(tls,), daemon=True).start()

    def _accept(self, tls):
        while True:
            try:
                sock, _ = self.listener.accept()
                sock.settimeout(10)
            except OSError:
                return
            try:
                secure = tls.wrap_socket(sock, server_side=True)
                self.alpn.append(secure.selected_alpn_protocol())
                peer = Peer(secure, False, reads=False)
            except OSError as error:
                self.failures.append(error)
                sock.close()
                continue
            peer.on_tunnel = self._tunnel
            self.peers.append(peer)
            threading.Thread(target=peer._read, daemon=True).start()

    def _tunnel(self, tunnel):
        self.tunnels.append(tunnel)
        session = tunnel.peer.session
        with session.lock:
            session.h2.send_headers(tunnel.stream, [(n.encode(), v.encode()) for n, v in self._answer])
            session.flush()
        self._serve(tunnel)

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in self.peers:
            peer.close()


def echo_tunnel(tunnel):
    """Sends back what comes, and ends when the client has."""
    sent = 0
    while True:
        if not tunnel.wait(lambda t: len(t.data) > sent or t.is_ended or t.reset is not None, 30) or tunnel.reset is not None:
            return
        piece = bytes(tunnel.data[sent:])
        sent += len(piece)
        if piece:
            tunnel.send(piece)
        elif tunnel.is_ended:
            return tunnel.end()
