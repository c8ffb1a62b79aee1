"""Whom a listener trusts: every field of a validation context, alone; and what a log tells of a peer."""

from harness.client import ClientTLS
from harness.differential import Case, Group
from harness.envoyfile import access_log, bootstrap, cluster, downstream_tls, hcm, listener
from harness.requests import get

URI = "spiffe://cluster.local/ns/default/sa/"

PEER = {
    key.lower(): f"%DOWNSTREAM_{key}%" for key in (
        "PEER_URI_SAN", "PEER_DNS_SAN", "PEER_IP_SAN", "PEER_EMAIL_SAN", "PEER_SUBJECT", "PEER_ISSUER",
        "LOCAL_URI_SAN", "LOCAL_DNS_SAN", "LOCAL_SUBJECT", "TLS_VERSION", "TRANSPORT_FAILURE_REASON",
    )
}
CONNECTION = {**PEER, "flags": "%RESPONSE_FLAGS%", "code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%",
              "termination": "%CONNECTION_TERMINATION_DETAILS%", "sni": "%REQUESTED_SERVER_NAME%"}
FULL = {
    **CONNECTION,
    **{key.lower(): f"%DOWNSTREAM_{key}%" for key in (
        "PEER_SERIAL", "PEER_FINGERPRINT_256", "PEER_CERT", "PEER_CERT_V_START", "PEER_CERT_V_END",
        "PEER_FINGERPRINT_1", "PEER_ISSUER", "LOCAL_EMAIL_SAN", "LOCAL_IP_SAN", "TLS_SESSION_ID", "TLS_CIPHER")},
    "start_formatted": "%DOWNSTREAM_PEER_CERT_V_START(%Y-%m)%",
    "peer_chain_serials": "%DOWNSTREAM_PEER_CHAIN_SERIALS%", "peer_chain_fingerprints": "%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256%",
}


def names(*pairs):
    return [{"san_type": kind, "matcher": matcher} for kind, matcher in pairs]


