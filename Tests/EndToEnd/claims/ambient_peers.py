"""ztunnel-lite against peers that are not: HBONE spoken by hand, and a real Envoy at either end of a tunnel."""

import hashlib
import os
import re
import socket
import ssl
import threading
import time

from claims.ambient import MIB, Pair, digest, digest_of, new_mesh, principals
from claims.ambient_policy import refusal
from harness import ambient, hbone
from harness.ambient import Server, ask, echo, ending, identity
from harness.claim import Skipped
from harness.envoyfile import bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route, typed, upstream_tls
from harness.ports import free_port
from harness.proxy import Flavor, Proxy, find_envoy, wait_until

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Inbound(Pair):
    """The pair; `peer` is a connection by hand to the server's HBONE port as the leaf `client` or another."""

    def peer(self, claim, name="client", **options):
        hbone.require()
        return hbone.Peer.connect(self.server_address, self.mesh.hbone_port, claim.authority, name, **options)

    @property
    def target(self):
        return f"{self.server_address}:{self.server.port}"


def test_what_a_hand_made_client_is_answered(claim):
    """200 with the workload's baggage, 400, 401 and 503: each for its reason, and the connection goes on."""
    pair = Inbound(claim, policies=["callers"])
    pair.mesh.policy("callers", principals("client"))
    pair.mesh.write()
    assert wait_until(lambda: "the mesh has changed" in pair.far.output(), 15)
    peer = pair.peer(claim)
    assert peer.sock.sock.selected_alpn_protocol() == "h2" and peer.sock.sock.version() == "TLSv1.3"
    assert hbone.identity_of(peer.certificate) == [identity("server")], peer.certificate
    tunnel = peer.open(pair.target, ("baggage", "k8s.cluster.name=Kubernetes"), ("forwarded", 'for="10.1.2.3:4"'))
    assert tunnel.answered() == "200", tunnel.headers
    baggage = tunnel.fields().get("baggage", "")
    for member in ("k8s.namespace.name=default", "k8s.deployment.name=server", "service.name=server", "service.version=v1"):
        assert member in baggage.split(","), tunnel.headers
    assert set(tunnel.fields()) <= {":status", "baggage", "date"}, tunnel.headers
    tunnel.send(b"hello", ends=True)
    assert tunnel.ended() and bytes(tunnel.data) == b"hello" and tunnel.reset is None
    dead = free_port()
    for name, authority, method, wanted in (
        ("another's address", f"{pair.client_address}:{pair.server.port}", "CONNECT", "400"),
        ("no port", pair.server_address, "CONNECT", "400"),
        ("nobody listens", f"{pair.server_address}:{dead}", "CONNECT", "503"),
        ("an unknown service", "nowhere.default.svc.cluster.local:80", "CONNECT", "503"),
        ("the agent's own port", f"{pair.server_address}:{pair.mesh.hbone_port}", "CONNECT", "503"),
        ("the service by name", "echo.default.svc.cluster.local:80", "CONNECT", "200"),
    ):
        tunnel = peer.open(authority, method=method)
        assert tunnel.answered() == wanted, (name, tunnel.headers, tunnel.reset)
    plain = peer.open(pair.target, (":scheme", "https"), (":path", "/"), method="GET", ends=True)
    assert plain.answered() == "400", (plain.headers, plain.reset)
    intruder = pair.peer(claim, "intruder").open(pair.target)
    assert intruder.answered() == "401", intruder.headers
    assert set(pair.server.peers) and len(pair.server.peers) == 2, pair.server.peers
    denied = pair.far.logged(level="error", **{"src.identity": identity("intruder")})
    assert "none allowed" in denied["error"], denied["line"]
    assert any("ip mismatch" in l for l in pair.far.output().splitlines()), pair.far.output()[-3000:]
    assert peer.open(pair.target).answered() == "200", "the connection did not survive its streams"


