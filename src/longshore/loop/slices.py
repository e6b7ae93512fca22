"""Work that comes in bursts, a slice of it in each round of the event loop.

A thousand coroutines that are woken by one commit, or by a thousand messages, all run before the loop looks at its
sockets again, and whoever asks something meanwhile waits for the last of them. Here each asks for its place first: so
many go on in a round, in the order in which they came, and the loop sees to everybody else in between. Counts places,
not time, so that a simulated world is the same whenever it is played.
"""

import asyncio
from collections import deque

SIZE = 32
"""Of pieces that take some 50 us each: a round is a few milliseconds long at most."""


class Slices:
    """Who has a place in this round of the loop, and who waits for one."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._left = size
        self._counting = False
        """Whether the next round is to begin with new places."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def place(self) -> None:
        """Go on in this round if there is room left in it, else in a later one."""
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._renew)
        if self._left:
            self._left -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _renew(self) -> None:
        self._left = self._size
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else who waited was cancelled
                turn.set_result(None)
                self._left -= 1
        self._counting = self._left < self._size
        if self._counting:
            asyncio.get_running_loop().call_soon(self._renew)
