"""How a worker starts its guard, and what it tells it.

The guard (`agent/guard.py`) is a program of its own that outlives its worker, with the data folder between them: the
lease in a file that is replaced at each renewal, and a lock that a guard holds while it stands, by which a worker that
was started again finds the one that is there. Not forced to disk: after a power cut there is nothing left to guard.
"""

import asyncio
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import structlog

from longshore.agent import guard
from longshore.model.errors import Refused, Unavailable
from longshore.model.lease import Lease

log = structlog.get_logger("longshore.fence")

START_S = 10.0


class FolderGuard:
    """The guard of the worker whose data folder this is; satisfies the port `LeaseGuard`."""

    def __init__(self, folder: Path, engine: str) -> None:
        """`engine`: URL of the engine that has the containers."""
        self._folder = folder.resolve()
        self._engine = engine
        self._boot = guard.boot_id()

    def left(self) -> Lease | None:
        try:
            found = guard.parsed((self._folder / guard.LEASE).read_text())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused(f"cannot read {self._folder / guard.LEASE}: {error.strerror}") from error
        if found is None or found[0] != self._boot:
            return None
        _, renewed_at, lease_s, _, containers = found
        return Lease(renewed_at=renewed_at, lease_s=lease_s, containers=containers)

    def keep(self, lease: Lease) -> None:
        text = guard.written(self._boot, lease.renewed_at, lease.lease_s, self._engine, lease.containers)
        part = self._folder / f"{guard.LEASE}.part"
        try:
            part.write_text(text)
            part.replace(self._folder / guard.LEASE)
        except OSError as error:
            # The guard goes by the older one then, and what it kills too early is safe.
            raise Unavailable(f"cannot write {self._folder / guard.LEASE}: {error.strerror}") from error

    async def stand(self) -> None:
        if self._stands():
            return
        try:
            await asyncio.to_thread(self._start)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"cannot start the guard of single-writer tasks: {error}") from error
        if not self._stands():
            raise Unavailable(
                f"the guard of single-writer tasks does not stand; {self._folder / guard.LOG} may say why"
            )
        log.info("guard started", folder=str(self._folder))

    def _stands(self) -> bool:
        lock = os.open(self._folder / guard.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _start(self) -> None:
        """Returns once it stands: it leaves its starter behind then, so that it is nobody's child."""
        subprocess.run(
            [sys.executable, "-I", "-S", guard.__file__, str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=START_S,
            check=True,
        )