def test_what_our_client_sends(claim):
    """The CONNECT has exactly HBONE's fields; TLS offers h2 and no name."""
    hbone.require()
    mesh = new_mesh(claim, hbone_port=free_port())
    addresses = ambient.loopback_addresses()
    ours, theirs = next(addresses), next(addresses)
    vip = "240.0.2.1"
    mesh.workload("client", ours, locality={"region": "r1", "zone": "z1", "subzone": ""})
    mesh.service("echo", vip, {80: 9000}, mesh.workload("server", theirs))
    server = hbone.HBONEServer(theirs, mesh.hbone_port, claim.authority, "server", hbone.echo_tunnel)
    claim.proxies.append(server)
    agent = mesh.agent("client", address=ours, workers=1)
    assert ask(agent.connect(theirs, 9000), b"by address") == b"by address"
    assert ask(agent.connect(vip, 80), b"by service") == b"by service"
    by_address, by_service = server.tunnels
    assert len(server.peers) == 1 and server.alpn == ["h2"] and server.server_names in ([], [None]), (server.alpn, server.server_names)
    assert hbone.identity_of(server.peers[0].certificate) == [identity("client")]
    for tunnel in server.tunnels:
        fields = tunnel.fields()
        assert set(fields) == {":method", ":authority", "baggage", "forwarded", "traceparent"}, tunnel.headers
        assert fields[":method"] == "CONNECT" and fields[":authority"] == f"{theirs}:9000", tunnel.headers
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", fields["traceparent"]), fields
        assert fields["baggage"].split(",") == [
            "k8s.cluster.name=Kubernetes", "k8s.namespace.name=default", "k8s.deployment.name=client", "service.name=client",
            "service.version=v1", "cloud.region=r1", "cloud.availability_zone=z1",
        ], fields["baggage"]
    assert re.fullmatch(r'for="127\.0\.0\.1:\d+"(;host=echo\.default\.svc\.cluster\.local)?', by_address.fields()["forwarded"]), by_address.headers
    assert by_service.fields()["forwarded"].endswith(";host=echo.default.svc.cluster.local"), by_service.headers
    assert by_address.fields()["traceparent"] != by_service.fields()["traceparent"]


def test_an_answer_other_than_200_fails_the_connection_and_is_told(claim):
    hbone.require()
    for status, text in (("401", "401 Unauthorized"), ("503", "503 Service Unavailable"), ("404", "404 Not Found")):
        mesh = new_mesh(claim, hbone_port=free_port())
        addresses = ambient.loopback_addresses()
        ours, theirs = next(addresses), next(addresses)
        mesh.workload("client", ours)
        mesh.workload("server", theirs)
        server = hbone.HBONEServer(theirs, mesh.hbone_port, claim.authority, "server", lambda t: t.end(), answer=[(":status", status)])
        claim.proxies.append(server)
        agent = mesh.agent("client", address=ours, workers=1)
        assert refusal(lambda: agent.connect(theirs, 9000)) in (1, 2, 4), status
        assert agent.logged(level="error", error=f"http status: {text}"), status
        assert len(server.tunnels) == 1, "it was tried again"
        mesh.stop()


def test_a_peer_of_another_identity_is_refused_with_both_views(claim):
    """Who should have been there, and who was."""
    hbone.require()
    for name, said in (("intruder", (identity("server"), identity("intruder"))), ("rogue", ())):
        mesh = new_mesh(claim, hbone_port=free_port())
        addresses = ambient.loopback_addresses()
        ours, theirs = next(addresses), next(addresses)
        mesh.workload("client", ours)
        mesh.workload("server", theirs)
        server = hbone.HBONEServer(theirs, mesh.hbone_port, claim.authority, name, hbone.echo_tunnel)
        claim.proxies.append(server)
        agent = mesh.agent("client", address=ours, workers=1)
        assert refusal(lambda: agent.connect(theirs, 9000)) != "open", name
        line = agent.logged(level="error")
        assert all(word in line["error"] for word in said), (name, line["line"])
        assert not server.tunnels, name
        failed = agent.metrics("istio_tcp_connections_failed_total")
        assert wait_until(lambda: any(l["response_flags"] in ("TLS_FAILURE", "IDENTITY_ERROR") for _, l, _ in agent.metrics("istio_tcp_connections_failed_total")), 15), failed
        mesh.stop()


def test_a_client_without_a_good_certificate_comes_to_nothing(claim):
    """No certificate, another authority's, an expired one, one that is no workload's, another protocol."""
    pair = Inbound(claim)
    for name, options in (
        (None, {}), ("rogue", {}), ("expired", {}), ("nameless", {}), ("ip", {}), ("serveronly", {}),
        ("client", {"version": ssl.TLSVersion.TLSv1_2}),
    ):
        try:
            peer = pair.peer(claim, name, **options)
            # In TLS 1.3 a client has finished before the server has seen its certificate.
            assert peer.open(pair.target).answered(5) is None, f"{name} was let in"
        except OSError:
            pass
        if options:
            continue
        assert wait_until(lambda: pair.far.output().count("handshake") or pair.far.access(level="error") or pair.far.access("connection failed"), 15), name
    assert not pair.server.peers
    assert pair.echoes()


