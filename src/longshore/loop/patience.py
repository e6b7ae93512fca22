"""A block that ends when nothing was heard in it for too long.

`asyncio.timeout` around each wait makes and cancels a timer for every message, and what is cancelled stays in the
loop's heap until half of it is: with ten thousand workers that costs more than to read what they say. This is one
timer, which looks whether something was heard since it was set.
"""

import asyncio
from types import TracebackType


class Patience:
    """Use in an `async with` block. Raises TimeoutError out of it once `heard` was not called for `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> "Patience":
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self.heard()
        self._timer = self._loop.call_later(self._limit_s, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        timeout = self._timeout
        del self._timeout  # it has the task, whose end has the block's frame, which has this: a circle
        await timeout.__aexit__(kind, error, trace)

    def heard(self) -> None:
        """The wait begins anew."""
        self._heard_at = self._loop.time()

    def _look(self) -> None:
        due = self._heard_at + self._limit_s
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._timeout.reschedule(due)
