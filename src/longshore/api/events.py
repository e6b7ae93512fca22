"""The story of the cluster: a page of it, or all that happens from a mark on, as server-sent events.

Knows the store's log and the marks in it. Here every event counts, so a stream that cannot go on without a gap ends,
and its reader is told so (410) when it comes again.
"""

import math
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Annotated

import msgspec
from aiohttp import web

from longshore.api.pages import LIMIT, Limit
from longshore.api.routes import Ask, route
from longshore.api.streams import gathered, pour
from longshore.api.watching import EVENT_STREAM, KEEP_ALIVE
from longshore.api.wire import answer, encode
from longshore.decide.why import told
from longshore.model.changes import Event
from longshore.model.errors import Compacted, Failure, Invalid
from longshore.model.objects import Kind
from longshore.model.views import EventView, Page
from longshore.ports import Store

MARK = r"^[0-9]{1,15}(\.[0-9]{1,3})?$"

Mark = tuple[int, float]
"""A place in the log: revision and position. Without a position, behind the whole revision."""


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Kind | None = None
    name: str | None = None
    service: str | None = None
    limit: Limit = LIMIT
    after: Annotated[str, msgspec.Meta(pattern=MARK, description="Id of an event, or a revision.")] | None = None
    watch: bool = False


@route("GET", "/v1/events", "List or watch events", {200: Page[EventView]}, refuses=(410,), streams=EventView)
async def list_events(ask: Ask[EventsQuery, None]) -> web.StreamResponse:
    query, store = ask.query, ask.deps.store
    after = _mark(query.after) if query.after is not None else None
    if query.watch or EVENT_STREAM in ask.request.headers.get("Accept", ""):
        last = ask.request.headers.get("Last-Event-ID")
        after = _mark(last) if last else after
        return await pour(ask.deps.streams, ask.request, EVENT_STREAM, _pieces(ask, after))
    if query.kind is not None and query.name is not None:
        events: Iterable[Event] = store.story(query.kind, query.name)
        matching = [event for event in events if _is_after(event, after) and _matches(query, event)]
    else:
        matching = await _kept(store, after, query)
    items = tuple(told(event) for event in matching[: query.limit])
    return answer(200, Page(items=items, next=items[-1].id if len(matching) > len(items) else None))


async def _pieces(ask: Ask[EventsQuery, None], after: Mark | None) -> AsyncGenerator[bytes, None]:
    query, store = ask.query, ask.deps.store
    now = store.read().revision
    if after is None:
        # The reader learns where it is even if nothing happens: a break before the first event must leave no gap.
        after = (now, math.inf)
        yield b"retry: 1000\nid: %d\n\n" % now
    else:
        await _check_kept(store, after, now)
        yield b"retry: 1000\n\n"
    told_until = passed = after[0]
    try:
        async with aclosing(gathered(store.watch(_before(after)), ask.deps.streams, ask.request)) as bursts:
            async for burst in bursts:
                frames = b"".join(
                    b"id: %b\ndata: %b\n\n" % (event.mark.encode(), encode(told(event)))
                    for batch in burst
                    for event in batch.events
                    if _is_after(event, after) and _matches(query, event)
                )
                passed = burst[-1].revision if burst else passed
                if not frames and not burst:
                    # A reader whose filter lets little through must not fall behind the log for that.
                    frames = KEEP_ALIVE if told_until == passed else b"id: %d\n\n" % passed
                told_until = passed if frames else told_until
                yield frames
    except Failure:
        return  # its reader comes again with its last id, and then hears if that is too old


def _matches(query: EventsQuery, event: Event) -> bool:
    if query.kind is not None and event.kind is not query.kind:
        return False
    if query.name is not None and event.id != query.name:
        return False
    return query.service is None or told(event).service == query.service


def _mark(text: str) -> Mark:
    if re.fullmatch(MARK, text) is None:
        raise Invalid("this is not the id of an event", field="Last-Event-ID")
    revision, _, position = text.partition(".")
    return (int(revision), int(position) if position else math.inf)


def _is_after(event: Event, mark: Mark | None) -> bool:
    return mark is None or (event.revision, event.position) > mark


def _before(mark: Mark) -> int:
    """The revision behind which to read: the log hands out whole revisions, also the one that a mark is in."""
    return mark[0] if mark[1] == math.inf or mark[0] == 0 else mark[0] - 1


async def _check_kept(store: Store, mark: Mark, now: int) -> None:
    """Raise Compacted unless everything after `mark` can be told."""
    if mark[0] > now:
        # From before the store was restored from a backup: its owner saw a past that is not ours.
        raise Compacted(f"there is no revision {mark[0]}; the newest is {now}")
    if _before(mark) < now:
        await anext(store.watch(_before(mark)))


async def _kept(store: Store, after: Mark | None, query: EventsQuery) -> list[Event]:
    """What matches in the log after a mark, or in all of it, until it is more than was asked for. Raises Compacted
    only for a mark."""
    now = store.read().revision
    if after is not None:
        await _check_kept(store, after, now)
    first = _before(after) if after is not None else await _oldest(store, now)
    if first >= now:
        return []
    events: list[Event] = []
    async for batch in store.watch(first):
        events += (event for event in batch.events if _is_after(event, after) and _matches(query, event))
        if batch.revision >= now or len(events) > query.limit:
            break
    return events


async def _oldest(store: Store, now: int) -> int:
    """The least revision behind which the log is kept. The port has no verb for it, and a search takes no longer than
    one would: each probe is a look into memory."""
    low, high = 0, now
    while low < high:
        middle = (low + high) // 2
        try:
            await anext(store.watch(middle))
        except Compacted:
            low = middle + 1
        else:
            high = middle
    return low


ROUTES = (list_events,)
