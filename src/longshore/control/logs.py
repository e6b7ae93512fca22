"""Log lines on their way from one worker to those who read them.

They share the session with reports and heartbeats, so a reader that is slow must not hold those up: each reader has a
bounded buffer, and one that does not keep up is cut off with a sentence instead of slowing the worker or filling the
manager's memory.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from longshore.model.containers import LogLine
from longshore.model.errors import Unavailable
from longshore.model.messages import LogsUnwanted, LogsWanted
from longshore.ports import ManagerChannel

LINES_MAX = 10_000
"""Lines that wait for one reader before it is cut off."""


class _End:
    def __init__(self, error: str) -> None:
        self.error = error


class LogStreams:
    """The readers of one session."""

    def __init__(self, channel: ManagerChannel) -> None:
        self._channel = channel
        self._readers: dict[int, asyncio.Queue[LogLine | _End]] = {}
        self._last = 0

    async def read(
        self, container_id: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncIterator[LogLine]:
        """Lines of one container; raises Unavailable if they are cut off before their end."""
        self._last += 1
        request = self._last
        # Room for an end on top of the lines, so that an end is never lost.
        waiting: asyncio.Queue[LogLine | _End] = asyncio.Queue(LINES_MAX + 1)
        self._readers[request] = waiting
        try:
            await self._channel.send(
                LogsWanted(request=request, container_id=container_id, follow=follow, tail=tail, since=since)
            )
            while True:
                one = await waiting.get()
                if isinstance(one, _End):
                    del self._readers[request]  # the worker is done with it, and need not be told
                    if one.error:
                        raise Unavailable(one.error)
                    return
                yield one
        finally:
            if self._readers.pop(request, None) is not None:
                await self._unwanted(request)

    async def _unwanted(self, request: int) -> None:
        try:
            await self._channel.send(LogsUnwanted(request=request))
        except Unavailable:
            return  # the session is over, and the worker stops reading with it

    def lines(self, request: int, lines: Sequence[LogLine]) -> None:
        """Lines came from the worker."""
        waiting = self._readers.get(request)
        if waiting is None:
            return
        for line in lines:
            if waiting.qsize() >= LINES_MAX:
                self.finish(request, f"the reader was more than {LINES_MAX} lines behind")
                return
            waiting.put_nowait(line)

    def finish(self, request: int, error: str) -> None:
        """The worker has no more lines for this request. The reader itself lets go of it."""
        waiting = self._readers.get(request)
        if waiting is not None and waiting.qsize() <= LINES_MAX:
            waiting.put_nowait(_End(error))

    def end(self, error: str) -> None:
        """The session is over."""
        for request in tuple(self._readers):
            self.finish(request, error)
