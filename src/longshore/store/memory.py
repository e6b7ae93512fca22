"""The store that forgets: the reference for every other one, for tests and for simulated clusters.

Commits land together at the event loop's next turn, as they do in a store that writes: a caller never sees its commit
in the snapshot before it waited, so decisions taken on an old snapshot collide here too. Nothing here is durable.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from longshore.model.changes import Change, Event, Guard
from longshore.model.errors import Refused, Unavailable
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot
from longshore.ports import Clock
from longshore.store.journal import EVENTS_KEPT, Journal, Watch
from longshore.store.landing import Pending, Turn, in_turn, land, settle


class MemoryStore:
    """The port `Store` in memory. Keeps the last `events_kept` events for readers."""

    def __init__(self, clock: Clock, *, events_kept: int = EVENTS_KEPT) -> None:
        self._clock = clock
        self._world = Snapshot()
        self._journal = Journal(events_max=events_kept)
        self._waiting: list[Pending] = []
        self._closed = False

    def read(self) -> Snapshot:
        self._check_open()
        return self._world

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        return await self.commit_in_turn((changes,), guards)

    async def commit_in_turn(self, parts: Sequence[Sequence[Change]], guards: Sequence[Guard] = ()) -> int:
        self._check_open()
        loop, turn, now = asyncio.get_running_loop(), Turn(), self._clock.now()
        asked = [Pending(tuple(part), tuple(guards), now, loop.create_future(), turn) for part in parts]
        if not self._waiting:
            loop.call_soon(self._land)  # before any cancellation can come through: what waits is decided by then
        self._waiting += asked
        return await in_turn(asked)

    def watch(self, after: int) -> Watch:
        return self._journal.watch(after)

    async def compact(self, before: int) -> None:
        self._check_open()
        self._journal.compact(before)

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        self._check_open()
        return self._journal.story(kind, id)

    async def backup(self, target: Path) -> None:
        self._check_open()
        raise Refused(f"a memory store has nothing to back up to {target}: it keeps nothing beyond its process")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._land()
            self._journal.close()

    def _land(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._world, landed, failed = land(self._world, waiting)
        self._journal.append(one.batch for one in landed)
        settle(landed, failed)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")
