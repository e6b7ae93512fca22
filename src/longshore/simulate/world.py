"""A cluster in virtual time: one manager that comes and goes, workers, machines, connections, and a user.

Everything that decides or drives is the real thing; what is simulated is what lies outside Longshore: the machines'
engines, the wires and the disk. The world can be harmed (`simulate.chance` says when and how) and then looked at
(`simulate.checks`). Nothing in here knows what ought to happen.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from longshore.agent.dialling import RETRY_FIRST_S, RETRY_MAX_S
from longshore.agent.worker import Identity, Worker
from longshore.control import tokens
from longshore.control.controllers import controllers
from longshore.control.operations import Operations
from longshore.control.sessions import Sessions
from longshore.decide import services
from longshore.decide.placement import explain, place
from longshore.engine.fake import FakeEngine, FakeMachine
from longshore.loop.controller import ControlLoop
from longshore.model.changes import Change
from longshore.model.containers import Status
from longshore.model.errors import Denied, Unavailable
from longshore.model.lifecycle import Owner
from longshore.model.objects import Cluster, Kind, NodeStats, Role
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.simulate.clockwork import VirtualClock
from longshore.simulate.unruly import UnrulyStore
from longshore.simulate.wire import Link
from longshore.store.memory import MemoryStore

CLUSTER = "simulated"
HEARTBEAT_TIMEOUT_S = 5.0
STARTS_AT_ONCE = 4
CORES, MEMORY = 4.0, 8 << 30
POLICIES = ("spread", "binpack", "epvm", "first-fit", "round-robin")


class Site:
    """A machine with its worker."""

    def __init__(self, name: str, machine: FakeMachine) -> None:
        self.name = name
        self.machine = machine
        self.identity = Identity(node=name, token=f"own-token-of-{name}")
        """On the machine's disk: it outlives the worker."""
        self.join_secret = ""
        self.on = True
        """Whether the machine has power."""
        self.running: asyncio.Task[None] | None = None
        """The worker's process."""
        self.link: Link | None = None


class Manager:
    """One life of the manager, over the store that outlives it."""

    def __init__(self, store: UnrulyStore, clock: VirtualClock, policy: str) -> None:
        self.store = store
        self.sessions = Sessions(
            store,
            clock,
            heartbeat_timeout_s=HEARTBEAT_TIMEOUT_S,
            wake_node=lambda node: self.loop.wake("nodes", node),
        )
        self.loop = ControlLoop(store, clock, controllers(policy, self.sessions.silence_left_s))
        self.operations = Operations(
            store,
            clock,
            policy,
            decide_services=services.decide,
            place=lambda world, now: place.decide(world, now, policy),
            explain=lambda world, task, now: explain.explain(world, task, now, policy),
            usage=self.sessions.usage,
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sessions.run(), name="sessions")
            group.create_task(self.loop.run(), name="controllers")


