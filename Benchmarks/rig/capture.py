"""A network namespace of our own, in which connections to an address of the mesh are led to the client's hop.

It needs root, or a kernel that lets users have namespaces, and `ip` and `nft`.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
# So that tens of thousands of connections a minute find ports, and the kernel's table room for them.
LIMITS = {"ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": "1",
          "netfilter/nf_conntrack_tcp_timeout_time_wait": "1"}


def enter(address):
    """Moves this process, which has one thread, into a namespace where `address` is local. None, or why not."""
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            return f"there is no `{tool}`"
    user, group = os.getuid(), os.getgid()
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(NEW_NETWORK if user == 0 else NEW_USER | NEW_NETWORK):
        return f"no network namespace: {os.strerror(ctypes.get_errno())}"
    if user != 0:
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{file}", "w") as out:
                out.write(text)
    failure = run("ip", "link", "set", "lo", "up") or run("ip", "address", "add", f"{address}/32", "dev", "lo") or run(
        "nft", "add table ip bench; add chain ip bench out { type nat hook output priority -100; }")
    for name, value in {} if failure else LIMITS.items():
        with contextlib.suppress(OSError), open(f"/proc/sys/net/{name}", "w") as file:
            file.write(value)
    return failure


def redirect(address, port, to):
    failure = run("nft", f"add rule ip bench out ip daddr {address} tcp dport {port} redirect to :{to}")
    if failure:
        raise SystemExit(failure)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return f"{command[0]} failed: {done.stderr.strip()}" if done.returncode else None