def test_revoked_clients_are_refused(claim):
    """CRL_PATH is read as it changes: who is revoked comes in no more, and what is open ends."""
    crl = os.path.join(claim.directory, "crl.pem")
    claim.authority.revoke(os.path.join(claim.directory, "none.crl"))
    with open(os.path.join(claim.directory, "none.crl")) as file:
        ambient.edit(crl, file.read())
    pair = Inbound(claim, variables={"CRL_PATH": crl})
    peer = pair.peer(claim, "revoked")
    tunnel = peer.open(pair.target)
    assert tunnel.answered() == "200"
    with open(claim.authority.path("ca.crl")) as file:
        ambient.edit(crl, file.read())
    assert wait_until(lambda: peer.is_closed or tunnel.reset, 10), "the connection of a revoked client stays open"
    try:
        assert pair.peer(claim, "revoked").open(pair.target).answered(5) is None
    except OSError:
        pass
    assert wait_until(lambda: pair.far.metric("istio_tcp_connections_failed_total", response_flags="CERT_REVOKED") >= 1, 15), pair.far.output()[-2000:]
    assert pair.peer(claim).open(pair.target).answered() == "200"


def test_flow_control_reaches_from_end_to_end(claim):
    """A client by hand that sends to a server that does not read is stopped, and the neighbouring stream is not."""
    gate = threading.Event()

    def serve(sock, peer):
        if sock.recv(1) == b"e":
            return echo(sock, peer)
        gate.wait(30)
        sock.sendall(b"%d" % (1 + len(ambient.read_all(sock))))

    pair = Inbound(claim, serve=serve)
    peer = pair.peer(claim)
    stuck = peer.open(pair.target)
    assert stuck.answered() == "200"
    sent = [0]

    def push():
        piece = b"s" * MIB
        for _ in range(64):
            stuck.send(piece)
            sent[0] += 1
        stuck.end()
    before = pair.far.resident_kib()
    thread = threading.Thread(target=push, daemon=True)
    thread.start()

    def stopped():
        count = sent[0]
        time.sleep(0.4)
        return count == sent[0] and count < 64
    assert wait_until(stopped, 20), "nobody stopped the sender"
    assert pair.far.resident_kib() - before < 24 * 1024, pair.far.resident_kib() - before
    for _ in range(10):
        other = peer.open(pair.target)
        other.send(b"ehello", ends=True)
        assert other.ended() and bytes(other.data) == b"hello"
    gate.set()
    thread.join(30)
    assert stuck.ended(30) and bytes(stuck.data) == b"%d" % (64 * MIB), bytes(stuck.data)


# A real Envoy.

def envoy_or_skip():
    path = find_envoy()
    if not path:
        raise Skipped("Envoy was not found; scripts/setup --tests installs it")
    return Flavor("envoy", path)


def run_envoy(claim, flavor, name, file, admin):
    directory = os.path.join(claim.directory, name)
    os.makedirs(directory)
    proxy = Proxy(flavor, file, directory, admin)
    claim.proxies.append(proxy)
    return proxy.wait_ready()