def file(e):
    ca = e.authority
    root = {"filename": ca.root}

    def tls(validation, required=True, **common):
        context = {"tls_certificates": [ca.pair("server")], **common}
        if validation is not None:
            context["validation_context"] = validation
        return downstream_tls(context, **({"require_client_certificate": True} if required else {}))

    trusting = lambda **fields: tls({"trusted_ca": root, **fields})
    sans = lambda *pairs: trusting(match_typed_subject_alt_names=names(*pairs))
    colons = ":".join(ca.fingerprint("client").upper()[i:i + 2] for i in range(0, 64, 2))
    sockets = {
        "in": trusting(),
        "hash": trusting(verify_certificate_hash=["00" * 32, ca.fingerprint("client")]),
        "colons": trusting(verify_certificate_hash=[colons]),
        "spki": trusting(verify_certificate_spki=[ca.key_fingerprint("client")]),
        "either": trusting(verify_certificate_hash=[ca.fingerprint("client")], verify_certificate_spki=[ca.key_fingerprint("intruder")]),
        "hashonly": tls({"verify_certificate_hash": [ca.fingerprint("client"), ca.fingerprint("rogue")]}),
        "hashlax": tls({"verify_certificate_hash": [ca.fingerprint("client")]}, False),
        "untrusted": tls({"trusted_ca": root, "trust_chain_verification": "ACCEPT_UNTRUSTED"}, False),
        "untrustedneeded": trusting(trust_chain_verification="ACCEPT_UNTRUSTED"),
        "untrustednamed": trusting(trust_chain_verification="ACCEPT_UNTRUSTED", match_typed_subject_alt_names=names(("URI", {"exact": URI + "client"}))),
        "noca": tls(None),
        "crl": trusting(crl={"filename": ca.path("ca.crl")}),
        "bothcrl": trusting(crl={"filename": ca.path("both.crl")}),
        "leafcrl": tls({"trusted_ca": {"inline_string": open(ca.path("middle.pem")).read() + open(ca.root).read()}, "crl": {"filename": ca.path("middle.crl")}, "only_verify_leaf_cert_crl": True}),
        "expired": trusting(allow_expired_certificate=True),
        "depth0": trusting(max_verify_depth=0),
        "depth1": trusting(max_verify_depth=1),
        "middle": tls({"trusted_ca": {"filename": ca.path("middle.pem")}}),
        "email": sans(("EMAIL", {"exact": "ops@mesh.test"})),
        "emailsuffix": sans(("EMAIL", {"suffix": "@mesh.test"})),
        "ip": sans(("IP_ADDRESS", {"exact": "10.1.2.3"})),
        "ip6": sans(("IP_ADDRESS", {"exact": "fd00::7"})),
        "ipprefix": sans(("IP_ADDRESS", {"prefix": "10.1."})),
        "dnsexact": sans(("DNS", {"exact": "deep.wild.test"})),
        "dnsstar": sans(("DNS", {"exact": "*.wild.test"})),
        "dnscase": sans(("DNS", {"exact": "one.test", "ignore_case": True})),
        "dnslower": sans(("DNS", {"exact": "one.test"})),
        "dnssuffix": sans(("DNS", {"suffix": "wild.test"})),
        "contains": sans(("URI", {"contains": "/sa/cli"})),
        "second": sans(("URI", {"exact": "spiffe://b/2"})),
        "wrongkind": sans(("DNS", {"prefix": "spiffe://"})),
        "several": sans(("URI", {"exact": URI + "nobody"}), ("DNS", {"exact": "client.default.svc"})),
        "untyped": trusting(match_subject_alt_names=[{"exact": "client.default.svc"}]),
        "emptyname": sans(("URI", {"safe_regex": {"regex": ".*"}})),
    }

    def chain(name, socket):
        log = [access_log(e.log, CONNECTION)]
        return listener(e.port(name), {"filters": [hcm(log, stat_prefix=name)], "transport_socket": socket}, name=name)

    listeners = [chain(name, socket) for name, socket in sockets.items()]
    full = hcm([access_log(e.log, FULL)], stat_prefix="full", forward_client_cert_details="SANITIZE_SET",
               set_current_client_cert_details={"subject": True, "uri": True, "dns": True, "cert": True, "chain": True})
    listeners.append(listener(e.port("full"), {"filters": [full], "transport_socket": tls({"trusted_ca": root}, False)}, name="full"))
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up"))])


# Alerts and their times are the TLS library's. What a peer was refused for is in the statistics.
REFUSED = {"logs": 0, "ignore": ("tls", "tls_error", "connection", "responses", "log")}


def c(name, where, who, refused=False, **more):
    more = {**REFUSED, **more} if refused else more
    more.setdefault("mask", [r"(?<=Hash=)[0-9a-f]{64}"])
    return Case(name, get("/", "a.test"), listener=where, tls=ClientTLS(who), **more)


# What is made anew with each certificate is masked; that it is there is compared.
FRESH = [
    r"-----BEGIN%20CERTIFICATE-----.*", r"(?<=Hash=)[0-9a-f]{64}", r"(?<=Cert=\")[^\"]+", r"(?<=Chain=\")[^\"]+",
    r"\b[0-9a-f]{64}\b", r"\b[0-9a-f]{40}\b", r"\b[0-9a-f]{13,16}\b", r"\b\d{4}-\d\d\b", r"(TLS_|ECDHE-)\S+",
]

