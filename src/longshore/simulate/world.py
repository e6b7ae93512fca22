"""A cluster in virtual time: one manager that comes and goes, machines with workers, connections, and a user.

Everything that decides or drives is the real thing; what is simulated is what lies outside Longshore: the machines'
engines, the wires and the disk. The world can be harmed (`simulate.chance` says when and how), followed as it goes
(`simulate.witness`) and looked at (`simulate.checks`). Nothing in here knows what ought to happen.
"""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from longshore.control import tokens
from longshore.control.controllers import controllers
from longshore.control.operations import Operations
from longshore.control.sessions import Sessions
from longshore.control.steady import SteadyClock, latest
from longshore.decide import services
from longshore.decide.placement import explain, place
from longshore.engine.fake import FakeMachine
from longshore.engine.fake_containers import Box
from longshore.loop.controller import ControlLoop
from longshore.model.changes import Change
from longshore.model.errors import Denied, Unavailable
from longshore.model.lifecycle import Owner
from longshore.model.objects import Cluster, Kind, Role, Task, Token
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.ports import Clock, Store
from longshore.simulate.clockwork import VirtualClock, WallClock
from longshore.simulate.lies import Lies
from longshore.simulate.places import architecture_of
from longshore.simulate.site import Site
from longshore.simulate.story import Told, Voice
from longshore.simulate.unruly import CALM, SLOW, StoreTroubles, UnrulyStore
from longshore.simulate.wire import Cable, Link
from longshore.store.memory import MemoryStore

T = TypeVar("T")

CLUSTER = "simulated"
HEARTBEAT_TIMEOUT_S = 5.0
CORES, MEMORY = 4.0, 8 << 30
_FORMER = ("spread", "binpack", "epvm", "first-fit", "round-robin", "roundrobin", "greedy")
_LATER = ("alignment",)
POLICIES = (*_FORMER, *_LATER)
_LATER_SHARE = 0.1
CLOCKS_OFF_S = 300.0
DRIFT = 0.01
"""A machine's clock may gain or lose so much: ten times what one does that nobody corrects."""
LOST_OFTEN = 0.1
"""A store that loses more than this part of the commits is failing."""
LOOK_S = 0.01
"""How often `until` looks."""
DEATH_S = 1.0
"""What was killed and still goes on after this has swallowed its cancellation."""

Asked = Callable[[Site, str, str, str, Box | None], None]


class Manager:
    """One life of the manager, over the store that outlives it."""

    def __init__(self, store: Store, clock: Clock, policy: str) -> None:
        self.store = store
        self.clock = clock
        self.since = clock.monotonic()
        self.sessions = Sessions(
            store,
            clock,
            heartbeat_timeout_s=HEARTBEAT_TIMEOUT_S,
            wake_node=lambda node: self.loop.wake("nodes", node),
        )
        sessions = self.sessions
        rows = controllers(policy, sessions.liveness, sessions.census, sessions.busy)
        self.loop = ControlLoop(store, clock, rows)
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


