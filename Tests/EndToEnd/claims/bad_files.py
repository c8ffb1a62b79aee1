"""A broken file: exit code 1, the list of errors, nothing started."""

import json
import os

from harness.client import read
from harness.envoyfile import bootstrap, cluster, common_tls, downstream_tls, extension, hcm, listener, route, typed, upstream_tls
from harness.proxy import accepts
from harness.requests import get


def good(e):
    return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log)])], [cluster("up", e.port("up"))])


def refused(claim, config, *words, **options):
    """Starts on a bad file and checks exit code, words of the output, and that nothing listens."""
    proxy = claim.start(config, ready=False, **options)
    code = proxy.wait(15)
    output = proxy.output()
    assert code == 1, f"exit code {code}: {output[-400:]}"
    for word in words:
        assert word in output, f"{word!r} is not in: {output[-800:]}"
    assert not accepts(claim.environment.port("in")), "the listener is open"
    return output


def test_an_unknown_field_is_refused_with_its_path_and_a_suggestion(claim):
    def config(e):
        file = good(e)
        file["static_resources"]["clusters"][0]["conect_timeout"] = "1s"
        return file
    refused(claim, config, "static_resources.clusters[0]", "conect_timeout", "connect_timeout")


def test_rules_for_a_filter_that_has_none_are_refused(claim):
    def config(e):
        counted = extension("envoy.filters.http.grpc_stats", "grpc_stats")
        routes = [route(typed_per_filter_config={"envoy.filters.http.grpc_stats": typed("rbac_per_route")})]
        return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=routes, filters=[counted])])], [cluster("up", e.port("up"))])
    refused(claim, config, "envoy.filters.http.grpc_stats", "another kind of filter")


def test_statistics_are_for_all_methods_or_for_those_listed(claim):
    def config(e):
        fields = {"stats_for_all_methods": True, "individual_method_stats_allowlist": {"services": []}}
        counted = extension("envoy.filters.http.grpc_stats", "grpc_stats", **fields)
        return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, filters=[counted])])], [cluster("up", e.port("up"))])
    refused(claim, config, "individual_method_stats_allowlist", "stats_for_all_methods")


def test_all_errors_are_reported_at_once_with_line_and_column(claim):
    def config(e):
        file = good(e)
        file["static_resources"]["clusters"][0]["lb_policy"] = "ROUND_ROBBIN"
        file["static_resources"]["clusters"][0]["connect_timeout"] = "fast"
        file["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = 5
        file["nonsense"] = True
        return file
    output = refused(claim, config, "lb_policy", "ROUND_ROBBIN", "connect_timeout", "stat_prefix", "nonsense")
    text = json.dumps(config(claim.environment), indent=1).splitlines()
    line = next(n for n, l in enumerate(text, 1) if "ROUND_ROBBIN" in l)
    assert f"{line}:" in output or f"line {line}" in output, f"line {line} is not named: {output}"


def test_twenty_faults_of_one_yaml_file_are_reported_in_one_run(claim):
    text = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 99999}}}
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: "80a"}}
    filter_chains:
    - filter_chain_match: {server_names: [ok.test, a.*.test]}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: 7
          codec_type: HTTP
          use_remote_adress: true
          request_timeout: 30
          access_log:
          - name: envoy.access_loggers.file
            filter: {response_flag_filter: {flags: [UF, UHH]}}
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/null
              log_format: {text_format_source: {inline_string: "%RESPONSE_CDE%\\n"}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*.ok", "a.*.test"]
              routes:
              - match: {prefix: /}
                route: {cluster: upp, retry_policy: {retry_on: "5xx,conect-failure", num_retries: -1, retriable_status_codes: [503, 99]}}
              - match: {safe_regex: {regex: "(a"}}
                redirect: {response_code: 307}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, strict_check_headers: [x-envoy-max-retry]}
  clusters:
  - name: up
    type: STRICT-DNS
    connect_timeout: 250ms
    lb_policy: round_robbin
    load_assignment:
      cluster_name: up
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 300.1.1.1, port_value: 0}}}}]}]
  - {name: up, connect_timeout: 0s}
