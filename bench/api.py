"""Requests a second, of a manager with a thousand running tasks, over kept connections and with a token.

The records are put straight into a store, and a manager with a long heartbeat timeout is started on it: it believes
its nodes for as long as this takes, so it has a thousand running tasks and nothing to do. `/health`, which does nothing
and asks for no token, shows what of an answer is the HTTP server's own price.
"""

import asyncio
import subprocess
import sys
from statistics import quantiles
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from bench.figure import Figure, Trouble, measured, short
from bench.load import Answers
from bench.programs import Cluster, manager_alone
from bench.records import fill
from bench.run import Run
from longshore.model.lifecycle import State

FAMILY = "api"
SERVICES = 10
TASKS = 1000
ONE = "/v1/tasks/app03.50.1"
CONNECTIONS = 8
SECONDS = 3.0
OWN_CPU_MAX = 0.8


def measure(run: Run) -> list[Figure]:
    asyncio.run(fill(run.folder / "longshore.db", services=SERVICES, tasks_each=TASKS // SERVICES))
    with manager_alone(run.folder, "--heartbeat-timeout", "3600") as cluster:
        with cluster.client() as client:
            there = sum(task.state is State.RUNNING for task in client.tasks())
        if there != TASKS:
            raise Trouble(f"the manager shows {there} running tasks, not {TASKS}")
        run.say(f"a manager with {there} running tasks; {SECONDS:.0f} s for each of four figures")
        health = _asked(cluster, "/health", CONNECTIONS)
        one = _asked(cluster, ONE, CONNECTIONS)
        alone = _asked(cluster, ONE, 1)
        many = _asked(cluster, f"/v1/tasks?limit={TASKS}", CONNECTIONS)
    beside = {"ratio": _rate(one) / _rate(health), "against": f"/health {_rate(health):.0f} requests/s"}
    return [
        replace(_figure(f"GET one task, {CONNECTIONS} connections", one), **beside),
        _figure("GET one task, 1 connection", alone),
        _figure(f"GET a list of {TASKS} tasks, {CONNECTIONS} connections", many),
    ]


def _asked(cluster: Cluster, path: str, connections: int) -> Answers:
    with cluster.client() as client:
        address = urlsplit(client.url)
    words = [sys.executable, "-m", "bench.load", str(address.hostname), str(address.port), path]
    words += [str(cluster.folder / "admin.token"), str(connections), str(SECONDS)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=10 * SECONDS)
    if done.returncode:
        raise Trouble(f"asking for {path} failed:\n{done.stderr.decode()[-1000:]}")
    return msgspec.json.decode(done.stdout, type=Answers)


def _rate(answers: Answers) -> float:
    return len(answers.latencies_s) / answers.took_s


def _figure(name: str, answers: Answers) -> Figure:
    cuts = quantiles(answers.latencies_s, n=100)
    size = f"{answers.bytes_each / 1000:.0f} kB" if answers.bytes_each >= 1000 else f"{answers.bytes_each} B"
    note = f"p50 {short(1000 * cuts[49])} ms, p99 {short(1000 * cuts[98])} ms, {size} each"
    if answers.own_cpu > OWN_CPU_MAX:
        note += f"; the asker itself took {answers.own_cpu:.0%} of a core: the manager may be faster"
    return measured(FAMILY, name, "requests/s", [_rate(answers)], note=note)
