"""A store file read whole: the records as a snapshot, the log's end as a journal, older events as stories.

Only reads, so it also proves that a backup can be opened before anything is replaced by it. What contradicts itself
is Refused rather than mended: a cluster that starts from half its state would stop the other half's containers.
"""

import gc
import sqlite3
from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from longshore.model.changes import Batch, Event
from longshore.model.errors import Refused
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind, Object
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.store import schema
from longshore.store.journal import STORY_EVENTS_MAX, Journal
from longshore.store.landing import DECODER_OF

FREEZE_MIN = 10_000
"""Records from which it pays to take them out of the garbage collector's sight."""

EVENT_COLUMNS = "revision, position, at, kind, id, body, by, reason, message"

_KINDS = {one.value: one for one in Kind}
_OWNERS = {one.value: one for one in Owner}
_REASONS = {one.value: one for one in Reason}
"""Found without a call, which would be a tenth of what reading takes; the enumeration refuses a word that it does not
know."""

_Row = tuple[int, int, float, str, str, str | None, str, str, str]

# S608 below: what is put into the SQL is the constant above.
_REVISION_MIN = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?"
_LOG_ENDS = "SELECT max(revision) FROM log"
_LOG_BEGINS = "SELECT min(revision) FROM log"
_FIRST_TOO_OLD = "SELECT revision FROM log ORDER BY revision DESC, position DESC LIMIT 1 OFFSET ?"
_TAIL = f"SELECT {EVENT_COLUMNS} FROM log WHERE revision > ? ORDER BY revision, position"  # noqa: S608
_OLDER = f"SELECT {EVENT_COLUMNS} FROM log WHERE revision <= ? ORDER BY revision, position"  # noqa: S608


def load(connection: sqlite3.Connection, path: Path, events_kept: int) -> tuple[Snapshot, Journal]:
    """The state in the store file, and its log's last events.

    Raises Refused if they contradict each other, ValueError or TypeError if something in them cannot be read.
    """
    collecting = gc.isenabled()
    gc.disable()  # with it, reading 100,000 records takes four times as long
    try:
        world, journal, records = _load(connection, path, events_kept)
    finally:
        if collecting:
            gc.enable()
    if records >= FREEZE_MIN:
        gc.freeze()
    return world, journal


def _load(connection: sqlite3.Connection, path: Path, events_kept: int) -> tuple[Snapshot, Journal, int]:
    """The same, and how many records there are."""
    objects: list[tuple[Kind, Object]] = []
    ids: list[str] = []
    newest = 0
    for word, id, revision, body in connection.execute("SELECT kind, id, revision, body FROM objects"):
        kind = _KINDS.get(word) or Kind(word)
        objects.append((kind, DECODER_OF[kind].decode(body)))
        ids.append(id)
        if revision > newest:
            newest = revision
    floor = _number(connection, _REVISION_MIN, schema.REVISION_MIN)
    ends = max(floor, _number(connection, _LOG_ENDS))
    if newest > ends:
        raise Refused(f"{path} is damaged: it has a record of revision {newest}, but its log ends at {ends}")
    too_old = max(_number(connection, _FIRST_TOO_OLD, events_kept), _number(connection, _LOG_BEGINS) - 1)
    begins = max(floor, min(too_old, ends - 1))  # the newest batch is always kept
    journal = Journal(begins, events_max=events_kept)
    batches = _batches(_events(connection.execute(_TAIL, (begins,))))
    if [batch.revision for batch in batches] != list(range(begins + 1, ends + 1)):
        raise Refused(f"{path} is damaged: its log has gaps between revisions {begins} and {ends}. {schema.ADVICE}")
    told = {(event.kind, event.id) for batch in batches for event in batch.events}
    told.update((kind, id) for (kind, _), id in zip(objects, ids, strict=True))
    for rows in _older(connection, begins, told):
        journal.remember(_events(rows))
    journal.append(batches)
    return Snapshot.restored(ends, objects, ids), journal, len(ids)


def _older(connection: sqlite3.Connection, until: int, told: Container[tuple[str, str]]) -> Iterator[Iterable[_Row]]:
    """The last rows before the tail of each record that is there or that the tail speaks of. The stories of others
    ended with the window. Counted here, since a window function in SQL takes three times as long."""
    stories: dict[tuple[str, str], list[_Row]] = {}
    for row in connection.execute(_OLDER, (until,)):
        key = (row[3], row[4])
        story = stories.get(key)
        if story is not None:
            story.append(row)
        elif key in told:
            stories[key] = [row]
    for rows in stories.values():
        yield rows[-STORY_EVENTS_MAX:]


def _batches(events: Iterable[Event]) -> list[Batch]:
    return [
        Batch(revision=revision, events=tuple(of_one))
        for revision, of_one in groupby(events, key=lambda event: event.revision)
    ]


def _events(rows: Iterable[_Row]) -> Iterator[Event]:
    for revision, position, at, word, id, body, by, reason, message in rows:
        kind = _KINDS.get(word) or Kind(word)
        yield Event(
            revision=revision,
            position=position,
            at=at,
            kind=kind,
            id=id,
            after=None if body is None else DECODER_OF[kind].decode(body),
            by=_OWNERS.get(by) or Owner(by),
            reason=_REASONS.get(reason) or Reason(reason),
            message=message,
        )


def _number(connection: sqlite3.Connection, sql: str, *values: int | str) -> int:
    """The one number that the query is for; 0 if there is none."""
    row = connection.execute(sql, values).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])
