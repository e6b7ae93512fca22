"""Manager and workers in one program: a whole cluster on one machine.

The workers speak to the manager over real sessions, as they would from other machines; they only share the program,
the machine's capacity, which is divided so that the nodes together promise no more than there is, and the engine,
unless each has one of its own in a container (`dind`).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from longshore.agent.dialling import keep_dialling
from longshore.agent.entry import Entry, check_installed
from longshore.agent.host import Host, pids_of_machine
from longshore.agent.worker import Identity, Worker
from longshore.decide.endpoints import ENTRY_LABEL, ENTRY_VALUE
from longshore.main import dind, folder
from longshore.main.clock import MachineClock
from longshore.main.dind import Berth
from longshore.main.manager import ManagerSettings, RunningManager, running_manager
from longshore.main.worker import engine_url, fake_machine, guard_of, open_engine, prober_of, starts_at_once
from longshore.model.errors import Denied
from longshore.model.views import TokenWish

log = structlog.get_logger("longshore.dev")

JOIN_S = 300.0


async def run_dev(
    settings: ManagerSettings, *, nodes: int, engine: str, entry: bool, started: Callable[[RunningManager], None]
) -> None:
    """Until cancelled. `started` is called once the API answers. With `entry` the first node joins as one."""
    if entry:
        check_installed()
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(running_manager(settings))
        clock = MachineClock()
        names = [f"n{number}" for number in range(1, nodes + 1)]
        berths = await _berths(stack, engine, settings.folder, names, clock)
        starts = starts_at_once()
        workers = []
        for name, berth in zip(names, berths, strict=True):
            where = folder.prepare(settings.folder / "nodes" / name)
            doorway = Entry(where)
            stack.callback(doorway.stop)  # a cluster on one machine has no upgrade that it must outlive
            labels = {ENTRY_LABEL: ENTRY_VALUE} if entry and name == names[0] else {}
            worker = _worker(berth, clock, folder.identity(where, name), where, starts, nodes, labels, doorway)
            workers.append((worker, doorway, await _join_token(manager, worker)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for worker, doorway, joining in workers:
            group.create_task(doorway.run(), name=f"entry {worker.name}")
            group.create_task(worker.run(), name=f"worker {worker.name}")
            group.create_task(_dial(worker, manager.url, joining), name=f"dial {worker.name}")
        started(manager)
        await asyncio.Event().wait()


async def _dial(worker: Worker, url: str, joining: Callable[[], str]) -> None:
    """Until it is cancelled, or the node is removed: the others go on then."""
    try:
        await keep_dialling(worker, url, joining)
    except Denied as failure:
        log.warning("node ended; remove its folder to have it join anew", node=worker.name, reason=failure.message)


async def _berths(
    stack: AsyncExitStack, engine: str, data: Path, names: Sequence[str], clock: MachineClock
) -> Sequence[Berth]:
    """A place for each node's containers, given up with `stack`."""
    if engine == dind.ENGINE:
        return await stack.enter_async_context(dind.engines_in_containers(engine_url(), data, names))
    machine = fake_machine(clock) if engine == "fake" else None
    berths = [Berth(open_engine(engine, clock, machine), "127.0.0.1") for _ in names]
    for berth in berths:
        stack.push_async_callback(berth.engine.close)
    return berths


def _worker(
    berth: Berth,
    clock: MachineClock,
    identity: Identity,
    where: Path,
    starts: asyncio.Semaphore,
    nodes: int,
    labels: dict[str, str],
    doorway: Entry,
) -> Worker:
    return Worker(
        berth.engine,
        clock,
        identity=identity,
        address=berth.address,
        labels=labels,
        pids=pids_of_machine(),
        starts=starts,
        share=1 / nodes,
        remember=lambda one: folder.remember(where, one),
        figures=Host(berth.engine, clock).read,
        prober=prober_of(berth.engine),
        serve_entries=doorway.tell,
        guard=guard_of(berth.engine, where),
    )


async def _join_token(manager: RunningManager, worker: Worker) -> Callable[[], str]:
    """A join token for a worker that does not belong to this cluster yet."""
    secret = ""
    if not worker.identity.cluster:
        view = await manager.operations.create_token(TokenWish(uses=1, lifetime_s=JOIN_S))
        secret = view.secret or ""
    return lambda: secret
