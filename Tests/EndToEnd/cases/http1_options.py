"""What a file may say of HTTP/1.1: upgrades that are ignored, and whether a bad request costs its connection."""

from harness import upstream as up
from harness.client import half_close, pause, read, read_bytes
from harness.differential import Case, Group
from harness.envoyfile import bootstrap, cluster, hcm, listener, route
from harness.requests import get, post

WEBSOCKET = [{"upgrade_type": "websocket"}]


def upgrades_file(e):
    def ignore(*matchers, upgrades=()):
        return {"http_protocol_options": {"ignore_http_11_upgrade": list(matchers)}, "upgrade_configs": list(upgrades)}

    variants = {
        "in": ignore({"prefix": "TLS/"}, {"exact": "foo", "ignore_case": True}),
        "socket": ignore({"exact": "websocket"}, upgrades=WEBSOCKET),
        "both": ignore({"prefix": "TLS/"}, upgrades=WEBSOCKET),
        "all": ignore({"safe_regex": {"regex": ".*"}}, upgrades=WEBSOCKET),
    }
    return bootstrap(
        e.port("admin"), [listener(e.port(name), [hcm(e.log, stat_prefix=name, **fields)], name=name) for name, fields in variants.items()],
        [cluster("up", e.port("up"))],
    )


def u(name, upgrade, *headers, on="in", behaviour=(), **more):
    return Case(name, [get("/", "a.test", "Connection: Upgrade", f"Upgrade: {upgrade}", *headers), read()], behaviour, listener=on, **more)


UPGRADES = Group("ignored_upgrades", upgrades_file, listeners=("in", "socket", "both", "all"), stats=[
    r"http\.(?!admin)\w+\.downstream_rq_(\dxx|ws_on_non_ws_route)", r"http\.(?!admin)\w+\.downstream_cx_upgrades_total",
], cases=[
    u("an ignored upgrade is a plain request", "TLS/1.2"),
    u("an ignored upgrade in another case", "FOO"),
    u("case counts", "tls/1.2", close=1),
    u("one that is not ignored", "websocket", close=1),
    u("an ignored websocket", "websocket", on="socket"),
    u("a list of ignored ones", "foo , TLS/1.0"),
    u("what is left of a list must be allowed", "TLS/1.0, bar", close=1),
    u("everything is ignored", "websocket", on="all"),
    u("an empty name", "", on="both"),
    u("a nominated header goes too", "foo", "X-Hop: 1", "Connection: X-Hop"),
    Case("what is left of a list is asked for", [get("/", "a.test", "Connection: Upgrade", "Upgrade: TLS/1.0, websocket"), read(), b"ping!", read_bytes(b"ping!")],
         up.upgrade_echo(), listener="both"),
    Case("the body of an ignored upgrade", [get("/", "a.test", "Connection: Upgrade", "Upgrade: foo", "Content-Length: 3", method="POST") + b"abc", read()]),
])


def after_file(e):
    strict = {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}, "path_with_escaped_slashes_action": "REJECT_REQUEST"}
    keep = {"override_stream_error_on_invalid_http_message": True}
    variants = {
        "in": {}, "http1": {"http_protocol_options": keep}, "manager": {"stream_error_on_invalid_http_message": True},
        "both": {"stream_error_on_invalid_http_message": True, "http_protocol_options": {"override_stream_error_on_invalid_http_message": False}},
    }
    routes = [
        route({"path": "/400"}, direct_response={"status": 400, "body": {"inline_string": "no"}}),
        route({"path": "/422"}, direct_response={"status": 422, "body": {"inline_string": "no"}}), route(),
    ]
    return bootstrap(
        e.port("admin"), [listener(e.port(name), [hcm(e.log, routes=routes, stat_prefix=name, **strict, **fields)], name=name) for name, fields in variants.items()],
        [cluster("up", e.port("up"))],
    )


BAD = {
    "a direct 400": get("/400"),
    "a direct 422": get("/422"),
    "a missing host": b"GET / HTTP/1.1\r\n\r\n",
    "a fragment": get("/#x"),
    "an escaped slash": get("/a%2fb"),
    "an underscore": get("/", "a.test", "x_y: 1"),
    "a bad host": get("/", "a/b"),
    "a bad header": b"GET / HTTP/1.1\r\nHost: a.test\r\nbad header\r\n\r\n",
    "a bad chunk": get("/", "a.test", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n",
    "an upstream's 400": get("/up"),
}


def after(name, data, on):
    answer = up.respond("400 Bad Request", body="no")
    ignore = ("upstream", "log") if name == "a bad chunk" else ("upstream",)
    return Case(f"{name} ({on})", [data, read(), get("/next"), read()], [answer] * 2, listener=on, close=1, logs=1, ignore=ignore)


AFTER = Group("after_bad_requests", after_file, listeners=("in", "http1", "manager", "both"), stats=[
    r"http\.(?!admin)\w+\.downstream_(rq_(\dxx|failed_path_normalization)|cx_(total|protocol_error))", r"http1\..*",
], cases=[
    after(name, data, on) for name, data in BAD.items() for on in ("in", "http1", "manager", "both")
])

GROUPS = [UPGRADES, AFTER]
