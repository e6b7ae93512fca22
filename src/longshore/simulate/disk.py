"""A store with the pace of a good disk: what waits lands together, and takes the longer the more it is.

That is how a manager of thousands of workers lives: while one transaction is written the next one gathers, so its
readers hear of many commits at once. Without, each report of each worker would be a landing of its own, and each would
be looked at alone. Nothing is lost here, and nothing is late without need; that is `unruly`'s.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from longshore.model.changes import Change, Event, Guard
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot
from longshore.store.journal import Watch
from longshore.store.landing import GROUP_CHANGES
from longshore.store.memory import MemoryStore

SYNC_S = 0.002
CHANGE_S = 0.00002
"""What a transaction takes, and each of its changes: about what the SQLite store shows in the benchmarks."""


class Disk:
    """A connection to a store in memory, at that pace."""

    def __init__(self, durable: MemoryStore) -> None:
        self._durable = durable
        self._waiting: deque[tuple[int, asyncio.Event]] = deque()
        self._writes = False

    def read(self) -> Snapshot:
        return self._durable.read()

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        return await self.commit_in_turn((changes,), guards)

    async def commit_in_turn(self, parts: Sequence[Sequence[Change]], guards: Sequence[Guard] = ()) -> int:
        written = asyncio.Event()
        self._waiting.append((sum(map(len, parts)), written))
        if not self._writes:
            self._begin()
        await written.wait()
        return await self._durable.commit_in_turn(parts, guards)

    def watch(self, after: int) -> Watch:
        return self._durable.watch(after)

    async def compact(self, before: int) -> None:
        await self._durable.compact(before)

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        return self._durable.story(kind, id)

    async def backup(self, target: Path) -> None:
        await self._durable.backup(target)

    async def close(self) -> None:
        await self._durable.close()

    def _begin(self) -> None:
        """Write what waits, up to as much as a transaction holds."""
        group, changes = list[asyncio.Event](), 0
        while self._waiting and changes < GROUP_CHANGES:
            count, written = self._waiting.popleft()
            group.append(written)
            changes += count
        self._writes = bool(group)
        if group:
            asyncio.get_running_loop().call_later(SYNC_S + changes * CHANGE_S, self._end, group)

    def _end(self, group: list[asyncio.Event]) -> None:
        for written in group:
            written.set()
        self._begin()
