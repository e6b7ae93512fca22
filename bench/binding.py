"""Carries a shape out with the real store and the real controllers, and tells when each task was bound. A process of
its own, so that its memory and its garbage are its own too:

    python -m bench.binding SHAPE FOLDER LIMIT_S

A task counts once its place is on the disk (SQLite, `synchronous=FULL`) and a watcher of the store has been told of it.
There is no worker and no API: as in Kubernetes' scheduler_perf, nobody starts what was placed.
"""

import asyncio
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from msgspec.structs import replace

from bench.programs import waited_s
from bench.records import written
from bench.shapes import BEFORE, HIGH, MEASURED, NAMED, UNFIT, Churn, Shape, shape_named
from longshore.control.census import Census
from longshore.control.controllers import controllers
from longshore.control.liveness import Liveness
from longshore.control.operations import Operations
from longshore.decide import services
from longshore.decide.placement import explain, place
from longshore.decide.placement.scoring.scores import DEFAULT
from longshore.loop.controller import ControlLoop
from longshore.main.clock import MachineClock
from longshore.main.serving import serve
from longshore.model.changes import COMMIT_CHANGES_MAX, Change, deleted
from longshore.model.errors import Compacted, Conflict
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Capacity, EngineFacts, Kind, Node, Task
from longshore.model.placing import Taint
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, ServiceSpec
from longshore.model.views import ServiceWish
from longshore.ports import Clock, Store
from longshore.store.sqlite import SqliteStore

FOREVER_S = 1e6
"""Of heartbeats: there are none, and no node is missed."""
UNFIT_EVERY_S, MIXED_EVERY_S, DELETE_EVERY_S = 0.2, 1.0, 0.1
DELETES = 10


class Bound(msgspec.Struct, frozen=True):
    """What came of it."""

    moments_s: list[float]
    """When tasks were bound, from the request on; in order."""
    wished: int
    cpu_s: float
    """From the request until the last of them."""
    waited_s: float
    """In the same time: it could have run, and others had the cores."""
    rss_before: int
    rss: int
    peak: int
    """The most that the process ever held."""


class _Watcher:
    """Sees what is told of tasks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = 0
        self._prefix = ""
        self.moments: list[float] = []
        self._all = asyncio.Event()

    def expect(self, prefix: str, count: int) -> asyncio.Event:
        """Set once so many tasks of services with that prefix are bound."""
        self._prefix, self._left, self.moments, self._all = prefix, count, [], asyncio.Event()
        return self._all

    async def run(self) -> None:
        async for batch in self._store.watch(self._store.read().revision):
            now = time.monotonic()
            for event in batch.events:
                if event.reason is Reason.PLACED and event.kind is Kind.TASK and event.id.startswith(self._prefix):
                    self.moments.append(now)
                    self._left -= 1
                    if self._left == 0:
                        self._all.set()


class _Stopper:
    """Says of tasks that are to stop that they have: the part of the workers, where a shape needs one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> None:
        while True:
            world = self._store.read()
            await self._stop_all([task for task in world.tasks() if _is_to_stop(task)])
            with suppress(Compacted):  # then there was too much to be told of it one by one
                async for batch in self._store.watch(world.revision):
                    every = (event.after for event in batch.events)
                    await self._stop_all([one for one in every if isinstance(one, Task) and _is_to_stop(one)])

    async def _stop_all(self, tasks: list[Task]) -> None:
        for first in range(0, len(tasks), COMMIT_CHANGES_MAX):
            await self._stop(tasks[first : first + COMMIT_CHANGES_MAX])

    async def _stop(self, tasks: list[Task]) -> None:
        newest = [one for task in tasks if (one := self._store.read().task(task.id)) is not None and _is_to_stop(one)]
        changes = [
            Change(
                kind=Kind.TASK,
                id=task.id,
                before=task.revision,
                after=replace(task, state=State.STOPPED, ready=False, finished_at=time.time()),
                by=Owner.WORKER,
                reason=Reason.STOPPED,
            )
            for task in newest
        ]
        try:
            if changes:
                await self._store.commit(changes)
        except Conflict:
            await self._stop(tasks)  # one of them moved meanwhile


def _is_to_stop(task: Task) -> bool:
    return task.live and task.wanted in (Wanted.STOPPED, Wanted.REMOVED)


async def bind(path: Path, shape: Shape, limit_s: float) -> Bound:
    """In a new store at `path`. Stops after `limit_s` with what was bound by then."""
    clock = MachineClock()
    store = await SqliteStore.open(path, clock)
    try:
        await _make_nodes(store, shape)
        liveness = Liveness(clock, timeout_s=FOREVER_S)
        rows = controllers(DEFAULT, liveness, Census(liveness, clock), lambda node: None)
        loop, watcher, verbs = ControlLoop(store, clock, rows), _Watcher(store), _verbs(store, clock)
        running = [asyncio.create_task(loop.run()), asyncio.create_task(watcher.run())]
        running += [asyncio.create_task(_Stopper(store).run())] if shape.stops else []
        try:
            return await _measure(store, watcher, verbs, shape, limit_s)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    finally:
        await store.close()


