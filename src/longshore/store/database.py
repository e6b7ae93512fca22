"""One SQLite file as a store's tables: opened, read whole, appended to. Every call blocks, and all come from the one
thread that opened it.

Holds the lock, and keeps nothing of the state but a count. A transaction either is on the disk when `write` returns,
or it raises Unavailable and the file is as it was. Knows SQL; must not know the event loop or who waits for a commit.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from longshore.model.changes import Event
from longshore.model.errors import Refused, Unavailable
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.store import files, schema
from longshore.store.journal import Journal
from longshore.store.landing import Landed
from longshore.store.loading import EVENT_COLUMNS, load

BUSY_TIMEOUT_S = 5.0
"""How long to wait for a person's shell that writes. Nobody should, but a lock is no reason to give up at once."""

ROWS_AT_ONCE = 100
"""Rows in one statement. Other threads run while SQLite works on it, and take turns with this one between two."""

_LOG = f"INSERT INTO log ({EVENT_COLUMNS}) VALUES {{rows}}"  # noqa: S608
_LOG_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Not REPLACE, which would give the row a new number.
_PUT = """INSERT INTO objects (kind, id, revision, body) VALUES {rows}
    ON CONFLICT (kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body"""
_PUT_ROW = "(?, ?, ?, ?)"
_DELETE = "DELETE FROM objects WHERE kind = ? AND id = ?"

_WORDS = {str(one): one.value for words in (Kind, Owner, Reason) for one in words}
"""Plain strings, found without a call: `sqlite3` would ask each enumeration's member how it is to be kept."""

_Row = tuple[int, int, float, str, str, str | None, str, str, str]


