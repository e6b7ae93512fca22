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
CHARACTERS_MAX = 16 * 2**20
"""What may wait for one reader before it is cut off."""


class _End:
    def __init__(self, error: str, *, by_worker: bool) -> None:
        self.error = error
        self.by_worker = by_worker
        """Whether the worker is done with it, and need not be told."""


class _Reader:
    def __init__(self) -> None:
        self.waiting: asyncio.Queue[LogLine | _End] = asyncio.Queue()
        self.characters = 0
        self.ended = False

    def end(self, end: _End) -> None:
        if not self.ended:
            self.ended = True
            self.waiting.put_nowait(end)


class LogStreams:
    """The readers of one session."""

    def __init__(self, channel: ManagerChannel) -> None:
        self._channel = channel
        self._readers: dict[int, _Reader] = {}
        self._last = 0

    async def read(
        self, container_id: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncIterator[LogLine]:
        """Lines of one container; raises Unavailable if they are cut off before their end."""
        self._last += 1
        request = self._last
        reader = self._readers[request] = _Reader()
        try:
            await self._channel.send(
                LogsWanted(request=request, container_id=container_id, follow=follow, tail=tail, since=since)
            )
            while True:
                one = await reader.waiting.get()
                if isinstance(one, _End):
                    if one.by_worker:
                        del self._readers[request]
                    if one.error:
                        raise Unavailable(one.error)
                    return
                reader.characters -= len(one.text)
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
        reader = self._readers.get(request)
        if reader is None or reader.ended:
            return
        for line in lines:
            if reader.waiting.qsize() >= LINES_MAX or reader.characters >= CHARACTERS_MAX:
                reader.end(_End("the reader did not keep up with the lines", by_worker=False))
                return
            reader.characters += len(line.text)
            reader.waiting.put_nowait(line)

    def finish(self, request: int, error: str) -> None:
        """The worker has no more lines for this request. The reader itself lets go of it."""
        reader = self._readers.get(request)
        if reader is not None:
            reader.end(_End(error, by_worker=True))

    def end(self, error: str) -> None:
        """The session is over."""
        for request in tuple(self._readers):
            self.finish(request, error)