async def _measure(store: Store, watcher: _Watcher, verbs: Operations, shape: Shape, limit_s: float) -> Bound:
    if shape.before:
        there = watcher.expect(BEFORE, shape.before)
        for name, spec, tasks in shape.wishes_before():
            await _put(verbs, name, spec, tasks)
        async with asyncio.timeout(limit_s):
            await there.wait()
    own = psutil.Process()
    rss_before = own.memory_info().rss
    churning = asyncio.create_task(_churn(store, verbs, shape))
    done = watcher.expect(MEASURED, shape.measured)
    began, cpu_s, waiting_s = time.monotonic(), time.process_time(), waited_s()
    putting = asyncio.create_task(_put_all(verbs, shape))
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await done.wait()
    cpu_s, waiting_s = time.process_time() - cpu_s, waited_s() - waiting_s
    moments = [moment - began for moment in watcher.moments]
    for task in (churning, putting):
        task.cancel()
    failures = await asyncio.gather(churning, putting, return_exceptions=True)
    for failure in failures:
        if isinstance(failure, Exception):
            raise failure
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Bound(moments, shape.measured, cpu_s, waiting_s, rss_before, own.memory_info().rss, peak)


async def _put_all(verbs: Operations, shape: Shape) -> None:
    for number in range(shape.services):
        await _put(verbs, f"{MEASURED}{number}", shape.spec, shape.measured // shape.services)


async def _put(verbs: Operations, name: str, spec: ServiceSpec, replicas: int) -> None:
    wish = spec if spec.mode is Mode.GLOBAL else replace(spec, replicas=replicas)
    await verbs.apply_service(name, ServiceWish(spec=wish))


async def _churn(store: Store, verbs: Operations, shape: Shape) -> None:
    number = 0
    while shape.churn is not Churn.NOTHING:
        number += 1
        if shape.churn is Churn.UNFIT:
            await _put(verbs, f"unfit{number}", UNFIT, 1)
            await asyncio.sleep(UNFIT_EVERY_S)
        elif shape.churn is Churn.PREEMPTORS:
            await _put(verbs, f"preemptor{number}", HIGH, 1)
            await asyncio.sleep(UNFIT_EVERY_S)
        elif shape.churn is Churn.DELETES:
            await verbs.scale(BEFORE, max(shape.before - number * DELETES, 0))
            await asyncio.sleep(DELETE_EVERY_S)
        else:
            await _put(verbs, "unfit", UNFIT, 1)
            await _put(verbs, "idle", UNFIT, 0)
            # Paused, as a node that has tasks could not be made to vanish like this.
            node = replace(_node("churned", shape, "zone-1"), availability=Availability.PAUSED)
            await store.commit([written(Kind.NODE, node.name, node)])
            await asyncio.sleep(MIXED_EVERY_S)
            await verbs.remove_service("unfit")
            await verbs.remove_service("idle")
            revision = store.read().nodes[node.name].revision
            await store.commit([deleted(Kind.NODE, node.name, revision, Owner.MANAGER, Reason.NODE_REMOVED)])


async def _make_nodes(store: Store, shape: Shape) -> None:
    nodes = [_node(f"n{number:05}", shape, f"zone-{number % shape.zones + 1}") for number in range(shape.nodes)]
    nodes[: shape.tainted] = [replace(node, taints=(Taint(key="closed"),)) for node in nodes[: shape.tainted]]
    if shape.named:
        nodes.append(_node(NAMED, replace(shape, cpu=shape.cpu * 1000, memory=shape.memory * 1000), "zone-1"))
    changes = [written(Kind.NODE, node.name, node) for node in nodes]
    for first in range(0, len(changes), COMMIT_CHANGES_MAX):
        await store.commit(changes[first : first + COMMIT_CHANGES_MAX])


def _node(name: str, shape: Shape, zone: str) -> Node:
    now = time.time()
    return Node(
        name=name,
        address="10.0.0.1",
        labels={"zone": zone},
        resources=dict(shape.resources),
        capacity=Capacity(cpu=shape.cpu, memory=shape.memory, disk=1 << 40),
        engine=EngineFacts(id=name, name=name),
        worker_version="bench",
        joined_at=now,
        changed_at=now,
    )


def _verbs(store: Store, clock: Clock) -> Operations:
    return Operations(
        store,
        clock,
        DEFAULT,
        decide_services=services.decide,
        place=lambda world, now: place.decide(world, now, DEFAULT),
        explain=lambda world, task, now: explain.explain(world, task, now, DEFAULT),
        usage=lambda node: None,
    )


async def _tell(path: Path, shape: Shape, limit_s: float) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(await bind(path, shape, limit_s)))


def main() -> None:
    name, folder, limit_s = sys.argv[1:]
    # As a manager is run, its garbage collector included.
    serve(_tell(Path(folder) / "longshore.db", shape_named(name), float(limit_s)), "warning", None)


if __name__ == "__main__":
    main()
