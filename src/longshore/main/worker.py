"""A running worker: an engine, a runner and its sessions put together."""

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path

import msgspec
from aiohttp import web

from longshore.agent.commands import CommandProber
from longshore.agent.dialling import Doorstep, address_towards, keep_dialling
from longshore.agent.entry import Entry, check_installed
from longshore.agent.host import Host, pids_of_machine
from longshore.agent.worker import Identity, ServeEntries, Worker
from longshore.api.compat.worker import WorkerDeps, make_worker_app
from longshore.api.running import make_runner
from longshore.decide.admission import admit_node_labels, admit_node_name
from longshore.decide.endpoints import ENTRY_LABEL, ENTRY_VALUE
from longshore.decide.placing import admit_resources, admit_taints
from longshore.engine.docker import DockerEngine
from longshore.engine.fake import FakeEngine, FakeMachine, FakeProber
from longshore.main import folder
from longshore.main.alone import Alone
from longshore.main.clock import MachineClock
from longshore.main.guarding import FolderGuard
from longshore.main.serving import is_loopback
from longshore.model.errors import Invalid, Refused
from longshore.model.placing import Supply, Taint
from longshore.ports import Clock, Engine, Prober

SHUTDOWN_S = 2.0
STARTS_PER_CORE = 2
"""Past about two starts a core at a time an engine only gets slower."""


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of a worker."""

    name: str
    folder: Path
    engine: str = ""
    """URL of the engine, or `fake`; empty is $DOCKER_HOST or the machine's own."""
    join: str = ""
    """The manager's URL; empty waits to be dialled."""
    token: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7441
    address: str = ""
    """Where published ports answer; empty is the address towards the manager."""
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    resources: dict[str, Supply] = {}
    """What the node has beside cpu, memory and disk."""
    entry: bool = False
    """Whether it joins as an entry."""
    store: str = ""
    """`memory` to remember nothing that the worker was told at its own door; empty keeps it in the folder."""
    auth: bool = True
    """Whether that door asks for a token."""


def starts_at_once() -> asyncio.Semaphore:
    """The ration of container starts for one machine."""
    return asyncio.Semaphore(STARTS_PER_CORE * (os.cpu_count() or 1))


def engine_url(named: str = "") -> str:
    """The engine that was named, else the machine's own."""
    return named or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def open_engine(url: str, clock: Clock, machine: FakeMachine | None = None) -> Engine:
    """The engine that `url` names."""
    if url == "fake":
        return FakeEngine(machine or fake_machine(clock))
    return DockerEngine(engine_url(url))


def prober_of(engine: Engine) -> Prober | None:
    """What asks this engine's containers, if it is not real sockets."""
    return CommandProber(engine, FakeProber(engine.machine)) if isinstance(engine, FakeEngine) else None


def guard_of(engine: Engine, where: Path) -> FolderGuard | None:
    """What ends this engine's single-writer containers for a worker whose files are in `where`; simulated ones end with
    their program."""
    return FolderGuard(where, engine.url) if isinstance(engine, DockerEngine) else None


def fake_machine(clock: Clock) -> FakeMachine:
    """A simulated machine for a real program: its delays are real seconds."""
    return FakeMachine(random.Random(0), clock)  # noqa: S311  (it shapes delays, not secrets)


async def run_worker(settings: WorkerSettings) -> None:
    """Until cancelled. Raises Denied if the manager does not want this worker."""
    admit_node_name(settings.name, field="--name")
    admit_node_labels(settings.labels, field="--label")
    admit_taints(settings.taints, field="--taint")
    admit_resources(settings.resources, field="--resource")
    if settings.entry:
        check_installed()
    if not settings.auth and not is_loopback(settings.host):
        raise Invalid(f"--no-auth would open this worker to everybody at {settings.host}; it needs a loopback host")
    place = folder.place_of_worker(folder.prepare(settings.folder), settings.name)
    with folder.held(folder.prepare(place)):
        await _run_held(settings, place)


async def _run_held(settings: WorkerSettings, place: Path) -> None:
    clock = MachineClock()
    engine = open_engine(settings.engine, clock)
    standing = folder.identity(place, settings.name)
    address = settings.address or (address_towards(settings.join) if settings.join else settings.host)
    starts = starts_at_once()
    entry = Entry(place)

    def make(identity: Identity, serve_entries: ServeEntries | None = None, guard: FolderGuard | None = None) -> Worker:
        return Worker(
            engine,
            clock,
            identity=identity,
            address=address,
            labels={**settings.labels, ENTRY_LABEL: ENTRY_VALUE} if settings.entry else settings.labels,
            taints=settings.taints,
            resources=settings.resources,
            pids=pids_of_machine(),
            starts=starts,
            remember=lambda one: folder.remember(place, one),
            figures=Host(engine, clock).read,
            prober=prober_of(engine),
            serve_entries=serve_entries,
            guard=guard,
        )

    worker = make(standing, entry.tell, guard_of(engine, place))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name="runner")
            group.create_task(entry.run(), name="entry")
            if settings.join:
                group.create_task(keep_dialling(worker, settings.join, lambda: _join_token(settings)), name="dial")
            else:
                alone = Alone(place, settings.name, clock, make, in_memory=settings.store == "memory")
                group.create_task(alone.run(), name="own tasks")
                group.create_task(_keep_door(settings, worker, engine, alone), name="door")
    finally:
        with suppress(asyncio.CancelledError):
            await engine.close()


def _join_token(settings: WorkerSettings) -> str:
    if settings.token is None:
        raise Invalid("a worker joins with a token: on the manager, longshore token create; then --token FILE")
    secret = folder.read(settings.token)
    if not secret:
        raise Invalid(f"the token file {settings.token} is missing or empty")
    return secret


async def _keep_door(settings: WorkerSettings, worker: Worker, engine: Engine, alone: Alone) -> None:
    """The worker's own port: for a manager that dials it, and for whoever has tasks for this machine alone."""
    secret = folder.workers_token(settings.token or settings.folder / "worker.token") if settings.auth else ""
    deps = WorkerDeps(worker=worker, engine=engine, secret=secret, begin=alone.begin, own=alone.own)
    app = make_worker_app(deps)
    Doorstep(worker).mount(app)
    runner = make_runner(app, shutdown_s=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            raise Refused(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with -p"
            ) from error
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
