"""Access-log operators and filters, local_reply_config, statistics names, admin endpoints."""

from harness import upstream as up
from harness.client import read
from harness.differential import Case, Group
from harness.envoyfile import (
    TYPES, access_log, bootstrap, cluster, extension, hcm, listener, route, virtual_host,
)
from harness.requests import chunked, get, post

OPERATORS = {
    "request_header": "%REQ(X-A)%", "request_alternative": "%REQ(X-NONE?X-A)%", "request_cut": "%REQ(X-A):3%",
    "response_header": "%RESP(X-R)%", "trailer": "%TRAILER(X-T)%", "protocol": "%PROTOCOL%", "code": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%", "flags": "%RESPONSE_FLAGS%", "flags_long": "%RESPONSE_FLAGS_LONG%",
    "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
    "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER%", "upstream_remote": "%UPSTREAM_REMOTE_ADDRESS%",
    "upstream_remote_ip": "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "upstream_remote_port": "%UPSTREAM_REMOTE_PORT%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "upstream_protocol": "%UPSTREAM_PROTOCOL%",
    "downstream_remote_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "downstream_local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_local_ip": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "downstream_local_port": "%DOWNSTREAM_LOCAL_PORT%",
    "downstream_direct_ip": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "sni": "%REQUESTED_SERVER_NAME%",
    "route": "%ROUTE_NAME%", "filter_chain": "%FILTER_CHAIN_NAME%", "hostname_set": "text",
    "transport_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%", "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "metadata": "%METADATA(ROUTE:com.test:key)%", "metadata_all": "%METADATA(ROUTE:com.test)%", "cluster_metadata": "%METADATA(CLUSTER:com.test:key)%",
    "local_reply_body": "%LOCAL_REPLY_BODY%", "start_year": "%START_TIME(%Y)%", "start_whole": "%START_TIME%",
    "tls_version": "%DOWNSTREAM_TLS_VERSION%", "peer": "%DOWNSTREAM_PEER_URI_SAN%", "stream_id": "%STREAM_ID%",
    "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "path_no_query": "%PATH(NQ)%", "authority": "%REQ(:AUTHORITY)%", "scheme": "%REQ(:SCHEME)%",
    "percent": "100%%", "mixed": "%RESPONSE_CODE% and %PROTOCOL%", "request_headers_bytes": "%REQUEST_HEADERS_BYTES%",
    "upstream_wire_sent": "%UPSTREAM_WIRE_BYTES_SENT%", "wire_received": "%DOWNSTREAM_WIRE_BYTES_RECEIVED%",
    "host_metadata": "%METADATA(VIRTUAL_HOST:com.test:key)%", "listener_metadata": "%METADATA(LISTENER:com.test:list)%",
    "chain_metadata": "%METADATA(LISTENER_FILTER_CHAIN:com.test)%", "trace": "%TRACE_ID%%SPAN_ID%", "custom_flags": "%CUSTOM_FLAGS%",
    "direct_local": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%", "direct_local_ip": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%",
    "direct_local_port": "%DOWNSTREAM_DIRECT_LOCAL_PORT%",
    "nested": {"code": "%RESPONSE_CODE%", "list": ["%PROTOCOL%", "constant", 3, True, None]},
}
DURATIONS = {
    "duration": "%DURATION%", "request": "%REQUEST_DURATION%", "response": "%RESPONSE_DURATION%", "tx": "%RESPONSE_TX_DURATION%", "request_tx": "%REQUEST_TX_DURATION%",
}
TEXT = '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %REQ(X-A)%\n'


def file_log(path, **fields):
    return {"name": "envoy.access_loggers.file", "typed_config": {"@type": "type.googleapis.com/" + TYPES["file_log"], "path": path, **fields}}


