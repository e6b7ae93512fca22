"""A large cluster on a calm day, in virtual time: the real manager, and thousands of light workers.

They join, services are applied and all their tasks come to run, and then for a while nothing happens but heartbeats.
Nothing is harmed, so nobody looks on as in a world; what is measured is what it takes: seconds of this machine,
commits, memory. Whether all is as wished is asked at the end. The store is the one in memory, at the pace of a good
disk; what a disk takes in work is `bench/`'s to measure.
"""

import asyncio
import gc
import hashlib
import random
import resource
import time
from collections.abc import Callable

import msgspec

from longshore.control import tokens
from longshore.model.changes import Change
from longshore.model.errors import Unavailable
from longshore.model.invariants import broken
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Capacity, Cluster, Kind, ReleasePhase, Role, Token
from longshore.model.reasons import Reason
from longshore.model.spec import Resources, ServiceSpec
from longshore.model.views import ServiceWish
from longshore.simulate.clockwork import VirtualClock, run_in_virtual_time
from longshore.simulate.disk import Disk
from longshore.simulate.light import LightWorker
from longshore.simulate.wire import Cable, Link
from longshore.simulate.world import Manager
from longshore.store.memory import MemoryStore

TASKS_A_SERVICE = 1000
CPU, MEMORY = 0.1, 64 << 20
"""Of a task. A node has room for twice its share."""
JOIN_S = 10.0
"""In which the workers come, evenly."""
WITHIN_S = 3600.0
"""Virtual seconds after which a phase is given up."""
LOOK_S = 0.25
TELL_S = 5.0
"""Of this machine's time: so often it is told how far the day is."""
COLLECTING = (50_000, 20, 100)
"""The garbage collector's thresholds. All there is lives to the day's end, and to look through it again and again would
be a third of what the day takes."""
SECRET = "lsj_for-the-fleet"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """What one part of the day took."""

    name: str
    virtual_s: float
    wall_s: float
    cpu_s: float
    """Of this program, whatever else this machine has to do."""
    commits: int


class FleetOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a fleet."""

    nodes: int
    tasks: int
    policy: str
    phases: tuple[Phase, ...]
    peak_memory: int
    """Bytes that this program had at most, since its start."""
    wrong: tuple[str, ...]
    """Sentences that should have held. Empty is good."""


Tell = Callable[[str], None]


def run_fleet(
    nodes: int,
    tasks: int,
    *,
    seed: int = 0,
    policy: str = "spread",
    calm_s: float = 30.0,
    tell: Tell = lambda sentence: None,
    tell_every_s: float = TELL_S,
) -> FleetOutcome:
    """Play the day of a fleet of so many nodes. `tell` hears now and then, by this machine's time, how far it is."""

    async def main() -> FleetOutcome:
        return await _Fleet(nodes, tasks, seed, policy, tell, tell_every_s).main(calm_s)

    kept = gc.get_threshold()
    gc.set_threshold(*COLLECTING)
    try:
        return run_in_virtual_time(main())
    finally:
        gc.set_threshold(*kept)


