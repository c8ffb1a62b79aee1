"""The debug header and POST /explain: who is answered, and that nothing is served meanwhile."""

import json

from harness.client import read
from harness.envoyfile import bootstrap, cluster, extension, hcm, listener, route
from harness.requests import get


def file(trusted):
    def make(e):
        admins = {"permissions": [{"url_path": {"path": {"prefix": "/open"}}}], "principals": [{"any": True}]}
        rules = {"action": "ALLOW", "policies": {"open": admins}}
        manager = hcm(e.log, filters=[extension("envoy.filters.http.rbac", "rbac", rules=rules)])
        layers = [{"name": "explain", "static_layer": {"mesh.explain.trusted_addresses": trusted}}]
        return bootstrap(
            e.port("admin"), [listener(e.port("in"), [manager])], [cluster("up", e.port("up"))],
            **({"layered_runtime": {"layers": layers}} if trusted else {}))
    return make


def test_the_header_tells_the_filter_chain_and_what_stood_before_it(claim):
    claim.upstream("up")
    def config(e):
        rules = {"action": "ALLOW", "policies": {"local": {"permissions": [{"any": True}], "principals": [{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]}}}
        gate = extension("envoy.filters.network.rbac", "network_rbac", stat_prefix="gate", rules=rules)
        layers = [{"name": "explain", "static_layer": {"mesh.explain.trusted_addresses": "127.0.0.1"}}]
        return bootstrap(e.port("admin"), [listener(e.port("in"), [gate, hcm(e.log)])], [cluster("up", e.port("up"))], layered_runtime={"layers": layers})
    claim.start(config)
    explanation = json.loads(answer(claim, "/", "x-mesh-explain: 1")["body"])
    assert explanation["filter_chain"]["name"] == "filter_chains[0]", explanation
    assert explanation["network_filters"][0]["rules"]["policies"][0]["name"] == "local", explanation
    address = f"127.0.0.1:{claim.environment.port('up')}"
    assert explanation["outcome"]["summary"] == f'forwarded to cluster "up", to {address}', explanation


def test_a_question_about_tcp_follows_the_weights(claim):
    claim.upstream("up")
    def config(e):
        weights = {"clusters": [{"name": "up", "weight": 3}, {"name": "other", "weight": 1}]}
        proxy = extension("envoy.filters.network.tcp_proxy", "tcp_proxy", stat_prefix="tcp", weighted_clusters=weights)
        return bootstrap(e.port("admin"), [listener(e.port("in"), [proxy])], [cluster("up", e.port("up")), cluster("other", e.port("up"))])
    proxy = claim.start(config)
    found = [json.loads(proxy.request("POST", "/explain", json.dumps({"random": n}))[1])["upstream"]["cluster"] for n in range(4)]
    assert found == ["up", "up", "up", "other"], found


def answer(claim, path, *headers):
    seen = claim.exchange(get(path, "a.test", *headers), read())
    return seen["responses"][0]


def test_a_trusted_peer_is_answered_and_nothing_is_sent_upstream(claim):
    up = claim.upstream("up")
    claim.start(file("127.0.0.1"))
    response = answer(claim, "/open/x", "x-mesh-explain: 1")
    explanation = json.loads(response["body"])
    assert response["line"] == "HTTP/1.1 200 OK", response
    assert explanation["outcome"]["action"] == "forward", explanation
    assert explanation["upstream"]["cluster"] == "up", explanation
    assert len(up.requests) == 0, "the request was served"
    denied = json.loads(answer(claim, "/closed", "x-mesh-explain: 1")["body"])
    assert denied["outcome"]["status"] == 403, denied
    policy = denied["http_filters"][0]["rules"]["policies"][0]
    assert policy["first_failure"] == 'permission: url_path prefix "/open", found "/closed"', policy


def test_others_are_served_as_usual_and_the_header_goes_no_further(claim):
    for trusted in ["10.0.0.0/8", None]:
        up = claim.upstream("up")
        proxy = claim.start(file(trusted))
        response = answer(claim, "/open", "x-mesh-explain: 1", "x-forwarded-for: 10.0.0.1")
        assert response["line"] == "HTTP/1.1 200 OK", response
        assert len(up.requests) == 1
        assert "x-mesh-explain" not in json.dumps(up.requests[0]).lower(), up.requests[0]
        assert answer(claim, "/closed", "x-mesh-explain: 1")["body"] == "RBAC: access denied"
        proxy.stop()


def test_the_admin_port_explains_a_request_nobody_sent(claim):
    up = claim.upstream("up")
    proxy = claim.start(file(None))
    question = json.dumps({"authority": "a.test", "path": "/closed?x=/open"})
    status, body = proxy.request("POST", "/explain", question)[:2]
    explanation = json.loads(body)
    assert status == 200 and explanation["outcome"]["status"] == 403, explanation
    assert explanation["outcome"]["details"] == "rbac_access_denied_matched_policy[none]", explanation
    assert proxy.request("GET", "/explain")[0] == 405
    status, body = proxy.request("POST", "/explain", '{"paht": "/"}')[:2]
    assert status == 400 and "paht" in json.loads(body)["errors"][0], body
    assert proxy.stats()["http.in.rbac.denied"] == 0, "a question was counted as traffic"
    assert len(up.requests) == 0


def test_a_file_with_a_bad_trusted_address_is_refused(claim):
    proxy = claim.start(file("localhost"), ready=False)
    assert proxy.wait(10) == 1
    assert "mesh.explain.trusted_addresses" in proxy.output(), proxy.output()
