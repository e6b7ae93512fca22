"""The one loop that drives every controller: look at the world, decide, commit, and say when to look again.

A controller is a row: which keys events wake, and a pure decision. Events carry no meaning here beyond "look at
this key", so a decision is right whatever was missed, doubled or reordered. What can go wrong is handled once: a
Conflict looks again at once, Unavailable backs off, Compacted looks at every key; anything else is a bug and ends the
task group, because a wrong decision must not be committed by a manager that goes on.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import structlog

from longshore.loop.queue import KeyQueue
from longshore.loop.slices import Slices
from longshore.model.changes import COMMIT_CHANGES_MAX, Change, Event, Guard
from longshore.model.errors import Compacted, Conflict, Unavailable
from longshore.model.snapshot import Snapshot
from longshore.ports import Clock, Store

Decision = tuple[list[Change], float | None]
"""What to change now, and when (by the clock) to look again at the latest."""

log = structlog.get_logger("longshore.loop")

REST_FROM_S = 0.02
"""A decision that took less is quick: it is no harm to take it again at once."""
REST_TIMES = 4
"""So many times as long as its decision took, a key rests."""
REST_MAX_S = 1.0
PARTS_AT_ONCE = 16
"""Parts of one decision that a store is given together: enough for one transaction to be worth its while, and not so
many that others wait for long."""
WORKERS = 4
"""Keys of one controller that are worked on at a time: enough for their commits to share a transaction."""


class Controller(msgspec.Struct, frozen=True):
    """One row of the table of controllers."""

    name: str
    wakes: Callable[[Sequence[Event], Snapshot], Iterable[str]]
    """Keys that the events of a commit make worth a look."""
    every: Callable[[Snapshot], Iterable[str]]
    """All keys, for the first look and after events were missed."""
    decide: Callable[[Snapshot, str, float], Decision]
    guards: Callable[[Snapshot, str], Sequence[Guard]] = lambda world, key: ()
    """Records that a decision about a key rests on: it does not land once one of them has changed."""
    rests: bool = False
    """Whether a key that took long to decide is left alone for a while, so that what happens to it meanwhile is one
    more look and not a hundred."""


class ControlLoop:
    """Runs a table of controllers over one store."""

    def __init__(self, store: Store, clock: Clock, controllers: Sequence[Controller]) -> None:
        self._store = store
        self._clock = clock
        self._controllers = tuple(controllers)
        self._queues: dict[str, KeyQueue[str]] = {row.name: KeyQueue() for row in controllers}
        self._slices = Slices()

    def wake(self, controller: str, key: str, delay_s: float = 0.0) -> None:
        """Have a controller look at a key for a reason that is not in the store."""
        self._queues[controller].add(key, delay_s)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="controllers: follow the store")
                for row in self._controllers:
                    for number in range(WORKERS):
                        group.create_task(self._work(row), name=f"controller {row.name} {number}")
        finally:
            for queue in self._queues.values():
                queue.close()

    async def _follow(self) -> None:
        """Turn events into keys. Every key is looked at first, so it does not matter what happened before."""
        while True:
            world = self._store.read()
            for row in self._controllers:
                for key in row.every(world):
                    self._queues[row.name].add(key)
            try:
                async for batch in self._store.watch(world.revision):
                    world = self._store.read()
                    for row in self._controllers:
                        for key in row.wakes(batch.events, world):
                            self._queues[row.name].add(key)
            except Compacted:
                log.warning("fell behind the store; looking at everything anew", revision=world.revision)

    async def _work(self, row: Controller) -> None:
        queue = self._queues[row.name]
        while True:
            key = await queue.get()
            took_s = 0.0
            try:
                await self._slices.place()  # or ten thousand keys of which nothing is to be changed are one long breath
                took_s = await self._look(row, queue, key)
            finally:
                queue.done(key, min(REST_TIMES * took_s, REST_MAX_S) if row.rests and took_s > REST_FROM_S else 0.0)

    async def _look(self, row: Controller, queue: KeyQueue[str], key: str) -> float:
        """Decide for a key, and commit what is decided; returns the seconds that the decision took."""
        now, began = self._clock.now(), self._clock.monotonic()
        world = self._store.read()
        changes, again = row.decide(world, key, now)
        took_s = self._clock.monotonic() - began
        guards = row.guards(world, key)
        try:
            for parts in _parts(changes):
                await self._store.commit_in_turn(parts, guards)
        except Conflict:
            queue.add(key)
            return took_s
        except Unavailable as failure:
            wait_s = queue.retry(key)
            log.warning("store unavailable", controller=row.name, key=key, reason=failure.message, retry_s=wait_s)
            return took_s
        queue.forget(key)
        if again is not None:
            queue.add(key, max(again - now, 0.001))
        return took_s


def _parts(changes: Sequence[Change]) -> Iterator[list[Sequence[Change]]]:
    """What is decided, in parts that a store takes, so many of them at a time."""
    parts = [changes[first : first + COMMIT_CHANGES_MAX] for first in range(0, len(changes), COMMIT_CHANGES_MAX)]
    for first in range(0, len(parts), PARTS_AT_ONCE):
        yield parts[first : first + PARTS_AT_ONCE]
