"""The data folder: what a manager or worker keeps on disk beside its store.

`admin.token` and `manager.json` are what the command line picks up; `worker.token` opens a worker's own port;
`worker.json` is what a worker must remember. All are written so that a crash leaves the old file or the new one, and
are readable by their owner alone.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from longshore.agent.worker import Identity
from longshore.model.errors import Refused


def prepare(folder: Path) -> Path:
    """Make the folder, open to nobody else. Raises Refused with a sentence if that cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"cannot make the data folder {folder}: {error.strerror}; choose another with --data") from error
    return folder


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other workers out of the folder until the block is left or the program dies: two of one identity would take
    every session from each other, and every task. Raises Refused if there is one."""
    path = folder / "worker.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"cannot open {path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(f"{folder} is in use by another worker; choose another folder with --data") from error
        yield
    finally:
        os.close(descriptor)


def write(path: Path, content: str) -> None:
    """Replace a file: readable by its owner alone, and safely on disk before it is in its place."""
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error


def read(path: Path) -> str:
    """A file's content without the last line's end; empty if there is no such file."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error


def workers_token(path: Path) -> str:
    """The token that opens a worker's own port to its manager. Whichever of the two starts first on a machine makes
    it; to another machine somebody has to carry it."""
    secret = read(path)
    if not secret:
        secret = "lsw_" + secrets.token_urlsafe(32)
        write(path, secret + "\n")
    return secret


def place_of_worker(folder: Path, node: str) -> Path:
    """Where the worker of `node` keeps its files: the data folder itself, or one in it where that is another worker's
    already, so that several of one machine need no folders of their own to be named."""
    path = folder / "worker.json"
    if not read(path) or identity(folder, node).node == node:
        return folder
    return folder / "workers" / node


def identity(folder: Path, node: str) -> Identity:
    """What a worker remembers. One that never was gets its secret here, safely on disk before it is ever used."""
    path = folder / "worker.json"
    text = read(path)
    if text:
        try:
            return msgspec.json.decode(text, type=Identity)
        except msgspec.MsgspecError as error:
            raise Refused(f"{path} is damaged ({error}); remove it and join again") from error
    made = Identity(node=node, token="lsn_" + secrets.token_urlsafe(32))
    remember(folder, made)
    return made


def remember(folder: Path, one: Identity) -> None:
    """Keep a worker's identity."""
    write(folder / "worker.json", msgspec.json.encode(one).decode() + "\n")
