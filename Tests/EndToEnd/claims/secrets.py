"""Secrets that change: how they are replaced, what is counted, and that nobody is served by a wrong one."""

import json
import os
import shutil
import ssl
import threading
import time

from claims.life import secret, served_identity, write
from harness.claim import Skipped
from harness.client import ClientTLS, read
from harness.envoyfile import TYPES, bootstrap, cluster, common_tls, downstream_tls, hcm, listener
from harness.proxy import wait_until
from harness.requests import get

URI = "spiffe://cluster.local/ns/default/sa/"


def config(common, **fields):
    def make(e):
        chain = {"filters": [hcm(e.log)], "transport_socket": downstream_tls(common, **fields)}
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain, stat_prefix="in")], [cluster("up", e.port("up"))])
    return make


def sds(name, path, directory=None):
    source = {"path": path}
    if directory:
        source["watched_directory"] = {"path": directory}
    return {"name": name, "sds_config": {"path_config_source": source}}


def folder(claim, name="secrets"):
    path = os.path.join(claim.directory, name)
    os.makedirs(path)
    return path


def serves(claim, name, seconds=5):
    return wait_until(lambda: served_identity(claim) == URI + name, seconds, 0.05)


def copy(claim, name, certificate=None, key=None):
    ca = claim.authority.path
    if certificate:
        shutil.copy(ca(f"{name}.pem"), certificate)
    if key:
        shutil.copy(ca(f"{name}.key"), key)


def test_key_and_certificate_may_change_at_different_moments(claim):
    claim.upstream("up")
    where = folder(claim)
    chain, key, file = (os.path.join(where, n) for n in ("tls.crt", "tls.key", "secret.json"))
    copy(claim, "server", chain, key)
    write(file, secret("identity", chain, key))
    proxy = claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", file)]}))
    assert served_identity(claim) == URI + "server"
    copy(claim, "intruder", certificate=chain)
    assert wait_until(lambda: "secret refused" in proxy.output() or claim.flavor.is_envoy, 5), proxy.output()
    assert served_identity(claim) == URI + "server", "half a pair is served"
    copy(claim, "intruder", key=key)
    assert serves(claim, "intruder"), "the whole pair is not served"


def test_a_directory_is_swapped_as_kubernetes_does(claim):
    claim.upstream("up")
    where = folder(claim)
    for generation, name in (("1", "server"), ("2", "intruder")):
        os.makedirs(os.path.join(where, generation))
        copy(claim, name, os.path.join(where, generation, "tls.crt"), os.path.join(where, generation, "tls.key"))
    os.symlink("1", os.path.join(where, "..data"))
    for name in ("tls.crt", "tls.key"):
        os.symlink(f"..data/{name}", os.path.join(where, name))
    file = os.path.join(claim.directory, "secret.json")
    write(file, secret("identity", os.path.join(where, "tls.crt"), os.path.join(where, "tls.key"), where))
    claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", file)]}))
    assert served_identity(claim) == URI + "server"
    os.symlink("2", os.path.join(where, "..data_tmp"))
    os.rename(os.path.join(where, "..data_tmp"), os.path.join(where, "..data"))
    assert serves(claim, "intruder"), "the swapped directory is not served"


