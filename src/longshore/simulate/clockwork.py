"""An event loop whose clock jumps: it never waits, it moves time to the next timer.

An hour of cluster takes milliseconds, and the same seed gives the same order of events every time. Where nothing is
ready and nothing will ever happen, it raises Stuck at once instead of hanging: a deadlock is a result, not a timeout.
There must be no real I/O and no threads in such a world; the real loop's own wake-up pipe is all it selects on.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_750_000_000.0
"""What the wall clock of every world shows at its beginning."""


class Stuck(RuntimeError):
    """Everybody waits, and there is no timer: nothing will ever happen again."""


class _JumpSelector(selectors.BaseSelector):
    """Looks at real files without waiting; a wait is only a jump of the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("nothing is scheduled, and nothing will ever happen again")
        self.now += max(timeout, 0.0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class JumpLoop(asyncio.SelectorEventLoop):
    """The loop; its time is the selector's."""

    def __init__(self) -> None:
        self._jumping = _JumpSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """The port's clock on a JumpLoop."""

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=JumpLoop) as runner:
        return runner.run(main)
