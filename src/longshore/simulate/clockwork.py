"""An event loop whose clock jumps: it never waits, it moves time to the next timer.

An hour of cluster takes milliseconds, and the same seed gives the same order of events every time. Where nothing is
ready and nothing will ever happen, or where everybody is busy and no time passes, it raises Stuck at once instead of
hanging: a deadlock and a spin are results, not timeouts. There must be no real I/O and no threads in such a world: no
file is ever looked at.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH = 1_750_000_000.0
"""What the wall clock of every world shows at its beginning."""
TURNS_PER_INSTANT_MAX = 20_000
"""Of the loop, without the clock moving. A busy moment of a hundred nodes takes some hundred."""


class Stuck(RuntimeError):
    """Nothing will ever happen again: all wait and there is no timer, or all are busy and no time passes."""


class _Due(asyncio.TimerHandle):
    """What the loop has to call, soon or at a time. asyncio's own asks for the debug mode again and again."""

    __slots__ = ()
    _callback: Callable[..., object]
    _args: tuple[object, ...]

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._scheduled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback, self._args = bool, ()  # what it held may go


class JumpLoop(asyncio.SelectorEventLoop):
    """The loop; a wait is only a jump of its clock.

    It takes the place of asyncio's own turn, which asks the kernel for news each time and compares timers in Python:
    half of what a world costs. Timers of the same instant fire in the order in which they were set.
    """

    _ready: deque[_Due]
    _stopping: bool
    get_debug = staticmethod(bool)
    """False, without a call into Python: every future asks."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._timers: list[tuple[float, int, _Due]] = []
        self._set = 0
        """Timers so far."""
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign]

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Due(self._now, callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Due(when, callback, args, self, context)
        self._set += 1
        heappush(self._timers, (when, self._set, timer))
        return timer

    def _run_once(self) -> None:
        """All turns until somebody stops the loop."""
        ready, timers = self._ready, self._timers
        while True:
            if ready or self._stopping:
                self._turns += 1
                if self._turns > TURNS_PER_INSTANT_MAX:
                    self._turns = 0  # so that the loop can still be ended in good order
                    raise Stuck(f"no time passes, and {TURNS_PER_INSTANT_MAX} times something was done nevertheless")
            else:
                self._jump()
            while timers and timers[0][0] <= self._now:
                timer = heappop(timers)[2]
                if not timer._cancelled:
                    ready.append(timer)
            for _ in range(len(ready)):
                due = ready.popleft()
                if not due._cancelled:
                    try:
                        due._context.run(due._callback, *due._args)
                    except Exception as failure:  # noqa: BLE001  (what a callback raises is the loop's to tell)
                        self.call_exception_handler({"message": "a callback failed", "exception": failure})
            if self._stopping:
                return

    def _jump(self) -> None:
        """To the next timer."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
        if not timers:
            raise Stuck("nothing is scheduled, and nothing will ever happen again")
        self._now = max(self._now, timers[0][0])
        self._turns = 0


class VirtualClock:
    """The port's clock on a JumpLoop."""

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpLoop)
        return loop._now


class WallClock(VirtualClock):
    """A machine's own: it shows another time than the true one, runs off, and is set."""

    def __init__(self, off_s: float = 0.0, drift: float = 0.0) -> None:
        """`drift`: seconds that it gains in each."""
        self.off_s = off_s
        self._drift = drift

    def now(self) -> float:
        return super().now() + self.off_s + self._drift * self.monotonic()


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a loop of its own. Raises Stuck if it has none."""
    with asyncio.Runner(loop_factory=JumpLoop) as runner:
        return runner.run(main)