def envoy_client(claim, flavor, target, gateway, name="client"):
    """A plain port of Envoy's whose connections go to `target` through HBONE at `gateway`. Returns (port, proxy)."""
    port, admin = free_port(), free_port()
    tcp = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix="near", cluster="far", tunneling_config={
        "hostname": target, "headers_to_add": [{"header": {"key": "forwarded", "value": 'for="%DOWNSTREAM_REMOTE_ADDRESS%"'}}]})
    tls = upstream_tls(common_tls(claim.authority, name, "ca", [identity("server")], alpn_protocols=["h2"],
                                  tls_params={"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}))
    http2 = {OPTIONS: typed("http_options", explicit_http_config={"http2_protocol_options": {}})}
    far = cluster("far", gateway[1], transport_socket=tls, typed_extension_protocol_options=http2)
    far["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = gateway[0]
    return port, run_envoy(claim, flavor, f"client-{port}", bootstrap(admin, [listener(port, [tcp])], [far]), admin)


def test_envoy_as_client_tunnels_into_our_workload(claim):
    """tunneling_config over mutual TLS with a SPIFFE certificate: bytes, half-close, many streams, and a denial."""
    flavor = envoy_or_skip()
    up, down = os.urandom(8 * MIB), os.urandom(8 * MIB)

    def serve(sock, peer):
        if sock.recv(1) == b"e":
            return echo(sock, peer)
        sender = threading.Thread(target=sock.sendall, args=(down,), daemon=True)
        sender.start()
        got.append(digest_of(sock))
        sender.join()

    got = []
    pair = Inbound(claim, serve=serve, policies=["callers"])
    pair.mesh.policy("callers", principals("client"))
    pair.mesh.write()
    assert wait_until(lambda: "the mesh has changed" in pair.far.output(), 15)
    gateway = (pair.server_address, pair.mesh.hbone_port)
    port, proxy = envoy_client(claim, flavor, pair.target, gateway)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(b"b")
        def send():
            sock.sendall(up)
            sock.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        assert digest_of(sock) == digest(down)
        sender.join()
    assert wait_until(lambda: got == [digest(up)], 10), got
    socks = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(50)]
    for number, sock in enumerate(socks):
        sock.sendall(b"e%d" % number)
    for number, sock in enumerate(socks):
        assert sock.recv(10) == b"%d" % number
        sock.close()
    assert proxy.stats()["cluster.far.upstream_cx_total"] <= 2, proxy.stats()["cluster.far.upstream_cx_total"]
    line = pair.far.logged(bytes_recv=8 * MIB + 1)
    assert line["src.identity"] == identity("client") and line["dst.workload"] == "server", line["line"]
    port, proxy = envoy_client(claim, flavor, pair.target, gateway, "intruder")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"e")
        assert ending(sock) in ("fin", "rst")
    assert pair.far.logged(level="error", **{"src.identity": identity("intruder")})


def test_envoy_as_server_ends_our_tunnels(claim):
    """connect_config behind mutual TLS: what our agent sends is a CONNECT that Envoy takes, and knows whose it is."""
    flavor = envoy_or_skip()
    mesh = new_mesh(claim, hbone_port=free_port())
    addresses = ambient.loopback_addresses()
    ours, theirs = next(addresses), next(addresses)
    data = os.urandom(16 * MIB)
    server = Server(echo)
    claim.proxies.append(server)
    mesh.workload("client", ours)
    mesh.workload("server", theirs)
    tls = downstream_tls(common_tls(claim.authority, "server", "ca", alpn_protocols=["h2"],
                                    tls_params={"tls_minimum_protocol_version": "TLSv1_3"}), require_client_certificate=True)
    manager = extension(
        "envoy.filters.network.http_connection_manager", "hcm", stat_prefix="far", codec_type="HTTP2",
        http2_protocol_options={"allow_connect": True},
        upgrade_configs=[{"upgrade_type": "CONNECT"}],
        route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": {"connect_matcher": {}}, "route": {"cluster": "app", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}}]}]},
        http_filters=[extension("envoy.filters.http.router", "router")],
    )
    admin = free_port()
    port = listener(mesh.hbone_port, {"filters": [manager], "transport_socket": tls})
    port["address"]["socket_address"]["address"] = theirs
    proxy = run_envoy(claim, flavor, "server", bootstrap(admin, [port], [cluster("app", server.port)]), admin)
    agent = mesh.agent("client", address=ours, workers=1)

    def both_ways():
        sock = agent.connect(theirs, 9000)
        with sock:
            sender = threading.Thread(target=sock.sendall, args=(data,), daemon=True)
            sender.start()
            digester, count = hashlib.sha256(), 0
            while count < len(data):
                piece = sock.recv(MIB)
                assert piece, f"ended after {count} bytes"
                count += len(piece)
                digester.update(piece)
            sender.join()
            return digester.hexdigest()
    assert both_ways() == hashlib.sha256(data).hexdigest()
    socks = [agent.connect(theirs, 9000) for _ in range(60)]
    for number, sock in enumerate(socks):
        sock.sendall(b"%d" % number)
    for number, sock in enumerate(socks):
        assert sock.recv(10) == b"%d" % number
        sock.close()
    stats = proxy.stats()
    assert stats["http.far.downstream_cx_total"] == 1 and stats["http.far.downstream_rq_total"] == 61, stats["http.far.downstream_cx_total"]
    line = agent.logged(bytes_sent=16 * MIB)
    assert line["bytes_recv"] == str(16 * MIB) and line["dst.identity"] == identity("server"), line["line"]
