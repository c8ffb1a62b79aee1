"""Ports no one else listens on, taken below the range the kernel hands to clients."""

import random
import socket
import threading

_taken = set()
_lock = threading.Lock()


def free_port():
    """A TCP port of 127.0.0.1 that is free now and is not handed out twice by this process."""
    with _lock:
        for _ in range(1000):
            port = random.randrange(10_000, 32_000)
            if port in _taken:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            _taken.add(port)
            return port
    raise RuntimeError("no free port between 10000 and 32000")
