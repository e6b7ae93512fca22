"""A machine with a container engine, in memory: its containers, its clockwork, and its faults.

Knows what an engine does with containers; must not know who asks, so that it outlives every client, as a real engine
outlives a worker. Whatever was begun goes on although the asker is gone. The same seed and the same calls give the
same story: all chance is the `rng`'s, and delays are asyncio's, so that a loop with virtual time moves them.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import partial
from typing import TypeVar

import msgspec

from longshore.engine.fake_containers import KILLED, POWER_LOST, Box, Feed
from longshore.engine.limits import ANSWER_LIMIT_S, EVENTS_SILENCE_S
from longshore.model.containers import Container, ContainerOrder, Health, Ran
from longshore.model.errors import Failure, NotFound, PortTaken, Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import MountKind, Protocol
from longshore.ports import Clock

T = TypeVar("T")
Span = tuple[float, float]
"""A duration is drawn evenly from between these."""
Image = tuple[tuple[str, ContainerOrder, int], ...]
"""What a disk keeps of containers: id, order, and how often each was started."""
TakenPort = tuple[int, Protocol, str]

ANYWHERE = "0.0.0.0"  # noqa: S104


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that the engine takes. The defaults are a small real machine's."""

    answer: Span = (0.0005, 0.002)
    create: Span = (0.005, 0.02)
    start: Span = (0.1, 0.4)
    stop: Span = (0.02, 0.1)
    """From the stop signal to the exit of a program that obeys it."""
    exec: Span = (0.02, 0.06)
    remove: Span = (0.01, 0.06)
    pull: Span = (0.5, 3.0)


class Mood(Enum):
    UP = auto()
    DOWN = auto()
    """Refuses connections."""
    HUNG = auto()
    """Takes connections and does not answer."""