class World:
    """The whole of it. `landed` is called with the snapshot after every commit, `told` with every line of the story."""

    def __init__(
        self, seed: int, nodes: int, *, landed: Callable[[Snapshot], None], told: Callable[[float, str], None]
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.policy = self.rng.choice(POLICIES)
        self.durable = MemoryStore(self.clock)
        self.bugs: list[BaseException] = []
        self._landed = landed
        self._told = told
        self._calm = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        """What belongs to the manager's process and dies with it."""
        self.manager: Manager | None = None
        self.sites = {f"n{number}": self._site(f"n{number}") for number in range(1, nodes + 1)}

    def _site(self, name: str) -> Site:
        machine = FakeMachine(self.rng, self.clock, name=name, cores=CORES, memory=MEMORY)
        return Site(name, machine)

    def tell(self, line: str) -> None:
        self._told(self.clock.monotonic(), line)

    # -- life and death

    async def begin(self) -> None:
        """The first start: the manager, then a join token for each worker, then the workers."""
        self.start_manager()
        manager = self.manager
        assert manager is not None
        manager.store.calm = True
        cluster = Cluster(id=CLUSTER, created_at=self.clock.now())
        first = Change(
            kind=Kind.CLUSTER, id=CLUSTER, before=0, after=cluster, by=Owner.MANAGER, reason=Reason.FIRST_START
        )
        await manager.store.commit([first])
        for site in self.sites.values():
            token, site.join_secret = tokens.mint(Role.JOIN, now=self.clock.now(), uses=1)
            made = Change(
                kind=Kind.TOKEN, id=token.id, before=0, after=token, by=Owner.MANAGER, reason=Reason.TOKEN_CREATED
            )
            await manager.store.commit([made])
            self.start_worker(site)
        manager.store.calm = self._calm

    def start_manager(self) -> None:
        if self.manager is None:
            store = UnrulyStore(self.durable, self.rng, self._landed)
            store.calm = self._calm
            self.manager = Manager(store, self.clock, self.policy)
            self._spawn(self.manager.run(), "manager", self._serving)
            self.tell("manager starts")

    def kill_manager(self) -> None:
        """kill -9: what it was doing is cut off wherever it was."""
        self.manager = None
        for task in tuple(self._serving):
            task.cancel()
        for site in self.sites.values():
            if site.link is not None:
                site.link.cut()
        self.tell("manager killed")

    def start_worker(self, site: Site) -> None:
        if site.on and site.running is None:
            site.running = self._spawn(self._worker(site), f"worker {site.name}", set())
            self.tell(f"worker of {site.name} starts")

    def kill_worker(self, site: Site) -> None:
        if site.running is not None:
            site.running.cancel()
            site.running = None
            if site.link is not None:
                site.link.cut()
            self.tell(f"worker of {site.name} killed")

    def power_off(self, site: Site) -> None:
        """The machine dies: its containers with it, and nobody says goodbye."""
        if site.on:
            if site.link is not None:
                site.link.mute()
            self.kill_worker(site)
            for id, box in tuple(site.machine.boxes.items()):
                if box.status is Status.RUNNING:
                    site.machine.kill(id, 255)
            site.machine.down()
            site.on = False
            self.tell(f"machine {site.name} loses power")

    def power_on(self, site: Site) -> None:
        if not site.on:
            site.on = True
            site.machine.heal()
            self.tell(f"machine {site.name} is back")
        self.start_worker(site)

    def calm(self) -> None:
        """No more chance: the store behaves, now and in managers to come."""
        self._calm = True
        if self.manager is not None:
            self.manager.store.calm = True

    async def end(self) -> None:
        for task in (*self._serving, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._serving, *self._tasks, return_exceptions=True)

    def _spawn(
        self, main: Coroutine[Any, Any, None], name: str, also: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(main, name=name)
        for group in (self._tasks, also):
            group.add(task)
            task.add_done_callback(group.discard)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.bugs.append(error)

    # -- a worker's process

    async def _worker(self, site: Site) -> None:
        engine = FakeEngine(site.machine)

        def remember(identity: Identity) -> None:
            site.identity = identity

        worker = Worker(
            engine,
            self.clock,
            identity=site.identity,
            address="127.0.0.1",
            labels={"zone": "ab"[int(site.name[1:]) % 2]},
            starts=asyncio.Semaphore(STARTS_AT_ONCE),
            remember=remember,
            figures=_no_figures,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name=f"runner {site.name}")
            group.create_task(self._dial(site, worker), name=f"dial {site.name}")

    async def _dial(self, site: Site, worker: Worker) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            try:
                link = self._connect(site)
                wait_s = RETRY_FIRST_S
                await worker.serve(link.worker)
            except Unavailable:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)

    def _connect(self, site: Site) -> Link:
        """Knock at the manager's door with the token that the worker has."""
        manager = self.manager
        if manager is None:
            raise Unavailable("nobody listens")
        world, now = manager.store.read(), self.clock.now()
        joining = "" if site.identity.cluster else site.join_secret
        token = tokens.verify(world, site.identity.token, now) or tokens.verify(world, joining, now)
        if token is None:
            raise Denied("token unknown")
        site.link = link = Link(self.rng)
        self._spawn(manager.sessions.serve(link.manager, token), f"session {site.name}", self._serving)
        return link


async def _no_figures(container_ids: tuple[str, ...]) -> NodeStats:
    return NodeStats(containers=len(container_ids))
