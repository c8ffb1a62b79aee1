"""Whom a cluster trusts: what a server may show, by which names it is known, and what the log says of it."""

from harness import upstream as up
from harness.differential import Case, Group
from harness.envoyfile import LOG_FIELDS, access_log, bootstrap, cluster, common_tls, hcm, listener, route, typed, upstream_tls
from harness.requests import get

LOG = {
    **{k: v for k, v in LOG_FIELDS.items() if k not in ("upstream", "upstream_failure")},
    **{key.lower(): f"%UPSTREAM_{key}%" for key in (
        "PEER_SUBJECT", "PEER_ISSUER", "PEER_URI_SAN", "PEER_DNS_SAN", "PEER_IP_SAN", "LOCAL_URI_SAN", "TLS_VERSION",
        "TRANSPORT_FAILURE_REASON")},
}
SERVERS = ("server", "expired", "wild", "ip", "many", "serveronly", "below")


def file(e):
    ca = e.authority
    root = {"filename": ca.root}

    def to(name, port, validation=None, options=None, **fields):
        context = {"tls_certificates": [ca.pair("client")], "validation_context": {"trusted_ca": root, **(validation or {})}}
        cl = cluster(name, e.port(port), transport_socket=upstream_tls(context, **fields))
        if options:
            cl["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed("http_options", explicit_http_config={"http_protocol_options": {}}, upstream_http_protocol_options=options)}
        return cl

    named = lambda kind, **m: {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": m}]}
    both = {"auto_sni": True, "auto_san_validation": True}
    clusters = [
        *[to(name, name) for name in SERVERS],
        to("pastallowed", "expired", {"allow_expired_certificate": True}),
        to("untrusted", "expired", {"trust_chain_verification": "ACCEPT_UNTRUSTED"}),
        to("hash", "server", {"verify_certificate_hash": [ca.fingerprint("server")]}),
        to("wronghash", "server", {"verify_certificate_hash": [ca.fingerprint("client")]}),
        to("spki", "server", {"verify_certificate_spki": [ca.key_fingerprint("server")]}),
        to("wildname", "wild", named("DNS", exact="deep.wild.test")),
        to("wildtoodeep", "wild", named("DNS", exact="very.deep.wild.test")),
        to("address", "ip", named("IP_ADDRESS", exact="10.1.2.3")),
        to("email", "many", named("EMAIL", suffix="@x.test")),
        to("autosan", "wild", options=both), to("autosanip", "ip", options=both),
        to("sniname", "wild", sni="a.wild.test", auto_sni_san_validation=True),
        to("snimismatch", "wild", sni="other.test", auto_sni_san_validation=True),
        to("sniheader", "server", options={"auto_sni": True, "override_auto_sni_header": "x-name"}),
        to("tls13", "server"),
    ]
    clusters[-1]["transport_socket"]["typed_config"]["common_tls_context"]["tls_params"] = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    routes = [route({"path": f"/{cl['name']}"}, cl["name"]) for cl in clusters]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm([access_log(e.log, LOG)], routes=routes)])], clusters)


def server(name):
    def make(e):
        ca = e.authority
        return {"tls": up.server_tls(ca.path(f"{name}.pem"), ca.path(f"{name}.key"), ca.root, alpn=["http/1.1"])}
    return make


def c(name, path, host="a.test", *headers, **more):
    return Case(name, get(f"/{path}", host, *headers), {s: [up.respond()] for s in SERVERS}, **more)


TRUST = Group("upstream_trust", file, upstreams=[(name, server(name)) for name in SERVERS], certificates=True, stats=[
    r"cluster\.\w+\.ssl\.(handshake|connection_error|fail_verify_\w+|no_certificate)", r"cluster\.\w+\.upstream_cx_(connect_fail|total)",
], cases=[
    c("a good server", "server"), c("a server with an intermediate", "below"), c("a server that may only serve", "serveronly"),
    c("a server of many names", "many"), c("an expired server", "expired"), c("an expired server, allowed", "pastallowed"),
    c("an expired server, untrusted is accepted", "untrusted"),
    c("a hash", "hash"), c("a wrong hash", "wronghash"), c("a hash of the key", "spki"),
    c("a wildcard covers the name", "wildname"), c("a wildcard covers one label only", "wildtoodeep"),
    c("an address", "address"), c("an email name", "email"),
    c("the host as the name, by wildcard", "autosan", "b.wild.test"), c("the host as the name, too deep", "autosan", "c.b.wild.test"),
    c("the host as the name, another", "autosan", "server.default.svc"), c("the host as the name, upper case", "autosan", "B.Wild.Test"),
    c("an address as the host", "autosanip", "10.1.2.3"), c("an address as the host, another", "autosanip", "10.1.2.4"),
    c("the server name as the name", "sniname"), c("the server name as the name, another", "snimismatch"),
    c("the server name of a header", "sniheader", "a.test", "X-Name: server.default.svc"), c("the server name of a header that is not there", "sniheader", "b.test"),
    c("TLS 1.3 only", "tls13"),
])

GROUPS = [TRUST]
