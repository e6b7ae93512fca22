"""Backup: a copy of everything that the cluster knows, in one file."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.tables import note, show_json
from longshore.cli.units import size
from longshore.client import Client
from longshore.model.errors import Refused


@command(
    "backup",
    "longshore backup cluster.db",
    "longshore backup --force /backups/cluster.db",
    "longshore backup - | gzip > cluster.db.gz",
)
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Write over FILE if it exists.")
@pass_settings
def backup(settings: Settings, file: str, force: bool) -> None:
    """Write a copy of the cluster's database to a file.

    `longshore restore` starts a manager from it. Everything goes on meanwhile, and
    the copy is consistent. It holds only hashes of tokens, but all else that the
    cluster knows, variables of services included.
    """
    with settings.client() as client:
        if file == "-":
            _pour(client, sys.stdout.buffer)
            return
        path = Path(file)
        if path.is_dir():
            raise Refused(f"{path} is a folder; name a file in it")
        if path.exists() and not force:
            raise Refused(f"{path} exists already; choose another name, or --force")
        written = _write(client, path)
    if settings.as_json:
        show_json({"file": str(path), "bytes": written})
    else:
        note(f"Wrote {size(written)} to {path}")


def _write(client: Client, path: Path) -> int:
    """Into a file beside it first: a backup that is half there must never be taken for one."""
    part = path.with_name(path.name + ".part")
    try:
        # For its owner alone, from the first byte on.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            written = _pour(client, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(path)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


def _pour(client: Client, target: BinaryIO) -> int:
    written = 0
    for piece in client.backup():
        target.write(piece)
        written += len(piece)
    return written