layered_runtime: {layers: [{name: a, static_layer: {x: null}}]}
nod: {id: x}
"""
    # Line, path and offending value of each, and what was probably meant.
    faults = [
        (2, "admin.address.socket_address.port_value", "99999"),
        (6, "listeners[0].address.socket_address.port_value", '"80a"'),
        (8, "filter_chain_match.server_names[1]", '"a.*.test"'),
        (13, "typed_config.stat_prefix", "7"),
        (14, "typed_config.codec_type", '"HTTP"; did you mean "HTTP1"?'),
        (15, "typed_config", '"use_remote_adress"; did you mean "use_remote_address"?'),
        (16, "typed_config.request_timeout", 'got 30; did you mean "30s"?'),
        (19, "response_flag_filter.flags[1]", '"UHH" is not a response flag; did you mean "UH"?'),
        (23, "text_format_source.inline_string", "did you mean %RESPONSE_CODE%?"),
        (27, "virtual_hosts[0].domains[1]", '"a.*.test"'),
        (30, "route.cluster", 'unknown cluster "upp"; did you mean "up"?'),
        (30, "retry_policy.retry_on", '"conect-failure" is not a retry condition; did you mean "connect-failure"?'),
        (30, "retry_policy.num_retries", "got -1"),
        (30, "retry_policy.retriable_status_codes[1]", "99 is not a status code"),
        (31, "routes[1].match.safe_regex.regex", '"(a"'),
        (32, "redirect.response_code", "got 307"),
        (35, "strict_check_headers[0]", 'did you mean "x-envoy-max-retries"?'),
        (38, "clusters[0].type", '"STRICT-DNS"; did you mean "STRICT_DNS"?'),
        (39, "clusters[0].connect_timeout", '"250ms"; did you mean "0.25s"?'),
        (40, "clusters[0].lb_policy", '"round_robbin"; did you mean "ROUND_ROBIN"?'),
        (43, "socket_address.address", '"300.1.1.1"'),
        (44, "clusters[1]", '"up"'),
        (44, "clusters[1].connect_timeout", '"0s"'),
        (45, "layered_runtime.layers[0].static_layer", '"x"'),
        (46, "", '"nod"; did you mean "node"?'),
    ]
    output = refused(claim, text, suffix=".yaml")
    errors = [line for line in output.splitlines() if ": error: " in line]
    for line, path, words in faults:
        found = [e for e in errors if f".yaml:{line}:" in e and f"{path}: " in e and words in e]
        assert len(found) == 1, f"{line} {path} {words}: {found or output}"
    assert output.rstrip().endswith(f"refused: {len(errors)} errors"), output[-200:]


def test_a_dangling_cluster_is_refused(claim):
    refused(claim, lambda e: bootstrap(
        e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=[route(cluster="nobody")])])], [cluster("up", 1)],
    ), "nobody")


def test_a_duplicate_key_is_refused(claim):
    text = json.dumps(good(claim.environment)).replace('"node":', '"admin": null, "node":', 1)
    refused(claim, text, "admin")


def test_text_that_is_not_json_is_refused_with_its_position(claim):
    refused(claim, '{"static_resources": {"listeners": [}}', "1:")


def test_an_empty_file_is_refused(claim):
    proxy = claim.start("", ready=False)
    assert proxy.wait(15) == 1, proxy.output()


def test_a_missing_file_is_refused_by_its_name(claim):
    proxy = claim.start(good, ready=False, extra=["-c", os.path.join(claim.directory, "absent.json")])
    assert proxy.wait(15) == 1
    assert "absent.json" in proxy.output(), proxy.output()


def test_a_certificate_that_is_not_there_is_refused(claim):
    def config(e):
        chain = {"filters": [hcm(e.log)], "transport_socket": downstream_tls({"tls_certificates": [{"certificate_chain": {"filename": "/nonexistent.pem"}, "private_key": {"filename": "/nonexistent.key"}}]})}
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))])
    refused(claim, config, "/nonexistent.pem")


def test_files_that_are_missing_are_told_of_with_everything_else(claim):
    def config(e):
        pair = lambda name: {"tls_certificates": [{"certificate_chain": {"filename": f"/nonexistent/{name}.pem"}, "private_key": {"filename": f"/nonexistent/{name}.key"}}]}
        chain = {"filters": [hcm(e.log, routes=[route({"prefix": "/"}, "nobody")])], "transport_socket": downstream_tls(pair("server"))}
        broken = {"filters": [hcm(e.log)], "transport_socket": downstream_tls({**pair("unseen"), "alpn_protocls": ["h2"]})}
        clusters = [cluster("up", e.port("up"), transport_socket=upstream_tls(pair("client")), lb_polciy="RANDOM")]
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain), listener(e.port("two"), broken, name="two")], clusters)
    refused(claim, config, "/nonexistent/server.pem", "/nonexistent/server.key", "/nonexistent/client.pem", "lb_polciy", "alpn_protocls", "nobody")
    assert not os.path.exists(claim.environment.log), "a refused file has left a log behind"


def test_a_key_of_another_certificate_is_refused(claim):
    def config(e):
        pair = {"certificate_chain": {"filename": claim.authority.path("server.pem")}, "private_key": {"filename": claim.authority.path("client.key")}}
        chain = {"filters": [hcm(e.log)], "transport_socket": downstream_tls({"tls_certificates": [pair]})}
        return bootstrap(e.port("admin"), [listener(e.port("in"), chain)], [cluster("up", e.port("up"))])
    refused(claim, config, "server.pem")


def test_a_port_that_is_taken_is_refused(claim):
    # Without SO_REUSEPORT on the holder's side, nobody can share the port.
    up = claim.upstream("up")
    claim.environment.ports["in"] = up.port
    proxy = claim.start(good, ready=False)
    assert proxy.wait(15) == 1, proxy.output()
    assert str(up.port) in proxy.output(), proxy.output()


def test_validate_accepts_a_good_file_and_starts_nothing(claim):
    proxy = claim.start(good, ready=False, extra=["--mode", "validate"])
    assert proxy.wait(15) == 0, proxy.output()
    assert "OK" in proxy.output(), proxy.output()


def test_validate_warns_of_a_shadowed_route(claim):
    def config(e):
        routes = [route({"prefix": "/"}), route({"prefix": "/never"})]
        return bootstrap(e.port("admin"), [listener(e.port("in"), [hcm(e.log, routes=routes)])], [cluster("up", e.port("up"))])
    proxy = claim.start(config, ready=False, extra=["--mode", "validate"])
    assert proxy.wait(15) == 0, proxy.output()
    assert "routes[1]" in proxy.output(), proxy.output()


def test_camel_case_string_numbers_and_integer_enums_are_read(claim):
    claim.upstream("up")
    def config(e):
        text = json.dumps(good(e)).replace("static_resources", "staticResources").replace("filter_chains", "filterChains")
        text = text.replace('"codec_type": "HTTP1"', '"codecType": 1').replace(f'"port_value": {e.port("in")}', f'"portValue": "{e.port("in")}"')
        return text
    claim.start(config)
    seen = claim.exchange(get("/"), read())
    assert seen["responses"][0]["line"] == "HTTP/1.1 200 OK", seen


def test_yaml_is_read(claim):
    claim.upstream("up")
    e = claim.environment
    text = f"""