class _Fleet:
    def __init__(self, nodes: int, tasks: int, seed: int, policy: str, tell: Tell, tell_every_s: float) -> None:
        self._nodes = nodes
        self._tasks = tasks
        self._policy = policy
        self._tell, self._tell_every_s = tell, tell_every_s
        self._rng = random.Random(seed)
        clock = VirtualClock()
        self._store = MemoryStore(clock)
        self._manager = Manager(Disk(self._store), clock, policy)
        self._workers: list[LightWorker] = []
        self._phases: list[Phase] = []
        share = -(-2 * tasks // nodes)
        self._capacity = Capacity(cpu=CPU * share, memory=MEMORY * share, disk=1 << 40)

    async def main(self, calm_s: float) -> FleetOutcome:
        token = await self._found()
        async with asyncio.TaskGroup() as group:
            living = [group.create_task(self._manager.run(), name="manager")]
            living += [group.create_task(self._live(number, token), name=f"n{number}") for number in range(self._nodes)]
            await self._phase("join", lambda: self._manager.sessions.connected() == self._nodes)
            group.create_task(self._apply(), name="apply")
            await self._phase("run", self._runs)
            until = asyncio.get_running_loop().time() + calm_s
            await self._phase("calm", lambda: asyncio.get_running_loop().time() >= until)
            wrong = self._wrong()
            for task in living:
                task.cancel()
        return FleetOutcome(
            nodes=self._nodes,
            tasks=self._tasks,
            policy=self._policy,
            phases=tuple(self._phases),
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            wrong=wrong,
        )

    async def _found(self) -> Token:
        """The cluster, and the one token that all join with."""
        now = VirtualClock().now()
        digest = hashlib.sha256(SECRET.encode()).hexdigest()
        token = Token(id="join-fleet", role=Role.JOIN, sha256=digest, created_at=now)
        cluster = Cluster(id="fleet", created_at=now)
        await self._store.commit(
            [
                Change(kind=kind, id=id, before=0, after=one, by=Owner.MANAGER, reason=Reason.FIRST_START)
                for kind, id, one in ((Kind.CLUSTER, cluster.id, cluster), (Kind.TOKEN, token.id, token))
            ]
        )
        return token

    async def _live(self, number: int, token: Token) -> None:
        """A worker and the manager's end of its session."""
        name = f"n{number}"
        await asyncio.sleep(JOIN_S * number / self._nodes)
        assert tokens.verify(self._store.read(), SECRET, VirtualClock().now()) is not None
        rng = random.Random(f"{name} {self._rng.random()}")
        link = Link(rng, Cable(rng))
        worker = LightWorker(name, link.worker, rng, self._capacity)
        self._workers.append(worker)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve(link, token), name=f"session {name}")
            group.create_task(worker.work(hashlib.sha256(name.encode()).hexdigest()), name=f"worker {name}")

    async def _serve(self, link: Link, token: Token) -> None:
        await self._manager.sessions.serve(link.manager, token)
        raise Unavailable("a session ended on a calm day")

    async def _apply(self) -> None:
        spec = ServiceSpec(image="fleet", resources=Resources(cpu=CPU, memory=MEMORY))
        left, number = self._tasks, 0
        while left > 0:
            replicas, number = min(left, TASKS_A_SERVICE), number + 1
            wish = ServiceWish(spec=msgspec.structs.replace(spec, replicas=replicas))
            await self._manager.operations.apply_service(f"s{number}", wish)
            left -= replicas

    def _runs(self) -> bool:
        world = self._store.read()
        if sum(worker.running for worker in self._workers) < self._tasks:
            return False
        status = (self._manager.operations.service_view(name).status for name in world.services)
        return all(one.settled and one.rollout is ReleasePhase.DONE for one in status)

    async def _phase(self, name: str, over: Callable[[], bool]) -> None:
        """Let time pass until it is over."""
        now = asyncio.get_running_loop().time
        began, wall, cpu, revision = now(), time.perf_counter(), time.process_time(), self._store.read().revision
        told = wall
        while not over():
            if now() - began > WITHIN_S:
                break
            if time.perf_counter() - told > self._tell_every_s:
                told = time.perf_counter()
                self._tell(f"{name}: {now() - began:.1f} s of the cluster's time in {told - wall:.0f} s; {self._far()}")
            await asyncio.sleep(LOOK_S)
        self._phases.append(
            Phase(
                name=name,
                virtual_s=now() - began,
                wall_s=time.perf_counter() - wall,
                cpu_s=time.process_time() - cpu,
                commits=self._store.read().revision - revision,
            )
        )

    def _far(self) -> str:
        joined, given = self._manager.sessions.connected(), sum(worker.running for worker in self._workers)
        return f"{joined} of {self._nodes} workers joined, {given} of {self._tasks} tasks are with them"

    def _wrong(self) -> tuple[str, ...]:
        world = self._store.read()
        found = broken(world)
        running = sum(task.state is State.RUNNING and task.ready for task in world.tasks())
        here = sum(worker.running for worker in self._workers)
        if not running == here == self._tasks:
            found.append(f"{running} tasks are said to run, {here} do, and {self._tasks} are wished")
        if self._phases[-1].commits:
            found.append(f"{self._phases[-1].commits} commits while nothing happened")
        return tuple(found)
