"""Manager and workers in one program: a whole cluster on one machine.

The workers speak to the manager over real sessions, as they would from other machines; they only share the program,
the engine, and the machine's capacity, which is divided so that the nodes together promise no more than there is.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from longshore.agent.dialling import keep_dialling
from longshore.agent.host import Host
from longshore.agent.worker import Identity, Worker
from longshore.main import folder
from longshore.main.clock import MachineClock
from longshore.main.manager import ManagerSettings, RunningManager, running_manager
from longshore.main.worker import fake_machine, open_engine, starts_at_once
from longshore.model.views import TokenWish
from longshore.ports import Engine

JOIN_S = 300.0


async def run_dev(
    settings: ManagerSettings, *, nodes: int, engine: str, started: Callable[[RunningManager], None]
) -> None:
    """Until cancelled. `started` is called once the API answers."""
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(running_manager(settings))
        clock = MachineClock()
        machine = fake_machine(clock) if engine == "fake" else None
        starts = starts_at_once()
        workers = []
        for number in range(1, nodes + 1):
            name = f"n{number}"
            where = folder.prepare(settings.folder / "nodes" / name)
            connection = open_engine(engine, clock, machine)
            stack.push_async_callback(connection.close)
            worker = _worker(connection, clock, folder.identity(where, name), where, starts, nodes)
            workers.append((worker, await _join_token(manager, worker)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for worker, joining in workers:
            group.create_task(worker.run(), name=f"worker {worker.name}")
            group.create_task(keep_dialling(worker, manager.url, joining), name=f"dial {worker.name}")
        started(manager)
        await asyncio.Event().wait()


def _worker(
    engine: Engine, clock: MachineClock, identity: Identity, where: Path, starts: asyncio.Semaphore, nodes: int
) -> Worker:
    return Worker(
        engine,
        clock,
        identity=identity,
        address="127.0.0.1",
        labels={},
        starts=starts,
        share=1 / nodes,
        remember=lambda one: folder.remember(where, one),
        figures=Host(engine, clock).read,
    )


async def _join_token(manager: RunningManager, worker: Worker) -> Callable[[], str]:
    """A join token for a worker that does not belong to this cluster yet."""
    secret = ""
    if not worker.identity.cluster:
        view = await manager.operations.create_token(TokenWish(uses=1, lifetime_s=JOIN_S))
        secret = view.secret or ""
    return lambda: secret
