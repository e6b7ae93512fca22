"""A machine with its worker, and all that can be done to both.

The worker is the real one; its machine, its engine and its cable are not. Every harm is told to the story and noted
here, so that a witness can tell what the cluster did by itself from what was done to it. Knows nothing of what ought to
happen then.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from longshore.agent.commands import CommandProber
from longshore.agent.dialling import RETRY_FIRST_S, next_wait_s
from longshore.agent.worker import Identity, Worker
from longshore.engine.fake import FakeMachine, FakeProber
from longshore.engine.fake_containers import Box
from longshore.engine.fake_machine import Image
from longshore.engine.limits import ANSWER_LIMIT_S
from longshore.model.containers import Container, ContainerOrder
from longshore.model.errors import Failure, Unavailable
from longshore.model.objects import NodeStats
from longshore.ports import Clock
from longshore.simulate.guarding import Freezer, FrozenChannel, SimulatedGuard
from longshore.simulate.lies import Lie, Lies, LyingEngine
from longshore.simulate.places import PIDS, labels_of
from longshore.simulate.story import Voice
from longshore.simulate.wire import Cable, Link

T = TypeVar("T")

STARTS_AT_ONCE = 4
COMMANDS_AT_ONCE = 2

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Surroundings(Protocol):
    """What a site finds around it."""

    clock: Clock

    def tell(self, voice: Voice, text: str) -> None: ...

    def spawn(self, main: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]": ...

    def kill(self, task: "asyncio.Task[Any]") -> None: ...

    def connect(self, site: "Site") -> Link:
        """Knock at the manager's door. Raises Unavailable."""

    def asked(self, site: "Site", verb: str, task: str, fingerprint: str, box: Box | None) -> None:
        """A worker asks its engine for something: create (no box yet), start, stop or remove."""


