"""`?watch=true`: a list that keeps itself current, as server-sent events.

First every item, then `ready`, then each item as it is whenever it changed. The present counts, not the history: what
changes often while a reader is busy is sent once, so a slow reader costs a set of ids and no more, and one that comes
again simply gets the list again. Knows snapshots and events; must not know how an item is made.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web

from longshore.api.routes import Ask
from longshore.api.streams import gathered, pour
from longshore.api.wire import encode
from longshore.model.changes import Event
from longshore.model.errors import Failure
from longshore.model.snapshot import Snapshot

T = TypeVar("T")

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE = b": still here\n\n"
GAP_S = 0.1
"""Between two looks at what changed; a rollout changes a service many times a second."""
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What a list shows."""

    ids: Callable[[Snapshot], Iterable[str]]
    """All that may match, in order."""
    touched: Callable[[Event], Iterable[str]]
    """The items that an event may have changed."""
    show: Callable[[Snapshot, str], T | None]
    """The item as it is; None if it is not there or does not match."""


async def watch(ask: Ask[Any, Any], watched: Watched[T]) -> web.StreamResponse:
    return await pour(ask.deps.streams, ask.request, EVENT_STREAM, _pieces(ask, watched))


async def _pieces(ask: Ask[Any, Any], watched: Watched[T]) -> AsyncGenerator[bytes, None]:
    store = ask.deps.store
    world = store.read()
    there: set[str] = set()
    """Ids that the reader was shown and believes in."""
    piece = bytearray()
    for id in watched.ids(world):
        if (item := watched.show(world, id)) is not None:
            there.add(id)
            piece += frame("item", item)
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    piece += frame("ready", {"revision": world.revision})
    yield bytes(piece)
    try:
        async with aclosing(
            gathered(store.watch(world.revision), ask.deps.streams, ask.request, gap_s=GAP_S)
        ) as bursts:
            async for burst in bursts:
                touched = dict.fromkeys(
                    id for batch in burst for event in batch.events for id in watched.touched(event)
                )
                yield _changed(watched, store.read(), touched, there) or (b"" if burst else KEEP_ALIVE)
    except Failure:
        return  # a very slow reader, or a stream that has to end: its reader comes again and gets the whole list


def _changed(watched: Watched[T], world: Snapshot, touched: Iterable[str], there: set[str]) -> bytes:
    frames = bytearray()
    for id in touched:
        item = watched.show(world, id)
        if item is not None:
            there.add(id)
            frames += frame("item", item)
        elif id in there:
            there.discard(id)
            frames += frame("gone", {"id": id})
    return bytes(frames)


def frame(event: str, value: object) -> bytes:
    """One server-sent event. JSON has no line breaks, so its data is one line."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), encode(value))
