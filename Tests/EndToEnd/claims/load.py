"""mesh-bench load: one run of the generator, against mesh-bench upstream."""

import contextlib
import json
import os
import signal
import socket
import subprocess

from harness.claim import Skipped


def program(claim):
    path = os.path.join(os.path.dirname(os.path.abspath(claim.flavor.path)), "mesh-bench")
    if claim.flavor.is_envoy or not os.access(path, os.X_OK):
        raise Skipped(f"there is no mesh-bench beside {claim.flavor.path}")
    return path


@contextlib.contextmanager
def upstream(claim):
    server = subprocess.Popen([program(claim), "upstream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(server.stdout.readline()), server.pid
    finally:
        server.kill()
        server.communicate()


def load(claim, *arguments, input=""):
    done = subprocess.run([program(claim), "load", "--json", *arguments], input=input, capture_output=True, text=True,
                          timeout=60)
    return done, json.loads(done.stdout) if done.stdout else None


def test_a_result_is_one_line_of_json(claim):
    with upstream(claim) as (server, pid):
        done, result = load(claim, server["http"], "--requests", "500", "--watch", f"upstream={pid}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert result["requests"] == result["latency"]["count"] == 500
    assert result["errors"] == {} and result["isPartial"] is False
    [usage] = result["processes"]
    assert usage["pid"] == pid and usage["cpuNanoseconds"] > 0 and usage["residentKiB"] > 1000
    assert len(result["cpus"]) == os.cpu_count()


def test_an_open_loop_sends_what_its_rate_says(claim):
    with upstream(claim) as (server, _):
        done, result = load(claim, server["http"], "--rate", "400", "--warm-up", "0.2", "--duration", "0.5")
    assert done.returncode == 0, done.stderr
    assert 199 <= result["requests"] <= 201, result["requests"]
    assert result["lateness"] is not None and result["serviceTime"]["count"] == result["requests"]


def test_a_plan_comes_from_standard_input(claim):
    with upstream(claim) as (server, _):
        plan = {"target": server["tcp"], "traffic": "tcp-echo", "requests": 10, "connections": 2}
        done, result = load(claim, "--plan", "-", input=json.dumps(plan))
        assert done.returncode == 0 and result["requests"] == 10, done.stderr
        plan["conections"] = plan.pop("connections")
        done, _ = load(claim, "--plan", "-", input=json.dumps(plan))
    assert done.returncode == 64 and 'unknown field "conections"' in done.stderr, done.stderr


def test_idle_connections_stand_until_standard_input_ends(claim):
    with upstream(claim) as (server, _):
        words = [program(claim), "load", "--json", server["http"], "--traffic", "idle-http1", "--connections", "20"]
        run = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert json.loads(run.stdout.readline()) == {"standing": 20}
            assert run.poll() is None
            said, _ = run.communicate(timeout=20)
        finally:
            run.kill()
    result = json.loads(said)
    assert run.returncode == 0 and result["requests"] == 20 and result["errors"] == {}, said


def test_an_interrupted_load_tells_what_it_saw(claim):
    with upstream(claim) as (server, _):
        words = [program(claim), "load", "--json", "--progress", server["http"], "--warm-up", "0", "--duration", "50"]
        run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            # Once a second there is a word.
            assert "req/s" in run.stderr.readline()
            run.send_signal(signal.SIGINT)
            said, _ = run.communicate(timeout=20)
        finally:
            run.kill()
    result = json.loads(said)
    assert run.returncode == 130, run.returncode
    assert result["isPartial"] is True and result["requests"] > 0 and result["seconds"] < 40, said[:300]


def test_where_nobody_answers_the_cause_is_named(claim):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done, result = load(claim, f"127.0.0.1:{taken.getsockname()[1]}", "--connections", "2")
    assert done.returncode == 1
    assert "no answer: connect: Connection refused" in done.stderr, done.stderr
    assert result["errors"]["connect: Connection refused"] > 0 and result["requests"] == 0