# A comment, which JSON has none of.
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {e.port("admin")}}}}}}}
static_resources:
  listeners:
  - name: in
    address:
      socket_address: {{address: 127.0.0.1, port_value: {e.port("in")}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route: {{cluster: up}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {e.port("up")}}}}}}}
"""
    claim.start(text, suffix=".yaml")
    seen = claim.exchange(get("/"), read())
    assert seen["responses"][0]["line"] == "HTTP/1.1 200 OK", seen


def runtime_file(e, **values):
    file = good(e)
    file["layered_runtime"] = {"layers": [{"name": "base", "static_layer": values}, {"name": "admin", "admin_layer": {}}]}
    return file


def test_a_misspelled_runtime_value_of_ours_is_refused_where_it_stands(claim):
    values = {"mesh": {"http1": {"downstream": {"allow_bare_lfs": True}}}, "mesh.http1.upstream.allow_obs_fold": 1}
    config = lambda e: runtime_file(e, **values)
    output = refused(
        claim, config, 'static_layer.mesh.http1.downstream.allow_bare_lfs: "mesh.http1.downstream.allow_bare_lfs" is no runtime value',
        'did you mean "mesh.http1.downstream.allow_bare_lf"?', '"mesh.http1.upstream.allow_obs_fold" must be true or false, got 1',
    )
    text = json.dumps(config(claim.environment), indent=1).splitlines()
    line = next(n for n, l in enumerate(text, 1) if "allow_bare_lfs" in l)
    assert f":{line}:" in output, output


def test_a_runtime_value_that_nothing_reads_is_warned_of(claim):
    def config(e):
        share = {"default_value": {"numerator": 100}, "runtime_key": "share.of.canary"}
        file = runtime_file(e, **{"share.of.canari": 5, "envoy.reloadable_features.x": False})
        manager = hcm(e.log, routes=[route({"prefix": "/", "runtime_fraction": share})])
        file["static_resources"]["listeners"] = [listener(e.port("in"), [manager])]
        return file
    proxy = claim.start(config)
    output = proxy.output()
    assert 'nothing here reads the runtime value "share.of.canari": it has no effect; did you mean "share.of.canary"?' in output, output
    assert 'nothing here reads the runtime value "envoy.reloadable_features.x"' in output, output
    status, body, _ = proxy.request("POST", "/runtime_modify?mesh.http1.downstream.allow_bare_lfs=true")
    assert status == 503 and "did you mean" in body, (status, body)


def idle_filters(e, fault=None, filters=()):
    any_ = lambda name, **fields: {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{name}", **fields}
    idle = [
        {"name": "envoy.filters.http.fault", "typed_config": any_("fault.v3.HTTPFault", **(fault or {}))},
        {"name": "envoy.filters.http.cors", "typed_config": any_("cors.v3.Cors")},
    ]
    routes = [route(typed_per_filter_config={"envoy.filters.http.fault": any_("fault.v3.HTTPFault")})]
    up = cluster("up", e.port("up"), common_lb_config={"locality_weighted_lb_config": {}})
    manager = hcm(e.log, routes=routes, filters=idle)
    manager["typed_config"]["http_filters"] += list(filters)
    return bootstrap(e.port("admin"), [listener(e.port("in"), [manager])], [up])


def test_filters_with_nothing_to_do_are_left_out_with_a_warning(claim):
    proxy = claim.start(idle_filters)
    output = proxy.output()
    assert output.count("has nothing to do as it is set, and is left out") == 3, output
    assert "locality_weighted_lb_config: has no effect: no priority has two localities" in output, output


def test_filters_that_would_do_something_are_refused(claim):
    abort = {"abort": {"http_status": 503, "percentage": {"numerator": 100}}}
    refused(claim, lambda e: idle_filters(e, abort), 'HTTP filter "envoy.extensions.filters.http.fault.v3.HTTPFault" is not implemented')


def test_the_order_of_filters_is_checked_where_some_are_left_out(claim):
    deny = extension("envoy.filters.http.rbac", "rbac")
    refused(claim, lambda e: idle_filters(e, filters=[deny]), "the router must be the last filter")
