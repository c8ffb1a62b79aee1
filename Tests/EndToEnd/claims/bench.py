"""The harness in Benchmarks/ measures, and leaves nothing behind."""

import json
import os
import signal
import subprocess

from harness.claim import Skipped
from harness.proxy import wait_until

# On a machine that has other work, and with windows too short to mean anything.
LENIENT = ["--max-foreign", "99", "--max-stolen", "99", "--no-spinners", "--scheduling", "default",
           "--rate", "100", "--warm-up", "0.1"]


def command(claim, *arguments):
    proxy = os.path.abspath(claim.flavor.path)
    program = os.path.join(os.path.dirname(proxy), "mesh-bench")
    if claim.flavor.is_envoy or not os.access(program, os.X_OK):
        raise Skipped(f"there is no mesh-bench beside {claim.flavor.path}")
    return [program, "run", *LENIENT, "--output", claim.directory, *arguments], {
        **os.environ, "MESHPROXY": proxy}


def report(claim):
    with open(os.path.join(claim.directory, "report.json")) as file:
        return json.load(file)


def test_a_run_writes_its_figures(claim):
    words, environment = command(claim, "--scenarios", "hop-h1", "--peers", "meshproxy,direct", "--seconds", "0.3",
                                 "--repetitions", "1")
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    [scenario] = report(claim)["scenarios"]
    results = {result["peer"]: result for result in scenario["results"]}
    assert set(results) == {"direct", "meshproxy"}, results.keys()
    ours = results["meshproxy"]
    assert ours.get("failure") is None, ours["failure"]
    for figure in ("cpu_us", "requests_per_s", "p50_us", "p99_us", "added_p50_us", "start_rss_mib", "start_ms"):
        assert ours["figures"][figure]["repetitions"] == 1, (figure, ours["figures"])
    assert ours["figures"]["cpu_us"]["median"] > 0
    assert "cpu_us" not in results["direct"]["figures"]
    assert "MeshProxy" in done.stdout and "hop-h1" in done.stdout
    with open(os.path.join(claim.directory, "report.html")) as file:
        assert "hop-h1" in file.read()


def test_what_does_not_exist_is_named(claim):
    for words, said in ((["--scenarios", "hop-h3"], "no such scenario: hop-h3; mesh-bench scenarios lists them"),
                        (["--peers", "apache"], "no such peer: apache: there are direct, "),
                        (["--peers-dir", "/no/such"], "no peers: /no/such: not a folder"),
                        (["--add", "older=/no/such"], "bad --add: older=/no/such: /no/such is no program"),
                        (["--repetitions", "0"], "--repetitions is at least 1")):
        program, environment = command(claim, *words)
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and said in done.stderr, done.stderr
        assert not os.path.exists(os.path.join(claim.directory, "report.json"))


def test_an_interrupted_run_saves_what_it_has(claim):
    words, environment = command(claim, "--scenarios", "hop-h1", "--peers", "meshproxy,direct", "--seconds", "20",
                                 "--repetitions", "1")
    run = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: len(children(run.pid)) >= 2, 20), "no upstream, or no generator"
        started = children(run.pid)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=20)
    finally:
        run.kill()
    assert run.returncode == 130, run.returncode
    assert "interrupted" in said, said
    assert report(claim)["isPartial"] is True
    assert wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started), 5), "a child is left"


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found
