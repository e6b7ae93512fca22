"""Backups of a store file and the way back. Every call blocks; the way back needs the manager to be stopped.

Both ways copy through SQLite, never byte by byte: a database in use is two files, and a copy of one of them is
damaged. Both make the copy under a temporary name and give it its own once it is whole and on the disk.
"""

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from longshore.model.errors import Refused, Unavailable
from longshore.store import files, schema
from longshore.store.database import connect, translated
from longshore.store.journal import EVENTS_KEPT
from longshore.store.loading import load

REVISIONS_SKIPPED = 1_000_000
"""How far a restored store's revision jumps. Revisions that were handed out after the backup was made shall not come
again for other commits, or a reader would resume in the middle of a past that is not its own."""


def back_up(source: Path, target: Path) -> None:
    """Write a copy of the store at `source`, which may be in use, to the new file `target`. Raises Refused."""
    if target.exists():
        raise Refused(f"{target} is there already; a backup replaces nothing")
    partial = _partial(target)
    try:
        _copy(source, partial)
        try:
            os.link(partial, target)  # unlike a rename, fails if the name was taken meanwhile
        except FileExistsError as error:
            raise Refused(f"{target} is there already; a backup replaces nothing") from error
        except OSError:  # a file system without links
            partial.rename(target)
        files.sync(target.parent)
    except OSError as error:
        raise Refused(f"cannot write the backup {target}: {error.strerror}") from error
    finally:
        files.remove(partial)


def restore(source: Path, target: Path, at: float) -> Path | None:
    """Put the backup `source` in the place of the store at `target`, while no manager runs.

    What was there is kept beside it as `.before-restore-<at, in UTC>`; returns that path, None if nothing was there.
    Raises Refused if the backup is not whole or the store is in use; then nothing was touched. Safe to repeat if it
    was interrupted.
    """
    if source.resolve() == target.resolve():
        raise Refused(f"{source} is the store itself, not a backup of it")
    if not source.exists():
        raise Refused(f"there is no {source}")
    schema.identify(source)
    files.make_directory(target.parent)
    lock = files.Lock.take(target)
    try:
        partial = _partial(target)
        try:
            _copy(source, partial)
            _prove(source, partial)
            aside = _set_aside(target, files.beside(target, f".before-restore-{_stamp(at)}"))
            partial.replace(target)
            files.sync(target.parent)
        finally:
            files.remove(partial)
    except OSError as error:
        raise Refused(f"cannot restore {target}: {error.strerror}") from error
    finally:
        lock.release()
    return aside


def _partial(target: Path) -> Path:
    """A private, empty file beside the target."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise Refused(f"cannot write to {target.parent}: {error.strerror}") from error
    os.close(descriptor)
    return Path(name)


def _copy(source: Path, target: Path) -> None:
    """Copy a consistent state into one single file that is on the disk when this returns."""
    reading = connect(source, mode="ro")
    try:
        writing = sqlite3.connect(target, isolation_level=None)
        try:
            # In one step: between two, a commit would make SQLite begin anew, and a busy store would never be done.
            # Commits go on meanwhile; only the -wal cannot be folded into the file until it is over.
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode = DELETE")
        finally:
            writing.close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise Refused(f"{source} is damaged: {error}") from error
        raise Refused(f"cannot copy {source} to {target.parent}: {error}") from error
    finally:
        reading.close()
    files.sync(target)


def _prove(source: Path, copy: Path) -> None:
    """Raise Refused unless the copy is a store that will open, and make its revision jump."""
    connection = connect(copy)
    try:
        with translated(source):
            schema.check_version(connection, source)
            schema.check_integrity(connection, source)
            world, _ = load(connection, source, EVENTS_KEPT)
            connection.execute(
                "REPLACE INTO meta (key, value) VALUES (?, ?)",
                (schema.REVISION_MIN, str(world.revision + REVISIONS_SKIPPED)),
            )
    except Unavailable as error:
        raise Refused(error.message) from error
    finally:
        connection.close()
    files.sync(copy)


def _set_aside(target: Path, aside: Path) -> Path | None:
    """Give what is at `target` a second name, so that the store is never without a file: a manager that starts after
    this was interrupted must not find nothing and begin with an empty cluster."""
    if aside.exists():
        raise Refused(f"{aside} is there already")
    there = target.exists()
    if there:
        _fold(target)
        os.link(target, aside)
    for suffix in files.SIDE_FILES:
        beside = files.beside(target, suffix)
        if beside.exists():  # a damaged database's; SQLite would put it into the restored one
            beside.rename(files.beside(aside, suffix))
    files.sync(target.parent)
    return aside if there else None


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def _fold(target: Path) -> None:
    """Bring what is still in the -wal into the database, if it is a sound one of ours."""
    with suppress(Refused, sqlite3.Error):  # it stays as it is then, and the -wal moves with it
        schema.identify(target)
        with closing(connect(target)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
