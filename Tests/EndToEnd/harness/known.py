"""The deliberate differences from Envoy: each names its cases, what differs, and why.

A case whose differences are all covered passes. A difference that no longer shows fails, so that
the list, and docs/differences-from-envoy.md made from it, cannot go stale.
"""

import fnmatch
import re

WIRES = re.compile(r"^h[12]_h[12]\.")


class Difference:
    """`cases` are glob patterns of case names; `paths` glob patterns of result paths."""

    def __init__(self, title, reason, cases, paths=("*",), envoy="", ours="", optional=False):
        self.title = title
        self.reason = reason
        self.cases = cases
        self.paths = paths
        self.envoy = envoy
        self.ours = ours
        self.optional = optional

    def covers_case(self, name):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.cases)

    def covers_path(self, path):
        literal = path.replace("[", "<").replace("]", ">")
        return any(fnmatch.fnmatchcase(literal, p.replace("[", "<").replace("]", ">")) for p in self.paths)


def judge(name, found):
    """Splits differences into unexplained ones and titles of listed ones that did not show."""
    from harness.deliberate import DIFFERENCES
    # What differs in HTTP/1.1 may differ in the same way over the other wires.
    alike = WIRES.sub("", name)
    listed = [d for d in DIFFERENCES if d.covers_case(name) or d.covers_case(alike)]
    unexplained = [f for f in found if not any(d.covers_path(f[0]) for d in listed)]
    stale = [
        d.title for d in listed
        if not d.optional and d.covers_case(name) and not any(d.covers_path(path) for path, _, _ in found)
    ]
    return unexplained, stale


def render():
    """docs/differences-from-envoy.md."""
    from harness.deliberate import DIFFERENCES
    lines = [
        "# Differences from Envoy",
        "",
        "MeshProxy answers as Envoy 1.40 does, except where this page says otherwise. The page is made",
        "from `Tests/EndToEnd/harness/deliberate.py` by `Tests/EndToEnd/run --write-differences`; the",
        "differential suite fails when a difference appears that is not here, or when one of these is gone.",
        "",
        "| what | Envoy 1.40 | MeshProxy | why |",
        "|---|---|---|---|",
    ]
    for d in DIFFERENCES:
        lines.append(f"| {d.title} | {d.envoy} | {d.ours} | {d.reason} |")
    return "\n".join(lines) + "\n"