class _Latest:
    """The clock of the newest manager, which is the store's too: it outlives managers here, not clocks."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now()

    def monotonic(self) -> float:
        return self._world.clock.monotonic()


class World:
    """The whole of it. `told` is given every line of the story that is told here."""

    def __init__(
        self,
        seed: int,
        nodes: int,
        *,
        told: Callable[[Told], None],
        asked: Asked = lambda site, verb, task, fingerprint, box: None,
        policy: str = "",
        troubles: StoreTroubles | None = None,
    ) -> None:
        """`asked` is called before each thing that a worker asks its engine for; `policy` is drawn unless named."""
        self.seed = seed
        self.rng = random.Random(seed)
        self.clock: Clock = VirtualClock()
        self.wall = WallClock()
        """Of the manager's machine."""
        self.wall_set_at = -1.0
        """When somebody last set it."""
        self._deciding = SteadyClock(self.wall)
        self._off = random.Random(f"clocks {seed}")
        self._cables = random.Random(f"cables {seed}")
        self.policy = policy or _policy(self.rng, seed)
        self.durable = MemoryStore(_Latest(self))
        self.troubles = troubles or StoreTroubles()
        self.bugs: list[BaseException] = []
        self.asked = asked
        self.manager: Manager | None = None
        self.manager_since = 0.0
        """When the newest life of the manager began."""
        self._told = told
        # Dictionaries, because a set of tasks is in another order in every process.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._serving: dict[asyncio.Task[Any], None] = {}
        """What belongs to the manager's process and dies with it."""
        self.store_harmed_at = -1.0
        """When the store was last worse than slow, or that ended."""
        self.sites = {name: self._site(name) for name in (f"n{number}" for number in range(1, nodes + 1))}

    def _site(self, name: str) -> Site:
        clock = WallClock(self._off.uniform(-CLOCKS_OFF_S, CLOCKS_OFF_S), self._off.uniform(-DRIFT, DRIFT))
        processor = architecture_of(name)
        machine = FakeMachine(self.rng, clock, name=name, cores=CORES, memory=MEMORY, architecture=processor)
        lies = Lies(random.Random(f"lies {self.seed} {name}"))
        cable = Cable(self._cables)
        return Site(name, machine, self, clock, cable, lies=lies, join_secret=f"lsj_for-{name}")

    def now(self) -> float:
        """What the newest manager takes the time to be."""
        return self._deciding.now()

    def set_wall(self, by_s: float) -> None:
        """Somebody sets the clock of the manager's machine."""
        self.wall.off_s += by_s
        self.wall_set_at = self.clock.monotonic()
        self.tell(Voice.FAULT, f"the manager's clock is set {'forward' if by_s > 0 else 'back'} by {abs(by_s):.0f} s")

    def tell(self, voice: Voice, text: str) -> None:
        self._told(Told(round(self.clock.monotonic(), 3), voice, text))

    # -- life and death

    async def begin(self) -> None:
        """The first start: the manager, a join token for each worker, then the workers. Nothing fails until then."""
        now, troubles = self.now(), self.troubles
        self.set_troubles(CALM)
        manager = self.start_manager()
        cluster = Cluster(id=CLUSTER, created_at=now)
        first = Change(
            kind=Kind.CLUSTER, id=CLUSTER, before=0, after=cluster, by=Owner.MANAGER, reason=Reason.FIRST_START
        )
        await manager.store.commit([first, *(_join_token(site, now) for site in self.sites.values())])
        for site in self.sites.values():
            site.start_worker()
        self.set_troubles(troubles)

    def set_troubles(self, troubles: StoreTroubles) -> None:
        """From now on the store has these, in managers to come too."""
        was_ill, self.troubles = self.store_is_ill, troubles
        if was_ill or self.store_is_ill:
            self.store_harmed_at = self.clock.monotonic()
        if self.manager is not None:
            assert isinstance(self.manager.store, UnrulyStore)
            self.manager.store.troubles = troubles

    @property
    def store_is_ill(self) -> bool:
        """Worse than slow."""
        return self.troubles.land_s[1] > SLOW.land_s[1] or self.troubles.lost_before > LOST_OFTEN

    async def trouble(self, what: str, troubles: StoreTroubles, for_s: float) -> None:
        """The store has these for a while."""
        self.tell(Voice.FAULT, what)
        self.set_troubles(troubles)
        await self.pass_time(for_s)
        self.tell(Voice.FAULT, "the store is as ever")
        self.set_troubles(StoreTroubles())

    def start_manager(self) -> Manager:
        if self.manager is None:
            self._deciding = SteadyClock(self.wall)
            self._deciding.begin_after(latest(self.durable.read()))
            store = UnrulyStore(self.durable, self.rng, self.troubles)
            self.manager = Manager(store, self._deciding, self.policy)
            self.manager_since = self.manager.since
            self._serve(self.manager.run(), "manager")
            self.tell(Voice.FAULT, "the manager starts")
        return self.manager

    def kill_manager(self) -> None:
        """kill -9: what it was doing is cut off wherever it was."""
        if self.manager is None:
            return
        self.manager = None
        self.tell(Voice.FAULT, "the manager is killed")
        for task in tuple(self._serving):
            self.kill(task)
        for site in self.sites.values():
            if site.link is not None:
                site.link.manager.end()

    def kill(self, task: asyncio.Task[Any]) -> None:
        """End one of the world's coroutines, and see to it that it does end."""
        task.cancel()
        task.get_loop().call_later(DEATH_S, self._check_dead, task)

    def _check_dead(self, task: asyncio.Task[Any]) -> None:
        if not task.done():
            self.bugs.append(RuntimeError(f"{task.get_name()} was cancelled {DEATH_S} s ago, and goes on"))

    async def end(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what its inhabitants do

    async def ask(self, question: Callable[[Operations], Awaitable[T]]) -> T:
        """The user asks the manager. Raises Unavailable if it is not there, or dies before it has answered."""
        if self.manager is None:
            raise Unavailable("nobody listens")
        asked = asyncio.ensure_future(question(self.manager.operations))
        self._tasks[asked] = self._serving[asked] = None
        await asyncio.wait([asked])
        del self._tasks[asked], self._serving[asked]
        if asked.cancelled():
            raise Unavailable("the connection is lost; whether it was done is not known")
        return asked.result()

    def spawn(self, main: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(main, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _serve(self, main: Coroutine[Any, Any, None], name: str) -> None:
        """As a part of the manager's process."""
        self._serving[self.spawn(main, name)] = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._serving.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.bugs.append(error)

    def connect(self, site: Site) -> Link:
        """A site's worker knocks at the manager's door: with its own token, or to join with the one it was given."""
        manager = self.manager
        if manager is None or not site.cable.whole:
            raise Unavailable("nobody listens")
        world, now = manager.store.read(), self.now()
        joining = "" if site.identity.cluster else site.join_secret
        token = tokens.verify(world, site.identity.token, now) or tokens.verify(world, joining, now)
        if token is None:
            raise Denied("token unknown")
        link = Link(self.rng, site.cable)

        async def session() -> None:
            await manager.sessions.serve(link.manager, token)

        self._serve(session(), f"session {site.name}")
        return link

    # -- looking and waiting

    def read(self) -> Snapshot:
        return self.durable.read()

    def tasks(self, service: str) -> list[Task]:
        """In order of slot and generation."""
        found = self.read().tasks_of_service(service).values()
        return sorted(found, key=lambda task: (task.slot, task.generation))

    async def until(self, holds: Callable[[], bool], within_s: float) -> float:
        """Let time pass until something holds; returns the seconds it took. AssertionError if it takes too long."""
        begun = self.clock.monotonic()
        while not holds():
            passed_s = self.clock.monotonic() - begun
            assert passed_s < within_s, f"did not come true within {within_s} s"
            await asyncio.sleep(LOOK_S)
        return self.clock.monotonic() - begun

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _policy(rng: random.Random, seed: int) -> str:
    """The policy of a world. Those that were not always there are drawn by chance of their own, so that the stories of
    most seeds stay what they were."""
    former, own = rng.choice(_FORMER), random.Random(f"policy {seed}")
    return own.choice(_LATER) if own.random() < _LATER_SHARE else former


def _join_token(site: Site, now: float) -> Change:
    """A token for one use. Its secret is not drawn as a real one's is, so that every run has the same."""
    digest = hashlib.sha256(site.join_secret.encode()).hexdigest()
    token = Token(id=f"join-{site.name}", role=Role.JOIN, sha256=digest, uses_left=1, created_at=now)
    return Change(kind=Kind.TOKEN, id=token.id, before=0, after=token, by=Owner.MANAGER, reason=Reason.TOKEN_CREATED)
