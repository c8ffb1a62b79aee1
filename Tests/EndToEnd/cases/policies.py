"""Authorization as Istio writes it, over mutual TLS: namespaces, negations, paths, ports; who the client is
behind proxies; overrides; shadow rules and what they leave in the log."""

from harness import upstream as up
from harness.client import ClientTLS, half_close, leave, read_bytes
from harness.differential import Case, Group
from harness.envoyfile import (
    LOG_FIELDS, access_log, bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route, typed, virtual_host,
)
from harness.requests import get, post

ANY = [{"any": True}]
NS = "envoy.filters.http.rbac"
LOG = {**LOG_FIELDS, "principal": "%DOWNSTREAM_PEER_URI_SAN%", "meta": f"%DYNAMIC_METADATA({NS})%",
       "common": "%DYNAMIC_METADATA(envoy.common)%", "sni": "%REQUESTED_SERVER_NAME%"}


def rbac(**fields):
    return extension(NS, "rbac", **fields)


def rules(action="ALLOW", policies=None, **named):
    return {"action": action, "policies": policies or named}


def policy(permissions=ANY, principals=ANY):
    return {"permissions": permissions, "principals": principals}


def both(*members):
    return {"and_rules": {"rules": list(members)}}


def some(*members):
    return {"or_rules": {"rules": list(members)}}


def all_ids(*members):
    return {"and_ids": {"ids": list(members)}}


def any_id(*members):
    return {"or_ids": {"ids": list(members)}}


def header(name, **match):
    return {"header": {"name": name, "string_match": match}}


def path(**match):
    return {"url_path": {"path": match}}


def principal(**match):
    return {"authenticated": {"principal_name": match}}


def namespace(name):
    return principal(safe_regex={"regex": f".*/ns/{name}/.*"})


def cidr(text):
    address, length = text.split("/")
    return {"address_prefix": address, "prefix_len": int(length)}


def istio():
    """Two ALLOW policies and a DENY policy in Istio's shape."""
    deny = rules("DENY", {
        "ns[shop]-policy[no-admin]-rule[0]": policy(
            [both(some(path(prefix="/admin"), path(suffix=".bak")), {"not_rule": some(path(exact="/admin/health"))})],
            [all_ids({"not_id": any_id(principal(exact="spiffe://cluster.local/ns/default/sa/client"))})]),
        "ns[shop]-policy[no-admin]-rule[1]": policy([both(some(header(":method", exact="DELETE"), header(":method", exact="TRACE")))], [all_ids({"any": True})]),
    })
    allow = rules("ALLOW", {
        "ns[shop]-policy[readers]-rule[0]": policy(
            [both(some(header(":method", exact="GET"), header(":method", exact="HEAD")), some(path(exact="/"), path(prefix="/catalog"), path(suffix="/public")))],
            [all_ids(any_id(namespace("default"), namespace("other")), {"not_id": any_id(principal(suffix="/sa/intruder"))})]),
        "ns[shop]-policy[readers]-rule[1]": policy([both(some(header(":authority", safe_regex={"regex": "(?i)internal\\.test(:[0-9]+)?"})))], [all_ids({"any": True})]),
        "ns[shop]-policy[writers]-rule[0]": policy(
            [both(some(header(":method", exact="POST")), some(path(prefix="/orders")), {"not_rule": some({"destination_port": 1}, {"destination_port": 2})})],
            [all_ids(any_id(principal(exact="spiffe://cluster.local/ns/default/sa/client")), any_id(header("x-team", prefix="blue-")))]),
    })
    return [rbac(rules=deny), rbac(rules=allow)]


