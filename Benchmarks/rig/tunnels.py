"""The scenarios of two hops with mTLS between them: each measures every kind of pair in turn, as scenarios.py does."""

import contextlib
import tempfile

from rig import capture, identities, pairs, tcp
from rig.scenarios import Table, cpu_per, each, percentile

# Whose ratios are shown, and to whom.
RATIOS = [("ztunnel-lite", "envoy-hbone"), ("ztunnel-lite", "meshproxy-mtls"), ("ztunnel-lite", "envoy-mtls")]
MESSAGES = [(1, 64), (32, 64), (128, 64), (32, 1024)]  # connections, and the bytes of their messages
COUNT = 1000  # of open connections, where memory is what counts


@contextlib.contextmanager
def certificates():
    with tempfile.TemporaryDirectory(prefix="meshproxy-bench-") as directory:
        identities.issue(directory)
        yield directory


def messages(chosen, repetitions, seconds):
    """Connections on each of which a message goes round: it passes both hops there and back."""
    table, busy = Table("{:.2f}", RATIOS), Table("{:.0%}", [])
    with certificates() as files:
        for pair, loop in each(chosen, "messages", repetitions):
            backend = loop.listen(tcp.Echo, address=pairs.SERVER)
            with pair.start(backend, files) as hops:
                for count, size in MESSAGES:
                    clients = [tcp.PingPong.enter(loop, hops.door, bytes(size)) for _ in range(count)]
                    loop.until(lambda: all(c.rounds for c in clients), "the first echoes")
                    cost, share = cpu_per(loop, hops, seconds or 1.5, lambda: 2 * sum(c.rounds for c in clients))
                    row = f"{size} bytes, {count} connection{'s' if count > 1 else ''}"
                    table.add(f"CPU µs of both per message, {row}", pair.name, cost)
                    busy.add(f"busy, {row}", pair.name, share)
                    for client in clients:
                        loop.remove(client)
    return f"{table}\n\nHow busy the hops' CPU was meanwhile:\n\n{busy}"


def bulk(chosen, repetitions, seconds):
    """Two connections, as fast as it goes: to the client, then to the server."""
    table, rate = Table("{:.0f}", RATIOS), Table("{:.2f}", RATIOS)
    ways = (("download", tcp.SinkClient, tcp.SourceServer), ("upload", tcp.SourceClient, tcp.SinkServer))
    with certificates() as files:
        for pair, loop in each(chosen, "bulk", repetitions):
            for way, client, server in ways:
                backend = loop.listen(server, address=pairs.SERVER)
                with pair.start(backend, files) as hops:
                    ends = [client.enter(loop, hops.door) for _ in range(2)]
                    tcp.Sink.bytes = 0
                    loop.until(lambda: tcp.Sink.bytes > 1 << 20, "the first megabyte")
                    cost, share = cpu_per(loop, hops, seconds or 2, lambda: tcp.Sink.bytes / 1024)
                    table.add(f"CPU ns of both per KiB, {way}", pair.name, cost * 1000)
                    rate.add(f"GiB for each second of CPU, {way}", pair.name, 1 / cost * 1e6 / (1 << 20))
                    for end in ends:
                        loop.remove(end)
    return f"{table}\n\n{rate}"


def connections(chosen, repetitions, seconds):
    """16 clients, each of which connects, has a message of 64 bytes echoed, closes and begins again."""
    table, busy = Table("{:.0f}", RATIOS), Table("{:.0%}", [])
    reason = capture.enter(pairs.VIRTUAL)
    for name in [n for n, pair in chosen.items() if isinstance(pair, pairs.AgentPair)]:
        chosen[name + ", logging"] = chosen[name].with_environment(name + ", logging", RUST_LOG="info")
    with certificates() as files:
        for pair, loop in each(chosen, "connections", repetitions):
            backend = loop.listen(tcp.Echo, address=pairs.SERVER)
            with pair.start(backend, files, captured=reason is None) as hops:
                tcp.Visitor.visits, tcp.Visitor.welcome = 0, True
                for _ in range(16):
                    tcp.Visitor.enter(loop, hops.door, bytes(64))
                loop.until(lambda: tcp.Visitor.visits > 100, "the first visits")
                cost, share = cpu_per(loop, hops, seconds or 1.5, lambda: tcp.Visitor.visits)
                tcp.Visitor.welcome = False
                table.add("CPU µs of both per connection", pair.name, cost)
                busy.add("busy", pair.name, share)
    how = f"through SOCKS5 at the agent, since {reason}" if reason else "redirected by the kernel, for every kind of hop alike"
    return f"Connections come {how}.\n\n{table}\n\nHow busy the hops' CPU was meanwhile:\n\n{busy}"


def rate(chosen, repetitions, seconds):
    """1,000 times a second 1 KiB goes round, on 16 connections."""
    table, times = Table("{:.4f}", RATIOS), Table("{:.0f}", RATIOS)
    with certificates() as files:
        for pair, loop in each(chosen, "rate", repetitions):
            backend = loop.listen(tcp.Echo, address=pairs.SERVER)
            with pair.start(backend, files) as hops:
                beat = tcp.Metronome(loop, hops.door, connections=16, rate=1000, message=bytes(1024))
                loop.until(lambda: all(c.rounds for c in beat.idle), "the first echoes")
                beat.begin()
                for name, hop in (("client", hops.client), ("server", hops.server)):
                    cost, share = cpu_per(loop, hop, seconds or 3, lambda: beat.ticks)
                    table.add(f"vCPU of the {name}'s hop", pair.name, cost * 1000 / 1e6)
                for part in (50, 99):
                    times.add(f"p{part} µs", pair.name, percentile(beat.latencies, part))
    return f"{table}\n\n{times}"


def memory(chosen, repetitions, seconds):
    """One hop at start; each hop with 1,000 connections that have carried a message; an agent with 10,000 workloads."""
    table = Table("{:.2f}", RATIOS)
    with certificates() as files:
        for pair, loop in each(chosen, "memory", repetitions):
            backend = loop.listen(tcp.Echo, address=pairs.SERVER)
            with pair.start(backend, files) as hops:
                loop.run(1)
                before = [hop.memory("Rss") for hop in (hops.client, hops.server)]
                clients = []
                for _ in range(COUNT):
                    clients.append(tcp.PingPong.enter(loop, hops.door, bytes(64)))
                    clients[-1].repeats = False
                    loop.turn(0)
                loop.until(lambda: all(c.rounds for c in clients), f"{COUNT} answers")
                loop.run(seconds or 2)
                after = [hop.memory("Rss") for hop in (hops.client, hops.server)]
                for name, first, then in zip(("client", "server"), before, after):
                    table.add(f"MiB at start, {name}'s hop", pair.name, first / 1024)
                    table.add(f"KiB per open connection, {name}'s hop", pair.name, (then - first) / COUNT)
                for client in clients:
                    loop.remove(client)
            if isinstance(pair, pairs.AgentPair):
                for count in (2, 10000):
                    with pair.alone(backend, files, count) as agent:
                        loop.run(1)
                        table.add(f"MiB, {count:,} workloads", pair.name, agent.memory("Rss") / 1024)
                        table.add(f"ms until it accepts, {count:,} workloads", pair.name, agent.seconds * 1000)
    return str(table)


ALL = {"tunnel-messages": messages, "tunnel-bulk": bulk, "tunnel-connections": connections, "tunnel-rate": rate,
       "tunnel-memory": memory}
