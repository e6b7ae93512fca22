"""Thousands of light workers in one process, over real sockets. A process of its own:

    python -m bench.fleet HOST PORT JOIN_TOKEN_FILE COUNT BEAT_S

Joins all, in batches, and prints `Joined`. Then each line on its standard input is an `Order`, answered with what was
seen since the last one (`Seen`). Beats leave at a steady pace, spread over their period; how late they leave is told
too, because a fleet that is late itself says nothing of the manager.
"""

import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from random import Random

import msgspec

from bench.frames import Socket, upgrade
from bench.light import LightWorker, Record
from bench.spread import Spread, spread
from longshore.agent.dialling import RETRY_FIRST_S, RETRY_MAX_S, own_wait_s
from longshore.channel import SESSION_PATH

DIALS_MAX = 50
"""At a time for the first time, as k3s advises for its agents. Later each dials when it would by itself."""
WELCOME_S = 60.0
TICK_S = 0.01
CHURN_TICK_S = 0.1


class Joined(msgspec.Struct, frozen=True, tag=True):
    """All are there."""

    took_s: float
    refused: int
    """Attempts that failed and were made again."""
    why: str = ""
    """What the last of them was told."""


class Order(msgspec.Struct, frozen=True):
    """What the fleet is to do from now on; it tells what it saw until now."""

    breaks_per_s: float = 0.0
    """Connections that break and come again."""
    fails_per_s: float = 0.0
    """Tasks that fail."""
    counts: str = ""
    """Answer only once as many tasks whose ids begin like this run as `until` says."""
    until: int = 0
    all: bool = False
    """Answer only once every worker has a session."""


class Seen(msgspec.Struct, frozen=True, tag=True):
    """Since the last order."""

    seconds: float
    cpu_s: float
    beats: int
    missed: int
    answered: Spread
    late: Spread
    """How long after they were due beats left."""
    durable: Spread
    broken: int
    why: str
    """What the last of those was told."""
    came_at: float
    """When a session was welcome last, by the monotonic clock."""
    received_at: dict[str, float]
    running_at: dict[str, float]


