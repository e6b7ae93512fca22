"""A store on a bad day: commits land late, answers are late, and some of either are lost.

Between a decision and its landing others may land, which is what compare-and-swap is for; a world in which deciding
and landing were one step would not notice its absence. What was committed is never lost, and what was cancelled before
it landed never lands: those are promises of the real stores, which the contract suite and the kill tests hold.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from longshore.model.changes import Change, Event, Guard
from longshore.model.errors import Unavailable
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot
from longshore.store.journal import Watch
from longshore.store.memory import MemoryStore


class StoreTroubles(msgspec.Struct, frozen=True, kw_only=True):
    """How bad the day is."""

    land_s: tuple[float, float] = (0.0, 0.05)
    """From the ask until it lands, drawn evenly."""
    answer_s: tuple[float, float] = (0.0, 0.02)
    """From then until its asker knows."""
    lost_before: float = 0.01
    """Chance that it never lands."""
    lost_after: float = 0.01
    """Chance that it lands and nobody is told."""


CALM = StoreTroubles(lost_before=0.0, lost_after=0.0)
"""As ever, but nothing is lost."""
SLOW = StoreTroubles(land_s=(0.0, 1.0), answer_s=(0.0, 0.5))
SLOW_CALM = StoreTroubles(land_s=SLOW.land_s, answer_s=SLOW.answer_s, lost_before=0.0, lost_after=0.0)


class UnrulyStore:
    """A connection to a durable store that outlives it, as a database file outlives a manager."""

    def __init__(self, durable: MemoryStore, rng: random.Random, troubles: StoreTroubles) -> None:
        self._durable = durable
        self._rng = rng
        self.troubles = troubles

    def read(self) -> Snapshot:
        return self._durable.read()

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        await asyncio.sleep(self._rng.uniform(*self.troubles.land_s))
        if self._rng.random() < self.troubles.lost_before:
            raise Unavailable("the store does not answer; nothing landed")
        revision = await self._durable.commit(changes, guards)
        await asyncio.sleep(self._rng.uniform(*self.troubles.answer_s))
        if self._rng.random() < self.troubles.lost_after:
            raise Unavailable("the store does not answer; but it landed")
        return revision

    async def commit_in_turn(self, parts: Sequence[Sequence[Change]], guards: Sequence[Guard] = ()) -> int:
        """Each with troubles of its own."""
        revision = 0
        for part in parts:
            revision = await self.commit(part, guards)
        return revision

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