def logs_file(e):
    text = lambda s: {"log_format": {"text_format_source": {"inline_string": s}}}
    only = lambda label, f: {**file_log(e.log, **text(label + " %RESPONSE_CODE%\n")), "filter": f}
    at = lambda op, n: {"status_code_filter": {"comparison": {"op": op, "value": {"default_value": n, "runtime_key": "none"}}}}
    header = lambda **m: {"header_filter": {"header": m}}
    variants = {
        "in": [file_log(e.log, log_format={"json_format": OPERATORS})],
        "omit": [file_log(e.log, log_format={"json_format": OPERATORS, "omit_empty_values": True})],
        "text": [file_log(e.log, **text(TEXT))],
        "textomit": [file_log(e.log, log_format={"text_format_source": {"inline_string": TEXT}, "omit_empty_values": True})],
        "old": [file_log(e.log, format=TEXT)],
        "oldjson": [file_log(e.log, json_format={"code": "%RESPONSE_CODE%", "mixed": "code %RESPONSE_CODE%"})],
        "filters": [
            only("ge500", at("GE", 500)), only("eq404", at("EQ", 404)), only("le200", at("LE", 200)),
            only("header", header(name="x-log", string_match={"exact": "yes"})),
            only("flag-any", {"response_flag_filter": {}}), only("flag-nr", {"response_flag_filter": {"flags": ["NR"]}}),
            only("flag-uf", {"response_flag_filter": {"flags": ["UF", "UH"]}}),
            only("and", {"and_filter": {"filters": [at("GE", 400), header(name="x-log", present_match=True)]}}),
            only("or", {"or_filter": {"filters": [at("EQ", 404), header(name="x-log", present_match=True)]}}),
            only("not-health", {"not_health_check_filter": {}}),
            only("never", {"runtime_filter": {"runtime_key": "none.a", "percent_sampled": {"numerator": 0}}}),
            only("always", {"runtime_filter": {"runtime_key": "none.b", "percent_sampled": {"numerator": 100}}}),
            only("slow", {"duration_filter": {"comparison": {"op": "GE", "value": {"default_value": 300, "runtime_key": "none"}}}}),
        ],
    }
    metadata = {"filter_metadata": {"com.test": {"key": "value", "number": 5, "list": ["a", 1.5, True], "nested": {"x": None}}}}
    routes = [
        route({"path": "/direct"}, direct_response={"status": 503, "body": {"inline_string": "direct body"}}),
        route({"path": "/dead"}, "dead"),
        route({"prefix": "/rewrite"}, prefix_rewrite="/new"),
        route({"prefix": "/", "headers": [{"name": "x-missing", "present_match": True}]}, name="never"),
        route({"path": "/known"}, name="the route", metadata=metadata), route({"path": "/"}),
    ]
    up_cluster = cluster("up", e.port("up"), metadata={"filter_metadata": {"com.test": {"key": "of the cluster"}}})
    listeners = [
        listener(
            e.port(n),
            {"name": f"chain-{n}", "filters": [hcm(l, virtual_hosts=[virtual_host(routes, metadata=metadata)], stat_prefix=n)], "metadata": metadata},
            name=n, metadata=metadata,
        )
        for n, l in variants.items()
    ]
    return bootstrap(e.port("admin"), listeners, [up_cluster, cluster("dead", e.port("nobody"))])


STREAM = [r"^\d{10,}$", r"(?<=stream_id\": \")[^\"]+"]


def l(name, path, where, *headers, up_=(), logs=1):
    return Case(name, get(path, "a.test", *headers), up_ or up.respond(headers=["x-r: answer"]), listener=where, logs=logs, mask=STREAM)


LOGS = Group("access_logs", logs_file, cases=[
    l("all operators on a proxied request", "/known?query=1", "in", "X-A: value"),
    l("all operators on a proxied exact route", "/known", "in", "X-A: value"),
    l("all operators on a local reply", "/direct", "in", "X-A: value"),
    l("all operators on a failed connect", "/dead", "in"),
    l("all operators without a route", "/nowhere", "in"),
    Case("all operators on a body", chunked("/", "some", "body", headers=["X-A: value"]), up.chunked("answer", headers=["x-r: answer"]), mask=STREAM),
    Case("all operators on a bad request", b"GET / HTTP/1.1\r\nHost: a.test\r\nbad header\r\n\r\n", mask=STREAM),
    l("empty values omitted", "/known", "omit"),
    l("text", "/rewrite/x?q=1", "text", "X-A: value", "User-Agent: me"),
    l("text without values", "/", "text"),
    l("text, empty values omitted", "/", "textomit"),
    l("format as a string", "/", "old", "X-A: value"),
    l("json format of old", "/", "oldjson"),
    l("quotes and newlines are escaped", "/", "in", 'X-A: say "hi" \\ there'),
    l("filters on 200", "/", "filters", logs=3),
    l("filters on 404", "/nowhere", "filters", "X-Log: yes", logs=7),
    l("filters on 503 of a refused connect", "/dead", "filters", logs=5),
    l("filters on a slow request", "/", "filters", up_=up.delay(0.4, up.respond()), logs=4),
])


def replies_file(e):
    mapper = lambda f, **m: {"filter": f, **m}
    eq = lambda n: {"status_code_filter": {"comparison": {"op": "EQ", "value": {"default_value": n, "runtime_key": "none"}}}}
    add = lambda k, v: {"header": {"key": k, "value": v}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    config = {
        "mappers": [
            mapper(eq(404), status_code=410, body={"inline_string": "gone, says the mapper"}, headers_to_add=[add("x-mapped", "%RESPONSE_CODE%")]),
            mapper({"response_flag_filter": {"flags": ["UF"]}}, status_code=502, body_format_override={"json_format": {"error": "%LOCAL_REPLY_BODY%", "code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%"}}),
            mapper({"header_filter": {"header": {"name": "x-map", "present_match": True}}}, body_format_override={"text_format_source": {"inline_string": "<p>%LOCAL_REPLY_BODY%</p>"}, "content_type": "text/html"}),
        ],
        "body_format": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%|%RESPONSE_CODE%|%REQ(:PATH)%|%RESPONSE_CODE_DETAILS%"}},
    }
    routes = [
        route({"path": "/dead"}, "dead"), route({"path": "/direct"}, direct_response={"status": 404, "body": {"inline_string": "direct"}}),
        route({"path": "/direct500"}, direct_response={"status": 500, "body": {"inline_string": "direct"}}),
        route({"path": "/up"}), route({"path": "/empty"}, "empty"),
    ]
    clusters = [cluster("up", e.port("up")), cluster("dead", e.port("nobody")), {"name": "empty", "type": "STATIC", "connect_timeout": "1s"}]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=routes, local_reply_config=config)])], clusters)


