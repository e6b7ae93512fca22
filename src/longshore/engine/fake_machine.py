"""A machine with a container engine, in memory: its containers, its clockwork, and its faults.

Knows what an engine does with containers; must not know who asks, so that it outlives every client, as a real engine
outlives a worker. Whatever was begun goes on although the asker is gone. The same seed and the same calls give the
same story: all chance is the `rng`'s, and delays are asyncio's, so that a loop with virtual time moves them.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from enum import Enum, auto
from functools import partial
from typing import Generic, TypeVar

import msgspec

from longshore.engine.fake_programs import FOR_EVER, Program, program_of
from longshore.engine.limits import ANSWER_LIMIT_S, EVENTS_SILENCE_S
from longshore.model.containers import Container, ContainerOrder, Health, LogLine, Status
from longshore.model.errors import Failure, NotFound, PortTaken, Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import MountKind, Protocol
from longshore.ports import Clock

T = TypeVar("T")
Span = tuple[float, float]
"""A duration is drawn evenly from between these."""

KILLED = 137
FEED_MAX = 256
ANYWHERE = "0.0.0.0"  # noqa: S104


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that the engine takes. The defaults are a small real machine's."""

    answer: Span = (0.0005, 0.002)
    create: Span = (0.005, 0.02)
    start: Span = (0.1, 0.4)
    stop: Span = (0.02, 0.1)
    """From the stop signal to the exit of a program that obeys it."""
    remove: Span = (0.01, 0.06)
    pull: Span = (0.5, 3.0)


class Mood(Enum):
    UP = auto()
    DOWN = auto()
    """Refuses connections."""
    HUNG = auto()
    """Takes connections and does not answer."""


class Feed(Generic[T]):
    """One reader's part of a stream. A reader that is too slow gets `missed` instead of what it did not read."""

    def __init__(self, missed: T | None = None) -> None:
        self._items: deque[T] = deque()
        self._missed = missed
        self._news = asyncio.Event()
        self._over = False
        self._failure: Failure | None = None

    def put(self, item: T) -> None:
        if self._missed is not None and len(self._items) >= FEED_MAX:
            self._items.clear()
            item = self._missed
        self._items.append(item)
        self._news.set()

    def end(self, failure: Failure | None = None) -> None:
        if not self._over:
            self._over, self._failure = True, failure
            self._news.set()

    async def read(self) -> AsyncIterator[T]:
        while True:
            while self._items:
                yield self._items.popleft()
            if self._over:
                if self._failure is not None:
                    raise self._failure
                return
            self._news.clear()
            await self._news.wait()


class Box:
    """One container, as the machine knows it."""

    def __init__(self, id: str, order: ContainerOrder) -> None:
        self.id = id
        self.order = order
        self.status = Status.CREATED
        self.health = Health.NONE
        self.health_output = ""
        self.exit_code: int | None = None
        self.oom_killed = False
        self.error = ""
        self.program = program_of((*(order.spec.entrypoint or ()), *(order.spec.command or ())))
        self.load = 0.0
        """How much of its reservation it uses."""
        self.started_at = 0.0
        """By the monotonic clock."""
        self.cpu_s = 0.0
        """Of its earlier runs."""
        self.lines: list[LogLine] = []
        self.timers: list[asyncio.TimerHandle] = []
        self.exits: list[asyncio.Future[None]] = []
        """Who waits for it to exit."""
        self.followers: list[Feed[LogLine]] = []

    def seen(self) -> Container:
        running = self.status is Status.RUNNING
        return Container(
            id=self.id,
            task=self.order.task,
            fingerprint=self.order.fingerprint,
            status=self.status,
            health=self.health if running else Health.NONE,
            health_output=self.health_output if running else "",
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            error=self.error,
        )