TRUST = Group("tls_trust", file, certificates=True, stats=[
    r"listener\.127\.0\.0\.1_\{\w+\}\.ssl\.(handshake|connection_error|fail_verify_\w+|no_certificate)",
], cases=[
    c("the authority's certificate", "in", "client"),
    c("an expired certificate", "in", "expired", True),
    c("an intermediate is sent along", "in", "below"),
    c("an intermediate is not sent", "in", "below-leaf", True),
    c("a key that may not sign", "in", "encrypting", True),
    c("a certificate for servers only", "in", "serveronly", True),
    c("a certificate without any name", "in", "nameless"),
    c("a hash of the list", "hash", "client"),
    c("a hash that is not on the list", "hash", "intruder", True),
    c("a hash with colons", "colons", "client"),
    c("a hash of the key", "spki", "client"),
    c("a hash of another key", "spki", "intruder", True),
    c("the one or the other hash, first", "either", "client"),
    c("the one or the other hash, second", "either", "intruder"),
    c("the one or the other hash, neither", "either", "many", True),
    c("a hash without authority", "hashonly", "rogue"),
    c("a hash without authority, refused", "hashonly", "intruder", True),
    c("a hash without authority, no certificate", "hashonly", None, True),
    c("a hash asks for a certificate by itself", "hashlax", None, True),
    c("untrusted is accepted, foreign", "untrusted", "rogue"),
    c("untrusted is accepted, none", "untrusted", None),
    c("untrusted is accepted, own", "untrusted", "client"),
    c("untrusted is accepted, expired", "untrusted", "expired"),
    c("untrusted is accepted but needed, foreign", "untrustedneeded", "rogue"),
    c("untrusted is accepted but needed, none", "untrustedneeded", None, True),
    c("untrusted is accepted whatever the name", "untrustednamed", "intruder"),
    c("untrusted is accepted with the name", "untrustednamed", "client"),
    c("required without authority, none", "noca", None, ignore=("tls", "tls_error", "connection", "responses", "log"), logs=0),
    c("required without authority, any", "noca", "rogue"),
    c("not revoked", "crl", "client"),
    c("revoked", "crl", "revoked", True),
    c("a list for the leaf's authority is missing", "crl", "below", True),
    c("lists for all authorities", "bothcrl", "below"),
    c("revoked by the second list of two", "bothcrl", "revoked", True),
    c("only the leaf's list is asked for", "leafcrl", "below"),
    c("only the leaf's list is asked for, it is missing", "leafcrl", "client", True),
    c("expired is allowed", "expired", "expired"),
    c("expired is allowed, foreign is not", "expired", "rogue", True),
    c("depth 0 and the root's leaf", "depth0", "client"),
    c("depth 0 and an intermediate", "depth0", "below", True),
    c("depth 1 and an intermediate", "depth1", "below"),
    c("an intermediate as the anchor", "middle", "below"),
    c("an intermediate as the anchor, the leaf alone", "middle", "below-leaf"),
    c("an intermediate as the anchor, the root's leaf", "middle", "client", True),
    c("an email name", "email", "email"),
    c("an email name of somebody else", "email", "client", True),
    c("an email name by suffix", "emailsuffix", "email"),
    c("an address", "ip", "ip"),
    c("an address, refused", "ip", "client", True),
    c("an address of version 6", "ip6", "ip"),
    c("an address by prefix", "ipprefix", "ip"),
    c("a wildcard in the certificate covers the name", "dnsexact", "wild"),
    c("a wildcard in the matcher", "dnsstar", "wild"),
    c("a name in another case, ignored", "dnscase", "many"),
    c("a name in another case", "dnslower", "many"),
    c("a wildcard by suffix", "dnssuffix", "wild"),
    c("a name by substring", "contains", "client"),
    c("a name by substring, refused", "contains", "server", True),
    c("the second of two URIs", "second", "many"),
    c("the right text in the wrong kind of name", "wrongkind", "client", True),
    c("the second of two matchers", "several", "client"),
    c("a matcher without kind", "untyped", "client"),
    c("a matcher without kind, refused", "untyped", "intruder", True),
    c("any name at all", "emptyname", "client"),
    c("any name at all, none there", "emptyname", "nameless", True),
    c("all that can be logged", "full", "client", mask=FRESH),
    c("all that can be logged of many names", "full", "many", mask=FRESH),
    c("all that can be logged of no names", "full", "nameless", mask=FRESH),
    c("all that can be logged of odd names", "full", "odd", mask=FRESH),
    c("all that can be logged of addresses", "full", "ip", mask=FRESH),
    c("all that can be logged with an intermediate", "full", "below", mask=FRESH),
    c("all that can be logged without certificate", "full", None, mask=FRESH),
])

GROUPS = [TRUST]
