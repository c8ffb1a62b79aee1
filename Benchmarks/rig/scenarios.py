"""The scenarios: each measures every peer in turn, repetition after repetition, and returns a markdown table."""

import gc
import statistics
import sys
import time

from rig import frames, http1
from rig.loop import Loop
from rig.peers import free_port


class Table:
    """Figures by row and peer, all repetitions kept. Rows are compared with Envoy's, or as `ratios` says in pairs of names."""

    def __init__(self, form="{:.2f}", ratios=None):
        self.form = form
        self.ratios = ratios
        self.rows = {}

    def add(self, row, peer, value):
        self.rows.setdefault(row, {}).setdefault(peer, []).append(value)
        print(f"  {peer}: {row}: {self.form.format(value)}", file=sys.stderr, flush=True)

    def __str__(self):
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        ratios = self.ratios if self.ratios is not None else [(name, "envoy") for name in names if name != "envoy"]
        ratios = [ratio for ratio in ratios if set(ratio) <= set(names)]
        heads = names + [f"{name} ÷ {other}" for name, other in ratios]
        lines = ["| figure | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
        for row, cells in self.rows.items():
            shown = [row, *(self.cell(cells.get(name)) for name in names)]
            for name, other in ratios:
                both = name in cells and other in cells and statistics.median(cells[other])
                shown.append(f"{statistics.median(cells[name]) / both:.2f}" if both else "–")
            lines.append("| " + " | ".join(shown) + " |")
        return "\n".join(lines)

    def cell(self, values):
        if not values:
            return "–"
        form = self.form.format
        return f"{form(statistics.median(values))} ({form(min(values))}–{form(max(values))})"


def each(chosen, scenario, repetitions):
    """Every peer that has a file for the scenario, interleaved, each time with a loop of its own."""
    for _ in range(repetitions):
        for peer in chosen.values():
            if peer.has(scenario):
                loop = Loop()
                yield peer, loop
                loop.close()


def cpu_per(loop, proxy, seconds, count):
    """(CPU µs of the proxy for each of what `count` counts, share of a CPU it used)."""
    loop.run(min(0.5, seconds))
    began, cpu, done = time.perf_counter(), proxy.cpu(), count()
    loop.run(seconds)
    elapsed, cpu, done = time.perf_counter() - began, proxy.cpu() - cpu, count() - done
    return cpu / max(1, done) * 1e6, cpu / elapsed


def streaming(chosen, repetitions, seconds):
    """Four connections with echoed messages, many or one of them under way on each."""
    table, busy = Table(), Table("{:.0%}")
    for streams, ahead in ((16, 4), (1, 1)):
        row = f"{streams} stream{'s' if streams > 1 else ''} × {ahead} message{'s' if ahead > 1 else ''} under way"
        for peer, loop in each(chosen, "streams", repetitions):
            values = {"LISTEN": free_port(), "UPSTREAM": loop.listen(frames.EchoServer)}
            with peer.start("streams", values) as proxy:
                callers = [frames.Caller.connect(loop, values["LISTEN"], streams, ahead, 100) for _ in range(4)]
                loop.until(lambda: all(c.messages for c in callers), "the first echoes")
                # An echo passes the proxy twice.
                cost, share = cpu_per(loop, proxy, seconds or 2, lambda: 2 * sum(c.messages for c in callers))
                table.add(f"CPU µs per message, {row}", peer.name, cost)
                busy.add(f"busy, {row}", peer.name, share)
    return f"{table}\n\nHow busy the proxy's CPU was meanwhile:\n\n{busy}"


def idle_streams(chosen, repetitions, seconds):
    """100 connections with 100 calls each that are open, have carried a message either way, and now say nothing."""
    table = Table("{:.1f}")
    for peer, loop in each(chosen, "streams", repetitions):
        values = {"LISTEN": free_port(), "UPSTREAM": loop.listen(frames.EchoServer)}
        with peer.start("streams", values) as proxy:
            loop.run(1)
            before = proxy.memory()
            callers = []
            for _ in range(100):
                caller = frames.Caller.connect(loop, values["LISTEN"], 100, 1, 100)
                caller.repeats = False
                callers.append(caller)
                loop.turn(0)
            loop.until(lambda: all(c.messages == 100 for c in callers), "10,000 answers")
            loop.run(seconds or 3)
            after = proxy.memory()
            table.add("MiB at start", peer.name, before / 1024)
            table.add("MiB more with 10,000 idle streams", peer.name, (after - before) / 1024)
            table.add("KiB for each stream", peer.name, (after - before) / 10000)
    return str(table)


def everything(chosen, repetitions, seconds):
    """32 connections in closed loop on the plain file, and on the one with everything on."""
    table, busy = Table("{:.1f}"), Table("{:.0%}")
    for peer, loop in each(chosen, "everything", repetitions):
        for scenario in ("plain", "everything"):
            values = {"LISTEN": free_port(), "UPSTREAM": loop.listen(http1.Backend), "LOG": "access.log"}
            with peer.start(scenario, values) as proxy:
                http1.ClosedLoop.served = 0
                clients = [http1.ClosedLoop.connect(loop, values["LISTEN"]) for _ in range(32)]
                for client in clients:
                    client.ask()
                loop.until(lambda: http1.ClosedLoop.served > 1000, "the first responses")
                cost, share = cpu_per(loop, proxy, seconds or 3, lambda: http1.ClosedLoop.served)
                table.add(f"CPU µs per request, {scenario}", peer.name, cost)
                busy.add(f"busy, {scenario}", peer.name, share)
                for client in clients:
                    loop.remove(client)
    return f"{table}\n\nHow busy the proxy's CPU was meanwhile:\n\n{busy}"


def scrape(chosen, repetitions, seconds):
    """A fixed rate with and without a reader of all stats, in one process of the proxy, taking turns."""
    table, sizes = Table("{:.0f}"), Table("{:.0f}")
    for peer, loop in each(chosen, "scrape", repetitions):
        values = {"LISTEN": free_port(), "UPSTREAM": loop.listen(http1.Backend), "ADMIN": free_port()}
        with peer.start("scrape", values, many_clusters):
            traffic = http1.FixedRate(loop, values["LISTEN"], connections=32, rate=2000)
            scraper = http1.Scraper(loop, values["ADMIN"], "/stats/prometheus")
            traffic.run(1, scraper)
            gc.collect()
            gc.disable()
            quiet, loud = [], []
            for _ in range(2):
                quiet += traffic.run(seconds or 4)
                loud += traffic.run(seconds or 4, scraper)
            gc.enable()
            loop.until(lambda: not any(isinstance(e, http1.Scraper.Connection) for e in loop.ends.values()), "the last scrape")
            for share in (50, 99):
                table.add(f"p{share} µs, not scraped", peer.name, percentile(quiet, share))
                table.add(f"p{share} µs, scraped every second", peer.name, percentile(loud, share))
            sizes.add("stats in a scrape", peer.name, scraper.lines / max(1, scraper.scrapes))
            sizes.add("KiB in a scrape", peer.name, scraper.bytes / max(1, scraper.scrapes) / 1024)
    return f"{table}\n\n{sizes}"


def many_clusters(file):
    """The file with so many clusters that there are 10,000 stats at least."""
    clusters = file["static_resources"]["clusters"]
    clusters += [{**clusters[0], "name": f"other-{i}"} for i in range(80)]
    return file


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] * 1e6


ALL = {"streaming": streaming, "idle-streams": idle_streams, "everything": everything, "scrape": scrape}