class FakeMachine:
    """The machine. Clients (`fake.FakeEngine`) ask it; tests and the simulator also use its faults, below."""

    def __init__(
        self,
        rng: random.Random,
        clock: Clock,
        *,
        name: str = "fake",
        cores: float = 4.0,
        memory: int = 8 << 30,
        disk: int = 100 << 30,
        images: Iterable[str] = ("longshore/demo:1", "longshore/demo:2"),
        accept_any: bool = True,
        speeds: Speeds | None = None,
    ) -> None:
        """`images` are there from the start. With `accept_any` every other one can be pulled, unless `missing` is in
        its name; without, none can."""
        self.name = name
        self.id = f"{name}-{rng.getrandbits(32):08x}"
        self.cores, self.memory, self.disk = cores, memory, disk
        self.images = set(images)
        self.boxes: dict[str, Box] = {}
        self.mood = Mood.UP
        self._rng = rng
        self._clock = clock
        self._accept_any = accept_any
        self._speeds = speeds or Speeds()
        self._slowness = 1.0
        self._start_fails: list[str] = []
        self._occupied: set[tuple[int, Protocol, str]] = set()
        self._jobs: dict[asyncio.TimerHandle, Callable[[bool], None]] = {}
        """What the engine is doing: by timer, how to end it, done or not."""
        self._frozen: list[Callable[[], None]] = []
        """What it will do as soon as it moves again."""
        self._moves = asyncio.Event()
        self._moves.set()
        self._pulls: dict[str, asyncio.Future[None | Failure]] = {}
        self._feeds: dict[Feed[str], tuple[str, str]] = {}

    # Faults: what happens to a machine without anybody asking its engine.

    def kill(self, id: str, exit_code: int = KILLED, *, oom: bool = False) -> None:
        """A container's process ends."""
        self._exit(self.boxes[id], exit_code, oom=oom)

    def vanish(self, id: str) -> None:
        """Somebody removes a container by hand."""
        self._destroy(self.boxes[id])

    def sicken(self, id: str, output: str = "") -> None:
        """A container's health check begins to fail."""
        self._set_health(self.boxes[id], Health.UNHEALTHY, output)

    def cure(self, id: str) -> None:
        self._set_health(self.boxes[id], Health.HEALTHY, "")

    def fail_next_start(self, words: str) -> None:
        self._start_fails.append(words)

    def occupy(self, port: int, protocol: Protocol = Protocol.TCP, ip: str = ANYWHERE) -> None:
        """Another program takes a port of the machine."""
        self._occupied.add((port, protocol, ip))

    def release(self, port: int, protocol: Protocol = Protocol.TCP, ip: str = ANYWHERE) -> None:
        self._occupied.discard((port, protocol, ip))

    def slow(self, factor: float) -> None:
        """From now on everything takes so many times as long."""
        self._slowness = factor

    def restart(self, down_s: float = 1.0) -> None:
        """The engine is restarted: all that runs is killed, and nobody is answered meanwhile."""
        for box in list(self.boxes.values()):
            if box.status is Status.RUNNING:
                self._exit(box, KILLED)
        self.down()
        asyncio.get_running_loop().call_later(down_s, self.heal)

    def down(self) -> None:
        """The engine's process dies and its containers live. What it was doing is done or not, as chance has it."""
        self.mood = Mood.DOWN
        for timer, end in list(self._jobs.items()):
            timer.cancel()
            end(self._rng.random() < 0.5)
        self._jobs.clear()
        self._frozen.clear()
        self._moves.set()
        self._break_streams()

    def hang(self) -> None:
        """The engine takes requests and does not move. Readers of its streams notice as late as real ones."""
        self.mood = Mood.HUNG
        self._moves.clear()
        noticed_s = EVENTS_SILENCE_S + ANSWER_LIMIT_S
        asyncio.get_running_loop().call_later(noticed_s, self._break_if_hung_since, self._moves)

    def heal(self) -> None:
        """The end of `down` or `hang`."""
        self.mood = Mood.UP
        self._moves.set()
        self._moves = asyncio.Event()
        self._moves.set()
        frozen, self._frozen = self._frozen, []
        for act in frozen:
            act()

    def of_task(self, task: str) -> list[str]:
        """Ids of the containers of a task, oldest first."""
        return [box.id for box in self.boxes.values() if box.order.task == task]

    # What clients ask for.

    async def reach(self) -> None:
        """Come through to the engine, or back from it. Raises Unavailable."""
        while self.mood is Mood.HUNG:
            await self._moves.wait()
        if self.mood is Mood.DOWN:
            raise Unavailable(f"the engine of {self.name} refuses connections")

    def work(self, span: Span, effect: Callable[[], T]) -> asyncio.Future[T | Failure]:
        """Begin something that takes time. It is done then, whether or not the asker still waits."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | Failure] = loop.create_future()

        def end(done: bool) -> None:
            outcome: T | Failure
            try:
                outcome = effect() if done else Unavailable(f"the engine of {self.name} died")
            except Failure as failure:
                outcome = failure
            if not future.done():
                future.set_result(outcome if self.mood is not Mood.DOWN else Unavailable("the answer was lost"))

        def due() -> None:
            self._jobs.pop(timer, None)
            if self.mood is Mood.HUNG:
                self._frozen.append(partial(end, True))
            else:
                end(True)

        timer = loop.call_later(self._draw(span), due)
        self._jobs[timer] = end
        return future

    def answer(self, effect: Callable[[], T]) -> asyncio.Future[T | Failure]:
        return self.work(self._speeds.answer, effect)

    def pull(self, image: str) -> asyncio.Future[None | Failure]:
        """Pull it, or join the pull of it that is under way."""
        if image not in self._pulls:
            self._pulls[image] = self.work(self._speeds.pull, partial(self._pulled, image))
            self._pulls[image].add_done_callback(lambda _: self._pulls.pop(image, None))
        return self._pulls[image]

    def create(self, order: ContainerOrder) -> asyncio.Future[str | Failure]:
        return self.work(self._speeds.create, partial(self._create, order))

    def start(self, id: str) -> asyncio.Future[None | Failure]:
        return self.work(self._speeds.start, partial(self._start, id))

    def remove(self, id: str) -> asyncio.Future[None | Failure]:
        return self.work(self._speeds.remove, lambda: self._destroy(self.boxes[id]) if id in self.boxes else None)

    def stop(self, id: str, grace_s: float) -> asyncio.Future[asyncio.Future[None] | Failure]:
        """The outcome is what resolves once the container has exited."""
        return self.answer(partial(self._stop, id, grace_s))

    def listen(self, cluster: str, node: str) -> Feed[str]:
        feed: Feed[str] = Feed(missed="")
        feed.put("")
        self._feeds[feed] = (cluster, node)
        return feed

    def unlisten(self, feed: Feed[str]) -> None:
        self._feeds.pop(feed, None)

    def used(self, box: Box) -> tuple[float, int]:
        if box.status is not Status.RUNNING:
            return 0.0, 0
        reserved = box.order.spec.resources
        ran_s = self._clock.monotonic() - box.started_at
        return box.cpu_s + ran_s * (reserved.cpu or 0.01) * box.load, int((reserved.memory or 16 << 20) * box.load)

    # What happens inside.

    def _draw(self, span: Span) -> float:
        return self._rng.uniform(*span) * self._slowness

    def _pulled(self, image: str) -> None:
        if not self._accept_any or "missing" in image:
            raise Refused(f"pull access denied for {image}, repository does not exist")
        self.images.add(image)

    def _create(self, order: ContainerOrder) -> str:
        holder = next((box for box in self.boxes.values() if box.order.name == order.name), None)
        if holder is not None:
            if holder.order.fingerprint == order.fingerprint:
                return holder.id
            raise Refused(f'Conflict. The container name "/{order.name}" is already in use by container "{holder.id}"')
        if order.spec.image not in self.images:
            raise Refused(f"No such image: {order.spec.image}")
        for mount in order.spec.mounts:
            if mount.kind is MountKind.BIND and "missing" in mount.source:
                raise Refused(f"bind source path does not exist: {mount.source}")
        box = Box(f"{self._rng.getrandbits(256):064x}", order)
        self.boxes[box.id] = box
        self._tell(box)
        return box.id

    def _start(self, id: str) -> None:
        box = self._box(id)
        if box.status is Status.RUNNING:
            return
        box.error = ""
        try:
            self._check_start(box)
        except Refused as refused:
            box.error = refused.message
            raise
        box.status, box.exit_code, box.oom_killed = Status.RUNNING, None, False
        box.started_at, box.load = self._clock.monotonic(), self._rng.uniform(0.2, 0.8)
        self._run(box, box.program)
        self._tell(box)

    def _check_start(self, box: Box) -> None:
        if self._start_fails:
            raise Refused(self._start_fails.pop(0))
        if box.program.missing:
            raise Refused(f'exec: "{box.program.missing}": executable file not found in $PATH')
        taken = set(self._occupied)
        for other in self.boxes.values():
            if other.status is Status.RUNNING:
                taken |= {(port.host, port.protocol, port.ip) for port in other.order.ports}
        for port in box.order.ports:
            if any(_same_port(port, one) for one in taken):
                raise PortTaken(f"{port.ip}:{port.host} is taken: port is already allocated")

    def _run(self, box: Box, program: Program) -> None:
        later = asyncio.get_running_loop().call_later
        box.timers = [later(at, self._write, box, stream, text) for at, stream, text in program.lines]
        if program.ends_after_s < FOR_EVER:
            box.timers.append(later(program.ends_after_s, self._exit, box, program.exit_code))
        check = box.order.spec.health
        box.health, box.health_output = Health.NONE, ""
        if check is None or check.test[0] == "NONE":
            return
        box.health = Health.STARTING
        probe = program_of(("sh", "-c", check.test[1]) if check.test[0] == "CMD-SHELL" else check.test[1:])
        if probe.missing or (probe.ends_after_s < FOR_EVER and probe.exit_code):
            health, after_s = Health.UNHEALTHY, check.start_period_s + check.interval_s * check.retries
        else:
            health, after_s = Health.HEALTHY, check.interval_s
        output = "\n".join(text for _, _, text in probe.lines) if health is Health.UNHEALTHY else ""
        box.timers.append(later(after_s, self._set_health, box, health, output))

    def _stop(self, id: str, grace_s: float) -> asyncio.Future[None]:
        exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        box = self.boxes.get(id)
        if box is None or box.status is not Status.RUNNING:
            exited.set_result(None)
            return exited
        box.exits.append(exited)
        signal = (box.order.spec.stop_signal or "TERM").removeprefix("SIG")
        code = KILLED if signal == "KILL" else box.program.obeys.get(signal)
        if code is not None:
            # The program's own doing, so it happens even if the engine dies meanwhile.
            exit_s = self._draw(self._speeds.stop)
            box.timers.append(asyncio.get_running_loop().call_later(exit_s, self._exit, box, code))
        self.work((grace_s, grace_s), partial(self._exit_run, box, box.started_at))
        return exited

    def _exit_run(self, box: Box, started_at: float) -> None:
        """Kill the run that began then, if it has not ended yet."""
        if box.started_at == started_at:
            self._exit(box, KILLED)

    def _exit(self, box: Box, code: int, *, oom: bool = False) -> None:
        if box.status is not Status.RUNNING:
            return
        box.cpu_s, _ = self.used(box)
        box.status, box.exit_code, box.oom_killed = Status.EXITED, code, oom
        for timer in box.timers:
            timer.cancel()
        for feed in box.followers:
            feed.end()
        for exited in box.exits:
            if not exited.done():
                exited.set_result(None)
        box.timers, box.followers, box.exits = [], [], []
        self._tell(box)

    def _destroy(self, box: Box) -> None:
        self._exit(box, KILLED)
        self.boxes.pop(box.id, None)
        self._tell(box)

    def _set_health(self, box: Box, health: Health, output: str) -> None:
        if box.status is Status.RUNNING:
            box.health, box.health_output = health, output
            self._tell(box)

    def _write(self, box: Box, stream: str, text: str) -> None:
        line = LogLine(at=self._clock.now(), stream=stream, text=text)
        box.lines.append(line)
        for feed in box.followers:
            feed.put(line)

    def _tell(self, box: Box) -> None:
        """An event, to everybody who listens for it."""
        if self.mood is Mood.HUNG:
            self._frozen.append(partial(self._tell, box))
            return
        for feed, labels in self._feeds.items():
            if labels == (box.order.cluster, box.order.node):
                feed.put(box.id)

    def _box(self, id: str) -> Box:
        if id not in self.boxes:
            raise NotFound(f"No such container: {id}")
        return self.boxes[id]

    def _break_streams(self) -> None:
        broken = Unavailable(f"the engine of {self.name} broke its stream")
        for feed in self._feeds:
            feed.end(broken)
        for box in self.boxes.values():
            for follower in box.followers:
                follower.end(broken)
            box.followers = []
        self._feeds.clear()

    def _break_if_hung_since(self, moves: asyncio.Event) -> None:
        if self.mood is Mood.HUNG and moves is self._moves:
            self._break_streams()


def _same_port(port: PublishedPort, taken: tuple[int, Protocol, str]) -> bool:
    number, protocol, ip = taken
    return (port.host, port.protocol) == (number, protocol) and (port.ip == ip or ANYWHERE in (port.ip, ip))
