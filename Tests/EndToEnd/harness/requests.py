"""Request bytes, spelled out."""


def get(path="/", host="a.test", *headers, method="GET", version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", f"Host: {host}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path="/", body="hello", *headers, host="a.test"):
    return get(path, host, f"Content-Length: {len(body)}", *headers, method="POST") + body.encode()


def chunked(path, *chunks, headers=(), trailers=(), host="a.test"):
    data = get(path, host, "Transfer-Encoding: chunked", *headers, method="POST")
    for chunk in chunks:
        data += f"{len(chunk):x}\r\n{chunk}\r\n".encode()
    return data + b"0\r\n" + "".join(f"{t}\r\n" for t in trailers).encode() + b"\r\n"
