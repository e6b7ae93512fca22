"""A running manager: store, sessions, controllers and API put together, and taken apart in the right order."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from aiohttp import web

from longshore import __version__
from longshore.api.running import make_runner
from longshore.api.server import Deps, make_app
from longshore.control import tokens
from longshore.control.controllers import controllers
from longshore.control.dialling import keep_dialling
from longshore.control.founding import found_cluster
from longshore.control.metrics import MeasuredStore, Metrics, measured
from longshore.control.operations import Operations
from longshore.control.sessions import Sessions
from longshore.control.steady import SteadyClock, latest
from longshore.decide import services
from longshore.decide.placement import explain, place
from longshore.loop.controller import ControlLoop
from longshore.main import folder
from longshore.main.clock import MachineClock
from longshore.main.serving import is_loopback
from longshore.model.changes import Change
from longshore.model.errors import Invalid, Refused
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind, Role
from longshore.model.reasons import Reason
from longshore.model.retention import Retention
from longshore.ports import Store
from longshore.store.journal import EVENTS_KEPT
from longshore.store.memory import MemoryStore
from longshore.store.sqlite import LOG_EVENTS_MAX, SqliteStore

log = structlog.get_logger("longshore.manager")

STORE_FILE = "longshore.db"
SHUTDOWN_S = 2.0
BACKLOG = 4096
"""Connections that wait to be taken. Workers that lost their manager dial the next one within a second, and what the
kernel has no room for is tried again only after one, three, seven seconds. It grants no more than it is set to."""
TAKEN_AT_ONCE = 64
"""Of those, in one round of the event loop: thousands would keep everybody else waiting."""


class ManagerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of a manager."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 7440
    store: str = ""
    """Empty for SQLite in the folder, `memory`, or `sqlite:///PATH`."""
    scheduler: str = "spread"
    workers: tuple[str, ...] = ()
    worker_token: Path | None = None
    auth: bool = True
    compat: bool = True
    """Whether foreign APIs are served beside `/v1`."""
    heartbeat_timeout_s: float = 5.0
    kept: Retention = Retention()
    keep_events: int = LOG_EVENTS_MAX


class RunningManager(msgspec.Struct, frozen=True, kw_only=True):
    """What others in the same program may use of a manager."""

    url: str
    store: Store
    operations: Operations


@asynccontextmanager
async def running_manager(settings: ManagerSettings) -> AsyncIterator[RunningManager]:
    """A manager that serves until the block is left. Raises Invalid or Refused with a sentence if it cannot start."""
    if not settings.auth and not is_loopback(settings.host):
        raise Invalid(f"--no-auth would open this manager to everybody at {settings.host}; it needs a loopback host")
    folder.prepare(settings.folder)
    clock = SteadyClock(MachineClock())
    store = await _open_store(settings, clock)
    clock.begin_after(latest(store.read()))
    try:
        await found_cluster(store, clock)
        await _admin_token(store, clock, settings.folder)
        async with _serving(settings, store, clock) as running:
            yield running
    finally:
        await store.close()


async def _open_store(settings: ManagerSettings, clock: SteadyClock) -> Store:
    if settings.store == "memory":
        return MemoryStore(clock, events_kept=min(EVENTS_KEPT, settings.keep_events))
    path = settings.folder / STORE_FILE
    if settings.store:
        scheme, separator, rest = settings.store.partition("://")
        if scheme != "sqlite" or not separator or not rest.startswith("/") or len(rest) < 2:
            raise Invalid(f"--store {settings.store}: use memory or sqlite:///PATH")
        path = Path(rest)
    in_memory = min(EVENTS_KEPT, settings.keep_events)
    return await SqliteStore.open(path, clock, events_kept=in_memory, log_events=settings.keep_events)


async def _admin_token(store: Store, clock: SteadyClock, where: Path) -> None:
    """Make sure that the folder holds a token that opens this manager: who owns the folder owns the cluster.

    The file is written before its hash is stored: if the program dies in between, the next start makes another.
    """
    path = where / "admin.token"
    standing = folder.read(path)
    world = store.read()
    if standing and tokens.verify(world, standing, clock.now()) is not None:
        return
    token, secret = tokens.mint(Role.ADMIN, now=clock.now())
    folder.write(path, secret + "\n")
    await store.commit(
        [Change(kind=Kind.TOKEN, id=token.id, before=0, after=token, by=Owner.MANAGER, reason=Reason.TOKEN_CREATED)]
    )
    log.info("wrote a new admin token", path=str(path))


@asynccontextmanager
async def _serving(settings: ManagerSettings, plain: Store, clock: SteadyClock) -> AsyncIterator[RunningManager]:
    metrics = Metrics(__version__)
    store = MeasuredStore(plain, metrics)
    sessions = Sessions(
        store,
        clock,
        heartbeat_timeout_s=settings.heartbeat_timeout_s,
        wake_node=lambda node: loop.wake("nodes", node),
    )
    passes = place.Kept()
    rows = controllers(settings.scheduler, sessions.liveness, sessions.census, sessions.busy, settings.kept, passes)
    loop = ControlLoop(store, clock, [measured(row, metrics) for row in rows])
    operations = Operations(
        store,
        clock,
        settings.scheduler,
        decide_services=lambda world, name, now: services.decide(world, name, now, settings.kept),
        place=lambda world, now: place.decide(world, now, settings.scheduler, sessions.busy),
        explain=lambda world, task, now: explain.explain(world, task, now, settings.scheduler, sessions.busy, passes),
        usage=sessions.usage,
    )
    app = make_app(
        Deps(
            store=store,
            operations=operations,
            sessions=sessions,
            clock=clock,
            auth=settings.auth,
            compat=settings.compat,
            postings_kept=settings.kept.postings,
            metrics=metrics,
            scheduler=settings.scheduler,
            version=__version__,
            started_at=clock.now(),
            folder=settings.folder,
        )
    )
    runner = make_runner(app, shutdown_s=SHUTDOWN_S)
    await runner.setup()
    server: asyncio.Server | None = None
    try:
        server = await _listen(runner, settings)
        port = server.sockets[0].getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{port}"
        record = {"url": url, "pid": os.getpid()}
        folder.write(settings.folder / "manager.json", msgspec.json.encode(record).decode() + "\n")
        background = asyncio.create_task(_background(settings, store, sessions, loop), name="manager")
        try:
            async with _ends_with(background):
                yield RunningManager(url=url, store=store, operations=operations)
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
    finally:
        if server is not None:
            server.close()
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: ManagerSettings) -> asyncio.Server:
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(runner.server, settings.host, settings.port, backlog=TAKEN_AT_ONCE)
    except OSError as error:
        raise Refused(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with -p"
        ) from error
    for one in server.sockets:
        with one.dup() as same:  # asyncio has one number for what is taken at once and for what may wait
            same.listen(BACKLOG)
    return server


async def _background(settings: ManagerSettings, store: Store, sessions: Sessions, loop: ControlLoop) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(sessions.run(), name="sessions")
        group.create_task(loop.run(), name="controllers")
        dialling = keep_dialling(store, sessions, settings.workers, lambda: _workers_secret(settings))
        group.create_task(dialling, name="dial workers")


def _workers_secret(settings: ManagerSettings) -> str:
    path = settings.worker_token or settings.folder / "worker.token"
    # Without tokens this manager shows none either: its workers are this machine's own.
    return folder.workers_token(path) if settings.auth else folder.read(path)


@asynccontextmanager
async def _ends_with(background: asyncio.Task[None]) -> AsyncIterator[None]:
    """Cancel the block if the background ends: a manager without its controllers must not go on serving."""
    me = asyncio.current_task()
    assert me is not None
    over = False

    def ended(task: asyncio.Task[None]) -> None:
        if not over and not task.cancelled():
            me.cancel("the manager's controllers ended")

    background.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if background.done() and not background.cancelled() and (error := background.exception()) is not None:
            raise error from None
        raise
    finally:
        over = True
