"""A broken file: exit code 1, the list of errors, nothing started."""

import json
import os

from harness.client import read
from harness.envoyfile import bootstrap, cluster, common_tls, downstream_tls, hcm, listener, route, upstream_tls
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