class FakeMachine:
    """The machine. Clients (`fake.FakeEngine`) ask it; tests and the simulator also use its faults."""

    def __init__(
        self,
        rng: random.Random,
        clock: Clock,
        *,
        name: str = "fake",
        cores: float = 4.0,
        memory: int = 8 << 30,
        disk: int = 100 << 30,
        architecture: str = "amd64",
        images: Iterable[str] = ("longshore/demo:1", "longshore/demo:2"),
        accept_any: bool = True,
        speeds: Speeds | None = None,
    ) -> None:
        """`images` are there from the start. With `accept_any` every other one can be pulled, unless `missing` is in
        its name; without, none can."""
        self.name = name
        self.id = f"{name}-{rng.getrandbits(32):08x}"
        self.cores, self.memory, self.disk = cores, memory, disk
        self.architecture = architecture
        self.images = set(images)
        self.boxes: dict[str, Box] = {}
        self.mood = Mood.UP
        self._rng = rng
        self._clock = clock
        self._accept_any = accept_any
        self._speeds = speeds or Speeds()
        self._slowness = 1.0
        self._start_fails: list[str] = []
        self._occupied: set[TakenPort] = set()
        self._jobs: dict[asyncio.TimerHandle, Callable[[bool], None]] = {}
        """What the engine is doing: by timer, how to end it, done or not."""
        self._frozen: list[Callable[[bool], None]] = []
        """What it will do as soon as it moves again."""
        self._moves = asyncio.Event()
        """Set once the present mood is over; then there is a new one."""
        self._pulls: dict[str, asyncio.Future[Failure | None]] = {}
        self._feeds: dict[Feed[str], tuple[str, str]] = {}

    # Faults: what happens to a machine without anybody asking its engine.

    def kill(self, id: str, exit_code: int = KILLED, *, oom: bool = False) -> None:
        """A container's process ends."""
        self.boxes[id].exit(exit_code, oom)

    def vanish(self, id: str) -> None:
        """Somebody removes a container by hand."""
        self._destroy(id)

    def sicken(self, id: str, output: str = "") -> None:
        """A container's health check begins to fail."""
        self.boxes[id].set_health(Health.UNHEALTHY, output)

    def cure(self, id: str) -> None:
        self.boxes[id].set_health(Health.HEALTHY, "")

    def ail(self, id: str, words: str = "GET /: 503 Service Unavailable") -> None:
        """A container answers its probes like this from now on; without words, not at all."""
        self.boxes[id].ailing = words

    def recover(self, id: str) -> None:
        self.boxes[id].recover()

    def fail_next_start(self, words: str) -> None:
        self._start_fails.append(words)

    def occupy(self, port: int, protocol: Protocol = Protocol.TCP, ip: str = ANYWHERE) -> None:
        """Another program takes a port of the machine."""
        self._occupied.add((port, protocol, ip))

    def release(self, port: int, protocol: Protocol = Protocol.TCP, ip: str = ANYWHERE) -> None:
        self._occupied.discard((port, protocol, ip))

    def slow(self, factor: float) -> None:
        """From now on the engine takes so many times as long for everything."""
        self._slowness = factor

    def restart(self, down_s: float = 1.0) -> None:
        """The engine is restarted: all that runs is killed, and nobody is answered meanwhile."""
        self._die(KILLED)
        asyncio.get_running_loop().call_later(down_s, self._come_back, self._moves)

    def lose_power(self) -> None:
        """The whole machine dies, containers and all, until `heal`."""
        self._die(POWER_LOST)

    def down(self) -> None:
        """The engine's process dies and its containers live. What it was doing is done or not, as chance has it."""
        self.mood = Mood.DOWN
        self._wake()
        self._break_event_streams()
        broken = self._broken()
        for box in self.boxes.values():
            box.part(broken)
        jobs, self._jobs = self._jobs, {}
        frozen, self._frozen = self._frozen, []
        for timer in jobs:
            timer.cancel()
        for end in (*jobs.values(), *frozen):
            end(self._rng.random() < 0.5)

    def hang(self) -> None:
        """The engine takes requests and does not move. Readers of its events notice as late as a real one's."""
        if self.mood is Mood.UP:
            self.mood = Mood.HUNG
            noticed_s = EVENTS_SILENCE_S + ANSWER_LIMIT_S
            asyncio.get_running_loop().call_later(noticed_s, self._be_noticed, self._moves)

    def heal(self) -> None:
        """The end of `down`, `hang` or `lose_power`."""
        self.mood = Mood.UP
        self._wake()
        frozen, self._frozen = self._frozen, []
        for end in frozen:
            end(True)

    def image(self) -> Image:
        """What the disk holds now."""
        return tuple((box.id, box.order, box.runs) for box in self.boxes.values())

    def restore(self, image: Image) -> None:
        """The disk is as it was then. The machine has no power."""
        self.boxes.clear()
        for id, order, runs in image:
            self.boxes[id] = box = Box(id, order, self._clock, self._tell)
            box.lie_dead(runs, POWER_LOST)

    def of_task(self, task: str) -> list[str]:
        """Ids of the containers of a task, oldest first."""
        return [box.id for box in self.boxes.values() if box.order.task == task]

    # What clients ask for.

    async def reach(self) -> None:
        """Come through to the engine, or back from it. Raises Unavailable."""
        while self.mood is Mood.HUNG:
            await self._moves.wait()
        if self.mood is Mood.DOWN:
            raise Unavailable(f"the engine of {self.name} does not answer: connection refused")

    def work(self, span: Span, effect: Callable[[], T], *, at_once: bool = True) -> asyncio.Future[T | Failure]:
        """Begin something that takes time. It is done then, whether or not the asker still waits. Without `at_once`
        the engine itself only waits until then, so that nothing is done if it dies before."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | Failure] = loop.create_future()

        def end(done: bool) -> None:
            outcome: T | Failure = self._broken()
            try:
                if done:
                    outcome = effect()
            except Failure as failure:
                outcome = failure
            if not future.done():
                future.set_result(outcome if self.mood is not Mood.DOWN else self._broken())

        def due() -> None:
            del self._jobs[timer]
            if self.mood is Mood.HUNG:
                self._frozen.append(end)
            else:
                end(True)

        timer = loop.call_later(self._draw(span), due)
        self._jobs[timer] = end if at_once else lambda _: end(False)
        return future

    def answer(self, effect: Callable[[], T]) -> asyncio.Future[T | Failure]:
        return self.work(self._speeds.answer, effect)

    def pull(self, image: str) -> asyncio.Future[Failure | None]:
        """Pull it, or join the pull of it that is under way."""
        if image not in self._pulls:
            self._pulls[image] = self.work(self._speeds.pull, partial(self._pulled, image))
            self._pulls[image].add_done_callback(lambda _: self._pulls.pop(image, None))
        return self._pulls[image]

    def create(self, order: ContainerOrder) -> asyncio.Future[Container | Failure]:
        return self.work(self._speeds.create, partial(self._create, order))

    def start(self, id: str) -> asyncio.Future[Failure | None]:
        return self.work(self._speeds.start, partial(self._start, id))

    def stop(self, id: str, grace_s: float) -> asyncio.Future[Failure | None]:
        """Its outcome comes once the container has exited."""
        exited: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        box = self.boxes.get(id)
        if box is None or not box.running:
            return self.answer(lambda: None)
        box.exits.append(exited)
        # Whether it obeys is the program's own doing, and the kill is the engine's, which may die before.
        box.signal((box.order.spec.stop_signal or "TERM").removeprefix("SIG"), self._draw(self._speeds.stop))
        self.work((grace_s / self._slowness,) * 2, partial(self._kill_run, box, box.runs), at_once=False)
        return exited

    def exec(self, id: str, command: tuple[str, ...]) -> "asyncio.Future[asyncio.Future[Ran] | Failure]":
        """Its outcome is what comes of the program, some time."""
        return self.work(self._speeds.exec, partial(self._exec, id, command))

    def remove(self, id: str) -> asyncio.Future[Failure | None]:
        return self.work(self._speeds.remove, partial(self._destroy, id))

    def listen(self, cluster: str, node: str) -> Feed[str]:
        feed: Feed[str] = Feed(missed="")
        feed.put("")
        self._feeds[feed] = (cluster, node)
        return feed

    def unlisten(self, feed: Feed[str]) -> None:
        self._feeds.pop(feed, None)

    # What happens inside.

    def _draw(self, span: Span) -> float:
        return self._rng.uniform(*span) * self._slowness

    def _pulled(self, image: str) -> None:
        if not self._accept_any or "missing" in image:
            raise Refused(f"pull access denied for {image}, repository does not exist")
        self.images.add(image)

    def _create(self, order: ContainerOrder) -> Container:
        holder = next((box for box in self.boxes.values() if box.order.name == order.name), None)
        if holder is not None:
            if holder.order.fingerprint == order.fingerprint:
                return holder.seen()
            raise Refused(f'Conflict. The container name "/{order.name}" is already in use by container "{holder.id}"')
        if order.spec.image not in self.images:
            raise Refused(f"No such image: {order.spec.image}")
        for mount in order.spec.mounts:
            if mount.kind is MountKind.BIND and "missing" in mount.source:
                raise Refused(f"bind source path does not exist: {mount.source}")
        box = Box(f"{self._rng.getrandbits(256):064x}", order, self._clock, self._tell)
        self.boxes[box.id] = box
        self._tell(box)
        return box.seen()

    def _start(self, id: str) -> None:
        box = self.boxes.get(id)
        if box is None:
            raise NotFound(f"No such container: {id}")
        if box.running:
            return
        try:
            self._check_start(box)
        except Refused as refused:
            box.error = refused.message
            raise
        box.run(load=self._rng.uniform(0.2, 0.8))

    def _exec(self, id: str, command: tuple[str, ...]) -> asyncio.Future[Ran]:
        box = self.boxes.get(id)
        if box is None or not box.running:
            raise NotFound(f"No such container: {id}" if box is None else f"Container {id} is not running")
        return box.exec(command)

    def _check_start(self, box: Box) -> None:
        if self._start_fails:
            raise Refused(self._start_fails.pop(0))
        if box.program.missing:
            raise Refused(f'exec: "{box.program.missing}": executable file not found in $PATH')
        taken = set(self._occupied)
        for other in self.boxes.values():
            if other.running:
                taken |= {(port.host, port.protocol, port.ip) for port in other.order.ports}
        for port in box.order.ports:
            if any(_same_port(port, one) for one in taken):
                raise PortTaken(f"{port.ip}:{port.host} is taken: port is already allocated")

    def _kill_run(self, box: Box, run: int) -> None:
        """Unless it has exited, and was even started again, meanwhile."""
        if box.runs == run:
            box.exit(KILLED)

    def _destroy(self, id: str) -> None:
        box = self.boxes.get(id)
        if box is not None:
            box.exit(KILLED)
            del self.boxes[id]
            self._tell(box)

    def _tell(self, box: Box) -> None:
        """An event, to everybody who listens for it."""
        if self.mood is Mood.HUNG:
            self._frozen.append(lambda done: self._tell(box) if done else None)
            return
        for feed, labels in self._feeds.items():
            if labels == (box.order.cluster, box.order.node):
                feed.put(box.id)

    def _broken(self) -> Unavailable:
        return Unavailable(f"the engine of {self.name} does not answer: connection lost")

    def _break_event_streams(self) -> None:
        for feed in self._feeds:
            feed.end(self._broken())
        self._feeds.clear()

    def _be_noticed(self, moves: asyncio.Event) -> None:
        if self.mood is Mood.HUNG and moves is self._moves:
            self._break_event_streams()

    def _come_back(self, moves: asyncio.Event) -> None:
        """Unless something else has happened to it meanwhile."""
        if moves is self._moves:
            self.heal()

    def _die(self, exit_code: int) -> None:
        """The engine first, or it would finish what it does and start containers on a dead machine."""
        self.down()
        for box in self.boxes.values():
            box.exit(exit_code)

    def _wake(self) -> None:
        self._moves.set()
        self._moves = asyncio.Event()


def _same_port(port: PublishedPort, taken: TakenPort) -> bool:
    number, protocol, ip = taken
    return (port.host, port.protocol) == (number, protocol) and (port.ip == ip or ANYWHERE in (port.ip, ip))
