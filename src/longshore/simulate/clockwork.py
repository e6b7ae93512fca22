"""An event loop whose clock jumps: it never waits, it moves time to the next timer.

An hour of cluster takes milliseconds, and the same seed gives the same order of events every time. Where nothing is
ready and nothing will ever happen, or where everybody is busy and no time passes, it raises Stuck at once instead of
hanging: a deadlock and a spin are results, not timeouts. There must be no real I/O and no threads in such a world; the
real loop's own wake-up pipe is all it selects on.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_750_000_000.0
"""What the wall clock of every world shows at its beginning."""
TURNS_PER_INSTANT_MAX = 20_000
"""Of the loop, without the clock moving. A busy moment of a hundred nodes takes some hundred."""


class Stuck(RuntimeError):
    """Nothing will ever happen again: all wait and there is no timer, or all are busy and no time passes."""


class _JumpSelector(selectors.BaseSelector):
    """A wait is only a jump of the clock. Looks at real files just before it would wait, which is when a real loop
    could first be late for them."""

    def __init__(self) -> None:
        self.now = 0.0
        self._turns = 0
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            self._turns += 1
            if self._turns > TURNS_PER_INSTANT_MAX:
                self._turns = 0  # so that the loop can still be ended in good order
                raise Stuck(f"no time passes, and {TURNS_PER_INSTANT_MAX} times something was done nevertheless")
            return []
        ready = self._real.select(0)
        if not ready:
            if timeout is None:
                raise Stuck("nothing is scheduled, and nothing will ever happen again")
            self.now += timeout
            self._turns = 0
        return ready

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
    """Run `main` to its end on a loop of its own. Raises Stuck if it has none."""
    with asyncio.Runner(loop_factory=JumpLoop) as runner:
        return runner.run(main)
