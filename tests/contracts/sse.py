"""Reading server-sent events in a test, block by block."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientResponse

from tests.contracts.serving import Manager

Frame = dict[str, str]
"""One block: its fields by name; a comment has the name of nothing."""


class Reading:
    """A reader of server-sent events."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.blocks = self._read()
        """Also those that say nothing but an id or a comment."""

    async def _read(self) -> AsyncIterator[Frame]:
        block: Frame = {}
        async for line in self.response.content:
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(":")
                block[name] = value.removeprefix(" ")
            else:
                yield block
                block = {}

    async def take(self, count: int, within_s: float = 5.0) -> list[Frame]:
        """The next events that carry data."""
        found: list[Frame] = []
        async with asyncio.timeout(within_s):
            while len(found) < count:
                block = await anext(self.blocks)
                found += [block] if "data" in block else []
        return found

    async def rest(self, within_s: float = 5.0) -> list[Frame]:
        """All that comes until the stream ends."""
        async with asyncio.timeout(within_s):
            return [block async for block in self.blocks]


@asynccontextmanager
async def reading(
    manager: Manager, path: str, headers: dict[str, str] | None = None, *, status: int = 200
) -> AsyncIterator[Reading]:
    async with manager.http.get(manager.url + path, headers=manager.bearing("admin") | (headers or {})) as response:
        assert response.status == status, await response.read()
        yield Reading(response)
        response.close()
