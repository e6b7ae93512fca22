"""The files around a SQLite store: the lock that keeps a second manager out, private permissions, durable renames.

Knows the file system only, not what is in the files. What it cannot do it says as Refused.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from longshore.model.errors import Refused

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by suffix. `-wal` and `-journal` are part of its contents."""


class Lock:
    """Held from `take` to `release` or to the death of the process, by a side file that is never removed.

    flock, not lockf: it belongs to the open file, so that it also holds against another store in the same process.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, database: Path) -> "Lock":
        path = beside(database, ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise Refused(f"{database} is in use by another manager (process {holder or 'unknown'})") from error
            raise Refused(f"cannot lock {path}: {error.strerror}") from error
        with suppress(OSError):  # only for the message above: a disk too full for it is no reason to fail
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)


def beside(path: Path, suffix: str) -> Path:
    """`/x/store.db` and `-wal` -> `/x/store.db-wal`."""
    return path.with_name(path.name + suffix)


def make_directory(path: Path) -> None:
    """Make sure that `path` is there, private if it has to be made."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"cannot make the directory {path}: {error.strerror}") from error


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read. SQLite gives the same permissions to what it puts beside it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def remove(path: Path) -> None:
    """Remove a database with everything beside it."""
    for suffix in ("", *SIDE_FILES):
        beside(path, suffix).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file durable, or a directory's list of names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
