"""HBONE that ends here: a tunnel over mutual TLS, and the requests inside it at an internal listener."""

import ssl

from cases.tcp import flood, read_all_then_answer, read_then_reset, send_first
from harness import http2
from harness import upstream as up
from harness.client import ClientTLS, Step, half_close, leave, pause, read, read_bytes, wait_upstream
from harness.differential import Case, Group
from harness.envoyfile import (
    INTERNAL_LISTENERS, LOG_FIELDS, access_log, bootstrap, by_network, by_value, cluster, common_tls, downstream_tls, extension, hcm,
    http2_upstream, internal_cluster, internal_listener, listener, matcher, route, state, to_chain, upstream_tls, virtual_host,
)
from harness.requests import chunked, get, post

ID = "spiffe://cluster.local/ns/default/sa/"
DST = "envoy.filters.listener.original_dst"
CONNECT = [{"upgrade_type": "CONNECT", "connect_config": {}}]
FIELDS = {
    **LOG_FIELDS,
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS%", "direct_remote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS%", "direct_local": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%",
    "upstream_local": "%UPSTREAM_LOCAL_ADDRESS%", "upstream_remote": "%UPSTREAM_REMOTE_ADDRESS%",
    "tls_peer": "%DOWNSTREAM_PEER_URI_SAN%", "chain": "%FILTER_CHAIN_NAME%",
    "peer": "%FILTER_STATE(io.istio.peer_principal:PLAIN)%", "peer_typed": "%FILTER_STATE(io.istio.peer_principal)%",
    "own": "%FILTER_STATE(io.istio.local_principal:PLAIN)%",
    "destination": f"%FILTER_STATE({DST}.local_ip:PLAIN)%", "destination_typed": f"%FILTER_STATE({DST}.local_ip:TYPED)%",
    "destination_port": f"%FILTER_STATE({DST}.local_ip:FIELD:port)%", "source": f"%FILTER_STATE({DST}.remote_ip:PLAIN)%",
    "once": "%FILTER_STATE(once:PLAIN)%", "always": "%FILTER_STATE(always:PLAIN)%", "never": "%FILTER_STATE(never:PLAIN)%",
    "fixed": "%FILTER_STATE(fixed:PLAIN)%", "empty": "x%FILTER_STATE(empty:PLAIN)%", "mine": "%FILTER_STATE(mine:PLAIN)%", "tenant": "%FILTER_STATE(tenant:PLAIN)%",
    "host": "%DYNAMIC_METADATA(istio:kind)%",
}


def inner(method="GET"):
    """Reads a response inside the tunnel."""
    return Step(lambda client: client.read_inner(method))


