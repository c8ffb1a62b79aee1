"""ztunnel-lite before a waypoint that is MeshProxy on configs/waypoint.json: an ambient mesh with both layers, and nobody else's parts."""

import http.client
import json
import os
import re

from claims.ambient import new_mesh
from claims.waypoint import ask
from harness import ambient
from harness.ambient import identity
from harness.ports import free_port
from harness.proxy import Proxy, wait_until
from harness.upstream import Upstream
from harness import upstream as up

CONFIG = os.path.join(os.path.dirname(__file__), "..", "..", "..", "configs", "waypoint.json")


def waypoint_file(claim, address, hbone, vip, app, canary, admin, log):
    """The example, at the addresses of this mesh and with its names."""
    text = open(CONFIG).read()
    for old, new in (
        ("certs/waypoint.pem", claim.authority.path("waypoint.pem")), ("certs/waypoint-key.pem", claim.authority.path("waypoint.key")),
        ("certs/ca.pem", claim.authority.root), ("10.96.0.10", vip), ("/ns/shop/sa/frontend", "/ns/default/sa/frontend"), ("/dev/stdout", log),
    ):
        assert old in text, old
        text = text.replace(old, new)
    for old, new in ((8081, app), (8082, canary), (15000, admin)):
        text = re.sub(rf'"port_value": {old}\b', f'"port_value": {new}', text)
    file = json.loads(text)
    file["static_resources"]["listeners"][0]["address"]["socket_address"] = {"address": address, "port_value": hbone}
    return file


def test_ztunnel_brings_requests_to_our_waypoint(claim):
    """SOCKS5 → ztunnel-lite ═HBONE═▶ the example's waypoint → the app: each workload gets what its identity may have."""
    mesh = new_mesh(claim, hbone_port=free_port())
    claim.authority.issue("waypoint")
    addresses = ambient.loopback_addresses()
    frontend, intruder, waypoint, vip = (next(addresses) for _ in range(4))
    app, canary = Upstream("app"), Upstream("canary")
    claim.upstreams.update(app=app, canary=canary)
    mesh.workload("frontend", frontend)
    mesh.workload("intruder", intruder)
    mesh.workload("waypoint", waypoint)
    mesh.service("shop", vip, {80: 8080}, waypoint={"destination": f"/{waypoint}", "hboneMtlsPort": mesh.hbone_port})
    admin = free_port()
    directory = os.path.join(claim.directory, "waypoint")
    os.makedirs(directory)
    log = os.path.join(directory, "access.log")
    proxy = Proxy(claim.flavor, waypoint_file(claim, waypoint, mesh.hbone_port, vip, app.port, canary.port, admin, log), directory, admin)
    claim.proxies.append(proxy)
    proxy.wait_ready()
    agents = {name: mesh.agent(name, address=address, workers=1) for name, address in (("frontend", frontend), ("intruder", intruder))}

    def requests(who, *wanted):
        connection = http.client.HTTPConnection(vip, 80, timeout=10)
        connection.sock = agents[who].connect(vip, 80)
        try:
            return [ask(connection, method, path, **fields) for method, path, fields in wanted]
        finally:
            connection.close()

    app.script([up.respond(body="orders")])
    canary.script([up.respond(body="canary")])
    assert requests("frontend", ("GET", "/orders/7", {}), ("GET", "/orders/7", {"x-canary": "true"}), ("DELETE", "/orders/7", {}), ("GET", "/healthz", {})) == [
        (200, b"orders"), (200, b"canary"), (403, b"RBAC: access denied"), (200, b"ok\n")]
    assert requests("intruder", ("GET", "/orders/7", {}), ("GET", "/healthz", {})) == [(403, b"RBAC: access denied"), (200, b"ok\n")]
    assert wait_until(lambda: os.path.exists(log) and len(open(log).readlines()) == 6, 5), os.path.exists(log)
    seen = [(r["peer"], r["destination"], r["code"]) for r in map(json.loads, open(log))]
    assert seen == [(identity("frontend"), f"{vip}:80", code) for code in (200, 200, 403, 200)] + [
        (identity("intruder"), f"{vip}:80", code) for code in (403, 200)], seen
    line = agents["frontend"].logged()
    assert line["dst.hbone_addr"] == f"{vip}:80" and line["dst.identity"] == identity("waypoint"), line["line"]
