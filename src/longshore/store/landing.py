"""How waiting commits become the next snapshot, one after the other, each all or nothing.

Every store lands commits through `land`, so that they refuse the same things: what `Snapshot.apply` refuses, and
records that could not be read back from JSON. Knows nothing of disks, threads or watchers.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from longshore.model.changes import Batch, Change, Event, Guard
from longshore.model.errors import Conflict, Illegal
from longshore.model.objects import TYPE_OF, Kind, Object
from longshore.model.snapshot import Snapshot

_ENCODER = msgspec.json.Encoder()
DECODER_OF: dict[Kind, msgspec.json.Decoder[Object]] = {kind: msgspec.json.Decoder(TYPE_OF[kind]) for kind in Kind}


GROUP_CHANGES = 4000
"""Changes from which on what waits is left to the next transaction: enough for the disk to be worth its while, and a
reader of the log, which is handed all of them at once, still finds every one of them kept."""


class Turn:
    """Commits that land one after the other, and none after one that did not. Changed where commits land alone."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False


class Pending(NamedTuple):
    """A commit that was asked for and is not decided yet; its caller waits for `done`."""

    changes: tuple[Change, ...]
    guards: tuple[Guard, ...]
    at: float
    done: asyncio.Future[int]
    turn: Turn | None = None

    def fails(self) -> None:
        """It does not land, so nothing does that is to land after it."""
        if self.turn is not None:
            self.turn.broken = True


class Landed(NamedTuple):
    """A commit that holds, once its store has made it durable."""

    pending: Pending
    batch: Batch
    bodies: tuple[str | None, ...]
    """Each event's record as JSON; None where it was deleted."""


class Failed(NamedTuple):
    """A commit that was refused; the others of its group are not touched."""

    pending: Pending
    failure: Exception


def land(world: Snapshot, waiting: Sequence[Pending]) -> tuple[Snapshot, list[Landed], list[Failed]]:
    """Apply each waiting commit to what the ones before it left."""
    landed: list[Landed] = []
    failed: list[Failed] = []
    for pending in waiting:
        if pending.turn is not None and pending.turn.broken:
            failed.append(Failed(pending, Conflict("what it was to land after did not land")))
            continue
        try:
            following, batch = world.apply(pending.changes, pending.guards, pending.at)
            bodies = tuple(map(_body, batch.events))
        except Exception as failure:  # noqa: BLE001  (bug or not, it is this commit's caller who must hear of it)
            pending.fails()
            failed.append(Failed(pending, failure))
        else:
            world = following
            landed.append(Landed(pending, batch, bodies))
    return world, landed, failed


async def decided(waiting: Sequence[Pending]) -> None:
    """Return once all of these have landed or never will. A cancellation comes through then, and no sooner: what it
    left behind would land on what others decide meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while undecided := [one.done for one in waiting if not one.done.done()]:
        try:
            await asyncio.wait(undecided)
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        for one in waiting:
            one.done.exception()  # seen: nobody is told
        raise cancelled


async def in_turn(waiting: Sequence[Pending]) -> int:
    """The revision of the last of these, which were asked for together; raises what the first that failed did."""
    if len(waiting) == 1:
        return await waiting[0].done
    outcomes = await asyncio.gather(*(one.done for one in waiting), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return max(outcome for outcome in outcomes if isinstance(outcome, int))


def settle(landed: Sequence[Landed], failed: Sequence[Failed]) -> None:
    """Tell the callers. Those that were cancelled meanwhile are not there to be told; their commits stand."""
    for one in landed:
        if not one.pending.done.done():
            one.pending.done.set_result(one.batch.revision)
    for refused in failed:
        if not refused.pending.done.done():
            refused.pending.done.set_exception(refused.failure)


def _body(event: Event) -> str | None:
    """The record as JSON, proven to read back as the same record.

    The proof costs about a microsecond. Without it a NaN (which becomes null) or a field of the wrong type would be
    acknowledged now and keep the store from opening at the next start.
    """
    if event.after is None:
        return None
    try:
        body = _ENCODER.encode(event.after).decode()
        same = DECODER_OF[event.kind].decode(body) == event.after
    except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
        raise Illegal(f"{event.kind} {event.id} cannot be kept: {error}") from error
    if not same:
        raise Illegal(f"{event.kind} {event.id} cannot be kept: it would not be read back as it was written")
    return body
