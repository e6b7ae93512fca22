"""Apply to running: containers through Longshore, beside the same ones straight through the Engine API.

The other half is given every advantage: bodies made beforehand, no state, no reports, and the concurrency that a sweep
in this very run found best. Both begin on an engine without containers of ours. The clock of Longshore's half starts
before the PUT and stops when its event stream has told that all tasks run.
"""

import time
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from bench.figure import Figure, compared, measured, short
from bench.follower import Follower, count
from bench.programs import Cluster, cluster_in_one, cluster_of_processes, wait_for
from bench.raw_engine import RawEngine, bodies, on_engine, start_all, stop_all
from bench.run import Budget, Run
from longshore.client import Client, Target
from longshore.client.postings import Postings
from longshore.decide import postings
from longshore.decide.admission import admit
from longshore.decide.postings import Phase
from longshore.model.objects import Posting
from longshore.model.spec import ServiceSpec

FAMILY = "starts"
WISH = admit(ServiceSpec(image="longshore/demo:1"))
"""As a worker is given it, every default written out."""
MANY = 50
CONCURRENCIES = (1, 2, 4, 8)
SWEEP = 16
SWEEPS = 2
"""Containers for each concurrency, and how often; the best of each counts."""
PAIRS_OF_ONE = 7
PAIRS_OF_MANY = 3
PAIRS_MIN = 2
BUDGET_S = 70.0
"""For one cluster's pairs of many; on a slow machine there are fewer of them."""
SETTLE_S = 2.0
"""Before each half of many: the kernel goes on taking namespaces apart when the engine has answered already."""
LIMIT_S = 90.0
POLL_S = 0.005
"""Between two looks at a posted task: its API has no stream."""
TARGET = 1.3
"""Swarm's is 1.37, for 100 containers on three engines."""


class Half(NamedTuple):
    """One half of a pair, in seconds."""

    start_s: float
    remove_s: float
    cpu_s: float = 0.0
    """Of Longshore's own processes, from the wish to all running."""


def measure(run: Run) -> list[Figure]:
    with cluster_in_one(run.folder / "dev", run.engine, 3) as cluster:
        at_once, rates = _best_concurrency(run, cluster)
        figures = [*rates, *_pairs(run, cluster, "dev, 3 nodes", at_once)]
    with cluster_of_processes(run.folder / "apart", run.engine, "n1") as cluster:
        return [*figures, *_pairs(run, cluster, "manager, 1 worker", at_once), _posted(run, cluster)]


def _best_concurrency(run: Run, cluster: Cluster) -> tuple[int, list[Figure]]:
    """How many starts at a time the engine is fastest with; the first start of all warms everything up."""
    with cluster.client() as client:
        _ours(cluster, client, 1)
    _theirs(run, 1, 1)
    rates = dict.fromkeys(CONCURRENCIES, 0.0)
    for at_once in CONCURRENCIES * SWEEPS:
        rates[at_once] = max(rates[at_once], SWEEP / _theirs(run, SWEEP, at_once).start_s)
    best = max(rates, key=lambda at_once: rates[at_once])
    told = ", ".join(f"{rate:.1f}/s at {at_once}" for at_once, rate in rates.items())
    run.say(f"engine alone: {told}")
    return best, [measured(FAMILY, f"engine alone, {best} at a time", "starts/s", [rates[best]], note=told)]


def _pairs(run: Run, cluster: Cluster, layout: str, at_once: int) -> list[Figure]:
    """Longshore, engine, Longshore, engine …, for one container and for many."""
    with cluster.client() as client:
        _ours(cluster, client, 1)  # the first one of a new cluster loads code; not counted
        ones = [(_ours(cluster, client, 1), _theirs(run, 1, 1)) for _ in range(PAIRS_OF_ONE)]
        many = []
        for number in Budget(BUDGET_S, PAIRS_MIN, PAIRS_OF_MANY):
            pair = _ours(cluster, client, MANY), _theirs(run, MANY, at_once)
            many.append(pair)
            run.say(
                f"{layout}, {MANY} replicas, pair {number}: {pair[0].start_s:.2f} s, engine {pair[1].start_s:.2f} s"
            )
    own_ms = [1000 * ours.cpu_s / MANY for ours, _ in many]
    return [
        _compared_starts(f"1 replica, {layout}", ones, "engine"),
        _compared_starts(f"{MANY} replicas, {layout}", many, f"engine, {at_once} at a time,"),
        compared(
            FAMILY,
            f"remove {MANY}, {layout}",
            "s",
            [(ours.remove_s, theirs.remove_s) for ours, theirs in many],
            f"stop and remove, {at_once} at a time,",
        ),
        measured(FAMILY, f"own CPU of a start, {layout}", "ms", own_ms, note=f"{MANY} replicas; not the engine's"),
    ]


