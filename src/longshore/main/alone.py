"""A worker on its own: what it is told at its own port it keeps and runs with no manager in sight.

It is a cluster of one inside the worker (`one.py`), put together when the first task comes, or at once where a store is
left from before: most workers never need it, and it costs memory.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from longshore.agent.worker import Identity, Worker
from longshore.ports import Clock

if TYPE_CHECKING:
    from longshore.control.postings import Postings

STORE_FILE = "tasks.db"

MakeWorker = Callable[[Identity], Worker]


class Alone:
    """A worker's own tasks."""

    def __init__(self, folder: Path, node: str, clock: Clock, make_worker: MakeWorker, *, in_memory: bool) -> None:
        """`make_worker` makes one more worker for this node's engine."""
        self._path = folder / STORE_FILE
        self._node = node
        self._clock = clock
        self._make_worker = make_worker
        self._in_memory = in_memory
        self._asked = asyncio.Event()
        self._ready: asyncio.Future[Postings] = asyncio.get_running_loop().create_future()
        if not in_memory and self._path.exists():
            self._asked.set()

    def own(self) -> "Postings | None":
        """Its tasks; None if it never had any."""
        return self._ready.result() if self._ready.done() else None

    async def begin(self) -> "Postings":
        """Its tasks, ready to take one more."""
        self._asked.set()
        return await asyncio.shield(self._ready)

    async def run(self) -> None:
        """Until cancelled."""
        await self._asked.wait()
        from longshore.main.one import serve_one

        path = None if self._in_memory else self._path
        await serve_one(path, self._node, self._clock, self._make_worker, self._ready.set_result)
