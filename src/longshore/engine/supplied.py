"""An engine that lives in a container of another one, and gets from that one the images that are there.

Knows two engines and when an image is carried from one to the other; must not know how the inner one came to be. An
engine that was started a moment ago has no image at all, and what was built on this machine is in no registry: whoever
tries a cluster out built it for the engine that they have.
"""

import asyncio
from contextlib import aclosing

from longshore.engine.docker import DockerEngine
from longshore.model.objects import Capacity, EngineFacts
from longshore.model.spec import Pull


class SuppliedEngine(DockerEngine):
    """The engine at `url`, inside container `inside` of `source`'s engine."""

    def __init__(self, url: str, *, inside: str, source: DockerEngine) -> None:
        super().__init__(url, inside=inside)
        self._source = source
        self._carrying: dict[str, asyncio.Lock] = {}
        self._carried: dict[str, tuple[str, str | None]] = {}
        """By image: its id there, and what that became here. Engines that keep images differently name them so."""

    async def describe(self) -> tuple[EngineFacts, Capacity]:
        """With the machine's capacity, which is the same but for the disk: the inner one's folder is not to be found
        from here by the name that it has there."""
        facts, _ = await super().describe()
        _, capacity = await self._source.describe()
        return facts, capacity

    async def prepare(self, image: str, pull: Pull) -> None:
        """What the machine's engine has under this name is what the inner one gets, also when it was built anew. A
        registry is asked as on any other engine: with `always`, or if neither has the image and it may be."""
        by_digest = "@" in image  # a name that only the registry can give it
        if pull is not Pull.ALWAYS and not by_digest:
            async with self._carrying.setdefault(image, asyncio.Lock()):
                await self._carry(image)
        await super().prepare(image, pull)

    async def _carry(self, image: str) -> None:
        there = await self._source.image_id(image)
        if there is None:
            return
        here = await self.image_id(image)
        if here is not None and (here == there or self._carried.get(image) == (there, here)):
            return
        async with aclosing(self._source.save_image(image)) as pieces:
            await self.load_image(pieces)
        self._carried[image] = there, await self.image_id(image)
