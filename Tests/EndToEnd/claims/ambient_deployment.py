"""The manifests in deploy/ztunnel-lite ask for what the binary and the rules have, and what they say works."""

import os
import re
import signal
import subprocess
import time

from claims.ambient import binary, new_mesh
from claims.ambient_capture import says_who
from harness.ambient import Server, ask, identity
from harness.claim import Skipped
from harness.netlab import REDIRECT, ROOT, Lab
from harness.proxy import wait_until

FOLDER = os.path.join(ROOT, "deploy", "ztunnel-lite")


def documents(name):
    try:
        import yaml
    except ImportError:
        raise Skipped("python3-yaml is not installed; scripts/setup --ambient installs it")
    with open(os.path.join(FOLDER, name)) as file:
        return list(yaml.safe_load_all(file))


def pods(name):
    """Specs of the pods in a manifest."""
    for document in documents(name):
        if document["kind"] == "DaemonSet":
            yield document["spec"]["template"]["spec"]
        elif document["kind"] == "Pod":
            yield document["spec"]


def containers(name):
    for pod in pods(name):
        yield from pod.get("initContainers", []) + pod["containers"]


def environment(container, **fields):
    """Its variables; those of the downward API are in `fields`."""
    return {e["name"]: e.get("value") or fields[e["valueFrom"]["fieldRef"]["fieldPath"]] for e in container.get("env", [])}


def test_manifests_ask_for_what_there_is(claim):
    """Every variable is one of --help or of the rules' script, every port a default, every mount a volume."""
    path = binary(claim)
    known = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=10).stdout
    with open(REDIRECT) as file:
        script = file.read()
    variables = set(re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b", known)) | {"FAKE_CA"}
    variables |= set(re.findall(r"\$\{([A-Z_]+):-", script))
    for name in ("node.yaml", "pod.yaml"):
        kinds = [document["kind"] for document in documents(name)]
        assert not any("Role" in kind for kind in kinds), "it needs no rights in the API"
        for pod in pods(name):
            volumes = {v["name"] for v in pod["volumes"]}
            assert pod["automountServiceAccountToken"] is False
            for container in pod.get("initContainers", []) + pod["containers"]:
                where = (name, container["name"])
                for entry in container.get("env", []):
                    assert entry["name"] in variables, (*where, entry["name"])
                assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes, where
                for port in container.get("ports", []):
                    assert port["containerPort"] in (15008, 15020, 15021, 8080), (*where, port)
                for probe in ("readinessProbe", "startupProbe"):
                    if probe in container:
                        assert container[probe]["httpGet"] == {"port": 15021, "path": "/healthz/ready"}, where
                if container["name"] == "ztunnel-lite":
                    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}, where
                    grace = environment(container, **{"spec.nodeName": "n"})["CONNECTION_TERMINATION_DEADLINE"]
                    assert int(grace.rstrip("s")) < pod["terminationGracePeriodSeconds"], where


def test_the_manifests_mesh_is_one(claim):
    """The binary takes the ConfigMap with the container's variables, and knows whose node it is on."""
    path = binary(claim)
    maps = [d for d in documents("node.yaml") if d["kind"] == "ConfigMap"]
    file = os.path.join(claim.directory, "mesh.yaml")
    with open(file, "w") as text:
        text.write(maps[0]["data"]["mesh.yaml"])
    for name in ("node.yaml", "pod.yaml"):
        agent = next(c for c in containers(name) if c["name"] == "ztunnel-lite")
        for node, addresses in (("worker-1", ["10.244.1.10"]), ("worker-2", ["10.244.2.10"]), ("worker-3", [])):
            variables = {**environment(agent, **{"spec.nodeName": node}), "LOCAL_XDS_PATH": file}
            result = subprocess.run([path, "--check"], env=variables, capture_output=True, text=True, timeout=10)
            assert result.returncode == 0 and "2 workloads, 1 services, 1 policies" in result.stdout, result
            assert "warning" not in result.stdout + result.stderr, result
            listed = subprocess.run([path, "--addresses"], env=variables, capture_output=True, text=True, timeout=10)
            expected = addresses if name == "node.yaml" else ["10.244.2.10"]
            assert listed.returncode == 0 and listed.stdout.split() == expected, (name, node, listed)


