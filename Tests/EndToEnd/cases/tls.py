"""TLS on both sides: STRICT, PERMISSIVE, names, versions, XFCC, filter chains by server name."""

import ssl

from harness import upstream as up
from harness.client import ClientTLS, pause, read, read_bytes
from harness.differential import Case, Group
from harness.envoyfile import (
    access_log, bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route, typed,
    upstream_tls, LOG_FIELDS,
)
from harness.requests import get

CLIENT = "spiffe://cluster.local/ns/default/sa/client"
SERVER = "spiffe://cluster.local/ns/default/sa/server"

# TLS libraries word and time their failures differently; that something failed, and who, is compared.
TLS_LOG = {
    **{k: v for k, v in LOG_FIELDS.items() if k != "upstream_failure"},
    "peer_uri": "%DOWNSTREAM_PEER_URI_SAN%", "local_uri": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "peer_subject": "%DOWNSTREAM_PEER_SUBJECT%", "local_subject": "%DOWNSTREAM_LOCAL_SUBJECT%",
    "peer_issuer": "%DOWNSTREAM_PEER_ISSUER%", "peer_dns": "%DOWNSTREAM_PEER_DNS_SAN%",
    "version": "%DOWNSTREAM_TLS_VERSION%", "sni": "%REQUESTED_SERVER_NAME%",
    "upstream_version": "%UPSTREAM_TLS_VERSION%", "upstream_peer": "%UPSTREAM_PEER_URI_SAN%",
    "upstream_local": "%UPSTREAM_LOCAL_URI_SAN%", "upstream_subject": "%UPSTREAM_PEER_SUBJECT%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}


def logged(e, **fields):
    return hcm([access_log(e.log, TLS_LOG)], **fields)


def rbac(principal):
    return extension("envoy.filters.http.rbac", "rbac", rules={"action": "ALLOW", "policies": {"p": {"permissions": [{"any": True}], "principals": [principal]}}})


def inspector():
    return {"listener_filters": [extension("envoy.filters.listener.tls_inspector", "tls_inspector")]}


def downstream_file(e):
    ca = e.authority
    strict = downstream_tls(common_tls(ca, "server", "ca", alpn_protocols=["http/1.1"]), require_client_certificate=True)
    named = downstream_tls(common_tls(ca, "server", "ca", [CLIENT]), require_client_certificate=True)
    simple = downstream_tls(common_tls(ca, "server"))
    optional = downstream_tls(common_tls(ca, "server", "ca"))
    old = downstream_tls(common_tls(ca, "server", tls_params={"tls_maximum_protocol_version": "TLSv1_2", "tls_minimum_protocol_version": "TLSv1_2"}))
    new = downstream_tls(common_tls(ca, "server", tls_params={"tls_minimum_protocol_version": "TLSv1_3"}))

    def matcher(**m):
        return downstream_tls({**common_tls(ca, "server"), "validation_context": {"trusted_ca": {"filename": ca.root}, "match_typed_subject_alt_names": [m]}}, require_client_certificate=True)

    def chain(socket, stat, name=None, **fields):
        c = {"filters": [logged(e, stat_prefix=stat, **fields)]}
        if socket:
            c["transport_socket"] = socket
        return {**c, **({"name": name} if name else {})}

    listeners = [
        listener(e.port("in"), chain(strict, "in")),
        listener(e.port("named"), chain(named, "named"), name="named"),
        listener(e.port("simple"), chain(simple, "simple"), name="simple"),
        listener(e.port("optional"), chain(optional, "optional"), name="optional"),
        listener(e.port("old"), chain(old, "old"), name="old"),
        listener(e.port("new"), chain(new, "new"), name="new"),
        listener(e.port("prefix"), chain(matcher(san_type="URI", matcher={"prefix": "spiffe://cluster.local/"}), "prefix"), name="prefix"),
        listener(e.port("suffix"), chain(matcher(san_type="URI", matcher={"suffix": "/sa/client"}), "suffix"), name="suffix"),
        listener(e.port("regex"), chain(matcher(san_type="URI", matcher={"safe_regex": {"regex": "spiffe://.*/ns/default/sa/(client|server)"}}), "regex"), name="regex"),
        listener(e.port("dns"), chain(matcher(san_type="DNS", matcher={"exact": "client.default.svc"}), "dns"), name="dns"),
        listener(e.port("principal"), chain(strict, "principal", filters=[rbac({"authenticated": {"principal_name": {"exact": CLIENT}}})]), name="principal"),
        listener(e.port("sniperm"), chain(simple, "sniperm", filters=[extension("envoy.filters.http.rbac", "rbac", rules={"action": "ALLOW", "policies": {"p": {"permissions": [{"requested_server_name": {"exact": "server.default.svc"}}], "principals": [{"any": True}]}}})]), name="sniperm", **inspector()),
    ]
    permissive = listener(
        e.port("permissive"),
        {"filter_chain_match": {"transport_protocol": "tls"}, **chain(strict, "permissive_tls")},
        {"filter_chain_match": {"transport_protocol": "raw_buffer"}, **chain(None, "permissive_plain")},
        name="permissive", **inspector(),
    )
    names = listener(
        e.port("names"),
        {"filter_chain_match": {"server_names": ["one.test"]}, **chain(simple, "one", "chain-one")},
        {"filter_chain_match": {"server_names": ["*.wild.test"]}, **chain(simple, "wild", "chain-wild")},
        {"filter_chain_match": {"application_protocols": ["custom"]}, **chain(simple, "alpn", "chain-alpn")},
        name="names", access_log=[access_log(e.log)], **inspector(),
    )
    xfcc = {}
    for mode in ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"):
        n = mode.lower()
        xfcc[n] = listener(e.port(n), chain(strict, n, forward_client_cert_details=mode, set_current_client_cert_details={"subject": True, "uri": True, "dns": True}), name=n)
        xfcc[n + "_plain"] = listener(e.port(n + "_plain"), chain(None, n + "_plain", forward_client_cert_details=mode, set_current_client_cert_details={"subject": True, "uri": True, "dns": True}), name=n + "_plain")
    xfcc["hash"] = listener(e.port("hash"), chain(strict, "hash", forward_client_cert_details="SANITIZE_SET"), name="hash")
    return bootstrap(e.port("admin"), listeners + [permissive, names] + list(xfcc.values()), [cluster("up", e.port("up"))])


def c(name, where, tls, *headers, **more):
    return Case(name, get("/", "a.test", *headers), listener=where, tls=tls, mask=[r"(?<=Hash=)[0-9a-f]{64}"], **more)


GOOD = ClientTLS("client")
ANON = ClientTLS()
XFCC = "X-Forwarded-Client-Cert: By=spiffe://x/y;URI=spiffe://x/z"
TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3

# Which alert a refused peer sees, and when, is the TLS library's; the log record of a failed
# handshake is ours to write even where Envoy writes none.
REFUSED = {"logs": 0, "ignore": ("tls", "tls_error", "connection", "responses", "log")}

DOWNSTREAM = Group("downstream_tls", downstream_file, certificates=True, stats=[
    r"listener\.127\.0\.0\.1_\{\w+\}\.ssl\.(handshake|connection_error|fail_verify_\w+|no_certificate)",
    r"listener\.127\.0\.0\.1_\{\w+\}\.no_filter_chain_match", r"http\.(?!admin)\w+\.downstream_cx_(ssl_)?total",
], cases=[
    c("strict with a certificate", "in", GOOD),
    c("strict without a certificate", "in", ANON, **REFUSED),
    c("strict with a foreign certificate", "in", ClientTLS("rogue"), **REFUSED),
    Case("strict and plaintext", get("/"), logs=0, close=2, ignore=("log",)),
    c("strict over TLS 1.2", "in", ClientTLS("client", maximum=TLS12)),
    c("strict over TLS 1.2 without a certificate", "in", ClientTLS(maximum=TLS12), **REFUSED),
    c("ALPN is chosen", "in", ClientTLS("client", alpn=["h2", "http/1.1"])),
    c("ALPN without overlap", "in", ClientTLS("client", alpn=["spdy"])),
    c("the named identity", "named", GOOD),
    c("another identity", "named", ClientTLS("intruder"), **REFUSED),
    c("identity by prefix", "prefix", ClientTLS("intruder")),
    c("identity by suffix", "suffix", GOOD),
    c("identity by suffix refused", "suffix", ClientTLS("intruder"), **REFUSED),
    c("identity by regex", "regex", GOOD),
    c("identity by regex refused", "regex", ClientTLS("intruder"), **REFUSED),
    c("identity by DNS name", "dns", GOOD),
    c("identity by DNS name refused", "dns", ClientTLS("intruder"), **REFUSED),
    c("server TLS only", "simple", ANON),
    c("optional certificate, absent", "optional", ANON),
    c("optional certificate, present", "optional", GOOD),
    c("optional certificate, foreign", "optional", ClientTLS("rogue"), **REFUSED),
    c("at most TLS 1.2", "old", ANON),
    c("at least TLS 1.3", "new", ANON),
    c("too old a version", "new", ClientTLS(maximum=TLS12), **REFUSED),
    c("authenticated principal allowed", "principal", GOOD),
    c("authenticated principal denied", "principal", ClientTLS("intruder")),
    c("server name permission", "sniperm", ANON),
    c("server name permission denied", "sniperm", ClientTLS(sni="other.test")),
    c("permissive with TLS", "permissive", GOOD),
    c("permissive in plaintext", "permissive", None),
    c("chain by server name", "names", ClientTLS(sni="one.test"), logs=2),
    c("chain by wildcard", "names", ClientTLS(sni="deep.sub.wild.test"), logs=2),
    c("wildcard needs a label", "names", ClientTLS(sni="wild.test"), logs=1, ignore=("tls", "tls_error", "connection", "responses")),
    c("chain by ALPN", "names", ClientTLS(sni="nobody.test", alpn=["custom"]), logs=2),
    c("no chain for the server name", "names", ClientTLS(sni="nobody.test"), logs=1, ignore=("tls", "tls_error", "connection", "responses")),
    Case("no chain for plaintext", get("/"), listener="names", close=2, ignore=("responses", "connection")),
    *[c(f"XFCC {mode} over mTLS", mode, GOOD, XFCC) for mode in ("sanitize", "forward_only", "append_forward", "sanitize_set", "always_forward_only")],
    *[c(f"XFCC {mode} over mTLS, none sent", mode, GOOD) for mode in ("append_forward", "sanitize_set")],
    *[c(f"XFCC {mode} in plaintext", mode + "_plain", None, XFCC) for mode in ("sanitize", "forward_only", "append_forward", "sanitize_set", "always_forward_only")],
    c("XFCC without details", "hash", GOOD),
])


def upstream_file(e):
    ca = e.authority
    from harness.envoyfile import address
    def tls(name, common, port="tls", options=None, **fields):
        cl = cluster(name, e.port(port), transport_socket=upstream_tls(common, **fields))
        if options:
            cl["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed("http_options", explicit_http_config={"http_protocol_options": {}}, **options)}
        return cl
    clusters = [
        tls("good", common_tls(ca, "client", "ca", [SERVER], alpn_protocols=["http/1.1"]), sni="server.default.svc"),
        tls("anonymous", common_tls(ca, None, "ca")),
        tls("wrongname", common_tls(ca, "client", "ca", ["spiffe://cluster.local/ns/default/sa/other"])),
        tls("foreign", common_tls(ca, "client", "foreign")),
        tls("rogue", common_tls(ca, "rogue", "ca"), "mtls"),
        tls("nocert", common_tls(ca, None, "ca"), "mtls"),
        tls("plain", common_tls(ca, "client", "ca"), "up"),
        tls("autosni", common_tls(ca, "client", "ca"), options={"upstream_http_protocol_options": {"auto_sni": True}}),
        tls("autosan", common_tls(ca, "client", "ca"), options={"upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True}}),
        tls("tls13", common_tls(ca, "client", "ca", tls_params={"tls_maximum_protocol_version": "TLSv1_3"})),
        cluster("cleartext", e.port("tls")),
        tls("unverified", common_tls(ca, "client")),
        tls("dnsname", {**common_tls(ca, "client", "ca"), "validation_context": {"trusted_ca": {"filename": ca.root}, "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "server.default.svc"}}]}}),
        tls("dnswild", {**common_tls(ca, "client", "ca"), "validation_context": {"trusted_ca": {"filename": ca.root}, "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"suffix": ".default.svc"}}]}}),
    ]
    routes = [route({"path": f"/{cl['name']}"}, cl["name"]) for cl in clusters]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [logged(e, routes=routes)])], clusters)


def server(**options):
    def make(e):
        ca = e.authority
        return {"tls": up.server_tls(ca.path("server.pem"), ca.path("server.key"), ca.root, alpn=["http/1.1"], **options)}
    return make


def u(name, path, host="a.test", **more):
    return Case(name, get(path, host), {"tls": [up.respond()], "mtls": [up.respond()], "up": [up.respond()]}, **more)


UPSTREAM = Group("upstream_tls", upstream_file, upstreams=[("tls", server()), ("mtls", server(require=True)), "up"], certificates=True, stats=[
    r"cluster\.\w+\.ssl\.(handshake|connection_error|fail_verify_\w+|no_certificate)", r"cluster\.\w+\.upstream_cx_(connect_fail|total)",
], cases=[
    u("mutual TLS with the right name", "/good"),
    u("no client certificate", "/anonymous"),
    u("the upstream has another name", "/wrongname"),
    u("the upstream's authority is foreign", "/foreign"),
    u("the upstream refuses a foreign certificate", "/rogue", ignore=("log", "responses")),
    u("the upstream wants a certificate", "/nocert", ignore=("log", "responses")),
    u("the upstream speaks plaintext", "/plain", ignore=("upstream",)),
    u("server name from the host", "/autosni", "server.default.svc"),
    u("server name from the host with a port", "/autosni", "server.default.svc:8443"),
    u("names validated from the host", "/autosan", "server.default.svc"),
    u("names validated from the host, wrong", "/autosan", "other.test"),
    u("TLS 1.3 upstream", "/tls13"),
    u("plaintext to a TLS upstream", "/cleartext"),
    u("no validation context", "/unverified"),
    u("DNS name", "/dnsname"),
    u("DNS name by suffix", "/dnswild"),
])

GROUPS = [DOWNSTREAM, UPSTREAM]