def test_a_secret_written_in_place_is_served(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy waits for a rename")
    claim.upstream("up")
    file = os.path.join(folder(claim), "secret.json")
    ca = claim.authority.path
    write(file, secret("identity", ca("server.pem"), ca("server.key")))
    claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", file)]}))
    assert served_identity(claim) == URI + "server"
    with open(file, "w") as text:
        json.dump(secret("identity", ca("intruder.pem"), ca("intruder.key")), text)
    assert serves(claim, "intruder"), "the file written in place is not served"


def test_a_secret_that_vanishes_and_returns_is_served(claim):
    claim.upstream("up")
    where = folder(claim)
    file = os.path.join(where, "secret.json")
    ca = claim.authority.path
    write(file, secret("identity", ca("server.pem"), ca("server.key")))
    proxy = claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", file)]}))
    os.remove(file)
    if not claim.flavor.is_envoy:
        assert wait_until(lambda: "secret refused" in proxy.output(), 5), proxy.output()
    assert served_identity(claim) == URI + "server", "the last good one is gone"
    write(file, secret("identity", ca("intruder.pem"), ca("intruder.key")))
    assert serves(claim, "intruder"), "the secret that came back is not served"


def test_secrets_are_replaced_under_load_and_no_request_is_lost(claim):
    claim.upstream("up")
    file = os.path.join(folder(claim), "secret.json")
    ca = claim.authority.path
    write(file, secret("identity", ca("server.pem"), ca("server.key")))
    proxy = claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", file)]}))
    stop = threading.Event()
    failures, served = [], [0]

    def client():
        while not stop.is_set():
            seen = claim.exchange(get("/"), read(), tls=ClientTLS())
            if [r.get("line") for r in seen["responses"]] != ["HTTP/1.1 200 OK"]:
                failures.append(seen)
            served[0] += 1

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        name = ("intruder", "server")[turn % 2]
        write(file, secret("identity", ca(f"{name}.pem"), ca(f"{name}.key")))
        time.sleep(0.15)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not failures and served[0] > 8, (failures[:2], served)
    assert proxy.process.poll() is None


def test_changes_of_secrets_are_counted(claim):
    claim.upstream("up")
    file = os.path.join(folder(claim), "secret.json")
    ca = claim.authority.path
    write(file, secret("identity", ca("server.pem"), ca("server.key")))
    proxy = claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", file)]}))

    def counted(**wanted):
        found = lambda: {k: proxy.stats().get(f"sds.identity.{k}") for k in wanted}
        assert wait_until(lambda: found() == wanted, 5, 0.05), (found(), wanted)

    def updates():
        return proxy.stats()["listener.in.server_ssl_socket_factory.ssl_context_update_by_sds"]

    counted(update_attempt=1, update_success=1, update_failure=0, update_rejected=0)
    assert updates() == 1
    write(file, secret("identity", ca("intruder.pem"), ca("intruder.key")))
    counted(update_attempt=2, update_success=2, update_failure=0, update_rejected=0)
    assert updates() == 2
    write(file, "{ not json")
    counted(update_attempt=3, update_success=2, update_failure=1, update_rejected=0)
    write(file, secret("identity", ca("server.pem"), ca("client.key")))
    counted(update_attempt=4, update_success=2, update_failure=1, update_rejected=1)
    assert updates() == 2
    expiry = proxy.stats()["listener.in.ssl.certificate.identity.expiration_unix_time_seconds"]
    assert 0 < expiry - time.time() < 2 * 86_400 + 60, expiry


def validation(name, certificate, **fields):
    context = {"trusted_ca": {"filename": certificate}, **fields}
    return {"resources": [{"@type": "type.googleapis.com/" + TYPES["secret"], "name": name, "validation_context": context}]}


def test_a_session_is_not_resumed_once_trust_has_changed(claim):
    claim.upstream("up")
    file = os.path.join(folder(claim), "trust.json")
    ca = claim.authority.path
    write(file, validation("trust", ca("ca.pem")))
    common = {"tls_certificates": [claim.authority.pair("server")], "validation_context_sds_secret_config": sds("trust", file)}
    proxy = claim.start(config(common, require_client_certificate=True))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ClientTLS("client", maximum=version, minimum=version).context(claim.authority.directory)

        def connect(session=None):
            import socket
            raw = socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=5)
            sock = context.wrap_socket(raw, server_hostname="server.default.svc", session=session)
            try:
                sock.sendall(get("/"))
                answer = sock.recv(1000)
                return sock.session, sock.session_reused, b"200 OK" in answer
            except (ssl.SSLError, OSError):
                return None, sock.session_reused, False
            finally:
                sock.close()

        session, reused, ok = connect()
        assert ok and not reused
        session, reused, ok = connect(session)
        assert ok and reused, f"{version}: a session is not resumed at all"
        write(file, validation("trust", ca("foreign.pem")))
        assert wait_until(lambda: not _accepted(connect), 5, 0.05), "the new trust is not in force"
        _, reused, ok = connect_quietly(connect, session)
        assert not ok, f"{version}: a session outlived the trust it was made under"
        write(file, validation("trust", ca("ca.pem")))
        assert wait_until(lambda: _accepted(connect), 5, 0.05), "the old trust is not in force again"


def test_a_resumed_session_tells_the_whole_chain_of_its_client(claim):
    import socket
    up = claim.upstream("up")
    ca = claim.authority

    def make(e):
        manager = hcm(e.log, forward_client_cert_details="SANITIZE_SET", set_current_client_cert_details={"chain": True, "uri": True})
        chain = {"filters": [manager], "transport_socket": downstream_tls(common_tls(ca, "server", "ca"), require_client_certificate=True)}
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))])

    claim.start(make)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ClientTLS("below", maximum=version, minimum=version).context(ca.directory)
        told, session = [], None
        for resumed in (False, True):
            raw = socket.create_connection(("127.0.0.1", claim.environment.port("in")), timeout=5)
            sock = context.wrap_socket(raw, server_hostname="server.default.svc", session=session)
            sock.sendall(get("/"))
            assert b"200 OK" in sock.recv(1000)
            assert sock.session_reused == resumed, f"{version}: reused: {sock.session_reused}"
            session = sock.session
            sock.close()
            told.append(dict(up.requests[-1]["headers"])["x-forwarded-client-cert"])
        assert told[0].count("BEGIN") >= 2, "the chain has no intermediate"
        assert told[0] == told[1], (version, told)


def connect_quietly(connect, session=None):
    try:
        return connect(session)
    except (ssl.SSLError, OSError):
        return None, False, False


def _accepted(connect):
    return connect_quietly(connect)[2]


def test_a_secret_whose_directory_is_missing_is_an_error_at_start(claim):
    if claim.flavor.is_envoy:
        raise Skipped("Envoy starts and closes every connection")
    proxy = claim.start(config({"tls_certificate_sds_secret_configs": [sds("identity", "/nonexistent/secret.json", "/nonexistent")]}), ready=False)
    assert proxy.wait(10) == 1
    assert "/nonexistent/secret.json" in proxy.output(), proxy.output()