def test_the_image_holds_what_the_manifests_start(claim):
    with open(os.path.join(FOLDER, "Dockerfile")) as file:
        text = file.read()
    for name in ("node.yaml", "pod.yaml"):
        for container in containers(name):
            if container["image"] == "ztunnel-lite":
                assert (container.get("command") or ["ztunnel-lite"])[0] in ("ztunnel-lite", "redirect", "install"), container["name"]
    assert "ztunnel-lite deploy/ztunnel-lite/redirect /usr/local/bin/" in text and "nftables" in text and "iproute2" in text
    needed = subprocess.run(["ldd", binary(claim)], capture_output=True, text=True).stdout
    system = ("linux-vdso", "ld-linux", "libc", "libm", "libgcc_s", "libcrypto", "libdl", "libpthread")
    for library in re.findall(r"^\s*(?:/\S*/)?([\w.+-]+?)\.so", needed, re.M):
        if not library.startswith(system) or library.startswith("libcares"):
            package = re.sub(r"[-.]\d+$", "", library).replace("libcares", "libc-ares").replace("libstdc++", "libstdc")
            assert package.rstrip("-0") in text, f"the image has no {library}"


def test_rules_follow_the_mesh(claim):
    """As the DaemonSet runs it: a workload that the file names from now on is captured from now on."""
    with Lab() as lab:
        one, two = lab.node("one"), lab.node("two")
        client, server, later = lab.pod(one, "client"), lab.pod(two, "server"), lab.pod(one, "later")
        mesh = new_mesh(claim)
        mesh.workload("client", client.address, node="one")
        mesh.workload("server", server.address, node="two")
        app = Server(says_who, "0.0.0.0", 8080, server)
        claim.proxies.append(app)
        near, far = (mesh.agent(n, space=s, shared=True) for n, s in (("one", one), ("two", two)))
        followers = [s.start(REDIRECT, "follow", mesh.binary, "--addresses", env={**os.environ, **a.variables, "PERIOD": "0.1"}) for s, a in ((one, near), (two, far))]
        for space, address in ((one, client.address), (two, server.address)):
            assert wait_until(lambda: rules(space).count(address) == 1, 10), rules(space)
        assert ask(client.connect(server.address, 8080), b"!") == f"you are {client.address}; !".encode()
        assert far.logged(direction="inbound")["src.identity"] == identity("client")
        # Not in the mesh yet: plaintext at the server, without an identity.
        assert ask(later.connect(server.address, 8080), b"!") == f"you are {later.address}; !".encode()
        assert wait_until(lambda: len(far.access(direction="inbound")) == 2, 15) and "src.identity" not in far.access(direction="inbound")[1]
        mesh.workload("later", later.address, node="one")
        mesh.write()
        assert wait_until(lambda: later.address in rules(one), 10), rules(one)
        assert wait_until(lambda: "3 workloads" in far.output() and "3 workloads" in near.output(), 15)
        assert ask(later.connect(server.address, 8080), b"!") == f"you are {later.address}; !".encode()
        assert far.logged(**{"src_workload": "later", "src.identity": identity("later")})
        # What ends does not take the rules with it, and a bad file changes nothing.
        with open(mesh.path, "w") as file:
            file.write("{")
        time.sleep(0.5)
        assert later.address in rules(one)
        for follower in followers:
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(5) == 0
        assert later.address in rules(one)


def rules(space):
    result = subprocess.run(space.command("nft", "list", "set", "inet", "ambient", "workloads4"), capture_output=True, text=True)
    return result.stdout


def test_nothing_passes_while_the_agent_is_away(claim):
    """Neither out in plaintext nor in past its policy, and all is well when it is back."""
    for mode in ("pod", "pod --tproxy", "node"):
        with Lab() as lab:
            one, two = lab.node("one"), lab.node("two")
            mesh = new_mesh(claim)
            if mode == "node":
                client, server = lab.pod(one, "client"), lab.pod(two, "server")
                names = (("one", one), ("two", two))
            else:
                client, server = one, two
                names = (("client", one), ("server", two))
            for name, space, node in (("client", client, "one"), ("server", server, "two")):
                mesh.workload(name, space.address, node=node)
            for space, workload in ((one, client), (two, server)):
                space.redirect(*mode.split(), *([workload.address] if mode == "node" else []))
            app = Server(says_who, "0.0.0.0", 8080, server)
            claim.proxies.append(app)
            agents = [mesh.agent(n, space=s, shared=mode == "node") for n, s in names]
            assert ask(client.connect(server.address, 8080), b"!").endswith(b"!"), mode
            open_one = client.connect(server.address, 8080)
            open_one.sendall(b"!")
            while not open_one.recv(100).endswith(b"!"):
                pass
            for agent in agents:
                served = len(app.peers)
                agent.stop()
                try:
                    with client.connect(server.address, 8080, seconds=1.5) as sock:
                        sock.sendall(b"!")
                        assert not sock.recv(100), f"{mode}: something passed {agent.name}"
                except OSError:
                    pass
                assert len(app.peers) == served, f"{mode}: something passed {agent.name}"
                agent.launch()
                assert wait_until(lambda: passes(client, server), 10), (mode, agent.name)
            mesh.stop()


def passes(client, server):
    try:
        return ask(client.connect(server.address, 8080, seconds=3), b"!").endswith(b"!")
    except OSError:
        return False