class Site:
    """One of them."""

    def __init__(
        self,
        name: str,
        machine: FakeMachine,
        around: Surroundings,
        clock: Clock,
        cable: Cable,
        *,
        lies: Lies,
        join_secret: str,
    ) -> None:
        self.name = name
        self.machine = machine
        self.clock = clock
        """The machine's own."""
        self.cable = cable
        self.lies = lies
        """Its engine's."""
        self.image: Image | None = None
        """What its disk once held."""
        self.identity = Identity(node=name, token=f"own-token-of-{name}")
        """On the machine's disk: it outlives the worker."""
        self.join_secret = join_secret
        self.labels = labels_of(name)
        self.on = True
        """Whether the machine has power."""
        self.running: asyncio.Task[None] | None = None
        """The worker's process."""
        self.link: Link | None = None
        self.harmed_at = 0.0
        """When something was last done to it, or ended."""
        self.parted_at = -1.0
        """When a connection of its worker last ended, for whatever reason."""
        self.taken: set[str] = set()
        """Fingerprints of containers that somebody removed by hand."""
        self.ailed: set[str] = set()
        """Ids of containers that have at some time not answered as they should."""
        self.guard = SimulatedGuard(machine, around.clock, self._guarded)
        self.freezer = Freezer()
        """Holds the worker's process up."""
        self._around = around

    def _guarded(self, verb: str, box: Box) -> None:
        self._around.tell(Voice.CLUSTER, f"the guard of {self.name} {verb} the container of {box.order.task}")
        self.taken.add(box.order.fingerprint)

    def _harm(self, text: str) -> None:
        self.harmed_at = self._around.clock.monotonic()
        self._around.tell(Voice.FAULT, text)

    def boxes(self, task: str = "", *, running: bool = False) -> list[Box]:
        """Its containers, oldest first."""
        every = self.machine.boxes.values()
        return [box for box in every if (not task or box.order.task == task) and (box.running or not running)]

    # -- its worker and its power

    def start_worker(self) -> None:
        if self.on and self.running is None:
            self.running = self._around.spawn(self._work(), f"worker {self.name}")
            self._harm(f"the worker of {self.name} starts")

    def kill_worker(self) -> None:
        """kill -9: what it was doing is cut off wherever it was; its containers live on."""
        if self.running is not None:
            self._end_worker()
            self._harm(f"the worker of {self.name} is killed")

    def stop_worker(self) -> None:
        """SIGTERM: it is told to stop, as for an upgrade, and may say a last word."""
        if self.running is not None:
            self._around.kill(self.running)
            self.running = None
            self._harm(f"the worker of {self.name} is stopped")

    def freeze_worker(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        if self.running is not None and not self.freezer.frozen:
            self.freezer.freeze()
            self._harm(f"the worker of {self.name} is frozen")

    def thaw_worker(self) -> None:
        if self.freezer.frozen:
            self.freezer.thaw()
            self._harm(f"the worker of {self.name} moves again")

    def power_off(self) -> None:
        """The machine dies: its containers with it, and nobody says goodbye."""
        if self.on:
            if self.link is not None:
                self.link.mute()
            self._end_worker()
            self.guard.lose_power()
            self.machine.lose_power()
            self.on = False
            self._harm(f"machine {self.name} loses power")

    def power_on(self) -> None:
        """The machine is back, and its worker starts by itself."""
        if not self.on:
            self.on = True
            self.machine.heal()
            self._harm(f"machine {self.name} is back")
        self.start_worker()

    def _end_worker(self) -> None:
        if self.running is not None:
            self._around.kill(self.running)
            self.running = None
            self.parted_at = self._around.clock.monotonic()
            if self.link is not None:
                self.link.worker.end()

    # -- its cable

    def cut(self) -> None:
        """The connection breaks, and both ends know at once."""
        if self.link is not None:
            self._harm(f"the connection of {self.name} breaks")
            self.parted_at = self.harmed_at  # a worker that is frozen does not come to note it
            self.link.worker.end()

    def mute(self) -> None:
        """Nothing gets through any more, and neither end is told."""
        if self.link is not None:
            self._harm(f"the connection of {self.name} falls silent")
            self.link.mute()

    def part(self, *, up: bool, down: bool) -> None:
        """From now on nothing comes through to the manager, or from it, or neither; both ends wait."""
        ways = "neither way" if up and down else "not up" if up else "not down"
        self._harm(f"the cable of {self.name} carries {ways}")
        self.cable.part(up=up, down=down)

    def mend(self) -> None:
        """The cable carries both ways, and what waited comes late."""
        if not self.cable.whole:
            self._harm(f"the cable of {self.name} carries again")
            self.cable.part(up=False, down=False)

    def delay(self, up_to_s: float) -> None:
        if up_to_s != self.cable.spike_s:
            self._harm(f"messages of {self.name} take up to {up_to_s:.1f} s longer")
            self.cable.spike_s = up_to_s

    # -- its disk

    def copy_disk(self) -> None:
        self._harm(f"the disk of {self.name} is copied")
        self.image = self.machine.image()

    def restore_disk(self) -> None:
        """It is what it was when it was copied. The machine has no power."""
        if self.image is not None and not self.on:
            self._harm(f"{self.name} gets the disk that it had")
            self.taken.update(box.order.fingerprint for box in self.boxes())
            self.machine.restore(self.image)
            self.image = None

    # -- its engine

    def lie(self, how: Lie | None) -> None:
        if how is not self.lies.now:
            self._harm(f"the engine of {self.name} {how or 'tells the truth'}")
            self.lies.now = how

    def restart_engine(self, down_s: float) -> None:
        if self.on:
            self._harm(f"the engine of {self.name} restarts and is away for {down_s:.1f} s")
            self.machine.restart(down_s=down_s)

    def end_engine(self) -> None:
        """Its process ends, and its containers live on, until `heal_engine`."""
        if self.on:
            self._harm(f"the engine of {self.name} ends, and not its containers")
            self.machine.down()

    def hang_engine(self) -> None:
        if self.on:
            self._harm(f"the engine of {self.name} hangs")
            self.machine.hang()

    def heal_engine(self) -> None:
        """The end of a hang, or another start."""
        if self.on:
            self._harm(f"the engine of {self.name} answers")
            self.machine.heal()

    def slow_engine(self, factor: float) -> None:
        self._harm(f"the engine of {self.name} takes {factor:.0f} times as long")
        self.machine.slow(factor)

    def fail_next_start(self) -> None:
        self._harm(f"the next start on {self.name} will fail")
        self.machine.fail_next_start("the engine has a bad day")

    def occupy(self, port: int) -> None:
        self._harm(f"another program on {self.name} takes port {port}")
        self.machine.occupy(port)

    def release(self, port: int) -> None:
        self._harm(f"port {port} of {self.name} is free of other programs")
        self.machine.release(port)

    # -- its containers

    def exit(self, box: Box, code: int, *, oom: bool = False) -> None:
        self._around.tell(Voice.FAULT, f"the container of {box.order.task} on {self.name} ends with {code}")
        self.machine.kill(box.id, code, oom=oom)

    def vanish(self, box: Box) -> None:
        self._around.tell(Voice.FAULT, f"somebody removes the container of {box.order.task} on {self.name}")
        self.taken.add(box.order.fingerprint)
        self.machine.vanish(box.id)

    def ail(self, box: Box, words: str) -> None:
        self._around.tell(Voice.FAULT, f"the container of {box.order.task} on {self.name} answers {words or 'nothing'}")
        self.ailed.add(box.id)
        self.machine.ail(box.id, words)

    def recover(self, box: Box) -> None:
        if box.ailing is not None:
            self._around.tell(Voice.FAULT, f"the container of {box.order.task} on {self.name} answers again")
            box.recover()

    # -- the worker's process

    async def _work(self) -> None:
        def remember(identity: Identity) -> None:
            self.identity = identity

        engine = _Engine(self, self._around)
        worker = Worker(
            engine,
            self.clock,
            identity=self.identity,
            address="127.0.0.1",
            labels=self.labels,
            pids=PIDS,
            starts=asyncio.Semaphore(STARTS_AT_ONCE),
            remember=remember,
            figures=_no_figures,
            prober=CommandProber(engine, FakeProber(self.machine), at_once=COMMANDS_AT_ONCE),
            guard=self.guard,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name=f"runner {self.name}")
            group.create_task(self._dial(worker), name=f"dial {self.name}")

    async def _dial(self, worker: Worker) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            await self.freezer.moved()
            try:
                self.link = self._around.connect(self)
                wait_s = RETRY_FIRST_S  # as of a session that lasted: here nobody is in the way of one that does not
                await worker.serve(FrozenChannel(self.link.worker, self.freezer))
            except Unavailable:
                self.parted_at = self._around.clock.monotonic()
                await asyncio.sleep(wait_s)
                wait_s = next_wait_s(worker, wait_s)


class _Engine(LyingEngine):
    """Lets a witness see what is asked of it, and asks nothing while its process is frozen."""

    def __init__(self, site: Site, around: Surroundings) -> None:
        super().__init__(site.machine, site.lies)
        self._site = site
        self._around = around

    async def _ask(self, begin: Callable[[], "asyncio.Future[T | Failure]"], limit_s: float = ANSWER_LIMIT_S) -> T:
        await self._site.freezer.moved()
        return await self._site.freezer.held(super()._ask(begin, limit_s))

    async def create(self, order: ContainerOrder) -> Container:
        self._around.asked(self._site, "create", order.task, order.fingerprint, None)
        return await super().create(order)

    async def start(self, id: str) -> None:
        self._see("start", id)
        await super().start(id)

    async def stop(self, id: str, grace_s: float) -> None:
        self._see("stop", id)
        await super().stop(id, grace_s)

    async def remove(self, id: str) -> None:
        self._see("remove", id)
        await super().remove(id)

    def _see(self, verb: str, id: str) -> None:
        box = self.machine.boxes.get(id)
        if box is not None:
            self._around.asked(self._site, verb, box.order.task, box.order.fingerprint, box)


async def _no_figures(container_ids: tuple[str, ...]) -> NodeStats:
    return NodeStats(containers=len(container_ids))