class Database:
    """An open store file. Keeps at least the last `log_events` events in it, and little more."""

    def __init__(self, path: Path, lock: files.Lock, connection: sqlite3.Connection, log_events: int) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._log_events_max = log_events
        (self._log_events,) = connection.execute("SELECT count(*) FROM log").fetchone()
        self._files = _identities(path)

    @classmethod
    def open(cls, path: Path, *, log_events: int) -> "Database":
        """Open the store at `path`, or make an empty one. Raises Refused if that cannot or must not be done."""
        files.make_directory(path.parent)
        lock = files.Lock.take(path)
        connection = None
        try:
            if not path.exists():
                _create(path)
            schema.identify(path)
            connection = connect(path)
            with translated(path):
                _prepare(connection, path)
                return cls(path, lock, connection, log_events)
        except BaseException:
            if connection is not None:
                connection.close()
            lock.release()
            raise

    def load(self, events_kept: int) -> tuple[Snapshot, Journal]:
        """Everything that is in it."""
        with translated(self._path):
            return load(self._connection, self._path, events_kept)

    def write(self, landed: Sequence[Landed]) -> None:
        """Make these commits durable in one transaction. Raises Unavailable, in which case nothing was written."""
        rows: list[_Row] = []
        newest: dict[tuple[str, str], tuple[int, str | None]] = {}  # of a record changed twice, only the last matters
        for _, batch, bodies in landed:
            for event, body in zip(batch.events, bodies, strict=True):
                row = _row(event, body)
                rows.append(row)
                newest[row[3], event.id] = (event.revision, body)
        puts = [(*key, revision, body) for key, (revision, body) in newest.items() if body is not None]
        gone = [key for key, (_, body) in newest.items() if body is None]
        with self._transaction():
            self._insert(_LOG, _LOG_ROW, rows)
            self._insert(_PUT, _PUT_ROW, puts)
            if gone:
                self._connection.executemany(_DELETE, gone)
            deleted = self._trim(self._log_events + len(rows))
        self._log_events += len(rows) - deleted

    def compact(self, before: int) -> None:
        """Delete the log of revisions less than `before`. Raises Unavailable."""
        with self._transaction():
            deleted = self._connection.execute("DELETE FROM log WHERE revision < ?", (before,)).rowcount
        self._log_events -= deleted

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._connection.close()
        self._lock.release()

    def _insert(self, statement: str, row: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Carry a statement out for many rows at a time, and for those that are left over one by one."""
        many = len(rows) - len(rows) % ROWS_AT_ONCE
        groups = (chain.from_iterable(rows[first : first + ROWS_AT_ONCE]) for first in range(0, many, ROWS_AT_ONCE))
        self._connection.executemany(statement.format(rows=", ".join([row] * ROWS_AT_ONCE)), map(tuple, groups))
        self._connection.executemany(statement.format(rows=row), rows[many:])

    def _trim(self, events: int) -> int:
        """Delete what the log has too much, whole revisions at a time. In small portions, so no commit waits long."""
        surplus = events - self._log_events_max
        if surplus <= self._log_events_max // 100:
            return 0
        first = "SELECT revision FROM log ORDER BY revision, position LIMIT 1 OFFSET ?"
        (kept,) = self._connection.execute(first, (surplus,)).fetchone()
        return self._connection.execute("DELETE FROM log WHERE revision < ?", (kept,)).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            if self._connection.in_transaction:  # a rollback failed too when the disk did; it must be over by now
                self._connection.execute("ROLLBACK")
            self._check_files()
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            raise Unavailable(f"cannot write to {self._path}: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # tried again before the next transaction
                self._connection.execute("ROLLBACK")

    def _check_files(self) -> None:
        """Writing on in a file that was removed works without an error, and all of it would be lost."""
        if _identities(self._path) != self._files:
            raise OSError("the file, or the -wal beside it, was removed or replaced while it was open")


def connect(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """Open an existing file; never makes one."""
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise Refused(f"cannot open {path}: {error}") from error


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """What goes wrong when a file is read, in our words."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise Unavailable(f"{path} is held by another program: {error}") from error
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_PERM")):
            raise Refused(f"cannot use {path}: {error}") from error
        raise Refused(f"{path} is damaged: {error}. {schema.ADVICE}") from error
    except OSError as error:
        raise Refused(f"cannot use {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:  # msgspec's errors are; so is what an enumeration says to an unknown word
        raise Refused(f"{path} is damaged, or a newer Longshore wrote it: {error}. {schema.ADVICE}") from error


def _create(path: Path) -> None:
    """Make an empty store under another name and then give it its own: a file that is there is always a whole one."""
    wal = files.beside(path, "-wal")
    if wal.exists() and wal.stat().st_size:
        # SQLite would take these for changes to the new file. And they say that a store was here.
        raise Refused(f"{path} is gone, but its newest changes are still in {wal}. Restore a backup, or move it away")
    fresh = files.beside(path, ".new")
    try:
        files.remove(fresh)
        files.make_private(fresh)
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            connection.executescript(f"BEGIN; {schema.TABLES} COMMIT;")
        finally:
            connection.close()
        files.sync(fresh)
        fresh.rename(path)
        files.sync(path.parent)
    except sqlite3.Error as error:
        raise Refused(f"cannot make {path}: {error}") from error
    except OSError as error:
        raise Refused(f"cannot make {path}: {error.strerror}") from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check what is there and set what SQLite has to know for every connection."""
    schema.check_version(connection, path)
    schema.check_integrity(connection, path)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Refused(f"{path}: the file system does not support a write-ahead log (journal mode is {mode})")
    connection.execute("PRAGMA synchronous = FULL")  # fsync before each COMMIT returns: acknowledged means durable
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("BEGIN IMMEDIATE")
    schema.refresh_views(connection)
    connection.execute("COMMIT")


def _row(event: Event, body: str | None) -> _Row:
    return (
        event.revision,
        event.position,
        event.at,
        _WORDS[event.kind],
        event.id,
        body,
        _WORDS[event.by],
        _WORDS[event.reason],
        event.message,
    )


def _identities(path: Path) -> list[tuple[int, int] | None]:
    """Which files the names lead to now."""
    found: list[tuple[int, int] | None] = []
    for name in (path, files.beside(path, "-wal")):
        try:
            status = name.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return found
