"""Real gRPC on both ends of a proxy: a service and a client on Python's grpcio, which `scripts/setup --tests` installs.

Messages are plain bytes, so that nothing has to be generated.
"""

import concurrent.futures
import glob
import os
import sys
import threading

from .claim import Skipped

SERVICE = "mesh.test.Echo"
MIB = 1024 * 1024


def load():
    """The grpc module; skips the claim where it is not installed."""
    # Other tests start processes while channels are open.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import grpc
        return grpc
    except ImportError:
        pass
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    for folder in glob.glob(os.path.join(cache, "meshproxy", "oracle", "lib", "python3*", "site-packages")):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        import grpc
        return grpc
    except ImportError:
        raise Skipped("grpcio is not installed: run scripts/setup --tests") from None


class Service:
    """An echo service in every shape of call. `calls` is what it was asked, `ended` what became of waiting calls."""

    def __init__(self, port=0, options=()):
        self.grpc = load()
        self.calls = []
        self.metadata = []
        self.waiting = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self.statuses = []
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.server = self.grpc.server(
            concurrent.futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0), *unlimited, *options],
        )
        handlers = {
            "Unary": self.grpc.unary_unary_rpc_method_handler(self.unary),
            "Collect": self.grpc.stream_unary_rpc_method_handler(self.collect),
            "Count": self.grpc.unary_stream_rpc_method_handler(self.count),
            "Flood": self.grpc.unary_stream_rpc_method_handler(self.flood),
            "Chat": self.grpc.stream_stream_rpc_method_handler(self.chat),
            "Wait": self.grpc.unary_unary_rpc_method_handler(self.wait),
            "Fail": self.grpc.unary_unary_rpc_method_handler(self.fail),
        }
        self.server.add_generic_rpc_handlers([self.grpc.method_handlers_generic_handler(SERVICE, handlers)])
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.server.start()

    def seen(self, name, context):
        self.calls.append(name)
        self.metadata.append(dict(context.invocation_metadata()))

    def unary(self, request, context):
        self.seen("Unary", context)
        sent = self.metadata[-1]
        context.send_initial_metadata((("x-initial", "one"), ("x-initial-bin", b"\x00\x01\xfe\xff")))
        context.set_trailing_metadata((("x-trailing", "two"), ("x-trailing-bin", b"\xff\x00\x80")))
        if "x-size" in sent:
            return bytes(int(sent["x-size"]))
        return request

    def collect(self, requests, context):
        self.seen("Collect", context)
        sizes = [len(request) for request in requests]
        return f"{len(sizes)} {sum(sizes)}".encode()

    def count(self, request, context):
        self.seen("Count", context)
        for number in range(int(request)):
            yield str(number).encode()

    def flood(self, request, context):
        """As many messages of one MiB as the request says, as fast as they are taken."""
        self.seen("Flood", context)
        message = bytes(MIB)
        for _ in range(int(request)):
            yield message

    def chat(self, requests, context):
        self.seen("Chat", context)
        for request in requests:
            yield b"re: " + request

    def wait(self, request, context):
        """Answers only when the caller has given up."""
        self.seen("Wait", context)
        ended = threading.Event()
        context.add_callback(ended.set)
        self.waiting.release()
        if ended.wait(20):
            self.cancelled.set()
        return b"too late"

    def fail(self, request, context):
        """Ends with the next status of `statuses`, or with the one that the request names."""
        self.seen("Fail", context)
        codes = {code.value[0]: code for code in self.grpc.StatusCode}
        status = self.statuses.pop(0) if self.statuses else int(request or b"0")
        if status == 0:
            return b"well"
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(codes[status], f"told to: 100% {status} é")

    def stop(self):
        self.server.stop(0).wait(5)


class Caller:
    """A client of that service on one channel."""

    def __init__(self, port, options=()):
        self.grpc = load()
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        retries = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = self.grpc.insecure_channel(f"127.0.0.1:{port}", options=[*unlimited, *retries, *options])
        path = f"/{SERVICE}/"
        self.unary = self.channel.unary_unary(path + "Unary")
        self.collect = self.channel.stream_unary(path + "Collect")
        self.count = self.channel.unary_stream(path + "Count")
        self.chat = self.channel.stream_stream(path + "Chat")
        self.wait = self.channel.unary_unary(path + "Wait")
        self.fail = self.channel.unary_unary(path + "Fail")
        self.unknown = self.channel.unary_unary("/mesh.test.Nothing/None")

    def failure(self, method, request=b"", **options):
        """The error of a call that must fail."""
        options.setdefault("timeout", 20)
        try:
            method(request, **options)
        except self.grpc.RpcError as error:
            return error
        raise AssertionError("the call did not fail")

    def close(self):
        self.channel.close()