class Fleet:
    """The workers of one process."""

    def __init__(self, host: str, port: int, join_secret: str, count: int, beat_s: float) -> None:
        self._host, self._port, self._join_secret = host, port, join_secret
        self._beat_s = beat_s
        self._workers = [LightWorker(f"n{number:05}", time.monotonic, time.time) for number in range(count)]
        self._sockets: dict[str, Socket] = {}
        self._meant: set[str] = set()
        """Whose connection was broken here."""
        self._dials = asyncio.Semaphore(DIALS_MAX)
        self._group: asyncio.TaskGroup | None = None
        self._random = Random(0)
        self._order = Order()
        self._refused, self._why = 0, ""
        self._came_at = 0.0
        self._whole = asyncio.Event()
        """Whether every worker has a session."""
        self.record = Record()
        self._late: list[float] = []
        self._since, self._cpu = time.monotonic(), time.process_time()

    async def run(self) -> None:
        """Until the input ends."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            self._group = group
            beating = group.create_task(self._beat())
            async with asyncio.TaskGroup() as joining:
                for worker in self._workers:
                    joining.create_task(self._join(worker))
            _print(Joined(time.monotonic() - began, self._refused, self._why))
            churning = group.create_task(self._churn())
            await self._obey()
            self._group = None
            beating.cancel()
            churning.cancel()
            for socket in self._sockets.values():
                socket.abort()

    async def _join(self, worker: LightWorker) -> None:
        """The first session."""
        async with self._dials:
            await self._connect(worker)

    async def _connect(self, worker: LightWorker) -> None:
        """Dial until the worker is welcome, with a worker's own waits."""
        wait_s = RETRY_FIRST_S
        while not await self._knock(worker):
            self._refused += 1
            await asyncio.sleep(own_wait_s(worker.name, wait_s))
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    async def _knock(self, worker: LightWorker) -> bool:
        loop = asyncio.get_running_loop()
        welcome: asyncio.Future[bool] = loop.create_future()

        def settle(value: bool) -> None:
            if not welcome.done():
                welcome.set_result(value)

        def opened() -> None:
            worker.send = socket.send
            socket.send(worker.hello())

        def ended(why: str) -> None:
            if self._sockets.get(worker.name) is socket:
                del self._sockets[worker.name]
                self._whole.clear()
                worker.send = None
                self._lost(worker, why)
            else:
                self._why = worker.refusal or why
                settle(False)

        secret = worker.secret if worker.joined else self._join_secret
        ask = upgrade(self._host, self._port, SESSION_PATH, secret)
        socket = Socket(ask, opened, lambda payload: worker.hear(payload, self.record), ended)
        worker.welcomed = lambda: settle(True)
        try:
            async with asyncio.timeout(WELCOME_S):
                await loop.create_connection(lambda: socket, self._host, self._port)
                welcomed = await welcome
        except (OSError, TimeoutError) as failure:
            self._why = str(failure) or "no welcome in time"
            welcomed = False
        if welcomed:
            self._sockets[worker.name] = socket
            self._came_at = time.monotonic()
            if len(self._sockets) == len(self._workers):
                self._whole.set()
        else:
            worker.send = None
            socket.abort()
        return welcomed

    def _lost(self, worker: LightWorker, why: str) -> None:
        if worker.name in self._meant:
            self._meant.discard(worker.name)
        elif self._group is not None:
            self.record.broken.append(worker.refusal or why)
        if self._group is not None:
            self._group.create_task(self._connect(worker))

    async def _beat(self) -> None:
        """Each worker in turn, at its own moment of the period."""
        began, count = time.monotonic(), len(self._workers)
        due = deque((began + self._beat_s * at / count, worker) for at, worker in enumerate(self._workers))
        while True:
            now = time.monotonic()
            while due[0][0] <= now:
                at, worker = due.popleft()
                if worker.send is not None:
                    self._late.append(now - at)
                    worker.beat(self.record)
                due.append((at + self._beat_s, worker))
            await asyncio.sleep(TICK_S)

    async def _churn(self) -> None:
        """Break connections and have tasks fail, as many as the order of the moment says."""
        breaks = fails = 0.0
        while True:
            await asyncio.sleep(CHURN_TICK_S)
            breaks += self._order.breaks_per_s * CHURN_TICK_S
            fails += self._order.fails_per_s * CHURN_TICK_S
            while breaks >= 1.0:
                breaks -= 1.0
                worker = self._random.choice(self._workers)
                socket = self._sockets.get(worker.name)
                if socket is not None:
                    self._meant.add(worker.name)
                    socket.abort()
            while fails >= 1.0:
                fails -= 1.0
                any(self._random.choice(self._workers).fail() for _ in range(100))

    async def _obey(self) -> None:
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            self._order = msgspec.json.decode(line, type=Order)
            if self._order.until:
                await self.record.until(self._order.counts, self._order.until).wait()
            if self._order.all:
                await self._whole.wait()
            _print(self._seen())

    def _seen(self) -> Seen:
        record, self.record = self.record, Record()
        late, self._late = self._late, []
        now, cpu = time.monotonic(), time.process_time()
        since, self._since = self._since, now
        cpu_before, self._cpu = self._cpu, cpu
        return Seen(
            seconds=now - since,
            cpu_s=cpu - cpu_before,
            beats=record.beats,
            missed=record.missed,
            answered=spread(record.answered_s),
            late=spread(late),
            durable=spread(record.durable_s),
            broken=len(record.broken),
            why=record.broken[-1] if record.broken else "",
            came_at=self._came_at,
            received_at=record.received_at,
            running_at=record.running_at,
        )


def _print(answer: Joined | Seen) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    host, port, token_file, count, beat_s = sys.argv[1:]
    secret = Path(token_file).read_text().strip()
    asyncio.run(Fleet(host, int(port), secret, int(count), float(beat_s)).run())


if __name__ == "__main__":
    main()
