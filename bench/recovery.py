"""How long until what broke runs again: a container that was killed, and all tasks of a worker that was killed.

For the container the other half is the engine alone: kill, wait for the end, create, start; no orchestrator can be
faster. Each container is the first of its slot to die, so no back-off is in the figure. For the worker the second is in
it that a worker has to dial again when its connection breaks; the manager's own share begins when it knows that the
node is down, and ends when the last replacing task has its place.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figure import Figure, Trouble, compared, measured
from bench.follower import Follower, Tasks, count
from bench.programs import Cluster, cluster_of_processes
from bench.raw_engine import RawEngine, bodies, on_engine, stop_all
from bench.run import Budget, Run
from longshore.client import Client
from longshore.decide.admission import admit
from longshore.model.objects import NodeStatus, Task
from longshore.model.spec import ServiceSpec

FAMILY = "recovery"
NAME = "bench"
WISH = admit(ServiceSpec(image="longshore/demo:1"))
KILLS = 10
LOSSES_MIN, LOSSES_MAX = 3, 10
LOSSES_BUDGET_S = 90.0
SPREAD = 6
VICTIM = "n2"
LIMIT_S = 60.0
WORKER_TARGET_S = 2.0
"""Swarm: 18 to 21 s as it comes."""
SHARE_TARGET_S = 0.3
START_S = 5.0
"""A manager that just started gives nobody up for a heartbeat timeout."""


def measure(run: Run) -> list[Figure]:
    with cluster_of_processes(run.folder, run.engine, "n1", VICTIM, "n3") as cluster, cluster.client() as client:
        started = time.monotonic()
        with _service(cluster, client, KILLS):
            tasks = sorted(client.tasks(service=NAME), key=lambda task: task.slot)
            pairs = [(_replaced_s(cluster, task), on_engine(run.engine, _replaced_by_hand_s)) for task in tasks]
        losses: list[float] = []
        shares: list[float] = []
        time.sleep(max(0.0, started + START_S - time.monotonic()))
        for number in Budget(LOSSES_BUDGET_S, LOSSES_MIN, LOSSES_MAX):
            with _service(cluster, client, SPREAD):
                losses.append(_moved_s(cluster))
                shares.append(_share_s(client))
                run.say(f"worker lost, {number}: its tasks ran elsewhere after {losses[-1]:.2f} s")
                cluster.start_worker(VICTIM)
                cluster.wait_for_nodes(3)
    return [
        compared(FAMILY, "killed container replaced", "s", pairs, "engine alone"),
        measured(
            FAMILY,
            "killed worker's tasks run elsewhere",
            "s",
            losses,
            target=WORKER_TARGET_S,
            note=f"{SPREAD // 3} of {SPREAD} tasks, on 3 nodes",
        ),
        measured(
            FAMILY,
            "killed worker: the manager's own share",
            "s",
            shares,
            target=SHARE_TARGET_S,
            note="from knowing that the node is down to the last place",
        ),
    ]


@contextmanager
def _service(cluster: Cluster, client: Client, replicas: int) -> Iterator[None]:
    """Runs for as long as the block; afterwards nothing of it is left."""
    up = Follower(client, NAME, lambda tasks: count(tasks, "running") == replicas)
    with cluster.client() as asking:
        asking.put_service(NAME, ServiceSpec(image=WISH.image, replicas=replicas))
        up.moment(LIMIT_S)
        yield
        asked = {task.id for task in asking.tasks(service=NAME)}
        gone = Follower(client, NAME, lambda tasks: all(id in tasks and tasks[id].state == "removed" for id in asked))
        asking.remove_service(NAME)
        gone.moment(LIMIT_S)


def _replaced_s(cluster: Cluster, task: Task) -> float:
    """Kill a task's container behind the cluster's back; seconds until its slot runs again."""

    def replaced(tasks: Tasks) -> bool:
        return any(
            event.state == "running" and id != task.id and id.rpartition(".")[0] == task.id.rpartition(".")[0]
            for id, event in tasks.items()
        )

    with cluster.client() as listening:
        again = Follower(listening, NAME, replaced)
        began = on_engine(cluster.engine, lambda engine: _kill(engine, task.container_id))
        return again.moment(LIMIT_S) - began


async def _kill(engine: RawEngine, id: str) -> float:
    """The moment before; the connection is there by then."""
    await engine.warm_up(1)
    began = time.perf_counter()
    await engine.kill(id)
    return began


async def _replaced_by_hand_s(engine: RawEngine) -> float:
    first, second = bodies(WISH, 2)
    try:
        id = await engine.create(*first)
        await engine.start(id)
        began = time.perf_counter()
        await engine.kill(id)
        await engine.wait(id)
        await engine.start(await engine.create(*second))
        return time.perf_counter() - began
    finally:
        await stop_all(engine, 1)


def _moved_s(cluster: Cluster) -> float:
    """Kill a worker; seconds until as many tasks as wished run on others."""

    def moved(tasks: Tasks) -> bool:
        return sum(event.state == "running" and event.node != VICTIM for event in tasks.values()) >= SPREAD // 3

    with cluster.client() as listening:
        elsewhere = Follower(listening, NAME, moved)
        began = time.perf_counter()
        cluster.programs[VICTIM].kill()
        return elsewhere.moment(LIMIT_S) - began


def _share_s(client: Client) -> float:
    """Of the loss just seen: from the commit that the node is down until the last replacing task was placed."""
    node = client.node(VICTIM)
    if node.status is not NodeStatus.DOWN:
        raise Trouble(f"{VICTIM} is {node.status}, and its tasks were lost")
    placed = [task.placed_at or 0.0 for task in client.tasks(service=NAME) if task.live and task.generation > 1]
    return max(placed) - node.changed_at
