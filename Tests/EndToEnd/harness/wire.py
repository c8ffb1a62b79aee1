"""HTTP/1.1 read from a socket without interpretation: nothing is repaired, nothing is hidden."""

import socket


class Timeout(Exception):
    """Nothing arrived in time."""


class Closed(Exception):
    """The peer ended the connection; `how` is "fin" or "rst", `partial` what had arrived."""

    def __init__(self, how, partial=b""):
        super().__init__(how)
        self.how = how
        self.partial = partial


class Reader:
    """Buffered reads with a deadline per call."""

    def __init__(self, sock, seconds=6.0):
        self.sock = sock
        self.seconds = seconds
        self.buffer = b""

    def more(self, seconds=None):
        self.sock.settimeout(self.seconds if seconds is None else seconds)
        try:
            data = self.sock.recv(65536)
        except (socket.timeout, TimeoutError):
            raise Timeout() from None
        except ConnectionError:
            raise Closed("rst", self.buffer) from None
        except OSError as error:
            if "EOF occurred" in str(error):
                raise Closed("fin", self.buffer) from None
            raise
        if not data:
            raise Closed("fin", self.buffer)
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def rest(self):
        """Everything up to the end of the stream, and how it ended."""
        try:
            while True:
                self.more()
        except Closed as end:
            data, self.buffer = self.buffer, b""
            return data, end.how
        except Timeout:
            data, self.buffer = self.buffer, b""
            return data, "open"


def text(data):
    return data.decode("latin-1")


def parse_head(head):
    """(start line, [(name, value)]) with names as sent and values without surrounding blanks."""
    lines = text(head).split("\r\n")
    fields = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields.append((name, value.strip(" \t")))
    return lines[0], fields


def field(fields, name):
    """The last value of a header, or None."""
    values = [v for n, v in fields if n.lower() == name]
    return values[-1] if values else None


def read_chunked(reader, into):
    """Reads chunks and trailers; `into` gets body and trailers even when the stream breaks off."""
    while True:
        size = int(reader.until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            break
        into["body"] += text(reader.take(size))
        reader.take(2)
    trailers = []
    while line := reader.until(b"\r\n"):
        name, _, value = text(line).partition(":")
        trailers.append([name, value.strip()])
    if trailers:
        into["trailers"] = sorted(trailers)


def read_message(reader, is_response, method="GET"):
    """One message as a dictionary. A stream that breaks off in the body leaves "ended" in it."""
    head = reader.until(b"\r\n\r\n")
    while is_response is False and head.startswith(b"\r\n"):
        head = head[2:]
    line, fields = parse_head(head)
    message = {"line": line, "headers": sorted([list(f) for f in fields]), "body": ""}
    status = int(line.split(" ")[1]) if is_response and line.startswith("HTTP/") else 0
    length = field(fields, "content-length")
    coding = field(fields, "transfer-encoding")
    try:
        if is_response and (100 <= status < 200 or status in (204, 304) or method == "HEAD"):
            return message
        if is_response and method == "CONNECT" and 200 <= status < 300:
            return message
        if coding and "chunked" in coding.lower():
            read_chunked(reader, message)
        elif length and length.isdigit():
            wanted = int(length)
            while len(reader.buffer) < wanted:
                reader.more()
            message["body"] = text(reader.take(wanted))
        elif is_response:
            data, how = reader.rest()
            message["body"] = text(data)
            message["ended"] = how
    except Closed as end:
        message["body"] += text(end.partial)
        message["ended"] = end.how
        reader.buffer = b""
    except (Timeout, ValueError):
        message["body"] += text(reader.buffer)
        message["ended"] = "stalled"
        reader.buffer = b""
    return message


def read_message_body(reader, message):
    """Reads a request's body by its own framing into `message`, whose head was read before."""
    coding = field([tuple(h) for h in message["headers"]], "transfer-encoding")
    length = field([tuple(h) for h in message["headers"]], "content-length")
    try:
        if coding and "chunked" in coding.lower():
            read_chunked(reader, message)
        elif length and length.isdigit():
            while len(reader.buffer) < int(length):
                reader.more()
            message["body"] = text(reader.take(int(length)))
    except Closed as end:
        message["body"] += text(end.partial)
        message["ended"] = end.how
        reader.buffer = b""
        raise
