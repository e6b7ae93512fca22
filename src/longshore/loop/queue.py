"""Keys to look at: each at most once in line, never worked on twice at once, delayed and backed off.

Four promises. A key added ten times while it waits is one visit. A key added while it is worked on, or rests from that,
comes back after. Of several delays for one key the earliest holds. Failures of a key make its waits double until
`forget`. No locks: it belongs to one event loop, and its delays are that loop's timers, so virtual time moves them too.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 15.0


class KeyQueue(Generic[K]):
    """The keys of one controller."""

    def __init__(self, wanted: Callable[[], None] = lambda: None) -> None:
        """`wanted` is called for each key that gets in line."""
        self._wanted = wanted
        self._line: asyncio.Queue[K] = asyncio.Queue()
        # One key wakes one of those that wait, or a worker with 64 of them would be busy waking them.
        self._waiting: set[K] = set()
        """In line, or to be put there when its work is done."""
        self._busy: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._resting: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K, delay_s: float = 0.0) -> None:
        """Look at `key` after `delay_s`; the earliest of several wishes holds."""
        if delay_s > 0:
            self._add_later(key, delay_s)
            return
        self._drop_timer(key)
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._busy:
            self._put(key)

    def _put(self, key: K) -> None:
        self._line.put_nowait(key)
        self._wanted()

    def __len__(self) -> int:
        """How many keys are in line."""
        return self._line.qsize()

    def _add_later(self, key: K, delay_s: float) -> None:
        if key in self._waiting and key not in self._busy:
            return
        loop = asyncio.get_running_loop()
        standing = self._timers.get(key)
        if standing is not None:
            if standing.when() <= loop.time() + delay_s:
                return
            standing.cancel()
        self._timers[key] = loop.call_later(delay_s, self.add, key)

    def _drop_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def get(self) -> K:
        """The next key; it is busy until `done`."""
        key = await self._line.get()
        self._waiting.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: K, rest_s: float = 0.0) -> None:
        """The work on `key` has ended, well or not. It is as good as busy for `rest_s` more."""
        if rest_s > 0:
            self._resting[key] = asyncio.get_running_loop().call_later(rest_s, self.done, key)
            return
        self._resting.pop(key, None)
        self._busy.discard(key)
        if key in self._waiting:
            self._put(key)

    def retry(self, key: K) -> float:
        """Look at `key` again after its back-off; returns that wait in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait_s = min(BACKOFF_FIRST_S * 2.0 ** min(failures, 16), BACKOFF_MAX_S)
        self.add(key, wait_s)
        return wait_s

    def forget(self, key: K) -> None:
        """The last look at `key` went well: its next failure waits little again."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Drop all timers, so that nothing of this queue outlives its owner."""
        for timer in (*self._timers.values(), *self._resting.values()):
            timer.cancel()
        self._timers.clear()
        self._resting.clear()
