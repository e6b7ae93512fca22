"""One manager and a fleet of light workers over real sockets, with heartbeats, and tasks and sessions that come and go.

The manager is the real program with its SQLite store; the workers are real to it in all but having no engine. Both
share the machine's cores, so what the fleet takes is told beside what the manager takes. When a commit was made is read
from the store's log, when it reached its worker is the fleet's word: both by one machine's clock.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import msgspec

from bench.crew import Crew
from bench.figure import Figure, Trouble, measured, short
from bench.fleet import Order, Seen
from bench.pace import Paced, Request
from bench.programs import Cluster, Memory, manager_alone
from bench.run import Run
from bench.spread import Spread, spread
from longshore.model.reasons import Reason
from longshore.model.spec import OnFailure, Resources, RestartPolicy, ServiceSpec, UpdateRules
from longshore.model.views import ServiceWish, TokenWish

FAMILY = "sessions"
QUICK = (1000,)
FULL = (1000, 5000, 10_000)
BEAT_S = 5.0
BEATS_PER_TIMEOUT = 4
"""A manager asks for so many beats in a heartbeat timeout."""
JOIN_PER_S = 20
"""The least speed at which a fleet that joins is waited for."""
FILL_LIMIT_S = 300.0
QUIET_S = 10.0
CHURN_S = 20.0
FAILS_PER_S = 20.0
BREAKS_PER_S = 10.0
REQUESTS_PER_S = 40.0
EACH = 100
"""Tasks of each service that runs before."""
BURST = 1000
BURSTS = 3
BURST_LIMIT_S = 120.0
SETTLE_S = 3.0
RETURN_S = 10.0
RETURN_LIMIT_S = 120.0
MISSED, API_MS, MEMORY_MB, BURST_TARGET_S = 0.0, 100.0, 2000.0, 1.0

_SPEC = ServiceSpec(
    image="longshore/demo:1",
    resources=Resources(cpu=0.1, memory=64 << 20),
    restart=RestartPolicy(delay_s=0.0),
    update=UpdateRules(on_failure=OnFailure.CONTINUE, monitor_s=1.0),
)
_SETTINGS = ("--heartbeat-timeout", str(BEAT_S * BEATS_PER_TIMEOUT))
_WATCHED = (Reason.NODE_SILENT, Reason.NODE_HELD, Reason.NODE_RETURNED)


class Churned(msgspec.Struct, frozen=True):
    """What was seen while things came and went."""

    seen: Seen
    paced: Paced
    cpu: float
    """Share of a core that the manager took."""
    waited: float
    """Share of the time for which it could have run, and others had the cores."""
    assigned: Spread
    down: int
    """Changes of nodes between ready, silent and down that nothing here asked for."""


def measure(run: Run) -> Iterator[Figure]:
    for count in FULL if run.full else QUICK:
        yield from _of(run, count)


def _of(run: Run, count: int) -> Iterator[Figure]:
    with (
        manager_alone(run.folder / str(count), *_SETTINGS) as cluster,
        _crew(cluster, count) as crew,
    ):
        joined = crew.joined(count / JOIN_PER_S)
        run.say(f"{count} workers joined in {joined.took_s:.1f} s, {joined.refused} tries refused{_why(joined.why)}")
        note = f"{count / joined.took_s:.0f}/s; {joined.refused} tries refused{_why(joined.why)}"
        yield _figure(count, "all joined", "s", joined.took_s, note=note)
        filled_s, _ = _run_tasks(cluster, crew, "load-", count // EACH, EACH, FILL_LIMIT_S)
        run.say(f"{count} tasks run after {filled_s:.1f} s; {CHURN_S:.0f} s of churn")
        note = f"{count / filled_s:.0f}/s; in services of {EACH}"
        yield _figure(count, f"{count} tasks run, first", "s", filled_s, note=note)
        yield _quiet(count, cluster, crew)
        yield from _figures(count, _churn(cluster, crew), cluster.programs["manager"].memory, crew.rss)
        bursts = [_burst(cluster, crew, f"burst{number}-") for number in range(BURSTS)]
        had = ", ".join(short(had_s) for _, had_s, _ in bursts)
        cpu = ", ".join(short(cpu_s) for *_, cpu_s in bursts)
        yield measured(
            FAMILY,
            f"{count} workers: {BURST} tasks placed, delivered, running",
            "s",
            [took_s for took_s, *_ in bursts],
            target=BURST_TARGET_S,
            note=f"from the request until the last worker's report is durable; workers had them after {had} s; "
            f"CPU of the manager {cpu} s",
        )
        yield from _return(count, cluster, crew)


def _crew(cluster: Cluster, count: int) -> Crew:
    with cluster.client() as client:
        address = urlsplit(client.url)
        secret = client.create_token(TokenWish(uses=None)).secret or ""
    token = cluster.folder / "fleet.token"
    token.write_text(secret)
    token.chmod(0o600)
    return Crew(str(address.hostname), address.port or 0, token, count, BEAT_S, cluster.folder / "fleet.log")


def _run_tasks(
    cluster: Cluster, crew: Crew, prefix: str, services: int, each: int, limit_s: float
) -> tuple[float, float]:
    """Seconds from the first request until all tasks of new services were durably running, and until workers had
    them."""
    crew.order(Order(counts=prefix, until=services * each))
    with cluster.client() as client:
        began, wall = time.monotonic(), time.time()
        for number in range(services):
            client.put_service(f"{prefix}{number}", msgspec.structs.replace(_SPEC, replicas=each))
        seen = crew.seen(limit_s, f"{services * each} tasks of {prefix} to run")
    running = max(at for id, at in seen.running_at.items() if id.startswith(prefix))
    received = max(at for id, at in seen.received_at.items() if id.startswith(prefix))
    return running - began, received - wall


def _burst(cluster: Cluster, crew: Crew, prefix: str) -> tuple[float, float, float]:
    time.sleep(SETTLE_S)
    cpu_s = cluster.programs["manager"].cpu_s
    took_s, had_s = _run_tasks(cluster, crew, prefix, 1, BURST, BURST_LIMIT_S)
    cpu_s = cluster.programs["manager"].cpu_s - cpu_s
    with cluster.client() as client:
        client.remove_service(f"{prefix}0")
    return took_s, had_s, cpu_s


def _quiet(count: int, cluster: Cluster, crew: Crew) -> Figure:
    """What heartbeats alone cost."""
    manager = cluster.programs["manager"]
    time.sleep(SETTLE_S)
    crew.order(Order())
    crew.seen(QUIET_S, "the fleet to be quiet")
    began, cpu_s, waited_s = time.monotonic(), manager.cpu_s, manager.waited_s
    time.sleep(QUIET_S)
    seconds, cpu_s = time.monotonic() - began, manager.cpu_s - cpu_s
    crew.order(Order())
    seen = crew.seen(QUIET_S, "the quiet to end")
    note = f"{seen.beats / seen.seconds:.0f} beats a second, {short(1e6 * cpu_s / max(seen.beats, 1))} us each; "
    note += f"{(manager.waited_s - waited_s) / seconds:.0%} of the time spent waiting for a core"
    return _figure(count, "manager, CPU, heartbeats alone", "% of a core", 100 * cpu_s / seconds, note=note)


def _churn(cluster: Cluster, crew: Crew) -> Churned:
    manager = cluster.programs["manager"]
    crew.order(Order(breaks_per_s=BREAKS_PER_S, fails_per_s=FAILS_PER_S))
    crew.seen(CHURN_S, "the churn to begin")
    wall, began, cpu_s, waited_s = time.time(), time.monotonic(), manager.cpu_s, manager.waited_s
    paced = _paced(cluster, CHURN_S)
    crew.order(Order())
    seen = crew.seen(CHURN_S, "the churn to end")
    seconds = time.monotonic() - began
    cpu, waited = (manager.cpu_s - cpu_s) / seconds, (manager.waited_s - waited_s) / seconds
    with closing(sqlite3.connect(cluster.folder / "longshore.db")) as log:
        placed = log.execute(
            "SELECT id, at FROM log WHERE kind = 'task' AND reason = ? AND at > ?", (Reason.PLACED, wall)
        )
        delays = [seen.received_at[id] - at for id, at in placed if id in seen.received_at]
        down = _taken_for_down(log, wall)
    return Churned(seen=seen, paced=paced, cpu=cpu, waited=waited, assigned=spread(delays), down=down)


def _taken_for_down(log: sqlite3.Connection, since: float) -> int:
    marks = ", ".join("?" * len(_WATCHED))
    query = f"SELECT count(*) FROM log WHERE kind = 'node' AND reason IN ({marks}) AND at > ?"  # noqa: S608
    return int(log.execute(query, (*_WATCHED, since)).fetchone()[0])


def _return(count: int, cluster: Cluster, crew: Crew) -> Iterator[Figure]:
    """The manager is killed, and started again at once; all workers dial it, each as soon as it would by itself."""
    time.sleep(SETTLE_S)
    with cluster.client() as client:
        port = urlsplit(client.url).port or 0
    cluster.programs["manager"].kill()
    wall, began = time.time(), time.monotonic()
    cluster.start_manager("manager", *_SETTINGS, port=port)
    answered_s = time.monotonic() - began
    crew.order(Order(all=True))
    paced = _paced(cluster, RETURN_S)
    took_s = crew.seen(RETURN_LIMIT_S, "all to be back").came_at - began
    with closing(sqlite3.connect(cluster.folder / "longshore.db")) as log:
        down = _taken_for_down(log, wall)
    note = f"after a kill -9; the API answers after {short(answered_s)} s; {down} nodes taken for silent or down"
    yield _figure(count, "all back after a restart", "s", took_s, note=note)
    every = [latency for kind in paced.latencies_s.values() for latency in kind]
    note = f"{_ms(spread(every))}, for {RETURN_S:.0f} s from its first answer"
    yield _figure(count, "API calls meanwhile, p99", "ms", 1000 * spread(every).p99, note=note)


def _paced(cluster: Cluster, seconds: float) -> Paced:
    spec = msgspec.structs.replace(_SPEC, replicas=0, labels={"n": "{n}"})
    body = msgspec.json.encode(ServiceWish(spec=spec)).decode()
    requests = [
        Request("a task", "GET", "/v1/tasks/load-0.1.1"),
        Request("a node", "GET", "/v1/nodes/n00000"),
        Request("100 tasks", "GET", "/v1/tasks?limit=100"),
        Request("put a service", "PUT", "/v1/services/asked", body),
    ]
    with cluster.client() as client:
        address = urlsplit(client.url)
    words = [sys.executable, "-m", "bench.pace", str(address.hostname), str(address.port)]
    words += [str(cluster.folder / "admin.token"), str(REQUESTS_PER_S), str(seconds)]
    done = subprocess.run(
        words, input=msgspec.json.encode(requests), capture_output=True, check=False, timeout=10 * seconds
    )
    if done.returncode:
        raise Trouble(f"asking at a steady pace failed:\n{done.stderr.decode()[-1000:]}")
    return msgspec.json.decode(done.stdout, type=Paced)


def _figures(count: int, churned: Churned, memory: Memory, fleet_rss: int) -> Iterator[Figure]:
    seen, seconds = churned.seen, churned.seen.seconds
    yield _figure(
        count,
        "manager, CPU",
        "% of a core",
        100 * churned.cpu,
        note=f"{seen.beats / seconds:.0f} beats, {FAILS_PER_S:.0f} failed tasks, {BREAKS_PER_S:.0f} broken sessions "
        f"and {REQUESTS_PER_S:.0f} requests a second; {churned.waited:.0%} of the time spent waiting for a core; "
        f"the fleet itself {100 * seen.cpu_s / seconds:.0f} %",
    )
    yield _figure(
        count, "manager, RSS", "MB", memory.rss / 1e6, target=MEMORY_MB, note=f"fleet {fleet_rss / 1e6:.0f} MB"
    )
    yield _figure(count, "manager, PSS", "MB", memory.pss / 1e6)
    answered, late = _ms(seen.answered), _ms(seen.late)
    missed = seen.missed + churned.down
    yield _figure(
        count,
        "heartbeats missed",
        "beats",
        missed,
        target=MISSED,
        note=f"of {seen.beats}, answered within {answered}; the fleet was late by {late}; "
        f"{seen.broken} sessions broke by themselves{_why(seen.why)}",
    )
    every = [latency for kind in churned.paced.latencies_s.values() for latency in kind]
    each = "; ".join(f"{name} p99 {short(1000 * spread(kind).p99)}" for name, kind in churned.paced.latencies_s.items())
    failed = "".join(f"; {times} x {line}" for line, times in churned.paced.failures.items())
    yield _figure(
        count,
        "API calls, p99",
        "ms",
        1000 * spread(every).p99,
        target=API_MS,
        note=f"{_ms(spread(every))}; {each}{failed}",
    )
    yield _figure(
        count,
        "assignment, p99",
        "ms",
        1000 * churned.assigned.p99,
        note=f"from its place's commit until the worker has it; {_ms(churned.assigned)}",
    )
    yield _figure(
        count,
        "report, p99",
        "ms",
        1000 * seen.durable.p99,
        note=f"from a worker's word until it is acknowledged as durable; {_ms(seen.durable)}",
    )


def _figure(count: int, name: str, unit: str, value: float, *, target: float | None = None, note: str = "") -> Figure:
    return measured(FAMILY, f"{count} workers: {name}", unit, [value], target=target, note=note)


def _ms(one: Spread) -> str:
    return (
        f"p50 {short(1000 * one.p50)}, p99 {short(1000 * one.p99)}, at most {short(1000 * one.most)} ms of {one.count}"
    )


def _why(why: str) -> str:
    return f" ({why})" if why else ""
