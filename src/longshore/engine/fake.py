"""An engine in memory behind the `Engine` port: for tests, for `longshore simulate`, and for a try without Docker.

Knows the port and asks a `FakeMachine`, which holds the containers and has the faults. It keeps the real engine's
promises, its delays and its time limits, which one contract suite holds for both; what commands do inside a container
is in `fake_programs`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeVar

import msgspec

from longshore.engine.fake_containers import Feed
from longshore.engine.fake_machine import FakeMachine, Mood, Speeds
from longshore.engine.limits import ANSWER_LIMIT_S, PULL_SILENCE_S, STOP_LIMIT_S, WORK_LIMIT_S
from longshore.model.containers import Container, ContainerOrder, LogLine, Ran, Status, Target
from longshore.model.errors import Failure, NotFound, Refused, Unavailable
from longshore.model.objects import Capacity, EngineFacts
from longshore.model.spec import Pull

__all__ = ["FakeEngine", "FakeMachine", "FakeProber", "Mood", "Speeds"]

PROBE_S = 0.001

T = TypeVar("T")


class FakeEngine:
    """One client of a machine. Several may ask the same machine; it and its containers outlive them."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self._closed = False
        self._open: set[Feed[str] | Feed[LogLine]] = set()

    async def describe(self) -> tuple[EngineFacts, Capacity]:
        machine = self.machine
        facts = EngineFacts(
            id=machine.id,
            name=machine.name,
            version="fake",
            os="fake",
            platform="linux",
            architecture=machine.architecture,
        )
        await self._ask(lambda: machine.answer(lambda: None))
        return facts, Capacity(cpu=machine.cores, memory=machine.memory, disk=machine.disk)

    async def ping(self) -> None:
        await self._ask(lambda: self.machine.answer(lambda: None))

    async def containers(self, cluster: str, node: str) -> Sequence[Container]:
        boxes = self.machine.boxes
        return await self._ask(
            lambda: self.machine.answer(
                lambda: [box.seen() for box in boxes.values() if (box.order.cluster, box.order.node) == (cluster, node)]
            )
        )

    async def container(self, id: str) -> Container | None:
        boxes = self.machine.boxes
        return await self._ask(lambda: self.machine.answer(lambda: boxes[id].seen() if id in boxes else None))

    async def inspect(self, id: str) -> bytes | None:
        seen = await self.container(id)
        if seen is None:
            return None
        words = {"Id": seen.id, "State": {"Status": seen.status, "Running": seen.status is Status.RUNNING}}
        return msgspec.json.encode(words)

    async def prepare(self, image: str, pull: Pull) -> None:
        there = await self._ask(lambda: self.machine.answer(lambda: image in self.machine.images))
        if there and pull is not Pull.ALWAYS:
            return
        if pull is Pull.NEVER:
            raise Refused(f"No such image: {image}")
        await self._ask(lambda: self.machine.pull(image), limit_s=PULL_SILENCE_S)

    async def create(self, order: ContainerOrder) -> Container:
        return await self._ask(lambda: self.machine.create(order), limit_s=WORK_LIMIT_S)

    async def start(self, id: str) -> None:
        await self._ask(lambda: self.machine.start(id), limit_s=WORK_LIMIT_S)

    async def stop(self, id: str, grace_s: float) -> None:
        await self._ask(lambda: self.machine.stop(id, grace_s), limit_s=grace_s + STOP_LIMIT_S)

    async def remove(self, id: str) -> None:
        await self._ask(lambda: self.machine.remove(id), limit_s=WORK_LIMIT_S)

    async def events(self, cluster: str, node: str) -> AsyncGenerator[str, None]:
        await self.ping()
        feed = self.machine.listen(cluster, node)
        self._open.add(feed)
        try:
            async for id in feed.read():
                yield id
        finally:
            self._open.discard(feed)
            self.machine.unlisten(feed)

    async def exec(self, id: str, command: Sequence[str], timeout_s: float) -> Ran:
        begun = await self._ask(lambda: self.machine.exec(id, tuple(command)))
        await asyncio.wait([begun], timeout=timeout_s)
        return await self._ask(lambda: self.machine.answer(lambda: begun.result() if begun.done() else Ran(None, "")))

    async def logs(
        self, id: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncGenerator[LogLine, None]:
        await self.ping()
        box = self.machine.boxes.get(id)
        if box is None:
            raise NotFound(f"No such container: {id}")
        written = [line for line in box.lines if since is None or line.at > since]
        feed: Feed[LogLine] = Feed()
        for line in written if tail is None else written[max(len(written) - tail, 0) :]:
            feed.put(line)
        if follow and box.running:
            box.followers.append(feed)
            self._open.add(feed)
        else:
            feed.end()
        try:
            async for line in feed.read():
                await self.machine.reach()
                yield line
        finally:
            self._open.discard(feed)
            if feed in box.followers:
                box.followers.remove(feed)

    async def usage(self, ids: Sequence[str]) -> tuple[float, int]:
        machine = self.machine
        figures = [machine.boxes[id].used() for id in ids if id in machine.boxes]
        return sum(cpu_s for cpu_s, _ in figures), sum(memory for _, memory in figures)

    async def close(self) -> None:
        self._closed = True
        for feed in list(self._open):
            feed.end(Unavailable("the client is closed"))

    async def _ask(self, begin: Callable[[], "asyncio.Future[T | Failure]"], limit_s: float = ANSWER_LIMIT_S) -> T:
        """Reach the engine, let it begin, and wait for the outcome and its way back, all within the limit."""
        if self._closed:
            raise Unavailable("the client is closed")
        until = asyncio.get_running_loop().time() + limit_s
        await self._reach(until)
        future = begin()
        if not future.done():
            await _over(future, until)
        if not future.done():
            raise self._silence()
        await self._reach(until)
        outcome = future.result()
        if isinstance(outcome, Failure):
            raise type(outcome)(outcome.message)
        return outcome

    async def _reach(self, until: float) -> None:
        if self.machine.mood is not Mood.HUNG:
            await self.machine.reach()
            return
        try:
            async with asyncio.timeout_at(until):
                await self.machine.reach()
        except TimeoutError as error:
            raise self._silence() from error

    def _silence(self) -> Unavailable:
        return Unavailable(f"the engine of {self.machine.name} does not answer: no answer in time")


async def _over(future: "asyncio.Future[T]", until: float) -> None:
    """Wait for it, and leave it alone when it is given up, at `until` or with the asker. It is what asyncio.wait does
    for any number of them, which costs several times as much; and worlds ask their engines most of the time."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_at(until, wake)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        future.remove_done_callback(wake)


class FakeProber:
    """The `Prober` port to a fake machine's containers. Each that runs answers, unless it ails or is asked for a path
    with `missing` in it; the engine need not."""

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    async def probe(self, target: Target) -> None:
        await asyncio.sleep(PROBE_S)
        box = self._machine.boxes.get(target.container.id)
        if box is None or not box.running:
            raise Unavailable(f"connect to {target.container.address}: refused")
        if box.ailing == "":
            await asyncio.Event().wait()  # until the asker gives up
        if box.ailing is not None:
            raise Unavailable(box.ailing)
        if target.probe.http is not None and "missing" in target.probe.http.path:
            raise Unavailable(f"GET {target.probe.http.path}: 404 Not Found")

    async def close(self) -> None:
        """Nothing is kept open."""
