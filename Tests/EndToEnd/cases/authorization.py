"""RBAC: every kind of permission and principal, per-route overrides, shadow rules, network RBAC."""

from harness import upstream as up
from harness.client import half_close, read, read_bytes
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route, typed, virtual_host
from harness.requests import get, post

ANY = [{"any": True}]


def http_rbac(**fields):
    return extension("envoy.filters.http.rbac", "rbac", **fields)


def rules(action="ALLOW", **policies):
    return {"action": action, "policies": policies}


def policy(permissions=ANY, principals=ANY):
    return {"permissions": permissions, "principals": principals}


def file(e):
    path = lambda p: {"url_path": {"path": {"prefix": p}}}
    variants = {
        "in": rules(
            header=policy([{"header": {"name": "x-role", "string_match": {"exact": "admin"}}}]),
            method=policy([{"and_rules": {"rules": [path("/m"), {"header": {"name": ":method", "string_match": {"exact": "POST"}}}]}}]),
            either=policy([{"or_rules": {"rules": [path("/or1"), path("/or2")]}}]),
            negative=policy([{"and_rules": {"rules": [path("/not"), {"not_rule": {"url_path": {"path": {"suffix": "secret"}}}}]}}]),
            template=policy([{"uri_template": {"name": "envoy.path.match.uri_template.uri_template_matcher", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": "/t/{user}/items/*"}}}]),
        ),
        "addresses": rules(
            direct=policy([path("/direct")], [{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]),
            remote=policy([path("/remote")], [{"remote_ip": {"address_prefix": "127.0.0.1", "prefix_len": 32}}]),
            source=policy([path("/other")], [{"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}]),
            destination=policy([{"and_rules": {"rules": [path("/dest"), {"destination_ip": {"address_prefix": "127.0.0.1", "prefix_len": 32}}, {"destination_port_range": {"start": 1, "end": 65535}}]}}]),
            port=policy([{"and_rules": {"rules": [path("/port"), {"destination_port": 1}]}}]),
            unauthenticated=policy([path("/auth")], [{"authenticated": {}}]),
            notauthenticated=policy([path("/anon")], [{"not_id": {"authenticated": {}}}]),
            both=policy([path("/both")], [{"and_ids": {"ids": [{"any": True}, {"header": {"name": "x-a", "present_match": True}}]}}]),
            one=policy([path("/one")], [{"or_ids": {"ids": [{"header": {"name": "x-a", "present_match": True}}, {"header": {"name": "x-b", "present_match": True}}]}}]),
            byurl=policy([{"any": True}], [{"url_path": {"path": {"exact": "/principal"}}}]),
        ),
        "deny": rules("DENY", evil=policy([path("/evil")])),
        "log": rules("LOG", seen=policy([path("/seen")])),
        "nothing": rules(),
        "never": rules(**{"ns[foo]-policy[nothing]-rule[0]": policy([{"not_rule": {"any": True}}], [{"not_id": {"any": True}}])}),
    }
    listeners = [
        listener(e.port(name), [hcm(e.log, filters=[http_rbac(rules=r)], stat_prefix=name)], name=name)
        for name, r in variants.items()
    ]
    shadow = http_rbac(rules=rules(all=policy()), shadow_rules=rules(some=policy([path("/ok")])), shadow_rules_stat_prefix="dry_")
    listeners.append(listener(e.port("shadow"), [hcm(e.log, filters=[shadow], stat_prefix="shadow")], name="shadow"))
    prefixed = http_rbac(rules=rules(all=policy([path("/ok")])), rules_stat_prefix="pre_", track_per_rule_stats=True)
    listeners.append(listener(e.port("prefixed"), [hcm(e.log, filters=[prefixed], stat_prefix="prefixed")], name="prefixed"))
    per_route = lambda **f: {"envoy.filters.http.rbac": typed("rbac_per_route", **f)}
    routes = [
        route({"path": "/off"}, typed_per_filter_config=per_route()),
        route({"path": "/own"}, typed_per_filter_config=per_route(rbac={"rules": rules(own=policy([{"header": {"name": "x-own", "present_match": True}}]))})),
        route(),
    ]
    override = hcm(e.log, [virtual_host(routes)], filters=[http_rbac(rules=rules(none=policy([path("/nowhere")])))], stat_prefix="override")
    listeners.append(listener(e.port("override"), [override], name="override"))
    host_level = hcm(e.log, [virtual_host([route()], typed_per_filter_config=per_route(rbac={"rules": rules("DENY", host=policy())}))], filters=[http_rbac()], stat_prefix="hostlevel")
    listeners.append(listener(e.port("hostlevel"), [host_level], name="hostlevel"))
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up"))])


def c(name, path, where="in", *headers, method="GET"):
    return Case(name, get(path, "a.test", *headers, method=method), listener=where)


HTTP = Group("rbac", file, stats=[r"http\.(?!admin)\w+\.rbac\..*"], cases=[
    c("header permission", "/x", "in", "X-Role: admin"),
    c("header permission, other value", "/x", "in", "X-Role: user"),
    c("and: both hold", "/m", method="POST"),
    c("and: one holds", "/m"),
    c("or: first", "/or1"),
    c("or: second", "/or2"),
    c("not: allowed", "/not/open"),
    c("not: refused", "/not/secret"),
    c("path permission ignores the query", "/not/open?secret"),
    c("uri template", "/t/me/items/5"),
    c("uri template, too short", "/t/me/items"),
    c("direct remote address", "/direct", "addresses"),
    c("direct remote address ignores forwarded-for", "/direct", "addresses", "X-Forwarded-For: 9.9.9.9"),
    c("remote address", "/remote", "addresses"),
    c("remote address follows forwarded-for", "/remote", "addresses", "X-Forwarded-For: 9.9.9.9"),
    c("another network", "/other", "addresses"),
    c("destination address and ports", "/dest", "addresses"),
    c("another destination port", "/port", "addresses"),
    c("authenticated without TLS", "/auth", "addresses"),
    c("not authenticated", "/anon", "addresses"),
    c("and of principals", "/both", "addresses", "X-A: 1"),
    c("and of principals, one missing", "/both", "addresses"),
    c("or of principals", "/one", "addresses", "X-B: 1"),
    c("principal by path", "/principal", "addresses"),
    c("deny matches", "/evil/x", "deny"),
    c("deny does not match", "/good", "deny"),
    c("log action never refuses", "/unseen", "log"),
    c("log action sees", "/seen", "log"),
    c("allow without policies refuses all", "/", "nothing"),
    c("Istio's allow-nothing", "/", "never"),
    c("shadow rules refuse nothing", "/no", "shadow"),
    c("shadow rules agree", "/ok", "shadow"),
    c("stat prefix, allowed", "/ok", "prefixed"),
    c("stat prefix, refused", "/no", "prefixed"),
    c("route switches RBAC off", "/off", "override"),
    c("route has its own rules, allowed", "/own", "override", "X-Own: 1"),
    c("route has its own rules, refused", "/own", "override"),
    c("route without override", "/else", "override"),
    c("virtual host has its own rules", "/", "hostlevel"),
])


def network_file(e):
    def chain(name, rbac_rules, **fields):
        rbac = extension("envoy.filters.network.rbac", "network_rbac", stat_prefix=f"{name}_", **({"rules": rbac_rules} if rbac_rules else {}), **fields)
        from harness.envoyfile import access_log
        proxy = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix=name, cluster="up", access_log=[access_log(e.log)])
        return listener(e.port(name), [rbac, proxy], name=name)
    listeners = [
        chain("in", rules(local=policy(principals=[{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]))),
        chain("other", rules(far=policy(principals=[{"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}]))),
        chain("deny", rules("DENY", here=policy(principals=[{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]))),
        chain("shadow", None, shadow_rules=rules(none=policy([{"destination_port": 1}]))),
    ]
    return bootstrap(e.port("admin"), listeners, [cluster("up", e.port("up"))])


def tcp(name, where, **more):
    return Case(name, [b"ping!", read_bytes(b"ping!"), half_close(), read_bytes(b"\0")], up.echo, listener=where, close=2, **more)


# Whether the upstream saw a connection before the first byte was judged is a race.
UNSEEN = {"ignore": ("upstream",)}


NETWORK = Group("network_rbac", network_file, upstreams=[("up", {"raw_tcp": True})], stats=[r"\w+_rbac\..*", r"tcp\.\w+\.downstream_cx_(total|rx_bytes_total|tx_bytes_total)"], cases=[
    tcp("allowed", "in"), tcp("shadow only", "shadow"),
    tcp("not allowed", "other", **UNSEEN), tcp("denied", "deny", **UNSEEN),
])

GROUPS = [HTTP, NETWORK]