def _posted(run: Run, cluster: Cluster) -> Figure:
    """One container as Cube's clients ask for it: POST /tasks, then GET /tasks/ID until its state is 2. The other half
    is that container, ports published and all."""
    wish = admit(postings.spec_of(_posting(0)))
    with Postings.at(Target.find(data_dir=cluster.folder, env={})) as asking:
        _ours_posted(cluster, asking, 0)
        pairs = [
            (_ours_posted(cluster, asking, number), _theirs(run, 1, 1, wish=wish))
            for number in range(1, PAIRS_OF_ONE + 1)
        ]
    return _compared_starts("1 posted task, manager, 1 worker", pairs, "engine")


def _posting(number: int) -> Posting:
    return Posting(id=str(UUID(int=number + 1)), name=f"posted-{number}", image=WISH.image)


def _ours_posted(cluster: Cluster, asking: Postings, number: int) -> Half:
    _settle(1)
    posting = _posting(number)
    task = {"ID": posting.id, "State": 1, "Name": posting.name, "Image": posting.image}
    body = msgspec.json.encode({"ID": posting.id, "State": 2, "Task": task})
    began = time.perf_counter()
    asking.post(body)
    wait_for(lambda: asking.task(posting.id).state == Phase.RUNNING, LIMIT_S, "the posted task to run", poll_s=POLL_S)
    start_s = time.perf_counter() - began
    with cluster.client() as listening:
        gone = Follower(listening, posting.name, lambda tasks: count(tasks, "removed") == 1)
        began = time.perf_counter()
        asking.remove(posting.id)
        return Half(start_s, gone.moment(LIMIT_S) - began)


def _compared_starts(name: str, pairs: list[tuple[Half, Half]], against: str) -> Figure:
    seconds = [(ours.start_s, theirs.start_s) for ours, theirs in pairs]
    ratios = ", ".join(short(ours / theirs) for ours, theirs in seconds)
    return compared(FAMILY, name, "s", seconds, against, target=TARGET, note=f"pairs: {ratios}")


def _ours(cluster: Cluster, client: Client, replicas: int) -> Half:
    """Apply, wait until all run, remove, wait until all is gone."""
    _settle(replicas)
    with cluster.client() as listening:
        up = Follower(listening, "bench", lambda tasks: count(tasks, "running") == replicas)
        cpu_before, began = cluster.cpu_s(), time.perf_counter()
        client.put_service("bench", replace(WISH, replicas=replicas))
        start_s = up.moment(LIMIT_S) - began
        cpu_s = cluster.cpu_s() - cpu_before
    with cluster.client() as listening:
        gone = Follower(listening, "bench", lambda tasks: count(tasks, "removed") == replicas)
        began = time.perf_counter()
        client.remove_service("bench")
        return Half(start_s, gone.moment(LIMIT_S) - began, cpu_s)


def _theirs(run: Run, replicas: int, at_once: int, *, wish: ServiceSpec = WISH) -> Half:
    """The same containers without Longshore."""
    _settle(replicas)
    wanted = bodies(wish, replicas)

    async def both(engine: RawEngine) -> Half:
        try:
            start_s = await start_all(engine, wanted, at_once)
        finally:
            remove_s = await stop_all(engine, at_once)
        return Half(start_s, remove_s)

    return on_engine(run.engine, both)


def _settle(replicas: int) -> None:
    time.sleep(SETTLE_S * replicas / MANY)