def file(e):
    ca = e.authority
    mtls = downstream_tls(common_tls(ca, "server", "ca"), require_client_certificate=True)
    lax = downstream_tls({**common_tls(ca, "server"), "validation_context": {"trusted_ca": {"filename": ca.root}, "trust_chain_verification": "ACCEPT_UNTRUSTED"}})
    log = [access_log(e.log, LOG)]
    normal = {"normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}

    def at(name, filters, socket=None, hosts=None, **fields):
        chain = {"filters": [hcm(log, hosts, filters=filters, stat_prefix=name, **fields)]}
        if socket:
            chain["transport_socket"] = socket
        return listener(e.port(name), chain, name=name)

    who = lambda **m: [rbac(rules=rules(p=policy(principals=[principal(**m)])))]
    addresses = [rbac(rules=rules(
        remote=policy([path(exact="/remote")], [{"remote_ip": cidr("9.9.9.0/24")}]),
        direct=policy([path(exact="/direct")], [{"direct_remote_ip": cidr("127.0.0.1/32")}]),
        source=policy([path(exact="/source")], [{"source_ip": cidr("127.0.0.0/8")}]),
        notremote=policy([path(exact="/notremote")], [{"not_id": {"remote_ip": cidr("9.9.9.0/24")}}]),
        six=policy([path(exact="/six")], [{"remote_ip": cidr("2001:db8::/32")}])))]
    deep = {"any": True}
    for _ in range(6):
        deep = {"not_rule": both(some(deep, {"not_rule": deep}), deep)}
    ports = [rbac(rules=rules(
        range=policy([both(path(prefix="/range"), {"destination_port_range": {"start": e.port("ports"), "end": e.port("ports") + 1}})]),
        below=policy([both(path(prefix="/below"), {"destination_port_range": {"start": 1, "end": e.port("ports")}})]),
        exact=policy([both(path(prefix="/exact"), {"destination_port": e.port("ports")})]),
        deep=policy([both(path(prefix="/deep"), deep)]),
        ip=policy([both(path(prefix="/ip"), {"destination_ip": cidr("127.0.0.0/31")})])))]
    meta = lambda value, **more: {"sourced_metadata": {"metadata_matcher": {"filter": "app", "path": [{"key": "tier"}], "value": value}, "metadata_source": "ROUTE", **more}}
    sourced = [rbac(rules=rules(
        gold=policy([meta({"string_match": {"exact": "gold"}})]),
        level=policy([{"sourced_metadata": {"metadata_matcher": {"filter": "app", "path": [{"key": "limits"}, {"key": "level"}], "value": {"double_match": {"range": {"start": 2, "end": 5}}}}, "metadata_source": "ROUTE"}}]),
        listed=policy(principals=[{"sourced_metadata": {"metadata_matcher": {"filter": "app", "path": [{"key": "teams"}], "value": {"list_match": {"one_of": {"string_match": {"prefix": "blue"}}}}}, "metadata_source": "ROUTE"}}]),
        dynamic=policy([both(path(exact="/dynamic"), {"metadata": {"filter": "app", "path": [{"key": "tier"}], "value": {"present_match": True}, "invert": True}})])))]
    tagged = lambda match, data: route(match, metadata={"filter_metadata": {"app": data}})
    tiers = [virtual_host([tagged({"path": "/gold"}, {"tier": "gold"}), tagged({"path": "/silver"}, {"tier": "silver"}),
                           tagged({"path": "/level"}, {"limits": {"level": 4.5}}), tagged({"path": "/limit"}, {"limits": {"level": 5}}),
                           tagged({"path": "/team"}, {"teams": ["red-1", "blue-2"]}), tagged({"path": "/number"}, {"tier": 3}), route()])]
    order = [rbac(rules=rules("DENY", first=policy([path(prefix="/x")]))), rbac(rules=rules(second=policy([path(prefix="/y")]), third=policy([path(prefix="/x")])))]
    shadow = [rbac(rules=rules(ok=policy([path(prefix="/")])), shadow_rules=rules("DENY", bad=policy([path(prefix="/bad")])), shadow_rules_stat_prefix="dry_", rules_stat_prefix="wet_", track_per_rule_stats=True)]
    shadowonly = [rbac(shadow_rules=rules(**{"spaced name": policy([path(prefix="/good")])}))]
    logged = [rbac(rules=rules("LOG", seen=policy([path(prefix="/seen")])))]
    per = lambda **f: {NS: typed("rbac_per_route", **f)}
    config = lambda **f: {NS: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", **f}}
    weighted = lambda name, f: {"weighted_clusters": {"clusters": [{"name": "up", "weight": 1, "typed_per_filter_config": f}]}}
    levels = [virtual_host([
        route({"path": "/weighted"}, typed_per_filter_config=per(rbac={"rules": rules(r=policy([path(exact="/never")]))}), **weighted("w", per(rbac={"rules": rules(w=policy())}))),
        route({"path": "/weighteddeny"}, **weighted("w", per(rbac={"rules": rules("DENY", w=policy())}))),
        route({"path": "/disabled"}, typed_per_filter_config=config(disabled=True)),
        route({"path": "/wrapped"}, typed_per_filter_config=config(config=typed("rbac_per_route", rbac={"rules": rules(f=policy([header("x-f", exact="1")]))}))),
        route({"path": "/host"}),
    ], typed_per_filter_config=per(rbac={"rules": rules(h=policy([header("x-host", exact="1")]))}))]
    off = [{**rbac(rules=rules("DENY", all=policy())), "disabled": True}]
    woken = [virtual_host([route({"path": "/woken"}, typed_per_filter_config=config(config={})),
                           route({"path": "/own"}, typed_per_filter_config=per(rbac={"rules": rules("DENY", own=policy())})), route()])]
    listeners = [
        at("in", istio(), mtls, **normal), at("istioplain", istio(), **normal),
        at("spaced", [rbac(rules=rules("DENY", **{"a name with blanks": policy([path(prefix="/")])}))]),
        at("exactprincipal", who(exact="spiffe://cluster.local/ns/default/sa/client"), mtls),
        at("dnsprincipal", who(exact="client.default.svc"), mtls),
        at("subject", who(exact="CN=nameless.test"), mtls),
        at("emptyprincipal", who(exact=""), lax), at("anyprincipal", who(safe_regex={"regex": ".+"}), lax),
        at("authenticated", [rbac(rules=rules(p=policy(principals=[{"authenticated": {}}])))], lax),
        at("laxprincipal", who(exact="spiffe://cluster.local/ns/default/sa/client"), lax),
        at("sidecar", addresses), at("edge", addresses, use_remote_address=True, xff_num_trusted_hops=1),
        at("edge0", addresses, use_remote_address=True),
        at("ports", ports), at("sourced", sourced, hosts=tiers), at("order", order), at("shadow", shadow), at("shadowonly", shadowonly), at("logged", logged),
        at("levels", [rbac(rules=rules(f=policy([path(exact="/nothing")])))], hosts=levels), at("off", off, hosts=woken),
        at("raw", [rbac(rules=rules("DENY", p=policy([path(prefix="/admin")])))]),
        at("strict", [rbac(rules=rules("DENY", p=policy([path(prefix="/admin")])))], **normal),
    ]
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up"))])


def c(name, target, where="in", who="client", *headers, method="GET", host="a.test"):
    tls = where in ("in", "exactprincipal", "dnsprincipal", "subject", "emptyprincipal", "anyprincipal", "authenticated", "laxprincipal")
    request = post(target, "x", *headers, host=host) if method == "POST" else get(target, host, *headers, method=method)
    return Case(name, request, listener=where, tls=ClientTLS(who) if tls else None, ignore=("tls",))


XFF = "X-Forwarded-For: 9.9.9.9"

POLICIES = Group("policies", file, certificates=True, stats=[r"http\.(?!admin)\w+\.rbac\..*"], cases=[
    c("a reader reads", "/catalog/1"),
    c("a reader reads by suffix", "/x/public"),
    c("a reader may not write", "/catalog/1", "in", "client", method="POST"),
    c("somebody of another name is no reader", "/catalog/1", "in", "intruder"),
    c("a host by regex, with a port", "/else", "in", "intruder", host="Internal.test:80"),
    c("a writer writes", "/orders/1", "in", "client", "X-Team: blue-1", method="POST"),
    c("a writer of another team", "/orders/1", "in", "client", "X-Team: red-1", method="POST"),
    c("a writer of two teams", "/orders/1", "in", "client", "X-Team: red-1", "X-Team: blue-1", method="POST"),
    c("the admin's page and the client", "/admin"),
    c("the admin's page and the intruder", "/admin", "in", "intruder"),
    c("the admin's page behind dots", "/catalog/../admin/x", "in", "intruder"),
    c("the admin's page behind encoded dots", "/catalog/%2e%2e/admin/x", "in", "intruder"),
    c("the admin's page behind an encoded slash", "/catalog/..%2fadmin", "in", "intruder"),
    c("the admin's page behind slashes", "//admin/", "in", "intruder"),
    c("the admin's page with a query", "/admin?x=/admin/health", "in", "intruder"),
    c("the admin's health is not denied", "/admin/health", "in", "intruder"),
    c("a backup is denied", "/catalog/1.bak", "in", "intruder"),
    c("a method is denied", "/catalog/1", method="DELETE"),
    c("a denied request in plaintext", "/admin", "istioplain"),
    c("nobody in plaintext", "/catalog/1", "istioplain"),
    c("a policy name with blanks", "/", "spaced"),
    c("a principal by URI", "/", "exactprincipal"),
    c("a principal by URI, another", "/", "exactprincipal", "intruder"),
    c("a principal by DNS name", "/", "dnsprincipal"),
    c("a principal by subject", "/", "subject", "nameless"),
    c("a principal by subject, who has other names", "/", "subject"),
    c("an empty principal without certificate", "/", "emptyprincipal", None),
    c("an empty principal with a certificate", "/", "emptyprincipal"),
    c("any principal without certificate", "/", "anyprincipal", None),
    c("any principal with a foreign certificate", "/", "anyprincipal", "rogue"),
    c("authenticated without certificate", "/", "authenticated", None),
    c("a principal that was not verified", "/", "laxprincipal", "rogue"),
    c("remote address of a sidecar", "/remote", "sidecar", None, XFF),
    c("remote address of a sidecar, last of two", "/remote", "sidecar", None, "X-Forwarded-For: 9.9.9.9, 1.1.1.1"),
    c("remote address of a sidecar, two fields", "/remote", "sidecar", None, "X-Forwarded-For: 1.1.1.1", XFF),
    c("direct address of a sidecar", "/direct", "sidecar", None, XFF),
    c("source address of a sidecar", "/source", "sidecar", None, XFF),
    c("not the remote address", "/notremote", "sidecar", None, XFF),
    c("not the remote address, another", "/notremote", "sidecar", None),
    c("remote address with a port", "/remote", "sidecar", None, "X-Forwarded-For: 9.9.9.9:1234"),
    c("remote address of version 6", "/six", "sidecar", None, "X-Forwarded-For: 2001:db8::1"),
    c("remote address of version 6 in brackets", "/six", "sidecar", None, "X-Forwarded-For: [2001:db8::1]:80"),
    c("remote address of an edge with a hop", "/remote", "edge", None, "X-Forwarded-For: 9.9.9.9, 1.1.1.1"),
    c("remote address of an edge with a hop, forged", "/remote", "edge", None, "X-Forwarded-For: 9.9.9.9"),
    c("remote address of an edge, forged", "/remote", "edge0", None, XFF),
    c("direct address of an edge", "/direct", "edge0", None, XFF),
    c("a range of one port", "/range", "ports", None), c("a range below the port", "/below", "ports", None),
    c("the very port", "/exact", "ports", None), c("deeply nested", "/deep", "ports", None), c("the very address", "/ip", "ports", None),
    *[c(f"route metadata: {p}", f"/{p}", "sourced", None) for p in ("gold", "silver", "level", "limit", "team", "number", "dynamic", "none")],
    c("the first filter denies", "/x", "order", None), c("the second filter allows", "/y", "order", None), c("the second filter denies", "/z", "order", None),
    c("shadow and enforced agree", "/good", "shadow", None), c("shadow would deny", "/bad", "shadow", None),
    c("shadow alone allows", "/good", "shadowonly", None), c("shadow alone denies", "/bad", "shadowonly", None),
    c("the log action notes", "/seen", "logged", None), c("the log action notes nothing", "/unseen", "logged", None),
    c("the weighted cluster's rules", "/weighted", "levels", None), c("the weighted cluster's rules deny", "/weighteddeny", "levels", None),
    c("off for a route", "/disabled", "levels", None),
    c("rules in a wrapper, allowed", "/wrapped", "levels", None, "X-F: 1"), c("rules in a wrapper, denied", "/wrapped", "levels", None),
    c("the virtual host's rules, allowed", "/host", "levels", None, "X-Host: 1"), c("the virtual host's rules, denied", "/host", "levels", None),
    c("no route, and the filter's rules", "/nowhere", "levels", None),
    c("a filter that is off", "/", "off", None), c("a filter that is off has rules on a route", "/own", "off", None),
    c("a filter that is off is woken", "/woken", "off", None),
    c("gRPC is told in its own way", "/admin", "strict", None, "Content-Type: application/grpc", method="POST"),
    c("a HEAD request is denied", "/admin", "strict", None, method="HEAD"),
    *[c(f"spelling {p} without normalization", p, "raw", None) for p in ("/%61dmin", "//admin", "/./admin", "/admin;x", "/ADMIN", "/x/../admin", "/admin%2f..", "/x%2f..%2fadmin")],
    *[c(f"spelling {p} with normalization", p, "strict", None) for p in ("/%61dmin", "//admin", "/./admin", "/admin;x", "/ADMIN", "/x/../admin", "/admin%2f..", "/x%2f..%2fadmin", "/x/%2e%2e/admin", "/x\\..\\admin", "/x%5c..%5cadmin", "/admin#x", "http://other.test/admin")],
    c("a denied request whose body comes later", "/admin", "strict", None, method="POST"),
])

NLOG = {**LOG_FIELDS, "principal": "%DOWNSTREAM_PEER_URI_SAN%", "meta": "%DYNAMIC_METADATA(envoy.filters.network.rbac)%", "tls": "%DOWNSTREAM_TLS_VERSION%"}


def network_file(e):
    ca = e.authority
    mtls = downstream_tls(common_tls(ca, "server", "ca"), require_client_certificate=True)
    inspector = {"listener_filters": [extension("envoy.filters.listener.tls_inspector", "tls_inspector")]}

    def at(name, socket=None, extra=(), kind="tcp", **fields):
        network = extension("envoy.filters.network.rbac", "network_rbac", stat_prefix="tcp.", **fields)
        last = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix=name, cluster="up", access_log=[access_log(e.log, NLOG)])
        if kind == "http":
            last = hcm([access_log(e.log, NLOG)], routes=[route(direct_response={"status": 200})], stat_prefix=name)
        chain = {"filters": [network, *extra, last]}
        if socket:
            chain["transport_socket"] = socket
        return listener(e.port(name), chain, name=name, **inspector)

    client = policy(principals=[principal(exact="spiffe://cluster.local/ns/default/sa/client")])
    sni = policy([{"requested_server_name": {"suffix": ".default.svc"}}])
    second = extension("envoy.filters.network.rbac", "network_rbac", stat_prefix="second.", rules=rules("DENY", port=policy([{"destination_port": e.port("two")}])))
    listeners = [
        at("in", mtls, rules=rules(client=client)),
        at("deny", mtls, rules=rules("DENY", client=client)),
        at("sni", mtls, rules=rules(sni=sni)),
        at("continuous", mtls, rules=rules(client=client), enforcement_type="CONTINUOUS"),
        at("two", mtls, [second], rules=rules(client=client)),
        at("delay", mtls, rules=rules("DENY", client=client), delay_deny="0.3s"),
        at("shadow", mtls, shadow_rules=rules("DENY", client=client), shadow_rules_stat_prefix="dry_"),
        at("log", mtls, rules=rules("LOG", client=client)),
        at("http", mtls, kind="http", rules=rules(client=client)),
        at("plain", None, rules=rules(client=client)),
        at("path", None, rules=rules("DENY", never=policy([{"not_rule": path(prefix="/")}]))),
    ]
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up"))])


def tcp(name, where, who="client", sni="server.default.svc", denied=False, **more):
    tls = ClientTLS(who, sni=sni) if where not in ("plain", "path") else None
    ignore = ("upstream", "tls") if denied else ("tls",)
    steps = [b"ping!", read_bytes(b"ping!"), leave() if tls else half_close()]
    return Case(name, steps, up.echo, listener=where, tls=tls, close=2, ignore=ignore, **more)


NETWORK = Group("network_policies", network_file, certificates=True, upstreams=[("up", {"raw_tcp": True})], stats=[r"(tcp|second)\..*rbac\..*"], cases=[
    tcp("the client", "in"), tcp("somebody else", "in", "intruder", denied=True),
    tcp("denied by name", "deny", denied=True), tcp("not denied by name", "deny", "intruder"),
    tcp("the right server name", "sni"), tcp("the wrong server name", "sni", sni="x.test", denied=True), tcp("no server name", "sni", sni=None, denied=True),
    tcp("continuous, allowed", "continuous"), tcp("continuous, denied", "continuous", "intruder", denied=True),
    tcp("the second filter denies", "two", denied=True),
    tcp("a denied connection is held for a while", "delay", denied=True), tcp("one that is not denied is not held", "delay", "intruder"),
    tcp("shadow rules close nothing", "shadow"), tcp("the log action closes nothing", "log", "intruder"),
    Case("before HTTP, allowed", get("/"), listener="http", tls=ClientTLS("client"), ignore=("tls",)),
    Case("before HTTP, denied", get("/"), listener="http", tls=ClientTLS("intruder"), ignore=("tls",), logs=0, close=2),
    tcp("in plaintext nobody has a name", "plain", denied=True),
    tcp("a path never matches, and neither does its contrary", "path", denied=True),
])

GROUPS = [POLICIES, NETWORK]
