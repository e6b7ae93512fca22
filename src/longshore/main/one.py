"""A cluster of one node inside its worker: the manager's parts beside a second runner on the same engine.

Store, sessions, controllers and operations are those of a manager, joined to the worker by a pipe, so nothing is
decided, stored or started in another way than a manager would. Its tasks carry a cluster of their own in their labels,
so no manager's are mistaken for them.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from longshore.agent.worker import Identity, Worker
from longshore.channel import pipe
from longshore.control.controllers import controllers
from longshore.control.founding import found_cluster
from longshore.control.operations import Operations
from longshore.control.postings import Postings
from longshore.control.sessions import Sessions
from longshore.decide import services
from longshore.decide.placement import explain, place
from longshore.loop.controller import ControlLoop
from longshore.loop.together import together
from longshore.main.alone import MakeWorker
from longshore.model.errors import Unavailable
from longshore.ports import Clock, Store
from longshore.store.memory import MemoryStore
from longshore.store.sqlite import SqliteStore

log = structlog.get_logger("longshore.worker")

POLICY = "first-fit"
SILENCE_S = 86_400.0
"""This manager and its worker die together, so neither is ever given up for its silence."""
AGAIN_S = 0.5


async def serve_one(
    path: Path | None, node: str, clock: Clock, make_worker: MakeWorker, ready: Callable[[Postings], None]
) -> None:
    """Until cancelled; `ready` is told once tasks may be posted. Without a path nothing outlives the program."""
    store: Store = await SqliteStore.open(path, clock) if path is not None else MemoryStore(clock)
    try:
        await _serve(store, node, clock, make_worker, ready)
    finally:
        await store.close()


async def _serve(
    store: Store, node: str, clock: Clock, make_worker: MakeWorker, ready: Callable[[Postings], None]
) -> None:
    cluster = await found_cluster(store, clock)
    sessions = Sessions(store, clock, heartbeat_timeout_s=SILENCE_S, wake_node=lambda name: loop.wake("nodes", name))
    loop = ControlLoop(store, clock, controllers(POLICY, sessions.liveness, sessions.census, sessions.busy))
    operations = Operations(
        store,
        clock,
        POLICY,
        decide_services=services.decide,
        place=lambda world, now: place.decide(world, now, POLICY),
        explain=lambda world, task, now: explain.explain(world, task, now, POLICY),
        usage=sessions.usage,
    )
    worker = make_worker(Identity(node=node, token="", cluster=cluster))
    async with asyncio.TaskGroup() as group:
        group.create_task(sessions.run(), name="own sessions")
        group.create_task(loop.run(), name="own controllers")
        group.create_task(worker.run(), name="own runner")
        group.create_task(_hold(sessions, worker), name="own session")
        log.info("runs tasks of its own", node=node)
        ready(Postings(store, operations))


async def _hold(sessions: Sessions, worker: Worker) -> None:
    """One session after another, for ever: it ends where a network's would, as when a store does not answer."""
    while True:
        manager_end, worker_end = pipe()
        try:
            await together(manager=sessions.serve(manager_end, None), worker=worker.serve(worker_end))
        except Unavailable as failure:
            log.warning("own session ended", reason=failure.message, retry_s=AGAIN_S)
        await asyncio.sleep(AGAIN_S)
