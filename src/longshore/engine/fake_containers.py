"""One fake container: its process, its log and its health, and the streams by which readers follow along.

Knows what happens within one container; must not know other containers, the engine's moods or its clients, which are
`fake_machine`'s. Delays are asyncio timers, so nothing here needs to be awaited or cleaned up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from longshore.engine.fake_programs import FOR_EVER, Program, program_of
from longshore.engine.limits import PROGRAMS_MAX
from longshore.model.containers import Container, ContainerOrder, Health, LogLine, Ran, Status
from longshore.model.errors import Failure, Refused
from longshore.ports import Clock

T = TypeVar("T")

KILLED = 137
NOT_FOUND = 127
POWER_LOST = 255
FEED_MAX = 256


class Feed(Generic[T]):
    """One reader's part of a stream. A reader that is too slow gets `missed`, if there is one, instead of what it did
    not read."""

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
    """One container. `tell` is called whenever something happened that an engine has an event for."""

    def __init__(self, id: str, order: ContainerOrder, clock: Clock, tell: Callable[["Box"], None]) -> None:
        self.id = id
        self.order = order
        self.status = Status.CREATED
        self.error = ""
        self.program = program_of((*(order.spec.entrypoint or ()), *(order.spec.command or ())))
        self.runs = 0
        """How often it was started."""
        self.started_at = 0.0
        """The last time, by the monotonic clock."""
        self.lines: list[LogLine] = []
        self.exits: list[asyncio.Future[Failure | None]] = []
        """Who waits for it to exit."""
        self.followers: list[Feed[LogLine]] = []
        self._clock = clock
        self._tell = tell
        self._health = Health.NONE
        self._health_output = ""
        self._exit_code: int | None = None
        self._oom_killed = False
        self.ailing: str | None = None
        """What a probe gets instead of an answer, if it gets none, and what a command in it says; empty keeps them
        waiting."""
        self._programs: list[asyncio.Future[Ran]] = []
        self._stuck: list[asyncio.Future[Ran]] = []
        """Those of them that wait for the container to answer."""
        """Those that run beside its own."""
        self._load = 0.0
        """How much of its reservation it uses."""
        self._cpu_s = 0.0
        """Of its earlier runs."""
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def running(self) -> bool:
        return self.status is Status.RUNNING

    def seen(self) -> Container:
        return Container(
            id=self.id,
            task=self.order.task,
            fingerprint=self.order.fingerprint,
            status=self.status,
            health=self._health if self.running else Health.NONE,
            health_output=self._health_output if self.running else "",
            exit_code=self._exit_code,
            oom_killed=self._oom_killed,
            error=self.error,
            address=f"10.88.{int(self.id[:2], 16)}.{int(self.id[2:4], 16)}" if self.running else "",
            gateway="10.88.0.1" if self.running else "",
        )

    def used(self) -> tuple[float, int]:
        if not self.running:
            return 0.0, 0
        reserved = self.order.spec.resources
        ran_s = self._clock.monotonic() - self.started_at
        return self._cpu_s + ran_s * (reserved.cpu or 0.01) * self._load, int(
            (reserved.memory or 16 << 20) * self._load
        )

    def run(self, load: float) -> None:
        """Start its program, which can be started."""
        self.runs += 1
        self.status, self._exit_code, self._oom_killed, self.error = Status.RUNNING, None, False, ""
        self.started_at, self._load = self._clock.monotonic(), load
        for after_s, stream, text in self.program.lines:
            self._later(after_s, self._write, stream, text)
        if self.program.ends_after_s < FOR_EVER:
            self._later(self.program.ends_after_s, self.exit, self.program.exit_code)
        self._watch_health()
        self._tell(self)

    def lie_dead(self, runs: int, code: int) -> None:
        """As it is found on a disk: it ran so often, and its last run ended with `code`."""
        self.runs = runs
        if runs:
            self.status, self._exit_code = Status.EXITED, code

    def exec(self, command: tuple[str, ...]) -> asyncio.Future[Ran]:
        """Run a program beside its own."""
        self._programs = [one for one in self._programs if not one.done()]
        if len(self._programs) >= PROGRAMS_MAX:
            raise Refused(f"{PROGRAMS_MAX} programs that were run in it before have not ended")
        program = program_of(command)
        if self.ailing is not None:
            ends_after_s = 0.0 if self.ailing else FOR_EVER
            program = Program(lines=((0.0, "stderr", self.ailing),), ends_after_s=ends_after_s, exit_code=1)
        ended: asyncio.Future[Ran] = asyncio.get_running_loop().create_future()
        output = "\n".join(text for after_s, _, text in program.lines if after_s <= program.ends_after_s)
        if program.missing:
            ended.set_result(Ran(NOT_FOUND, f'exec: "{program.missing}": executable file not found in $PATH'))
        elif program.ends_after_s < FOR_EVER:
            self._later(program.ends_after_s, self._end, ended, Ran(program.exit_code, output))
        elif self.ailing is not None:
            self._stuck.append(ended)
        self._programs.append(ended)
        return ended

    def recover(self) -> None:
        """It answers again, and what waited for that ends."""
        self.ailing = None
        for ended in self._stuck:
            self._end(ended, Ran(0, ""))
        self._stuck.clear()

    def _end(self, ended: asyncio.Future[Ran], ran: Ran) -> None:
        if not ended.done():
            ended.set_result(ran)

    def signal(self, name: str, exit_s: float) -> None:
        """Its process gets a signal, and exits so much later if that is one it obeys."""
        code = KILLED if name == "KILL" else self.program.obeys.get(name)
        if code is not None:
            self._later(exit_s, self.exit, code)

    def exit(self, code: int, oom_killed: bool = False) -> None:
        if not self.running:
            return
        self._cpu_s, _ = self.used()
        self.status, self._exit_code, self._oom_killed = Status.EXITED, code, oom_killed
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        for program in self._programs:
            self._end(program, Ran(KILLED, ""))
        self.part(None)
        self._tell(self)

    def set_health(self, health: Health, output: str) -> None:
        if self.running:
            self._health, self._health_output = health, output
            self._tell(self)

    def part(self, failure: Failure | None) -> None:
        """Let go of its readers and of those who wait for it to exit: all is said, or the failure came between."""
        for feed in self.followers:
            feed.end(failure)
        for exited in self.exits:
            if not exited.done():
                exited.set_result(failure)
        self.followers, self.exits = [], []

    def _watch_health(self) -> None:
        """The first check's verdict is the one that stays: programs do not change their minds, only faults do."""
        check = self.order.spec.health
        self._health, self._health_output = Health.NONE, ""
        if check is None or check.test[0] == "NONE":
            return
        self._health = Health.STARTING
        probe = program_of(("sh", "-c", check.test[1]) if check.test[0] == "CMD-SHELL" else check.test[1:])
        if probe.missing or (probe.ends_after_s < FOR_EVER and probe.exit_code):
            output = "\n".join(text for _, _, text in probe.lines)
            after_s = check.start_period_s + check.interval_s * check.retries
            self._later(after_s, self.set_health, Health.UNHEALTHY, output)
        else:
            self._later(check.interval_s, self.set_health, Health.HEALTHY, "")

    def _write(self, stream: str, text: str) -> None:
        line = LogLine(at=self._clock.now(), stream=stream, text=text)
        self.lines.append(line)
        for feed in self.followers:
            feed.put(line)

    def _later(self, after_s: float, act: Callable[..., None], *arguments: object) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(after_s, act, *arguments))
