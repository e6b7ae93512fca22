"""Several streams read at once, as one: a thread for each, and one queue.

Knows threads and nothing of what passes. The threads are daemons and are never joined: each waits in a read that only
its manager can end, and a command that is done must not wait with it.
"""

import queue
import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from longshore.model.errors import Failure

T = TypeVar("T")

WAITING_MAX = 100_000
"""What may wait to be read; then the streams wait too, and so, in the end, does the manager."""


class Came(msgspec.Struct, Generic[T], frozen=True):
    """Something came from a source."""

    source: str
    value: T


class Ended(msgspec.Struct, frozen=True):
    """A source has no more, or failed."""

    source: str
    failure: Exception | None


class Merged(Generic[T]):
    """Sources by name. `next` gives what came first."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._queue: queue.Queue[Came[T] | Ended] = queue.Queue(waiting_max)
        self.open: set[str] = set()
        """Sources that have not ended yet, as far as was read."""

    def add(self, source: str, values: Iterable[T]) -> None:
        """Read `values` from now on, in a thread of its own."""
        self.open.add(source)
        threading.Thread(target=self._read, args=(source, values), name=f"read {source}", daemon=True).start()

    def next(self, wait_s: float | None = None) -> Came[T] | Ended | None:
        """What came next; None if nothing did within `wait_s`."""
        try:
            one = self._queue.get(timeout=None if wait_s is None else max(0.0, wait_s))
        except queue.Empty:
            return None
        if isinstance(one, Ended):
            self.open.discard(one.source)
            if one.failure is not None and not isinstance(one.failure, Failure):
                raise one.failure  # a bug, and this is the thread that may crash of it
        return one

    def _read(self, source: str, values: Iterable[T]) -> None:
        failure: Exception | None = None
        try:
            for value in values:
                self._queue.put(Came(source, value))
        except Exception as error:  # noqa: BLE001  (it is raised again by `next`, in the thread that reads)
            failure = error
        self._queue.put(Ended(source, failure))
