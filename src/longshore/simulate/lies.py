"""An engine that does not always tell the truth: on a bad day it shows less, or something older, than there is.

What it does is what it was asked; only what it says of it is off. Which lie, and for how long, is told from outside;
all chance is the `rng`'s of this engine alone. Notes which containers it has misled anybody about.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum

from longshore.engine.fake import FakeEngine, FakeMachine
from longshore.model.containers import Container, ContainerOrder
from longshore.model.errors import Refused, Unavailable

OFTEN = 0.5
LATE_S = 5.0


class Lie(StrEnum):
    """What it does, as a story has it."""

    MISSES = "misses containers in its lists"
    OLD = "shows containers as they were before"
    LATE = "tells events late, or never"
    TWICE = "tells events twice"
    DENIES = "makes containers and says that it failed"
    SOON = "says stopped before it is so"
    OTHER = "shows another container than was asked for"


class Lies:
    """Those of one engine."""

    def __init__(self, rng: random.Random) -> None:
        self.now: Lie | None = None
        self.misled: set[str] = set()
        """Ids of containers that it once showed as they were not."""
        self._rng = rng
        self._shown: dict[str, Container] = {}

    def tells(self, lie: Lie) -> bool:
        """Whether it lies this time."""
        return self.now is lie and self._rng.random() < OFTEN

    def late_s(self) -> float:
        return self._rng.uniform(0.0, LATE_S)

    def listed(self, found: Sequence[Container]) -> Sequence[Container]:
        if found and self.tells(Lie.MISSES):
            missed = self._rng.choice(found)
            return [one for one in found if one is not missed]
        return found

    def shown(self, id: str, truth: Container | None, others: Sequence[Container]) -> Container | None:
        before = self._shown.get(id)
        if truth is not None:
            self._shown[id] = truth
        if before is not None and before != truth and self.tells(Lie.OLD):
            self.misled.add(id)
            return before
        if others and self.tells(Lie.OTHER):
            return self._rng.choice(others)
        return truth


class LyingEngine(FakeEngine):
    """One client of a machine whose engine may lie."""

    def __init__(self, machine: FakeMachine, lies: Lies) -> None:
        super().__init__(machine)
        self.lies = lies

    async def containers(self, cluster: str, node: str) -> Sequence[Container]:
        return self.lies.listed(await super().containers(cluster, node))

    async def container(self, id: str) -> Container | None:
        truth = await super().container(id)
        if self.lies.now is None:
            return truth
        return self.lies.shown(id, truth, [box.seen() for box in self.machine.boxes.values() if box.id != id])

    async def create(self, order: ContainerOrder) -> Container:
        made = await super().create(order)
        if self.lies.tells(Lie.DENIES):
            failure = Refused if self.lies.tells(Lie.DENIES) else Unavailable
            raise failure(f"the engine of {self.machine.name} says that it could not")
        return made

    async def stop(self, id: str, grace_s: float) -> None:
        if self.lies.tells(Lie.SOON):
            await self.machine.reach()
            self.machine.stop(id, grace_s)
            return
        await super().stop(id, grace_s)

    async def events(self, cluster: str, node: str) -> AsyncGenerator[str, None]:
        async for id in super().events(cluster, node):
            if id and self.lies.tells(Lie.LATE):
                if self.lies.tells(Lie.LATE):
                    continue
                await asyncio.sleep(self.lies.late_s())
            yield id
            if self.lies.tells(Lie.TWICE):
                yield id