def file(e):
    def log(hop):
        return [access_log(e.log, {"hop": hop, **FIELDS})]

    def manager(name, routes=None, filters=(), **fields):
        # The time an upstream took has one digit or two, and the tunnel's log counts them.
        return hcm(log(name), routes=routes, filters=filters, stat_prefix=name, codec_type="AUTO", router_fields={"suppress_envoy_headers": True}, **fields)

    def set_state(name, *values):
        return extension(name, "set_filter_state", on_request_headers=list(values))

    def policies(action="ALLOW", **principals):
        return {"action": action, "policies": {name: {"permissions": [{"any": True}], "principals": [p]} for name, p in principals.items()}}

    def principal(name):
        return {"filter_state": {"key": "io.istio.peer_principal", "string_match": {"exact": ID + name}}}

    def proxy(name, to):
        return extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix=name, cluster=to, access_log=log(name))

    def port(number, name, *filters, **match):
        return {"name": name, "filter_chain_match": {"destination_port": number, **match}, "filters": list(filters)}

    identity = set_state(
        "connect_authority",
        state(f"{DST}.local_ip", "%REQ(:AUTHORITY)%"), state("io.istio.connect_authority", "%REQ(:AUTHORITY)%", "envoy.string"),
        state(f"{DST}.remote_ip", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        state("io.istio.peer_principal", "%DOWNSTREAM_PEER_URI_SAN%", "envoy.string"),
        state("io.istio.local_principal", "%DOWNSTREAM_LOCAL_URI_SAN%", "envoy.string"),
        state("tenant", "%REQ(x-tenant)%", "envoy.string"), state("once", "1", "envoy.string"), state("always", "2", "envoy.string", "TRANSITIVE"), state("never", "3", "envoy.string", "NONE"),
        state("empty", "there", "envoy.string"), state("empty", "%REQ(x-nothing)%", "envoy.string", skip_if_empty=True),
        {**state("empty", "", "envoy.string", skip_if_empty=True), "format_string": {"text_format_source": {"inline_string": "%REQ(x-nothing)%"}, "omit_empty_values": True}},
        state("address", "nonsense", f"{DST}.local_ip"),
    )
    tls = downstream_tls(common_tls(e.authority, "server", "ca", alpn_protocols=["h2"]), require_client_certificate=True)
    terminate = {"name": "default", "transport_socket": tls, "filters": [hcm(
        log("connect_terminate"), stat_prefix="connect_terminate", codec_type="AUTO", filters=[
            extension("envoy.filters.http.rbac", "rbac", rules={"action": "DENY", "policies": {"outside": {
                "permissions": [{"header": {"name": ":authority", "string_match": {"exact": "10.66.0.1:80"}}}], "principals": [{"any": True}]}}}),
            identity],
        virtual_hosts=[
            virtual_host([route(cluster="second_internal")], "pooled", ["pooled.test"]), virtual_host([route(cluster="h2_internal")], "h2", ["h2.test"]),
            virtual_host([route({"connect_matcher": {}}, "tls_internal", upgrade_configs=CONNECT)], "tls", ["10.7.0.1:80"]),
            virtual_host([route({"connect_matcher": {}}, "plain_internal", upgrade_configs=CONNECT)], "plain", ["10.3.0.1:80"]),
            virtual_host([route({"connect_matcher": {}}, "addressed", upgrade_configs=CONNECT)], "addressed", ["10.4.0.1:80"]),
            virtual_host([route({"connect_matcher": {}}, "tree_internal", upgrade_configs=CONNECT)], "tree", ["10.5.0.1:80", "10.5.0.1:81", "10.5.0.1:82", "10.5.0.1:25", "10.5.7.1:80", "10.6.0.1:80", "10.6.8.1:80", "shop.test:80", "pre.test:80", "no.test:80"]),
            virtual_host([route({"connect_matcher": {}}, "main_internal", upgrade_configs=CONNECT)])],
        http2_protocol_options={"allow_connect": True, "max_concurrent_streams": 100}, upgrade_configs=[{"upgrade_type": "CONNECT"}], stream_idle_timeout="0s")]}

    inner_routes = [
        route({"prefix": "/canary", "headers": [{"name": "x-canary", "string_match": {"exact": "1"}}]}, "other", "canary"),
        route({"prefix": "/teapot"}, name="teapot", direct_response={"status": 418, "body": {"inline_string": "short and stout"}}),
        route({"prefix": "/only-client", "filter_state": [principal("client")["filter_state"]]}, "other", "only-client"),
        route({"prefix": "/only-client"}, name="everybody", direct_response={"status": 200, "body": {"inline_string": "everybody"}}),
        route({"prefix": "/app"}, "up", "app"), route({"path": "/"}, "up", "root"),
    ]
    allow = extension("envoy.filters.http.rbac", "rbac", rules=policies(client=principal("client")))
    deny = extension("deny", "rbac", rules=policies("DENY", by_path={"and_ids": {"ids": [principal("client"), {"url_path": {"path": {"prefix": "/app/admin"}}}]}}))

    def shadow(name, condition):
        return extension(name, "rbac", rules=policies("ALLOW", condition=condition))

    here = {"address_prefix": "127.0.0.0", "prefix_len": 8}
    reached = lambda **permission: extension(
        "rbac", "rbac", rules={"action": "ALLOW", "policies": {"p": {"permissions": [permission], "principals": [{"any": True}]}}})
    chains = [
        port(80, "app", manager("app", inner_routes, [deny, allow])),
        port(80, "v6", manager("v6", [route(name="v6")]), prefix_ranges=[{"address_prefix": "fd00::", "prefix_len": 8}]),
        port(81, "inside", manager("inside", [route()], [set_state(
            "inside", state("io.istio.peer_principal", "forged", "envoy.string"), state("mine", "%FILTER_STATE(once:PLAIN)%!", "envoy.string", "NONE"))])),
        port(93, "fixed", manager("fixed", [route()], [set_state(
            "fixed", state("fixed", "first", "envoy.string", read_only=True), state("fixed", "second", "envoy.string"))])),
        port(82, "onward", proxy("onward", "second_internal")),
        port(83, "source", manager("source", [route()], [shadow("s", {"source_ip": here})])),
        port(84, "direct", manager("direct", [route()], [shadow("d", {"direct_remote_ip": here})])),
        port(85, "remote", manager("remote", [route()], [shadow("r", {"remote_ip": here})])),
        port(86, "destination", manager("destination", [route()], [reached(destination_ip={"address_prefix": "10.1.0.0", "prefix_len": 16})])),
        port(87, "port", manager("port", [route()], [reached(destination_port=87)])),
        port(88, "authenticated", manager("authenticated", [route()], [shadow("a", {"authenticated": {}})])),
        port(89, "address", manager("address", [route()], [shadow("m", {"filter_state": {"key": f"{DST}.local_ip", "address_match": {"ranges": [{"address_prefix": "10.1.0.0", "prefix_len": 16}]}}})])),
        port(90, "tcp", proxy("tcp", "raw")),
        port(91, "network", extension("n", "network_rbac", stat_prefix="n_", rules=policies(client=principal("client"))), proxy("network", "raw")),
        port(92, "edge", manager("edge", [route()], use_remote_address=True, internal_address_config={"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]})),
    ]
    original = [extension("original_dst", "original_dst")]
    relayed = extension("relay", "network_set_filter_state", on_new_connection=[
        state(f"{DST}.local_ip", f"%FILTER_STATE({DST}.local_ip:PLAIN)%"), state("mine", "%DOWNSTREAM_LOCAL_PORT%", "envoy.string")])
    chains.append(port(94, "relay", relayed, proxy("relay", "second_internal")))
    by_port = by_value("DestinationPortInput", **{"80": {"matcher": by_value("ApplicationProtocolInput", **{"'http/1.1'": to_chain("http")}) | {"on_no_match": to_chain("tcp")}}, "81": to_chain("eighty-one"), "25": to_chain("tcp")})
    tree = by_network(
        "DestinationIPInput", ("10.5.0.0", 16, {"matcher": by_port}),
        ("10.5.7.0", 24, {"matcher": by_value("DestinationPortInput", **{"9": to_chain("tcp")})}),
        ("10.6.0.0", 16, to_chain("http"), {"exclusive": True}), ("10.6.8.0", 24, {"matcher": by_value("DestinationPortInput", **{"9": to_chain("tcp")})}),
    ) | {"on_no_match": {"matcher": by_value("FilterStateInput", "io.istio.connect_authority", **{"shop.test:80": to_chain("named"), "10.5.0.1:82": to_chain("named")}) | {
        "on_no_match": {"matcher": {"matcher_list": {"matchers": [{
            "predicate": {"single_predicate": {"input": matcher("FilterStateInput", "io.istio.connect_authority")["matcher_tree"]["input"], "value_match": {"prefix": "pre."}}},
            "on_match": to_chain("listed")}]}}}}}}
    answer = lambda name: {"name": name, "filters": [manager(name, [route(name=name, direct_response={"status": 200, "body": {"inline_string": name}})])]}
    listeners = [
        listener(e.port("in"), terminate, name="connect_terminate"),
        internal_listener("main_internal", *chains, listener_filters=original, traffic_direction="INBOUND"),
        internal_listener(
            "tree_internal", answer("http"), {"name": "tcp", "filters": [proxy("tree_tcp", "raw")]}, answer("eighty-one"), answer("named"), answer("listed"),
            listener_filters=[*original, {**extension("http_inspector", "http_inspector"), "filter_disabled": {"or_match": {"rules": [
                {"destination_port_range": {"start": 25, "end": 26}}, {"and_match": {"rules": [{"any_match": True}, {"not_match": {"destination_port_range": {"start": 1, "end": 1000}}}]}}]}}}], listener_filters_timeout="0.3s", filter_chain_matcher=tree),
        internal_listener("tls_internal", {"name": "secured", "transport_socket": tls, "filters": [manager("secured", [route()])]}),
        internal_listener("second_internal", {"name": "second", "filters": [manager("second", [route()])]}, listener_filters=original),
    ]
    clusters = [
        internal_cluster("main_internal", "main_internal", "ep", {"istio": {"kind": "endpoint"}}, passthrough=[("host", "istio")]),
        internal_cluster("tree_internal", "tree_internal"),
        internal_cluster("plain_internal", "main_internal", passes=False),
        internal_cluster("addressed", "main_internal", metadata={DST: {"local": "10.9.9.9:80"}}, passthrough=[("host", DST)]),
        internal_cluster("second_internal", "second_internal", passthrough=[("cluster", "istio")], metadata={"istio": {"kind": "no"}}),
        cluster("up", e.port("up")), cluster("other", e.port("other")), cluster("raw", e.port("raw")),
    ]
    secured = internal_cluster("tls_internal", "tls_internal")
    secured["transport_socket"]["typed_config"]["transport_socket"] = upstream_tls(common_tls(e.authority, "server", "ca", alpn_protocols=["http/1.1"]))
    clusters += [secured, internal_cluster("h2_internal", "second_internal", typed_extension_protocol_options=http2_upstream())]
    clusters[4]["metadata"] = {"filter_metadata": {"istio": {"kind": "cluster"}}}
    return bootstrap(e.port("admin"), listeners, clusters, **INTERNAL_LISTENERS)


TLS = ClientTLS("client", sni=None, alpn=["h2"], minimum=ssl.TLSVersion.TLSv1_3)
OTHER = ClientTLS("server", sni=None, alpn=["h2"], minimum=ssl.TLSVersion.TLSv1_3)


def hbone(target, *fields):
    """What ztunnel sends."""
    return get(target, target, "baggage: k8s.cluster.name=Kubernetes,k8s.namespace.name=default", "forwarded: for=127.0.0.1",
               "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", *fields, method="CONNECT")


def c(name, target, *steps, up_=(), logs=2, tls=TLS, close=0.5, end=(half_close(), pause(0.1)), **rest):
    return Case(name, [hbone(target), read(), *steps, *end], up_, logs=logs, tls=tls, close=close, **rest)


def ask(path="/", *fields, host="app.default.svc"):
    return get(path, host, *fields)


APP = "10.1.0.1:80"
OK = up.respond(body="from the app")

CASES = [
    c("a request inside a tunnel", APP, ask("/app"), inner(), up_=OK),
    c("the same from somebody else is denied", APP, ask("/app"), inner(), tls=OTHER),
    c("a path is denied to whom another is allowed", APP, ask("/app/admin"), inner()),
    c("routed by header", APP, ask("/canary", "x-canary: 1"), inner(), up_={"other": [up.respond(body="canary")]}),
    c("routed by filter state", APP, ask("/only-client"), inner(), up_={"other": [up.respond(body="other")]}),
    c("a direct response", APP, ask("/teapot"), inner()),
    c("no route inside", APP, ask("/nowhere"), inner()),
    c("two requests in one tunnel, each judged by itself", APP, ask("/app"), inner(), ask("/app/admin"), inner(), up_=OK, logs=3),
    c("a body", APP, post("/app", "hello", host="app.test"), inner(), up_=OK),
    c("a body in chunks", APP, chunked("/app", "re", "quest", host="app.test"), inner(), up_=up.chunked("a", "b"), ignore=["log"]),
    c("a bad request inside", APP, b"GET / HTTP/1.1\r\nHost\r\n\r\n", inner(), end=(pause(0.2),), close=1, mask=[r"http1\.codec_error"]),
    c("nothing is said inside", APP, pause(0.1), logs=1),
    c("the client leaves", APP, ask("/app"), wait_upstream("up"), end=(leave(),), up_=up.hang),
    c("the app closes within its response", APP, ask("/app"), inner(), up_=up.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", keep=False), end=(pause(0.2),), close=1),
    c("an IPv6 destination", "[fd00::1]:80", ask("/app"), inner(), up_=OK),
    c("no filter chain for the port", "10.1.0.1:9", end=()),
    c("a name is no destination", "app.default.svc:80", end=()),
    c("denied before the tunnel", "10.66.0.1:80", logs=1, end=()),
    c("without the transport nothing is passed", "10.3.0.1:80", end=()),
    c("the endpoint's metadata say where", "10.4.0.1:80", ask("/app"), inner(), up_=OK),
    c("what the connection brought is not replaced", "10.1.0.1:81", ask("/app"), inner(), up_=OK),
    c("through two internal listeners", "10.1.0.1:82", ask("/app"), inner(), up_=OK, logs=3),
    c("passed on by a network filter", "10.1.0.1:94", ask("/app"), inner(), up_=OK, logs=3),
    c("a chain by address, port and protocol", "10.5.0.1:80", ask(), inner()),
    c("a chain by address, port and another protocol", "10.5.0.1:80", b"ping!\r\n\r\n", read_bytes(b"ping!\r\n\r\n"), up_={"raw": [up.echo]}),
    c("no listener filter for a port where the server speaks first", "10.5.0.1:25", read_bytes(b"220 hi\n"), b"x!", read_bytes(b"x!"), up_={"raw": [send_first(b"220 hi\n", up.echo)]}),
    c("a chain by address and port", "10.5.0.1:81", ask(), inner()),
    c("a port that is not in the tree, but its filter state is", "10.5.0.1:82", ask(), inner()),
    c("a narrow network without the port", "10.5.7.1:80", ask(), inner()),
    c("an exclusive network", "10.6.0.1:80", ask(), inner()),
    c("an exclusive network around a narrower one", "10.6.8.1:80", ask(), inner(), logs=1),
    c("a chain by filter state", "shop.test:80", ask(), inner()),
    c("a chain by a list of conditions", "pre.test:80", ask(), inner()),
    c("no chain in the tree", "no.test:80", ask(), inner(), logs=1),
    c("TLS inside the process", "10.7.0.1:80", ask(), inner(), up_=OK),
    Case("HTTP/2 inside the process", [post("/one", "hello", host="h2.test"), read(), get("/two", "h2.test"), read()], [OK, OK], logs=4, tls=TLS, close=0.3),
    c("source_ip", "10.1.0.1:83", ask(), inner(), up_=OK),
    c("direct_remote_ip", "10.1.0.1:84", ask(), inner(), up_=OK),
    c("remote_ip", "10.1.0.1:85", ask(), inner(), up_=OK),
    c("remote_ip with a forwarded client", "10.1.0.1:85", ask("/", "x-forwarded-for: 9.9.9.9"), inner(), up_=OK),
    c("destination_ip", "10.1.0.1:86", ask(), inner(), up_=OK),
    c("another destination_ip", "10.2.0.1:86", ask(), inner(), up_=OK),
    c("destination_port", "10.1.0.1:87", ask(), inner(), up_=OK),
    c("authenticated is the connection's own peer", "10.1.0.1:88", ask(), inner(), up_=OK),
    c("an address of the filter state", "10.1.0.1:89", ask(), inner(), up_=OK),
    c("an edge inside", "10.1.0.1:92", ask(), inner(), up_=OK),
    c("TCP inside: echo", "10.1.0.1:90", b"ping!", read_bytes(b"ping!"), up_={"raw": [up.echo]}),
    c("TCP inside: allowed by the network filter", "10.1.0.1:91", b"ping!", read_bytes(b"ping!"), up_={"raw": [up.echo]}),
    c("TCP inside: half-close passes", "10.1.0.1:90", b"request", half_close(), read_bytes(b"after your FIN"), end=(), up_={"raw": [read_all_then_answer]}),
    c("TCP inside: the server speaks first", "10.1.0.1:90", read_bytes(b"220 hi\n"), b"x!", read_bytes(b"x!"), up_={"raw": [send_first(b"220 hi\n", up.echo)]}),
    c("TCP inside: the server resets", "10.1.0.1:90", b"x", pause(0.2), end=(), up_={"raw": [read_then_reset]}),
]

# What we do otherwise than Envoy (harness/deliberate.py), apart from the counters of the others.
OTHERWISE = [
    c("TCP inside: denied by the network filter", "10.1.0.1:91", pause(0.1), tls=OTHER, end=()),
    c("TCP inside: a megabyte arrives whole", "10.1.0.1:90", read_bytes(b"END"), end=(pause(0.1),), up_={"raw": [flood(1 << 20)]}),
    Case("requests of two tenants to an internal listener", [
        get("/one", "pooled.test", "x-tenant: a"), read(), get("/two", "pooled.test", "x-tenant: b"), read()], [OK, OK], logs=4, tls=TLS, close=0.3),
    c("a value that is not to be replaced", "10.1.0.1:93", ask(), inner(), up_=OK),
]

STATS = [
    r"listener\.envoy_internal_\w+\.(downstream_cx_(total|active|destroy)|no_filter_chain_match|downstream_pre_cx_\w+)",
    r"listener\.envoy_internal_\w+\.http\.\w+\.downstream_rq_(\dxx|completed)",
    r"cluster\.(main|second|plain)_internal\.upstream_(cx|rq)_(total|active|connect_fail|pending_failure_eject|pending_active|\dxx)",
    r"http\.(connect_terminate|app)\.(downstream_rq_(total|\dxx|active)|rbac\.(allowed|denied)|downstream_cx_upgrades_(total|active))",
]

UPSTREAMS = ["up", "other", ("raw", {"raw_tcp": True})]

GROUPS = [
    Group("waypoint", file, CASES, UPSTREAMS, stats=STATS, certificates=True, client=http2.H2Client, admin_paths=["GET /listeners"]),
    Group("waypoint_otherwise", file, OTHERWISE, UPSTREAMS, certificates=True, client=http2.H2Client),
] if http2.h2 else []
