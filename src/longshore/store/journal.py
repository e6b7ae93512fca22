"""The newest part of the log in memory: what readers follow, and the stories of single records.

Bounded by events. A reader is only a revision number, so a slow one costs nothing and holds nothing alive: when the
log has moved past it, it gets Compacted instead of a gap. Lives on the event loop; must not know how batches become
durable, only that they are when they come here.
"""

import asyncio
from collections.abc import Iterable, Sequence

from longshore.model.changes import Batch, Event
from longshore.model.errors import Compacted, Unavailable
from longshore.model.objects import Kind

EVENTS_KEPT = 10_000
"""Events in memory, for readers that resume. A reader that lags further reads the whole state again."""

STORY_EVENTS_MAX = 20
"""Events kept of each record. They outlive the log's window for as long as the record is there."""


class Journal:
    """The log after `revision`, which the store stands at when it begins."""

    def __init__(self, revision: int = 0, *, events_max: int = EVENTS_KEPT) -> None:
        # By revision, without gaps from _floor + 1 to _revision, so a reader finds its next batch at once.
        self._batches: dict[int, Batch] = {}
        self._floor = revision
        self._revision = revision
        self._events = 0
        self._events_max = events_max
        # Tuples of events alone are nothing to the garbage collector, and most stories are short.
        self._stories: dict[Kind, dict[str, tuple[Event, ...]]] = {kind: {} for kind in Kind}
        self._story_begins = 0
        self._landed = asyncio.Event()
        self._closed = False

    def append(self, batches: Iterable[Batch]) -> None:
        """Take in what has become durable, in order, and wake the readers."""
        for batch in batches:
            assert batch.revision == self._revision + 1, f"batch {batch.revision} follows {self._revision}"
            self._batches[batch.revision] = batch
            self._revision = batch.revision
            self._events += len(batch.events)
            self.remember(batch.events)
        while self._events > self._events_max and self._floor + 1 < self._revision:
            self._forget_oldest()
        self._wake()

    def remember(self, events: Iterable[Event]) -> None:
        """Add to the stories alone; a store that starts gives what is older than the window here, oldest first."""
        for event in events:
            stories = self._stories[event.kind]
            story = stories.get(event.id)
            stories[event.id] = (event,) if story is None else (*story[1 - STORY_EVENTS_MAX :], event)

    def compact(self, before: int) -> None:
        """Forget revisions less than `before`; the newest one always stays."""
        before = min(before, self._revision)
        while self._floor + 1 < before:
            self._forget_oldest()
        # Stories are cut when they are read: going through all of them here would stop the event loop.
        self._story_begins = max(self._story_begins, before)

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        story = self._stories[kind].get(id, ())
        return tuple(event for event in story if event.revision >= self._story_begins)

    def watch(self, after: int) -> "Watch":
        return Watch(self, after)

    def following(self, after: int) -> Batch | None:
        """The batch after revision `after`, None if that has not landed yet."""
        batch = self._batches.get(after + 1)
        if batch is not None:
            return batch
        if after < self._floor:
            raise Compacted(f"revisions up to {self._floor} are forgotten; what follows {after} cannot be told in full")
        if after > self._revision:
            # A mark from before the store was restored from a backup: its owner saw a past that is not ours.
            raise Compacted(f"there is no revision {after}; the newest is {self._revision}")
        if self._closed:
            raise Unavailable("the store is closed")
        return None

    async def news(self) -> None:
        """Wait until something landed or the journal was closed."""
        await self._landed.wait()

    def close(self) -> None:
        """Readers come to the end of what landed, then get Unavailable."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        # A new event each time: whoever waits on the old one is woken once, and nobody has to clear it.
        self._landed.set()
        self._landed = asyncio.Event()

    def _forget_oldest(self) -> None:
        batch = self._batches.pop(self._floor + 1)
        self._floor = batch.revision
        self._events -= len(batch.events)
        for event in batch.events:
            if event.after is None:
                stories = self._stories[event.kind]
                if stories[event.id][-1] is event:  # deleted and not made anew: its story ends with the log
                    del stories[event.id]


class Watch:
    """An endless reading of the log.

    Not an async generator: one of those ends when its reader is cancelled between two batches (a time limit, say),
    and the next read would say that the log is over. This only moves when it has handed a batch out.
    """

    __slots__ = ("_journal", "_position")

    def __init__(self, journal: Journal, after: int) -> None:
        self._journal = journal
        self._position = after

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Batch:
        while (batch := self._journal.following(self._position)) is None:
            await self._journal.news()
        self._position = batch.revision
        return batch