def r(name, path, *headers, up_=()):
    return Case(name, get(path, "a.test", *headers), up_)


REPLIES = Group("local_reply_config", replies_file, cases=[
    r("404 is mapped", "/nowhere"), r("direct 404 is mapped", "/direct"), r("direct 500 gets the body format", "/direct500"),
    r("a failed connect is mapped to JSON", "/dead"), r("no healthy upstream gets the body format", "/empty"),
    r("a header chooses the mapper", "/empty", "X-Map: 1"), r("an upstream's 404 is left alone", "/up", up_=up.respond("404 Not Found")),
    r("gRPC", "/nowhere", "content-type: application/grpc"),
    Case("a bad request gets the body format", b"GET / HTTP/1.1\r\nHost: a.test\r\nbad header\r\n\r\n"),
])


def names_file(e):
    # Without the service time, whose digits would count as bytes.
    manager = hcm(e.log, router_fields={"suppress_envoy_headers": True})
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], [cluster("up", e.port("up"))])


# The names and values after one good and one bad request, of everything an operator looks at.
NAMES = Group("stat_names", names_file, stats=[
    r"http\.in\.(downstream_(rq|cx)_(?!.*http3)(?!.*delayed_close).*|no_route|no_cluster|rq_.*|rs_too_large)",
    r"cluster\.up\.(upstream_(rq|cx|internal)_(?!.*http3)(?!.*(rx|tx)_bytes)(?!.*length).*|membership_.*|lb_healthy_panic|max_host_weight|bind_errors|retry_or_shadow_abandoned|update_.*|version|circuit_breakers\..*|http1\..*|external\..*|upstream_flow_control_.*)",
    r"listener\.127\.0\.0\.1_\{in\}\.(downstream_(cx|pre_cx|global_cx)_(?!length).*|no_filter_chain_match|http\.in\..*)",
    r"listener_manager\.(total_.*|listener_(added|create_success|create_failure|in_place_updated|modified|removed|stopped)|workers_started)",
    r"cluster_manager\.(active_clusters|cluster_added|cluster_modified|cluster_removed|warming_clusters|cluster_updated)",
    r"server\.(live|concurrency|state|parent_connections|days_until_first_cert_expiring|debug_assertion_failures|version)",
], cases=[
    Case("a good request", get("/")),
    Case("a bad request", b"GET / HTTP/1.1\r\nHost: a.test\r\nbad header\r\n\r\n"),
], admin_paths=(
    "GET /ready", "GET /server_info", "POST /reset_counters", "GET /reset_counters", "GET /quitquitquit", "GET /healthcheck/fail",
    "POST /healthcheck/fail", "POST /healthcheck/ok", "GET /logging", "GET /drain_listeners", "GET /nonsense", "GET /listeners",
    "GET /stats?filter=nothing_like_this", "GET /stats?format=nonsense", "GET /runtime", "GET /clusters?format=nonsense", "GET /hot_restart_version",
    "POST /ready", "GET /certs", "GET /stats?usedonly&filter=^cluster\\.up\\.upstream_rq_200$", "GET /stats?format=json&filter=^cluster\\.up\\.upstream_rq_200$",
    "GET /stats/prometheus?filter=^cluster\\.up\\.upstream_rq_200$", "GET /stats?type=Gauges&filter=^server\\.live$",
))


def runtime_file(e):
    layers = [
        {"name": "file", "static_layer": {"a": {"b": 5}, "yes": True, "word": "text", "decimal": 1.5}},
        {"name": "admin", "admin_layer": {}},
    ]
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log)])], [cluster("up", e.port("up"))], layered_runtime={"layers": layers})


RUNTIME = Group("runtime", runtime_file, stats=[r"runtime\..*"], cases=[Case("a request", get("/"))], admin_paths=(
    "GET /runtime", "GET /runtime_modify?a.b=1", "POST /runtime_modify", "POST /runtime_modify?a.b=7&new.key=100&words=hello%20there&empty=",
    "GET /runtime?format=json", "POST /runtime_modify?a.b=&unknown=", "POST /runtime_modify?decimal=-0.5&yes=false&share=numerator:%205", "GET /runtime?",
    "GET /stats?filter=^runtime\\.",
))

GROUPS = [LOGS, REPLIES, NAMES, RUNTIME]
