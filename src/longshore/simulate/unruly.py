"""A store on a bad day: commits land late, answers are late, and some of either are lost.

Between a decision and its landing others may land, which is what compare-and-swap is for; a world in which deciding
and landing were one step would not notice its absence. What was committed is never lost: that is the promise of the
real stores, which the contract suite and the kill tests hold.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from longshore.model.changes import Change, Event, Guard
from longshore.model.errors import Unavailable
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot
from longshore.store.journal import Watch
from longshore.store.memory import MemoryStore

LAND_S = (0.0, 0.05)
LOST_BEFORE = 0.01
LOST_AFTER = 0.01


class UnrulyStore:
    """A connection to a durable store that outlives it, as a database file outlives a manager."""

    def __init__(self, durable: MemoryStore, rng: random.Random, landed: Callable[[Snapshot], None]) -> None:
        """`landed` is called with the new snapshot after every commit."""
        self._durable = durable
        self._rng = rng
        self._landed = landed
        self.calm = False
        """A good day: nothing is lost any more."""

    def read(self) -> Snapshot:
        return self._durable.read()

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        await asyncio.sleep(self._rng.uniform(*LAND_S))
        if self._fails(LOST_BEFORE):
            raise Unavailable("the store does not answer; nothing landed")
        revision = await self._durable.commit(changes, guards)
        self._landed(self._durable.read())
        if self._fails(LOST_AFTER):
            raise Unavailable("the store does not answer; but it landed")
        return revision

    def _fails(self, chance: float) -> bool:
        return self._rng.random() < chance and not self.calm

    def watch(self, after: int) -> Watch:
        return self._durable.watch(after)

    async def compact(self, before: int) -> None:
        await self._durable.compact(before)

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        return self._durable.story(kind, id)

    async def backup(self, target: Path) -> None:
        await self._durable.backup(target)

    async def close(self) -> None:
        """The durable store stays open for the next manager."""
